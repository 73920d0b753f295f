//! Whether each watch still lives: a silently dead one must fail the liveness probe, or changes would wait for ever.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The watcher opens a new request every few minutes, also on a quiet cluster, and gives up on a silent connection a few
/// seconds after that; one without any sign of life for this long is stuck.
const STALLED_AFTER: Duration = Duration::from_secs(15 * 60);

/// The last sign of life of each watch. A watch that has failed and retries counts as alive: restarting us would not help.
#[derive(Default)]
pub struct Liveness(Mutex<BTreeMap<String, Instant>>);

impl Liveness {
    /// A request of the watch was answered or failed.
    pub fn sign(&self, watch: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(watch, Instant::now());
    }

    /// A watch without a sign of life for too long.
    pub fn stalled(&self) -> Option<String> {
        self.stalled_at(Instant::now())
    }

    fn stalled_at(&self, now: Instant) -> Option<String> {
        let signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signs.iter().find(|(_, last)| now.duration_since(**last) > STALLED_AFTER).map(|(watch, _)| watch.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_says_nothing_is_named() {
        let liveness = Liveness::default();
        liveness.sign("secrets".to_owned());
        assert_eq!(liveness.stalled(), None);
        assert_eq!(
            liveness.stalled_at(Instant::now() + STALLED_AFTER + Duration::from_secs(1)),
            Some("secrets".to_owned())
        );
    }
}
