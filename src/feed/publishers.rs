//! Which PushSecret publishes which place, so that it is told when that place's consumers change
//! state.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Spelled;
use crate::domain::object_name::Name;
use crate::store::PathKey;

/// See the module.
#[derive(Default)]
pub(super) struct Publishers {
    places: HashMap<Name, BTreeMap<Spelled, PathKey>>,
    by_key: HashMap<PathKey, BTreeSet<Name>>,
}

/// Whether a declaration changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Anew,
    AsBefore,
}

impl Publishers {
    /// Declares all paths of a PushSecret, and replaces what it declared before. A place that is
    /// not known now (`None`) keeps its last value.
    pub fn declare(&mut self, push: &Name, places: BTreeMap<Spelled, Option<PathKey>>) -> Declared {
        let before = self.remove(push);
        let place = |(spelled, key): (Spelled, Option<PathKey>)| {
            let key = key.or_else(|| before.get(&spelled).cloned())?;
            Some((spelled, key))
        };
        let places: BTreeMap<Spelled, PathKey> = places.into_iter().filter_map(place).collect();
        for key in places.values() {
            self.by_key.entry(key.clone()).or_default().insert(push.clone());
        }
        let declared = if places == before { Declared::AsBefore } else { Declared::Anew };
        if !places.is_empty() {
            self.places.insert(push.clone(), places);
        }
        declared
    }

    /// The place of a path, if this PushSecret declared it.
    pub fn place(&self, push: &Name, spelled: &Spelled) -> Option<&PathKey> {
        self.places.get(push)?.get(spelled)
    }

    /// The PushSecrets that publish this place.
    pub fn at(&self, key: &PathKey) -> impl Iterator<Item = &Name> {
        self.by_key.get(key).into_iter().flatten()
    }

    fn remove(&mut self, push: &Name) -> BTreeMap<Spelled, PathKey> {
        let before = self.places.remove(push).unwrap_or_default();
        for key in before.values() {
            if let Some(names) = self.by_key.get_mut(key) {
                names.remove(push);
                if names.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(path: &str) -> Spelled {
        Spelled { store: "SecretStore/s".into(), path: path.into() }
    }

    fn key(path: &str) -> PathKey {
        PathKey { server: "here".into(), mount: "kv".into(), path: path.into() }
    }

    #[test]
    fn a_place_that_cannot_be_told_now_is_where_it_was() {
        let (mut publishers, push) = (Publishers::default(), Name::new("db", "push"));
        let told = BTreeMap::from([(spelled("kv/a"), Some(key("a"))), (spelled("kv/b"), Some(key("b")))]);
        assert_eq!(publishers.declare(&push, told), Declared::Anew);
        let untold = BTreeMap::from([(spelled("kv/a"), None), (spelled("kv/b"), Some(key("b")))]);
        assert_eq!(publishers.declare(&push, untold), Declared::AsBefore);
        assert_eq!(publishers.place(&push, &spelled("kv/a")), Some(&key("a")));
    }

    #[test]
    fn a_publisher_that_is_gone_hears_nothing() {
        let (mut publishers, push) = (Publishers::default(), Name::new("db", "push"));
        publishers.declare(&push, BTreeMap::from([(spelled("kv/a"), Some(key("a")))]));
        assert_eq!(publishers.at(&key("a")).collect::<Vec<_>>(), [&push]);
        assert_eq!(publishers.declare(&push, BTreeMap::new()), Declared::Anew);
        assert_eq!(publishers.at(&key("a")).next(), None);
        assert!(publishers.places.is_empty() && publishers.by_key.is_empty());
    }
}
