//! References to other objects: stores, keys of Secrets and ConfigMaps, ServiceAccounts.

use std::collections::BTreeMap;
use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// The pattern of a DNS-1123 subdomain: the name of most objects.
pub const DNS_SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The pattern of a DNS-1123 label: the name of a namespace.
pub const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The pattern of a key in the data of a Secret or ConfigMap.
pub const DATA_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// The two kinds of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum StoreKind {
    /// A store of one namespace.
    #[default]
    SecretStore,
    /// A store of the whole cluster.
    ClusterSecretStore,
}

impl StoreKind {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretStore => "SecretStore",
            Self::ClusterSecretStore => "ClusterSecretStore",
        }
    }

    /// The kind of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::SecretStore, Self::ClusterSecretStore].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The store that an ExternalSecret reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema, Validate)]
pub struct StoreRef {
    /// Name of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: Option<String>,
    /// Kind of the store. Defaults to SecretStore, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StoreKind>,
}

impl StoreRef {
    /// The kind, or its default.
    pub fn kind(&self) -> StoreKind {
        self.kind.unwrap_or_default()
    }
}

/// One key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema, Validate)]
pub struct SecretKeySelector {
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: Option<String>,
    /// Namespace of the Secret. A SecretStore may only name its own; a ClusterSecretStore that
    /// names none reads the Secret in the namespace of the resource that uses the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 63))]
    #[schemars(regex(pattern = DNS_LABEL))]
    pub namespace: Option<String>,
    /// Key in the Secret's data. Optional where the field has a default key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DATA_KEY))]
    pub key: Option<String>,
}

/// A ServiceAccount for which a token is requested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema, Validate)]
pub struct ServiceAccountSelector {
    /// Name of the ServiceAccount.
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Namespace of the ServiceAccount. A SecretStore may only name its own; a ClusterSecretStore
    /// that names none uses the ServiceAccount in the namespace of the resource that uses the
    /// store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 63))]
    #[schemars(regex(pattern = DNS_LABEL))]
    pub namespace: Option<String>,
    /// Audiences of the requested token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 16))]
    #[schemars(inner(length(max = 1024)))]
    pub audiences: Vec<String>,
}

/// The Secret or ConfigMap with a CA certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema, Validate)]
pub struct CaProvider {
    /// Kind of the object with the certificate.
    #[serde(rename = "type")]
    pub type_: CaProviderKind,
    /// Name of the object.
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Key in the object's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DATA_KEY))]
    pub key: Option<String>,
    /// Namespace of the object. Only for a ClusterSecretStore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 63))]
    #[schemars(regex(pattern = DNS_LABEL))]
    pub namespace: Option<String>,
}

/// The kinds of object that can have a CA certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum CaProviderKind {
    /// A key of a Secret.
    Secret,
    /// A key of a ConfigMap.
    ConfigMap,
}

/// Labels and annotations of the children of a cluster-wide kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ChildMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub annotations: BTreeMap<String, String>,
}

/// A namespace in which a cluster-wide kind could not create its object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct FailedNamespace {
    /// Name of the namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub reason: Option<String>,
}
