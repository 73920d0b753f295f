//! The name of a store: kind, namespace and name.

use std::fmt;

use crate::api::StoreKind;

/// A SecretStore or ClusterSecretStore.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreName {
    /// Which of the two.
    pub kind: StoreKind,
    /// The namespace of a SecretStore; none for a ClusterSecretStore.
    pub namespace: Option<String>,
    pub name: String,
}

impl StoreName {
    /// The store that a resource in `namespace` refers to by kind and name.
    pub fn referred(namespace: &str, kind: StoreKind, name: &str) -> Self {
        let namespace = match kind {
            StoreKind::SecretStore => Some(namespace.to_owned()),
            StoreKind::ClusterSecretStore => None,
        };
        StoreName { kind, namespace, name: name.to_owned() }
    }

    /// A ClusterSecretStore.
    pub fn cluster(name: &str) -> Self {
        StoreName { kind: StoreKind::ClusterSecretStore, namespace: None, name: name.to_owned() }
    }
}

/// `ClusterSecretStore vault-backend`, `SecretStore team-a/vault`.
impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}
