//! Remembers since when announced claims of others stand still: clocks of other machines say nothing about that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::domain::claim::CustomMetadata;
use crate::store::PathKey;

/// An intent that has stood for this long belongs to nobody who still works on it. A claimant holds itself to that: see
/// [`super::entry`].
pub const STALE_AFTER: Duration = Duration::from_secs(60);

/// The intents seen by this process: by entry, wherever stores say it is, and by label.
#[derive(Default)]
pub struct Intents(Mutex<HashMap<PathKey, HashMap<String, Instant>>>);

impl Intents {
    /// Whether the intent under this key, seen at `now`, was first seen [`STALE_AFTER`] before.
    pub fn is_stale(&self, at: &PathKey, key: &str, now: Instant) -> bool {
        let mut seen = self.lock();
        let first = *seen.entry(at.clone()).or_default().entry(key.to_owned()).or_insert(now);
        now.saturating_duration_since(first) >= STALE_AFTER
    }

    /// Forgets the intents of an entry that a read of it shows no longer: one that comes back is a new one.
    pub fn read(&self, at: &PathKey, metadata: &CustomMetadata) {
        let mut seen = self.lock();
        if let Some(intents) = seen.get_mut(at) {
            intents.retain(|key, _| metadata.contains_key(key));
            if intents.is_empty() {
                seen.remove(at);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathKey, HashMap<String, Instant>>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(server: &str) -> PathKey {
        PathKey { server: server.into(), mount: "secret".into(), path: "a/b".into() }
    }

    fn shows(keys: &[&str]) -> CustomMetadata {
        keys.iter().map(|key| ((*key).to_owned(), String::new())).collect()
    }

    #[test]
    fn an_intent_grows_old_at_its_own_place_whatever_stands_at_the_same_path_elsewhere() {
        let (intents, began) = (Intents::default(), Instant::now());
        assert!(!intents.is_stale(&at("one"), "k", began));
        // A namespace or server away a path of that name is read, and settled, all the time.
        intents.read(&at("two"), &shows(&[]));
        assert!(!intents.is_stale(&at("two"), "k", began + STALE_AFTER));
        assert!(intents.is_stale(&at("one"), "k", began + STALE_AFTER));
    }

    #[test]
    fn only_what_a_read_shows_no_longer_is_forgotten() {
        let (intents, began) = (Intents::default(), Instant::now());
        assert!(!intents.is_stale(&at("one"), "gone", began) && !intents.is_stale(&at("one"), "k", began));
        intents.read(&at("one"), &shows(&["k", "claim"]));
        assert!(intents.is_stale(&at("one"), "k", began + STALE_AFTER));
        assert!(!intents.is_stale(&at("one"), "gone", began + STALE_AFTER));
        intents.read(&at("one"), &shows(&[]));
        assert!(intents.lock().is_empty());
    }
}
