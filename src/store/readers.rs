//! Which clients log in or connect with which Secret or ConfigMap.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use parking_lot::{Mutex, MutexGuard};

use super::keys::KeyRef;
use crate::domain::source::SourceKind;

/// The clients by object; `K` is a client's key.
pub struct Readers<K>(Mutex<HashMap<ObjectName, HashSet<K>>>);

/// Kind, namespace and name.
type ObjectName = (SourceKind, String, String);

impl<K> Default for Readers<K> {
    fn default() -> Self {
        Readers(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Readers<K> {
    /// Records that the client uses this object. Call it before the read, so that no change is
    /// missed.
    pub fn add(&self, kind: SourceKind, object: &KeyRef, client: &K) {
        let name = (kind, object.namespace.clone(), object.name.clone());
        self.lock().entry(name).or_default().insert(client.clone());
    }

    /// The clients that use this object.
    pub fn of(&self, kind: SourceKind, namespace: &str, name: &str) -> Vec<K> {
        let index = self.lock();
        let readers = index.get(&(kind, namespace.to_owned(), name.to_owned()));
        readers.into_iter().flatten().cloned().collect()
    }

    /// Every object of this kind that some client uses, as namespace and name.
    pub fn objects(&self, kind: SourceKind) -> Vec<(String, String)> {
        let index = self.lock();
        let of_kind = index.keys().filter(|(known, ..)| *known == kind);
        of_kind.map(|(_, namespace, name)| (namespace.clone(), name.clone())).collect()
    }

    /// Forgets clients.
    pub fn remove(&self, goes: impl Fn(&K) -> bool) {
        self.lock().retain(|_, clients| {
            clients.retain(|client| !goes(client));
            !clients.is_empty()
        });
    }

    /// Whether any such client uses an object.
    #[cfg(test)]
    pub fn any(&self, is_meant: impl Fn(&K) -> bool) -> bool {
        self.lock().values().flatten().any(is_meant)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectName, HashSet<K>>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_by_those_who_said_so_until_they_go() {
        let readers = Readers::default();
        let key = |key: &str| KeyRef { namespace: "vault".into(), name: "login".into(), key: key.into() };
        readers.add(SourceKind::Secret, &key("role-id"), &"a");
        readers.add(SourceKind::Secret, &key("secret-id"), &"a");
        readers.add(SourceKind::Secret, &key("secret-id"), &"b");
        let mut both = readers.of(SourceKind::Secret, "vault", "login");
        both.sort_unstable();
        assert_eq!(both, ["a", "b"]);
        readers.remove(|client| *client == "a");
        assert_eq!(readers.of(SourceKind::Secret, "vault", "login"), ["b"]);
        assert!(readers.of(SourceKind::Secret, "other", "login").is_empty());
        assert!(readers.of(SourceKind::ConfigMap, "vault", "login").is_empty(), "that is another object");
    }
}
