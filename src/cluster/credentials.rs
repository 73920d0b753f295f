//! Reads a store and what it refers to: a key of a Secret or ConfigMap, a ServiceAccount's token, a
//! namespace's labels.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use kube::Api;
use kube::api::{ListParams, PostParams};
use zeroize::Zeroize;

use super::{Cluster, ClusterError};
use crate::api::{ClusterSecretStore, SecretStore, StoreSpec};
use crate::domain::secret::SecretBytes;

/// How long a requested ServiceAccount token is valid, in seconds: the shortest that the API server
/// grants, and enough for one login.
const TOKEN_SECONDS: i64 = 600;

impl Cluster {
    /// The spec of a store, of this namespace or of the cluster, read live from the API server;
    /// `None` if it does not exist. It is listed by its name: listing is what the controller may do
    /// with stores anyway.
    pub async fn store(&self, namespace: Option<&str>, name: &str) -> Result<Option<StoreSpec>, ClusterError> {
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        match namespace {
            Some(namespace) => {
                let api: Api<SecretStore> = Api::namespaced(self.client(), namespace);
                let found = self.request("list", &format!("SecretStore {namespace}/{name}"), api.list(&only)).await?;
                Ok(found.items.into_iter().next().map(|store| store.spec.0))
            }
            None => {
                let api: Api<ClusterSecretStore> = Api::all(self.client());
                let found = self.request("list", &format!("ClusterSecretStore {name}"), api.list(&only)).await?;
                Ok(found.items.into_iter().next().map(|store| store.spec.0))
            }
        }
    }

    /// The labels of a store, read in the same way.
    pub async fn store_labels(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ClusterError> {
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = match namespace {
            Some(namespace) => {
                let api: Api<SecretStore> = Api::namespaced(self.client(), namespace);
                let subject = format!("SecretStore {namespace}/{name}");
                let found = self.request("list", &subject, api.list_metadata(&only)).await?;
                found.items.into_iter().next().map(|store| store.metadata)
            }
            None => {
                let api: Api<ClusterSecretStore> = Api::all(self.client());
                let subject = format!("ClusterSecretStore {name}");
                let found = self.request("list", &subject, api.list_metadata(&only)).await?;
                found.items.into_iter().next().map(|store| store.metadata)
            }
        };
        Ok(found.map(|metadata| metadata.labels.unwrap_or_default()))
    }

    /// One key of a Secret; `None` if the Secret does not have it. The other keys are zeroed.
    pub async fn secret_key(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<SecretBytes>, ClusterError> {
        let api: Api<Secret> = Api::namespaced(self.client(), namespace);
        let secret = self.request("get", &format!("Secret {namespace}/{name}"), api.get(name)).await?;
        let mut found = None;
        for (name, mut bytes) in secret.data.unwrap_or_default() {
            match name == key {
                true => found = Some(SecretBytes::new(bytes.0)),
                false => bytes.0.zeroize(),
            }
        }
        Ok(found)
    }

    /// One key of a ConfigMap; `None` if it does not have it.
    pub async fn config_map_key(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, ClusterError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client(), namespace);
        let map = self.request("get", &format!("ConfigMap {namespace}/{name}"), api.get(name)).await?;
        let text = map.data.unwrap_or_default().remove(key).map(String::into_bytes);
        Ok(text.or_else(|| map.binary_data.unwrap_or_default().remove(key).map(|bytes| bytes.0)))
    }

    /// Requests a token of a ServiceAccount for these audiences (none: the API server's own).
    pub async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audiences: &[String],
    ) -> Result<SecretBytes, ClusterError> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec {
            audiences: audiences.to_vec(),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let object = format!("a token of ServiceAccount {namespace}/{name}");
        let parameters = PostParams::default();
        let call = api.create_token_request(name, &parameters, &request);
        let granted = self.request("request", &object, call).await?;
        let token = granted.status.map(|status| status.token).unwrap_or_default();
        Ok(SecretBytes::new(token.into_bytes()))
    }

    /// The labels of a namespace, read live.
    pub async fn namespace_labels(&self, name: &str) -> Result<BTreeMap<String, String>, ClusterError> {
        let api: Api<Namespace> = Api::all(self.client());
        let namespace = self.request("get", &format!("Namespace {name}"), api.get_metadata(name)).await?;
        Ok(namespace.metadata.labels.unwrap_or_default())
    }
}
