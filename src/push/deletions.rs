//! Remembers since when this process waits for deletions, and for clean-ups of former locations. It
//! does not use `deletionTimestamp`: if the clocks differ, the wait could end at once.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::ledger::StoreKey;

/// `namespace/name` of an object and, if the object itself is not being deleted, the former location.
type Key = (String, Option<StoreKey>);

/// What this process waits for. After a restart each wait begins again.
#[derive(Default)]
pub struct Deletions(Mutex<HashMap<Key, Waiting>>);

struct Waiting {
    uid: String,
    since: Instant,
    /// Whether it was said what the object leaves.
    is_told: bool,
}

impl Deletions {
    /// How long ago this object was first seen with a deletion timestamp.
    pub fn known_for(&self, object: &str, uid: &str, now: Instant) -> Duration {
        self.waited_for((object.to_owned(), None), uid, now)
    }

    /// How long ago cleaning this location first failed.
    pub fn failing_for(&self, object: &str, uid: &str, location: &StoreKey, now: Instant) -> Duration {
        self.waited_for((object.to_owned(), Some(location.clone())), uid, now)
    }

    /// Forgets all other locations of the object: they are clean, or not to be cleaned now.
    pub fn fail_only(&self, object: &str, locations: &BTreeMap<StoreKey, String>) {
        let is_other =
            |location: &Option<StoreKey>| location.as_ref().is_some_and(|location| !locations.contains_key(location));
        self.lock().retain(|(of, location), _| of != object || !is_other(location));
    }

    fn waited_for(&self, key: Key, uid: &str, now: Instant) -> Duration {
        now.saturating_duration_since(begun(&mut self.lock(), key, uid, now).since)
    }

    /// Notes that it is said what this object leaves. Whether that was not said before.
    pub fn tell(&self, object: &str, uid: &str, now: Instant) -> bool {
        let mut waiting = self.lock();
        !std::mem::replace(&mut begun(&mut waiting, (object.to_owned(), None), uid, now).is_told, true)
    }

    /// Whether this process has said what the object leaves.
    pub fn is_told(&self, object: &str, uid: &str) -> bool {
        let waiting = self.lock();
        waiting.get(&(object.to_owned(), None)).is_some_and(|known| known.is_told && known.uid == uid)
    }

    /// Forgets the deletion of the object: it does not exist, or is not being deleted.
    pub fn forget(&self, object: &str) {
        self.lock().remove(&(object.to_owned(), None));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Waiting>> {
        self.0.lock()
    }
}

/// The wait for this object, which may begin now.
fn begun<'w>(waiting: &'w mut HashMap<Key, Waiting>, key: Key, uid: &str, now: Instant) -> &'w mut Waiting {
    let begin = || Waiting { uid: uid.to_owned(), since: now, is_told: false };
    let known = waiting.entry(key).or_insert_with(begin);
    if known.uid != uid {
        *known = begin();
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_begins_when_the_deletion_is_first_seen_and_anew_for_another_object() {
        let (deletions, now, minute) = (Deletions::default(), Instant::now(), Duration::from_secs(60));
        assert_eq!(deletions.known_for("db/push", "a", now), Duration::ZERO);
        assert_eq!(deletions.known_for("db/push", "a", now + minute), minute);
        assert_eq!(deletions.known_for("db/push", "b", now + minute), Duration::ZERO);
        deletions.forget("db/push");
        assert_eq!(deletions.known_for("db/push", "b", now + 2 * minute), Duration::ZERO);
    }

    #[test]
    fn what_an_object_leaves_is_told_once_and_anew_of_another_object() {
        let (deletions, now) = (Deletions::default(), Instant::now());
        assert!(!deletions.is_told("db/push", "a"));
        assert_eq!((deletions.tell("db/push", "a", now), deletions.tell("db/push", "a", now)), (true, false));
        assert!(deletions.is_told("db/push", "a") && !deletions.is_told("db/push", "b"));
        assert!(deletions.tell("db/push", "b", now) && !deletions.is_told("db/push", "a"));
        deletions.forget("db/push");
        assert!(!deletions.is_told("db/push", "b"));
    }
}
