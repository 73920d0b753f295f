//! Keys of Secrets, read in the cluster when they are needed.

use super::StoreError;
use crate::cluster::{Cluster, ClusterError};
use crate::domain::secret::SecretBytes;

/// What else ends it that something is missing.
const CORRECT: &str = "correct the reference in the store";

/// One key of a Secret, with the resolved namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    pub namespace: String,
    pub name: String,
    pub key: String,
}

impl KeyRef {
    /// The Secret's name, for errors.
    pub fn secret_name(&self) -> String {
        format!("Secret {}/{}", self.namespace, self.name)
    }

    /// The Secret with the key, for the person who has to correct it.
    pub fn described(&self) -> String {
        format!("{} (key {:?})", self.secret_name(), self.key)
    }
}

/// Reads one key of a Secret.
///
/// # Errors
/// [`StoreError::Credential`] if the Secret or the key is missing or may not be read,
/// [`StoreError::CredentialUnread`] if the API server did not answer.
pub async fn read(cluster: &Cluster, key: &KeyRef) -> Result<SecretBytes, StoreError> {
    let found = cluster.secret_key(&key.namespace, &key.name, &key.key).await.map_err(unusable)?;
    found.ok_or_else(|| missing(&key.secret_name(), &key.key))
}

/// The error for an object without a key.
pub fn missing(object: &str, key: &str) -> StoreError {
    StoreError::Credential { what: format!("{object} has no key {key:?}: add it, or {CORRECT}") }
}

/// The error for a failed request for a credential.
pub fn unusable(error: ClusterError) -> StoreError {
    match error {
        ClusterError::Timeout { .. } | ClusterError::Transport { .. } | ClusterError::Api { .. } => {
            StoreError::CredentialUnread { what: error.to_string() }
        }
        ClusterError::NotFound { .. } => StoreError::Credential { what: format!("{error}: create it, or {CORRECT}") },
        ClusterError::AlreadyExists { .. }
        | ClusterError::Conflict { .. }
        | ClusterError::Forbidden { .. }
        | ClusterError::Invalid { .. }
        | ClusterError::NamespaceTerminating { .. }
        | ClusterError::Held { .. } => StoreError::Credential { what: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_what_a_store_refers_to_and_is_missing_comes_with_the_next_step() {
        let not_found = ClusterError::NotFound { verb: "get", object: "Secret a/b".to_owned() };
        let told = [unusable(not_found).to_string(), missing("Secret a/b", "token").to_string()];
        let [object, key] = told.each_ref().map(|told| told.split_once("Secret a/b").unwrap_or_default().1);
        assert_eq!(object, ": not found: create it, or correct the reference in the store");
        assert_eq!(key, " has no key \"token\": add it, or correct the reference in the store");
    }
}
