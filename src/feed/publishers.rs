//! Which PushSecret publishes which place, so that it is told when that place's consumers change
//! state.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Source, Spelled};
use crate::api::StoreKind;
use crate::api::path_status::PushedPath;
use crate::domain::object_name::Name;
use crate::store::{PathKey, Site};

/// Where a PushSecret publishes a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The place, and the address at which the PushSecret reaches it.
    pub site: Site,
    /// The kind of its store.
    pub kind: StoreKind,
}

impl Published {
    /// Whether a consumer of the same place counts. What a server calls itself cannot be verified. At
    /// the address of the PushSecret it is the same server. At another it is believed if a cluster
    /// administrator chose both: two ClusterSecretStores may lead to one server. A namespace's own
    /// store may lead to a server of its own, which must not keep another's `Propagated` from being
    /// True, or learn who reads a path.
    pub(super) fn is_read_by(&self, source: &Source) -> bool {
        let is_of_cluster = |kind| kind == StoreKind::ClusterSecretStore;
        self.site == source.site() || is_of_cluster(self.kind) && is_of_cluster(source.kind)
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Publishers {
    places: HashMap<Name, BTreeMap<Spelled, Published>>,
    by_key: HashMap<PathKey, BTreeSet<Name>>,
    /// The paths that a status has no room for, as its PushSecret last told.
    beyond: HashMap<Name, Vec<PushedPath>>,
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
    pub fn declare(&mut self, push: &Name, places: BTreeMap<Spelled, Option<Published>>) -> Declared {
        let before = self.remove(push);
        let place = |(spelled, published): (Spelled, Option<Published>)| {
            let published = published.or_else(|| before.get(&spelled).cloned())?;
            Some((spelled, published))
        };
        let places: BTreeMap<Spelled, Published> = places.into_iter().filter_map(place).collect();
        for published in places.values() {
            self.by_key.entry(published.site.place.clone()).or_default().insert(push.clone());
        }
        let declared = if places == before { Declared::AsBefore } else { Declared::Anew };
        match places.is_empty() {
            true => drop(self.beyond.remove(push)),
            false => drop(self.places.insert(push.clone(), places)),
        }
        declared
    }

    /// Declares the paths that the status of a PushSecret has no room for. One without places has
    /// none.
    pub fn tell_beyond(&mut self, push: &Name, paths: Vec<PushedPath>) -> Declared {
        if !self.places.contains_key(push) || self.beyond.get(push) == Some(&paths) {
            return Declared::AsBefore;
        }
        self.beyond.insert(push.clone(), paths);
        Declared::Anew
    }

    /// These paths; `None` if they were not told yet.
    pub fn beyond(&self, push: &Name) -> Option<&Vec<PushedPath>> {
        self.beyond.get(push)
    }

    /// The place of a path, if this PushSecret declared it.
    pub fn place(&self, push: &Name, spelled: &Spelled) -> Option<&Published> {
        self.places.get(push)?.get(spelled)
    }

    /// The PushSecrets that publish this place.
    pub fn at(&self, key: &PathKey) -> impl Iterator<Item = &Name> {
        self.by_key.get(key).into_iter().flatten()
    }

    fn remove(&mut self, push: &Name) -> BTreeMap<Spelled, Published> {
        let before = self.places.remove(push).unwrap_or_default();
        for published in before.values() {
            let key = &published.site.place;
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

    fn published(path: &str) -> Published {
        let place = PathKey { server: "here".into(), mount: "kv".into(), path: path.into() };
        Published { site: Site { place, address: "https://here".into() }, kind: StoreKind::SecretStore }
    }

    #[test]
    fn a_place_that_cannot_be_told_now_is_where_it_was() {
        let (mut publishers, push) = (Publishers::default(), Name::new("db", "push"));
        let told = BTreeMap::from([(spelled("kv/a"), Some(published("a"))), (spelled("kv/b"), Some(published("b")))]);
        assert_eq!(publishers.declare(&push, told), Declared::Anew);
        let untold = BTreeMap::from([(spelled("kv/a"), None), (spelled("kv/b"), Some(published("b")))]);
        assert_eq!(publishers.declare(&push, untold), Declared::AsBefore);
        assert_eq!(publishers.place(&push, &spelled("kv/a")), Some(&published("a")));
    }

    #[test]
    fn a_publisher_that_is_gone_hears_nothing() {
        let (mut publishers, push) = (Publishers::default(), Name::new("db", "push"));
        publishers.declare(&push, BTreeMap::from([(spelled("kv/a"), Some(published("a")))]));
        assert_eq!(publishers.at(&published("a").site.place).collect::<Vec<_>>(), [&push]);
        assert_eq!(publishers.declare(&push, BTreeMap::new()), Declared::Anew);
        assert_eq!(publishers.at(&published("a").site.place).next(), None);
        assert!(publishers.places.is_empty() && publishers.by_key.is_empty());
    }

    #[test]
    fn what_a_status_has_no_room_for_is_told_once_and_goes_with_the_places() {
        let (mut publishers, push) = (Publishers::default(), Name::new("db", "push"));
        let at = |version| vec![PushedPath { path: "kv/b".into(), version: Some(version), ..PushedPath::default() }];
        assert_eq!(publishers.tell_beyond(&push, at(1)), Declared::AsBefore, "it publishes nothing");
        let places = BTreeMap::from([(spelled("kv/a"), Some(published("a")))]);
        publishers.declare(&push, places.clone());
        assert_eq!(publishers.beyond(&push), None);
        for (version, declared) in [(1, Declared::Anew), (1, Declared::AsBefore), (2, Declared::Anew)] {
            assert_eq!(publishers.tell_beyond(&push, at(version)), declared);
        }
        publishers.declare(&push, places);
        assert_eq!(publishers.beyond(&push), Some(&at(2)));
        publishers.declare(&push, BTreeMap::new());
        assert!(publishers.beyond.is_empty());
    }
}
