//! Whether each watch is alive: a silently dead one must fail the liveness probe, or changes would
//! wait for ever.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

/// The watcher opens a new request every minute, even on a quiet cluster, and gives up on a silent
/// connection a few seconds later. A watch without a sign of life for this long is stuck.
const STALLED_AFTER: Duration = Duration::from_secs(15 * 60);

/// The last sign of life of each expected watch, by the plural of its resource.
///
/// A started watch and an answered list are signs, whatever the list's answer: if the API server
/// denies it, or does not answer at all, a restart would not help. A watch whose start is denied is
/// no sign: that may continue for ever.
#[derive(Default)]
pub struct Liveness(Mutex<BTreeMap<String, Instant>>);

impl Liveness {
    /// From now on this watch is expected. It is also stalled if its first list hangs.
    pub fn expect(&self, watch: &str) {
        self.lock().entry(watch.to_owned()).or_insert_with(Instant::now);
    }

    /// The watch gave a sign of life. Ignored for a watch that is not expected.
    pub fn sign(&self, watch: &str) {
        if let Some(last) = self.lock().get_mut(watch) {
            *last = Instant::now();
        }
    }

    /// A watch without a sign of life for too long, if any.
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
        self.0.lock()
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
