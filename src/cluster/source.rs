//! Reads source Secrets and ConfigMaps.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt};

use super::{Cluster, ClusterError};
use crate::domain::label_query::LabelQuery;
use crate::domain::secret::{SecretBytes, SecretMap};
use crate::domain::secret_template::MOST_TEXT;
use crate::domain::source::{Source, SourceKind};
use crate::domain::template_spec::{TemplateSpec, Texts};

/// The page size of a list of names: labels may match anything.
const NAMES_AT_ONCE: u32 = 500;
/// The page size of a list of Secrets of up to 1 MiB each.
const SECRETS_AT_ONCE: u32 = 10;

/// How much of a label selector's matches is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The number of Secrets.
    pub secrets: usize,
    /// Bytes of their data, in total.
    pub bytes: usize,
}

/// A label selector matches more than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverBound {
    /// This many Secrets.
    Secrets(usize),
    /// At least this many bytes of data.
    Bytes(usize),
}

/// An annotation with the whole object, including values. No remote key may use it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Cluster {
    /// Reads a Secret live; `None` if it does not exist.
    pub async fn source(&self, namespace: &str, name: &str) -> Result<Option<Source>, ClusterError> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let object = format!("Secret {namespace}/{name}");
        let found = self.get(&object, secrets.get(name)).await?;
        Ok(found.map(|secret| of_secret(namespace, secret)))
    }

    /// Reads a ConfigMap live; `None` if it does not exist.
    pub async fn config_map_source(&self, namespace: &str, name: &str) -> Result<Option<Source>, ClusterError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client(), namespace);
        let object = format!("ConfigMap {namespace}/{name}");
        let found = self.get(&object, maps.get(name)).await?;
        Ok(found.map(|map| of_config_map(namespace, map)))
    }

    /// The texts that a template refers to, read live. What does not exist is no error here.
    pub async fn template_texts(&self, namespace: &str, template: &TemplateSpec) -> Result<Texts, ClusterError> {
        let mut texts = Texts::default();
        for (object, keys) in template.objects() {
            let found = match object.kind {
                SourceKind::Secret => self.source(namespace, &object.name).await?,
                SourceKind::ConfigMap => self.config_map_source(namespace, &object.name).await?,
            };
            texts.add(object, &keys, found);
            if texts.bytes() > MOST_TEXT {
                // The rest of them would only take room.
                break;
            }
        }
        Ok(texts)
    }

    /// The names of the Secrets with these labels, read live.
    pub async fn source_names(&self, namespace: &str, query: &LabelQuery) -> Result<BTreeSet<String>, ClusterError> {
        Ok(self.source_versions(namespace, query).await?.into_keys().collect())
    }

    /// The resourceVersions of the Secrets with these labels, by name, read live.
    pub async fn source_versions(
        &self,
        namespace: &str,
        query: &LabelQuery,
    ) -> Result<BTreeMap<String, String>, ClusterError> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let object = format!("Secrets {namespace}/*");
        let mut wanted = ListParams::default().labels(&query.to_string()).limit(NAMES_AT_ONCE);
        let mut versions = BTreeMap::new();
        loop {
            let part = self.request("list", &object, secrets.list_metadata(&wanted)).await?;
            let version = |secret: &PartialObjectMeta<Secret>| secret.resource_version().unwrap_or_default();
            versions.extend(part.items.iter().map(|secret| (secret.name_any(), version(secret))));
            match rest_of(part.metadata) {
                Some(token) => wanted = wanted.continue_token(&token),
                None => return Ok(versions),
            }
        }
    }

    /// The Secrets with these labels, in the order of their names, read live; or how they exceed a
    /// bound.
    pub async fn sources(
        &self,
        namespace: &str,
        query: &LabelQuery,
        bound: Bound,
    ) -> Result<Result<Vec<Source>, OverBound>, ClusterError> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let object = format!("Secrets {namespace}/*");
        let mut wanted = ListParams::default().labels(&query.to_string()).limit(SECRETS_AT_ONCE);
        let mut sources = Vec::new();
        loop {
            let part = self.request("list", &object, secrets.list(&wanted)).await?;
            sources.extend(part.items.into_iter().map(|secret| of_secret(namespace, secret)));
            let bytes = sources.iter().map(size).sum();
            if sources.len() > bound.secrets {
                return Ok(Err(OverBound::Secrets(sources.len())));
            }
            if bytes > bound.bytes {
                return Ok(Err(OverBound::Bytes(bytes)));
            }
            match rest_of(part.metadata) {
                Some(token) => wanted = wanted.continue_token(&token),
                None => break,
            }
        }
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Ok(sources))
    }

    /// Whether a namespace is being deleted or does not exist.
    pub async fn is_namespace_terminating(&self, namespace: &str) -> Result<bool, ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let object = format!("Namespace {namespace}");
        let found = self.get(&object, namespaces.get_metadata(namespace)).await?;
        Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
    }
}

/// The next page of a list, if there is one.
fn rest_of(list: ListMeta) -> Option<String> {
    list.continue_.filter(|token| !token.is_empty())
}

fn size(source: &Source) -> usize {
    source.data.values().map(|value| value.expose().len()).sum()
}

/// A Secret as a source.
pub fn of_secret(namespace: &str, secret: Secret) -> Source {
    let data = secret.data.unwrap_or_default();
    let data = data.into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
    described(SourceKind::Secret, namespace, secret.metadata, data)
}

/// A ConfigMap as a source.
pub fn of_config_map(namespace: &str, map: ConfigMap) -> Source {
    // A key is in one of the two, never in both.
    let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    let data = text.chain(bytes).map(|(key, value)| (key, SecretBytes::new(value))).collect();
    described(SourceKind::ConfigMap, namespace, map.metadata, data)
}

fn described(kind: SourceKind, namespace: &str, metadata: ObjectMeta, data: SecretMap) -> Source {
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    Source {
        kind,
        namespace: namespace.to_owned(),
        name: metadata.name.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default(),
        annotations,
        data,
    }
}
