//! Remembers since when announced claims of others stand still: clocks of other machines say nothing about that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::path::RemotePath;

/// An intent that has stood for this long belongs to nobody who still works on it: no request of a claimant takes longer.
pub const STALE_AFTER: Duration = Duration::from_secs(60);

/// The intents seen by this process.
#[derive(Default)]
pub struct Intents(Mutex<HashMap<(RemotePath, String), Instant>>);

impl Intents {
    /// Whether the intent under this key, seen at `now`, was first seen [`STALE_AFTER`] before.
    pub fn is_stale(&self, path: &RemotePath, key: &str, now: Instant) -> bool {
        let mut seen = self.lock();
        // One that is looked at no more was settled; it must not count as old if it ever comes back.
        seen.retain(|_, first| now.duration_since(*first) < 10 * STALE_AFTER);
        let first = seen.entry((path.clone(), key.to_owned())).or_insert(now);
        now.duration_since(*first) >= STALE_AFTER
    }

    /// Forgets the intents of an entry that is settled.
    pub fn forget(&self, path: &RemotePath) {
        self.lock().retain(|(seen, _), _| seen != path);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(RemotePath, String), Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
