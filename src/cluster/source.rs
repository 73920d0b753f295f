//! Reads source Secrets.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;

use super::{Cluster, ClusterError};
use crate::domain::secret::{SecretBytes, SecretMap};

/// A source Secret as one live read saw it.
pub struct Source {
    /// Its keys and values.
    pub data: SecretMap,
    /// Its UID: another one means that it was deleted and created again.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
}

impl Cluster {
    /// Reads a Secret from the API server itself; `None` when it is not there.
    pub async fn source(&self, namespace: &str, name: &str) -> Result<Option<Source>, ClusterError> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let object = format!("Secret {namespace}/{name}");
        let Some(secret) = self.request("get", &object, secrets.get_opt(name)).await? else {
            return Ok(None);
        };
        let data = secret.data.unwrap_or_default();
        Ok(Some(Source {
            data: data.into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect(),
            uid: secret.metadata.uid.unwrap_or_default(),
            resource_version: secret.metadata.resource_version.unwrap_or_default(),
        }))
    }

    /// Whether a namespace is being deleted; so is one that is not there.
    pub async fn is_namespace_terminating(&self, namespace: &str) -> Result<bool, ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let object = format!("Namespace {namespace}");
        let found = self.request("get", &object, namespaces.get_metadata_opt(namespace)).await?;
        Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
    }
}
