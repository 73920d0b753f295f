//! The source of a push, as one live read saw it.

use std::collections::BTreeMap;
use std::fmt;

use super::secret::SecretMap;

/// What is published from, and what a remote key may say of it.
pub struct Source {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its keys and values.
    pub data: SecretMap,
}

/// `Secret db/credentials`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{}", self.namespace, self.name)
    }
}
