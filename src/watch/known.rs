//! The objects of one kind that exist, according to its watch. Pure. An object is gone if it was
//! deleted, if a new list lacks it, or if another object has its name; this is reported once.

use std::collections::{HashMap, HashSet};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use crate::domain::object_name::Name;

/// One event, without the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    ListBegins,
    /// The list has this object, with this UID.
    Listed(Name, String),
    /// The list is complete: objects that it lacked do not exist.
    ListEnds,
    /// The object was created or changed.
    Applied(Name, String),
    /// The object was deleted.
    Deleted(Name, String),
}

impl Sighting {
    /// The sighting of an event.
    pub fn of<K: Resource>(event: &Event<K>) -> Self {
        let name = |object: &K| Name::new(object.namespace().unwrap_or_default(), object.name_any());
        let uid = |object: &K| object.uid().unwrap_or_default();
        match event {
            Event::Init => Sighting::ListBegins,
            Event::InitApply(object) => Sighting::Listed(name(object), uid(object)),
            Event::InitDone => Sighting::ListEnds,
            Event::Apply(object) => Sighting::Applied(name(object), uid(object)),
            Event::Delete(object) => Sighting::Deleted(name(object), uid(object)),
        }
    }
}

/// The objects that exist, according to the events of one source so far.
#[derive(Default)]
pub struct Known {
    /// The UID of each.
    objects: HashMap<Name, String>,
    listing: Listing,
    was_listed: bool,
}

impl Known {
    /// Applies an event and returns the objects that are gone, each with its UID.
    pub fn learn(&mut self, sighting: Sighting) -> Vec<(Name, String)> {
        match sighting {
            Sighting::ListBegins => {
                self.listing.begin();
                Vec::new()
            }
            Sighting::Listed(name, uid) | Sighting::Applied(name, uid) => {
                self.listing.show(&name);
                let before = self.objects.insert(name.clone(), uid.clone());
                before.filter(|before| *before != uid).map(|before| (name, before)).into_iter().collect()
            }
            // The deletion of an earlier object says nothing about a new one with its name.
            Sighting::Deleted(name, uid) => match self.has(&name, &uid) {
                true => self.objects.remove_entry(&name).into_iter().collect(),
                false => Vec::new(),
            },
            Sighting::ListEnds => {
                self.was_listed = true;
                let shown = self.listing.end();
                self.objects.extract_if(|name, _| !shown.contains(name)).collect()
            }
        }
    }

    /// Whether the object with this UID exists.
    pub fn has(&self, name: &Name, uid: &str) -> bool {
        self.objects.get(name).is_some_and(|known| known == uid)
    }

    /// Whether another object than that with this UID has the name.
    pub fn has_another(&self, name: &Name, uid: &str) -> bool {
        self.objects.get(name).is_some_and(|known| known != uid)
    }

    /// Whether a list has been complete. Before that, unknown objects may exist.
    pub fn was_listed(&self) -> bool {
        self.was_listed
    }

    /// Whether an object of this name exists.
    pub fn has_name(&self, name: &Name) -> bool {
        self.objects.contains_key(name)
    }
}

/// The names that a list has shown so far, for a watch of too many objects to keep their names
/// between lists.
#[derive(Default)]
pub struct Listing(Option<HashSet<Name>>);

impl Listing {
    /// A list begins, possibly after an unfinished one.
    pub fn begin(&mut self) {
        self.0 = Some(HashSet::new());
    }

    /// The object exists. Between lists this is not recorded.
    pub fn show(&mut self, name: &Name) {
        if let Some(shown) = &mut self.0 {
            shown.insert(name.clone());
        }
    }

    /// The list is complete. Returns all names that it showed.
    pub fn end(&mut self) -> HashSet<Name> {
        self.0.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model_cases::config;

    /// What happens at the API server, and to the watch.
    #[derive(Clone, Debug)]
    enum Move {
        Create(u8),
        Change(u8),
        Delete(u8),
        /// A deletion and a creation that a list shows as one object with another UID.
        Replace(u8),
        /// The watch is lost; what follows is not seen until a list, which may be cut off before it
        /// is complete.
        Lose,
        ListInVain,
        List,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            (0..4u8).prop_map(Move::Create),
            (0..4u8).prop_map(Move::Change),
            (0..4u8).prop_map(Move::Delete),
            (0..4u8).prop_map(Move::Replace),
            Just(Move::Lose),
            Just(Move::ListInVain),
            Just(Move::List),
        ];
        proptest::collection::vec(one, 0..40)
    }

