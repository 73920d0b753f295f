//! Runs the work of several stores in parallel, so that none waits for one that hangs.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::ledger::StoreKey;
use crate::store::StoreError;
use crate::store::error::Transport;

/// Once one store is done, the others have this long for each next step. Interrupted work continues
/// at the next reconcile.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs the work of each store. Ends when all are done, or when some are and `steps`, the count of
/// finished steps of all stores, does not change.
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

/// The error of a store that was skipped.
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
