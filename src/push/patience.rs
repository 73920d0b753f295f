//! Runs the work of several stores in parallel, so that none waits for one that hangs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::ledger::StoreKey;
use crate::store::error::Transport;
use crate::store::{StoreError, StoreName};

/// Once one store is done, the others have this long for each next step. Interrupted work continues
/// at the next reconcile.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// The same with leeway: as long as the three requests take that one step may need, each of which
/// has a time limit of its own.
const LEEWAY: Duration = Duration::from_secs(45);
/// Nothing is kept of a store that nobody uses for this long.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

/// Runs the work of each store. Ends when all are done, or when some are and `steps`, the count of
/// finished steps of all stores, does not change for as long as `patience` says then.
pub async fn side_by_side(
    work: Vec<impl Future<Output = ()>>,
    steps: impl Fn() -> usize,
    patience: impl Fn() -> Duration,
) {
    let all = work.len();
    let mut running: FuturesUnordered<_> = work.into_iter().collect();
    while !running.is_empty() {
        if running.len() == all {
            running.next().await;
            continue;
        }
        let before = steps();
        let ended = tokio::time::timeout(patience(), running.next()).await;
        if ended.is_err() && steps() == before {
            return;
        }
    }
}

/// The stores with leeway: they answer, but not within [`PATIENCE`]. A request that is dropped is
/// sent again by the next reconcile, and dropped again, so that such a store would never be written.
/// So a store that was skipped gets leeway, until it leaves a request unanswered: one that hangs
/// delays every other reconcile at most.
#[derive(Default)]
pub struct Leeway(Mutex<BTreeMap<StoreName, Instant>>);

/// What one store answers in a reconcile.
pub struct Progress {
    store: StoreName,
    has_leeway: bool,
    answered: AtomicUsize,
    misses: AtomicBool,
}

impl Leeway {
    /// Begins to work on a store.
    pub fn begin(&self, store: StoreName) -> Progress {
        let mut all = self.lock();
        all.retain(|_, used| used.elapsed() < UNUSED);
        let has_leeway = all.get_mut(&store).map(|used| *used = Instant::now()).is_some();
        Progress { store, has_leeway, answered: AtomicUsize::new(0), misses: AtomicBool::new(false) }
    }

    /// Ends that work.
    pub fn end(&self, progress: Progress, is_skipped: bool) {
        let Progress { store, has_leeway, misses, .. } = progress;
        if has_leeway && (is_skipped || misses.into_inner()) {
            self.lock().remove(&store);
        } else if is_skipped {
            self.lock().insert(store, Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StoreName, Instant>> {
        self.0.lock()
    }
}

impl Progress {
    /// How many requests were answered.
    pub fn steps(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// How long a step of this store may take.
    pub fn patience(&self) -> Duration {
        if self.has_leeway { LEEWAY } else { PATIENCE }
    }

    /// Notes how a request ended: a denial is an answer.
    pub fn note<T>(&self, reply: &Result<T, StoreError>) {
        match reply {
            Err(StoreError::Unreachable { .. } | StoreError::Slow { .. } | StoreError::CircuitOpen { .. }) => {
                self.misses.store(true, Ordering::Relaxed);
            }
            Ok(_) | Err(_) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
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

    use tokio::time::sleep;

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
        side_by_side(work, || steps.load(Ordering::Relaxed), || PATIENCE).await;
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
        side_by_side(vec![slow], || 0, || PATIENCE).await;
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }
    fn store() -> StoreName {
        StoreName::cluster("s")
    }

    fn unreachable() -> Result<(), StoreError> {
        Err(StoreError::Unreachable { server: "s".into(), cause: Transport::Timeout })
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_was_skipped_gets_leeway_until_it_leaves_a_request_unanswered() {
        let leeway = Leeway::default();
        // How one reconcile goes: the replies, and whether the store is skipped.
        let goes = |replies: &[Result<(), StoreError>], is_skipped| {
            let progress = leeway.begin(store());
            replies.iter().for_each(|reply| progress.note(reply));
            let patience = progress.patience();
            leeway.end(progress, is_skipped);
            patience
        };
        assert_eq!(goes(&[unreachable()], false), PATIENCE);
        assert_eq!(goes(&[], true), PATIENCE);
        let denied = || Err(StoreError::Sealed { server: "s".into() });
        for answered in [vec![Ok(())], vec![Ok(()), denied()], vec![]] {
            assert_eq!(goes(&answered, false), LEEWAY);
        }
        assert_eq!(goes(&[Ok(()), unreachable()], false), LEEWAY);
        assert_eq!(goes(&[], true), PATIENCE);
        assert_eq!(goes(&[Ok(())], true), LEEWAY, "it began to answer, and hangs");
        assert_eq!(goes(&[], true), PATIENCE, "one that hangs has it every other time");
        tokio::time::advance(UNUSED).await;
        leeway.begin(StoreName::cluster("other"));
        assert!(leeway.lock().is_empty(), "what is kept of stores does not grow");
    }

    #[tokio::test(start_paused = true)]
    async fn leeway_is_for_the_stores_that_still_work() {
        let (done, began) = (AtomicUsize::new(0), Instant::now());
        let late = async {
            sleep(PATIENCE * 4).await;
            done.fetch_add(1, Ordering::Relaxed);
        };
        let patience = || if done.load(Ordering::Relaxed) == 0 { LEEWAY } else { PATIENCE };
        let work: Vec<Work<'_>> = vec![Box::pin(ready(())), Box::pin(late), Box::pin(pending())];
        side_by_side(work, || 0, patience).await;
        assert_eq!((done.load(Ordering::Relaxed), began.elapsed()), (1, PATIENCE * 5));
    }
}
