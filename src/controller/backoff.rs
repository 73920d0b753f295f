//! The pause after failures in a row, per object.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::object_name::Name;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(7 * 60);
const STEADY: Duration = Duration::from_secs(20);

/// How often each object has failed in a row.
#[derive(Default)]
pub struct Backoff(Mutex<HashMap<Name, Failures>>);

struct Failures {
    /// A fingerprint of what was tried.
    tried: u64,
    count: u32,
}

impl Backoff {
    /// Counts one more failure, and returns the pause before the next try, with up to 20 % jitter,
    /// so that objects that failed together are not retried together. `tried` is a fingerprint of
    /// what was tried: how often something else failed says nothing.
    pub fn failed(&self, name: &Name, tried: u64) -> Duration {
        let mut known = self.0.lock();
        let failures = known.entry(name.clone()).or_insert(Failures { tried, count: 0 });
        if failures.tried != tried {
            *failures = Failures { tried, count: 0 };
        }
        let pause = pause_after(failures.count);
        failures.count = failures.count.saturating_add(1);
        pause.mul_f64(1.0 - rand::random_range(0.0..0.2))
    }

    /// Call this when the object did not fail, or was deleted.
    pub fn reset(&self, name: &Name) {
        self.0.lock().remove(name);
    }
}

#[cfg(test)]
impl Backoff {
    /// Whether nothing at all is kept.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// The constant pause before the next try, with 25 % jitter, if earlier failures say nothing about
/// the next one.
pub fn steady() -> Duration {
    STEADY.mul_f64(rand::random_range(0.75..1.25))
}

fn pause_after(failures: u32) -> Duration {
    FIRST.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_seven_minutes() {
        assert_eq!(pause_after(0), Duration::from_secs(1));
        assert_eq!(pause_after(3), Duration::from_secs(8));
        assert_eq!(pause_after(9), LONGEST);
        assert_eq!(pause_after(1_000), LONGEST);
    }

    #[test]
    fn a_success_starts_over() {
        let (backoff, name) = (Backoff::default(), Name::new("a", "b"));
        for _ in 0..5 {
            backoff.failed(&name, 1);
        }
        backoff.reset(&name);
        assert!(backoff.failed(&name, 1) <= FIRST);
    }

    #[test]
    fn what_is_tried_for_the_first_time_starts_over() {
        let (backoff, name) = (Backoff::default(), Name::new("a", "b"));
        for _ in 0..4 {
            backoff.failed(&name, 1);
        }
        assert!(backoff.failed(&name, 2) <= FIRST);
        assert!(backoff.failed(&name, 2) > FIRST, "it goes on from there");
    }
}
