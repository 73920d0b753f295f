//! Which clients log in or connect with which Secret.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

use super::keys::KeyRef;

/// The clients by Secret; `K` is a client's key.
pub struct Readers<K>(Mutex<HashMap<SecretName, HashSet<K>>>);

/// Namespace and name.
type SecretName = (String, String);

impl<K> Default for Readers<K> {
    fn default() -> Self {
        Readers(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Readers<K> {
    /// Records that the client uses this Secret. Call it before the read, so that no change is
    /// missed.
    pub fn add(&self, secret: &KeyRef, client: &K) {
        let name = (secret.namespace.clone(), secret.name.clone());
        self.lock().entry(name).or_default().insert(client.clone());
    }

    /// The clients that use this Secret.
    pub fn of(&self, namespace: &str, name: &str) -> Vec<K> {
        let index = self.lock();
        let readers = index.get(&(namespace.to_owned(), name.to_owned()));
        readers.into_iter().flatten().cloned().collect()
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
        self.0.lock().expect("no code panics while it holds the index")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_by_those_who_said_so_until_they_go() {
        let readers = Readers::default();
        let key = |key: &str| KeyRef { namespace: "vault".into(), name: "login".into(), key: key.into() };
        readers.add(&key("role-id"), &"a");
        readers.add(&key("secret-id"), &"a");
        readers.add(&key("secret-id"), &"b");
        let mut both = readers.of("vault", "login");
        both.sort_unstable();
        assert_eq!(both, ["a", "b"]);
        readers.remove(|client| *client == "a");
        assert_eq!(readers.of("vault", "login"), ["b"]);
        assert!(readers.of("other", "login").is_empty());
    }
}
