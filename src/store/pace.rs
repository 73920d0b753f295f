//! How promptly a store answers, judged by its latest answer and by the oldest request in flight. A
//! server that answers late never counts as failed, but an object that waits for it takes a slot
//! that others could use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// A longer request makes its store slow, until another is answered sooner.
const SLOW: Duration = Duration::from_secs(2);

/// The pace of one store; its clients share it.
#[derive(Default)]
pub struct Pace(Mutex<State>);

#[derive(Default)]
struct State {
    /// When each request in flight began, the oldest first.
    under_way: BTreeMap<u64, Instant>,
    next: u64,
    /// How long the last finished request took.
    latest: Duration,
}

/// A request in flight, until it is dropped.
pub struct UnderWay {
    pace: Arc<Pace>,
    number: u64,
}

impl Pace {
    /// Call this when a request is sent.
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.under_way.insert(number, Instant::now());
        drop(state);
        UnderWay { pace: self.clone(), number }
    }

    /// Whether the store is slow.
    pub fn is_slow(&self) -> bool {
        let state = self.state();
        let oldest = state.under_way.values().next().map_or(Duration::ZERO, Instant::elapsed);
        state.latest.max(oldest) > SLOW
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        if let Some(began) = state.under_way.remove(&self.number) {
            state.latest = began.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_is_slow_while_a_request_is_and_until_one_is_answered_soon() {
        let pace = Arc::new(Pace::default());
        let late = pace.begin();
        assert!(!pace.is_slow());
        advance(SLOW + Duration::from_millis(1)).await;
        assert!(pace.is_slow(), "nobody has to wait for it to end to know");
        drop(late);
        assert!(pace.is_slow(), "it took so long");
        drop(pace.begin());
        assert!(!pace.is_slow());
    }
}
