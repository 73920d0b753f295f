//! Reads source Secrets and ConfigMaps.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{Cluster, ClusterError};
use crate::api::label_query::LabelQuery;
use crate::domain::secret::{SecretBytes, SecretMap};
use crate::domain::source::{Source, SourceKind};

/// An annotation with the whole object in it, values included, which no key may be made of.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Cluster {
    /// Reads a Secret from the API server itself; `None` when it is not there.
    pub async fn source(&self, namespace: &str, name: &str) -> Result<Option<Source>, ClusterError> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let object = format!("Secret {namespace}/{name}");
        let found = self.request("get", &object, secrets.get_opt(name)).await?;
        Ok(found.map(|secret| source_of(namespace, secret)))
    }

    /// Reads a ConfigMap from the API server itself; `None` when it is not there.
    pub async fn config_map_source(&self, namespace: &str, name: &str) -> Result<Option<Source>, ClusterError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client(), namespace);
        let object = format!("ConfigMap {namespace}/{name}");
        let Some(map) = self.request("get", &object, maps.get_opt(name)).await? else { return Ok(None) };
        // A key stands in one of the two and never in both.
        let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
        let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
        let data = text.chain(bytes).map(|(key, value)| (key, SecretBytes::new(value))).collect();
        Ok(Some(described(SourceKind::ConfigMap, namespace, map.metadata, data)))
    }

    /// The names of the Secrets with these labels, from the API server itself.
    pub async fn source_names(&self, namespace: &str, query: &LabelQuery) -> Result<BTreeSet<String>, ClusterError> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let (object, wanted) = (format!("Secrets {namespace}/*"), ListParams::default().labels(&query.to_string()));
        let found = self.request("list", &object, secrets.list_metadata(&wanted)).await?;
        Ok(found.items.iter().map(ResourceExt::name_any).collect())
    }

    /// The Secrets with these labels, in the order of their names, from the API server itself.
    pub async fn sources(&self, namespace: &str, query: &LabelQuery) -> Result<Vec<Source>, ClusterError> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let (object, wanted) = (format!("Secrets {namespace}/*"), ListParams::default().labels(&query.to_string()));
        let found = self.request("list", &object, secrets.list(&wanted)).await?;
        let mut sources: Vec<Source> = found.items.into_iter().map(|secret| source_of(namespace, secret)).collect();
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(sources)
    }

    /// Whether a namespace is being deleted; so is one that is not there.
    pub async fn is_namespace_terminating(&self, namespace: &str) -> Result<bool, ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let object = format!("Namespace {namespace}");
        let found = self.request("get", &object, namespaces.get_metadata_opt(namespace)).await?;
        Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
    }
}

fn source_of(namespace: &str, secret: Secret) -> Source {
    let data = secret.data.unwrap_or_default();
    let data = data.into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
    described(SourceKind::Secret, namespace, secret.metadata, data)
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
