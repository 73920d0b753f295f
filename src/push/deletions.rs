//! Remembers since when this process waits for deletions, and for clean-ups of former locations. It
//! does not use `deletionTimestamp`: if the clocks differ, the wait could end at once.

use std::collections::HashMap;
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
    /// Since when the wait does not count.
    paused: Option<Instant>,
    /// Whether it was said what the object leaves.
    is_told: bool,
}

impl Deletions {
    /// How long ago this object was first seen with a deletion timestamp.
    pub fn known_for(&self, object: &str, uid: &str, now: Instant) -> Duration {
        self.waited_for((object.to_owned(), None), uid, now)
    }

    /// For how long cleaning this location has failed, without the pauses in which it was not tried.
    pub fn failing_for(&self, object: &str, uid: &str, location: &StoreKey, now: Instant) -> Duration {
        self.waited_for((object.to_owned(), Some(location.clone())), uid, now)
    }

    /// Pauses the waits for the object's locations, until cleaning one fails again.
    pub fn pause(&self, object: &str, now: Instant) {
        let mut all = self.lock();
        let locations = all.iter_mut().filter(|((of, location), _)| of == object && location.is_some());
        for (_, waiting) in locations {
            waiting.paused.get_or_insert(now);
        }
    }

    /// Forgets all other locations of the object: they are clean.
    pub fn keep_only(&self, object: &str, is_kept: impl Fn(&StoreKey) -> bool) {
        self.lock().retain(|(of, location), _| of != object || location.as_ref().is_none_or(&is_kept));
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
    let begin = || Waiting { uid: uid.to_owned(), since: now, paused: None, is_told: false };
    let known = waiting.entry(key).or_insert_with(begin);
    if known.uid != uid {
        *known = begin();
    }
    if let Some(paused) = known.paused.take() {
        known.since += now.saturating_duration_since(paused);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::selector::StoreKind;

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
    fn a_wait_for_a_location_is_paused_while_that_is_not_tried_and_ends_when_it_is_clean() {
        let (deletions, now) = (Deletions::default(), Instant::now());
        let after = |minutes: u64| Duration::from_secs(60 * minutes);
        let location = StoreKey::new(StoreKind::ClusterSecretStore, "vault");
        let failing = |minutes| deletions.failing_for("db/push", "a", &location, now + after(minutes));
        let pause = |object, minutes| {
            deletions.pause(object, now + after(minutes));
            deletions.keep_only(object, |_| true);
        };
        assert_eq!((failing(0), failing(2)), (Duration::ZERO, after(2)));
        pause("db/push", 3);
        pause("db/push", 5);
        pause("db/other", 8);
        assert_eq!((failing(9), failing(11)), (after(3), after(5)));
        assert_eq!(deletions.known_for("db/push", "a", now), Duration::ZERO);
        pause("db/push", 11);
        assert_eq!(deletions.known_for("db/push", "a", now + after(12)), after(12), "a deletion is not paused");
        deletions.keep_only("db/push", |_| false);
        assert_eq!(failing(12), Duration::ZERO);
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
