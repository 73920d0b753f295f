//! Which clients log in or connect with which Secret.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use parking_lot::{Mutex, MutexGuard};

use super::keys::KeyRef;

/// The clients by Secret; `K` is a client's key.
pub struct SecretUsers<K>(Mutex<HashMap<SecretName, HashSet<K>>>);

/// Namespace and name.
type SecretName = (String, String);

impl<K> Default for SecretUsers<K> {
    fn default() -> Self {
        SecretUsers(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> SecretUsers<K> {
    /// Records that the client uses this Secret. Call it before the read, so that no change is
    /// missed.
    pub fn add(&self, secret: &KeyRef, client: &K) {
        let name = (secret.namespace.clone(), secret.name.clone());
        self.lock().entry(name).or_default().insert(client.clone());
    }

    /// The clients that use this Secret.
    pub fn of(&self, namespace: &str, name: &str) -> Vec<K> {
        let index = self.lock();
        let secret_users = index.get(&(namespace.to_owned(), name.to_owned()));
        secret_users.into_iter().flatten().cloned().collect()
    }

    /// Every Secret that some client uses, as namespace and name.
    pub fn secrets(&self) -> Vec<(String, String)> {
        self.lock().keys().cloned().collect()
    }

    /// Forgets clients.
    pub fn remove(&self, goes: impl Fn(&K) -> bool) {
        self.lock().retain(|_, clients| {
            clients.retain(|client| !goes(client));
            !clients.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecretName, HashSet<K>>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_by_those_who_said_so_until_they_go() {
        let secret_users = SecretUsers::default();
        let key = |key: &str| KeyRef { namespace: "vault".into(), name: "login".into(), key: key.into() };
        secret_users.add(&key("role-id"), &"a");
        secret_users.add(&key("secret-id"), &"a");
        secret_users.add(&key("secret-id"), &"b");
        let mut both = secret_users.of("vault", "login");
        both.sort_unstable();
        assert_eq!(both, ["a", "b"]);
        secret_users.remove(|client| *client == "a");
        assert_eq!(secret_users.of("vault", "login"), ["b"]);
        assert!(secret_users.of("other", "login").is_empty());
    }
}