    fn name(object: u8) -> Name {
        Name::new("ns", format!("object-{object}"))
    }

    /// A server, a watch of it, and everything that was reported.
    #[derive(Default)]
    struct World {
        server: BTreeMap<u8, u32>,
        uids: u32,
        known: Known,
        listens: bool,
        /// Every UID that the watch has shown and that was not reported as gone.
        remembered: HashMap<Name, String>,
    }

    impl World {
        fn tell(&mut self, sighting: Sighting) {
            let shown = match &sighting {
                Sighting::Listed(name, uid) | Sighting::Applied(name, uid) => Some((name.clone(), uid.clone())),
                Sighting::ListBegins | Sighting::ListEnds | Sighting::Deleted(..) => None,
            };
            for (gone, uid) in self.known.learn(sighting) {
                assert_eq!(self.remembered.remove(&gone), Some(uid), "{gone} is reported as gone, but did not exist");
            }
            if let Some((name, uid)) = shown {
                let before = self.remembered.insert(name.clone(), uid.clone());
                assert!(before.is_none_or(|before| before == uid), "{name} was replaced but not reported as gone");
            }
        }

        fn create(&mut self, object: u8) {
            self.uids += 1;
            self.server.insert(object, self.uids);
        }

        fn play(&mut self, step: &Move) {
            match step {
                Move::Create(object) if !self.server.contains_key(object) => {
                    self.create(*object);
                    self.say(*object);
                }
                Move::Change(object) if self.server.contains_key(object) => self.say(*object),
                Move::Delete(object) => {
                    if let Some(uid) = self.server.remove(object).filter(|_| self.listens) {
                        self.tell(Sighting::Deleted(name(*object), uid.to_string()));
                    }
                }
                Move::Replace(object) if !self.listens && self.server.contains_key(object) => self.create(*object),
                Move::Lose => self.listens = false,
                Move::ListInVain => self.list(false),
                Move::List => self.list(true),
                Move::Create(_) | Move::Change(_) | Move::Replace(_) => {}
            }
        }

        fn say(&mut self, object: u8) {
            if self.listens {
                self.tell(Sighting::Applied(name(object), self.server[&object].to_string()));
            }
        }

        fn list(&mut self, complete: bool) {
            self.listens = false;
            self.tell(Sighting::ListBegins);
            let listed: Vec<_> = self.server.clone().into_iter().collect();
            let shown = if complete { listed.len() } else { listed.len() / 2 };
            for (object, uid) in &listed[..shown] {
                self.tell(Sighting::Listed(name(*object), uid.to_string()));
            }
            if complete {
                self.tell(Sighting::ListEnds);
                self.listens = true;
            }
        }

        fn truth(&self) -> HashMap<Name, String> {
            self.server.iter().map(|(object, uid)| (name(*object), uid.to_string())).collect()
        }
    }

    proptest! {
        #![proptest_config(config(256, 16))]

        #[test]
        fn model_after_each_complete_list_exactly_what_exists_is_known_and_each_other_was_told_once(steps in moves()) {
            let mut world = World::default();
            for step in &steps {
                world.play(step);
                if world.listens {
                    prop_assert_eq!(&world.known.objects, &world.truth());
                    prop_assert_eq!(&world.remembered, &world.truth());
                }
            }
            world.play(&Move::List);
            prop_assert_eq!(&world.known.objects, &world.truth());
            prop_assert_eq!(&world.remembered, &world.truth());
        }
    }

    #[test]
    fn what_is_deleted_while_the_watch_lists_anew_is_gone_once() {
        let mut known = Known::default();
        let listed = |object: u8| Sighting::Listed(name(object), object.to_string());
        let mut list = |objects: &[u8]| {
            let sightings = objects.iter().map(|object| listed(*object));
            let all = [Sighting::ListBegins].into_iter().chain(sightings).chain([Sighting::ListEnds]);
            all.flat_map(|sighting| known.learn(sighting)).collect::<Vec<_>>()
        };
        assert_eq!(list(&[1, 2]), []);
        assert_eq!(list(&[2]), [(name(1), "1".to_owned())]);
        assert_eq!(list(&[2]), []);
    }
}
