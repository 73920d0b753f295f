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
pub struct Backoff(Mutex<HashMap<Name, u32>>);

impl Backoff {
    /// Counts one more failure, and returns the pause before the next try, with up to 20 % jitter,
    /// so that objects that failed together are not retried together.
    pub fn failed(&self, name: &Name) -> Duration {
        let mut failures = self.0.lock();
        let count = failures.entry(name.clone()).or_insert(0);
        let pause = pause_after(*count);
        *count = count.saturating_add(1);
        pause.mul_f64(1.0 - rand::random_range(0.0..0.2))
    }

    /// Call this when the object did not fail, or was deleted.
    pub fn reset(&self, name: &Name) {
        self.0.lock().remove(name);
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
            backoff.failed(&name);
        }
        backoff.reset(&name);
        assert!(backoff.failed(&name) <= FIRST);
    }
}
