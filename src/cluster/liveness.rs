//! Whether each watch still lives: a silently dead one must fail the liveness probe, or changes would wait for ever.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The watcher opens a new request every minute, also on a quiet cluster, and gives up on a silent connection a few seconds
/// after that; one without any sign of life for this long is stuck.
const STALLED_AFTER: Duration = Duration::from_secs(15 * 60);

/// The last sign of life of each watch that is expected to live, by the plural of what it watches.
///
/// A watch that was started and a list that was answered are signs, whatever the answer to the list: where the API server refuses
/// it, or does not answer at all, restarting us would not help. A watch that is refused is none: it may go on for ever.
#[derive(Default)]
pub struct Liveness(Mutex<BTreeMap<String, Instant>>);

impl Liveness {
    /// From now on this is watched. One whose first list hangs is stalled as well.
    pub fn expect(&self, watch: &str) {
        self.lock().entry(watch.to_owned()).or_insert_with(Instant::now);
    }

    /// The watch gave a sign of life; of what is not watched, that says nothing.
    pub fn sign(&self, watch: &str) {
        if let Some(last) = self.lock().get_mut(watch) {
            *last = Instant::now();
        }
    }

    /// A watch without a sign of life for too long.
    pub fn stalled(&self) -> Option<String> {
        self.stalled_at(Instant::now())
    }

    fn stalled_at(&self, now: Instant) -> Option<String> {
        let signs = self.lock();
        signs.iter().find(|(_, last)| now.duration_since(**last) > STALLED_AFTER).map(|(watch, _)| watch.clone())
    }

    #[cfg(test)]
    pub fn last(&self, watch: &str) -> Option<Instant> {
        self.lock().get(watch).copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_says_nothing_from_the_start_is_named() {
        let liveness = Liveness::default();
        liveness.sign("pods");
        liveness.expect("secrets");
        assert_eq!(liveness.stalled(), None);
        let late = Instant::now() + STALLED_AFTER + Duration::from_secs(1);
        assert_eq!(liveness.stalled_at(late), Some("secrets".to_owned()));
    }
}
