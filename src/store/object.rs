//! A store's object, of either kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::api::store_spec::SecretStoreStatus;
use crate::api::{ClusterSecretStore, SecretStore, StoreKind, StoreSpec};

use super::StoreName;

/// A SecretStore or ClusterSecretStore, as the watch delivered it.
#[derive(Clone)]
pub enum StoreObject {
    /// For one namespace.
    Namespaced(Arc<SecretStore>),
    /// For the cluster.
    Cluster(Arc<ClusterSecretStore>),
}

impl StoreObject {
    /// Which store it is.
    pub fn store_name(&self) -> StoreName {
        match self {
            StoreObject::Namespaced(store) => StoreName {
                kind: StoreKind::SecretStore,
                namespace: Some(store.namespace().unwrap_or_default()),
                name: store.name_any(),
            },
            StoreObject::Cluster(store) => StoreName::cluster(&store.name_any()),
        }
    }

    /// The spec that both kinds share.
    pub fn spec(&self) -> &StoreSpec {
        match self {
            StoreObject::Namespaced(store) => &store.spec,
            StoreObject::Cluster(store) => &store.spec,
        }
    }

    /// The status as last seen.
    pub fn status(&self) -> Option<&SecretStoreStatus> {
        match self {
            StoreObject::Namespaced(store) => store.status.as_ref(),
            StoreObject::Cluster(store) => store.status.as_ref(),
        }
    }

    /// The object's labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        match self {
            StoreObject::Namespaced(store) => store.labels(),
            StoreObject::Cluster(store) => store.labels(),
        }
    }

    /// The object's UID.
    pub fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    /// The spec's generation.
    pub fn generation(&self) -> i64 {
        self.metadata().generation.unwrap_or_default()
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata().annotations.as_ref()?.get(name).map(String::as_str)
    }

    fn metadata(&self) -> &ObjectMeta {
        match self {
            StoreObject::Namespaced(store) => &store.metadata,
            StoreObject::Cluster(store) => &store.metadata,
        }
    }
}
