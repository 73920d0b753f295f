//! Remembers since when intents of others have not changed, by our own clock: clocks of other
//! machines say nothing about that.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::domain::claim::CustomMetadata;
use crate::store::Site;

/// The age at which an unchanged intent counts as abandoned. Claimants respect this limit: see
/// [`super::entry`].
pub const STALE_AFTER: Duration = Duration::from_secs(60);

/// An entry whose intents nobody looks at for this long is forgotten: whoever waited for it waits no
/// more.
const UNSEEN: Duration = Duration::from_secs(3600);

/// The intents that this process has seen, by site. A server that calls itself like another starts
/// and stops no clock of that one.
#[derive(Default)]
pub struct Intents(Mutex<HashMap<Site, Seen>>);

/// The intents of one entry.
struct Seen {
    /// When somebody asked last.
    looked: Instant,
    /// Since when each is known, by key.
    since: HashMap<String, Instant>,
}

impl Intents {
    /// Which of these intents, seen at `now`, were first seen at least [`STALE_AFTER`] before.
    pub fn stale<'k>(&self, at: &Site, keys: impl Iterator<Item = &'k str>, now: Instant) -> BTreeSet<String> {
        let mut all = self.lock();
        all.retain(|_, seen| now.saturating_duration_since(seen.looked) < UNSEEN);
        let seen = all.entry(at.clone()).or_insert_with(|| Seen { looked: now, since: HashMap::new() });
        seen.looked = now;
        let is_stale = |key: &&str| {
            let first = *seen.since.entry((*key).to_owned()).or_insert(now);
            now.saturating_duration_since(first) >= STALE_AFTER
        };
        keys.filter(is_stale).map(str::to_owned).collect()
    }

    /// Forgets the intents that a read of the entry no longer shows: one that comes back is a new
    /// one.
    pub fn read(&self, at: &Site, metadata: &CustomMetadata) {
        let mut all = self.lock();
        if let Some(seen) = all.get_mut(at) {
            seen.since.retain(|key, _| metadata.contains_key(key));
            if seen.since.is_empty() {
                all.remove(at);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Site, Seen>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::PathKey;

    fn at(server: &str) -> Site {
        let place = PathKey { server: server.into(), mount: "secret".into(), path: "a/b".into() };
        Site { place, address: server.into() }
    }

    fn is_stale(intents: &Intents, at: &Site, key: &str, now: Instant) -> bool {
        intents.stale(at, [key].into_iter(), now).contains(key)
    }

    /// The same place as another server says of itself.
    fn forged(server: &str) -> Site {
        Site { address: "forged".into(), ..at(server) }
    }

    fn shows(keys: &[&str]) -> CustomMetadata {
        keys.iter().map(|key| ((*key).to_owned(), String::new())).collect()
    }

    #[test]
    fn an_intent_grows_old_at_its_own_place_whatever_stands_at_the_same_path_elsewhere() {
        let (intents, began) = (Intents::default(), Instant::now());
        assert!(!is_stale(&intents, &at("one"), "k", began));
        // The same path on another server, or in another Vault namespace, is read all the time.
        intents.read(&at("two"), &shows(&[]));
        assert!(!is_stale(&intents, &at("two"), "k", began + STALE_AFTER));
        assert!(is_stale(&intents, &at("one"), "k", began + STALE_AFTER));
    }

    #[test]
    fn a_server_that_calls_itself_like_another_starts_and_stops_no_clock_there() {
        let (intents, began) = (Intents::default(), Instant::now());
        assert!(!is_stale(&intents, &forged("one"), "k", began));
        assert!(!is_stale(&intents, &at("one"), "k", began + STALE_AFTER), "an intent that was just announced");
        intents.read(&forged("one"), &shows(&[]));
        assert!(is_stale(&intents, &at("one"), "k", began + 2 * STALE_AFTER), "a claimant that died");
    }

    #[test]
    fn only_what_a_read_shows_no_longer_is_forgotten() {
        let (intents, began) = (Intents::default(), Instant::now());
        assert!(!is_stale(&intents, &at("one"), "gone", began) && !is_stale(&intents, &at("one"), "k", began));
        intents.read(&at("one"), &shows(&["k", "claim"]));
        assert!(is_stale(&intents, &at("one"), "k", began + STALE_AFTER));
        assert!(!is_stale(&intents, &at("one"), "gone", began + STALE_AFTER));
        intents.read(&at("one"), &shows(&[]));
        assert!(intents.lock().is_empty());
    }

    #[test]
    fn of_an_entry_that_nobody_looks_at_any_more_nothing_is_kept() {
        let (intents, began) = (Intents::default(), Instant::now());
        assert!(!is_stale(&intents, &at("gone"), "k", began));
        assert!(!is_stale(&intents, &at("one"), "k", began + UNSEEN));
        assert_eq!(intents.lock().keys().cloned().collect::<Vec<_>>(), [at("one")]);
    }
}
