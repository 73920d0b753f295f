//! Several stores side by side: none waits for another that hangs.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::ledger::StoreKey;
use crate::store::StoreError;
use crate::store::error::Transport;

/// Once one store is done, the others have this long for each next step. What stops in the middle goes on from there.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs the work of each store, and ends when all is done, or when some is and `steps`, which counts what was done in all, stands
/// still.
pub async fn side_by_side(work: Vec<impl Future<Output = ()>>, steps: impl Fn() -> usize) {
    let all = work.len();
    let mut running: FuturesUnordered<_> = work.into_iter().collect();
    while !running.is_empty() {
        if running.len() == all {
            running.next().await;
            continue;
        }
        let before = steps();
        let ended = tokio::time::timeout(PATIENCE, running.next()).await;
        if ended.is_err() && steps() == before {
            return;
        }
    }
}

/// What is said of a store that was left behind.
pub fn no_answer(store: &StoreKey) -> StoreError {
    StoreError::Unreachable { server: store.to_string(), cause: Transport::Timeout }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{Instant, sleep};

    use super::*;

    type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_left_behind_and_one_that_goes_on_is_not() {
        let steps = AtomicUsize::new(0);
        let began = Instant::now();
        let slow = async {
            for _ in 0..4 {
                sleep(PATIENCE * 2 / 3).await;
                steps.fetch_add(1, Ordering::Relaxed);
            }
        };
        let work: Vec<Work<'_>> = vec![Box::pin(ready(())), Box::pin(slow), Box::pin(pending())];
        side_by_side(work, || steps.load(Ordering::Relaxed)).await;
        assert_eq!(steps.load(Ordering::Relaxed), 4);
        assert!(began.elapsed() <= PATIENCE * 5, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_has_all_the_time_it_takes() {
        let done = AtomicUsize::new(0);
        let slow = async {
            sleep(PATIENCE * 10).await;
            done.fetch_add(1, Ordering::Relaxed);
        };
        side_by_side(vec![slow], || 0).await;
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }
}
