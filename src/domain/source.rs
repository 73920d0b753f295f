//! The source of a push, from one live read.

use std::collections::BTreeMap;
use std::fmt;

use super::secret::SecretMap;

/// The two kinds of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// Bytes by key.
    Secret,
    /// Text and bytes by key, such as the endpoint of a database.
    ConfigMap,
}

/// A Secret or ConfigMap of a known namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceName {
    pub kind: SourceKind,
    pub name: String,
}

/// `ConfigMap files`.
impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// A source: its data, and the metadata that a remote key may use.
pub struct Source {
    pub kind: SourceKind,
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Its keys and values.
    pub data: SecretMap,
}

impl SourceKind {
    /// As in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            SourceKind::Secret => "Secret",
            SourceKind::ConfigMap => "ConfigMap",
        }
    }
}

/// `Secret db/credentials`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}
