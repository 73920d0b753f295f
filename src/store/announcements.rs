//! Tells the rest of the program which stores changed, and which are in trouble.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::StoreName;

/// The capacity of a channel. A receiver that lags by more must treat all stores as changed.
const MOST_UNHEARD: usize = 1024;
/// A failing store is checked at most this often because of it.
const TROUBLE_PAUSE: Duration = Duration::from_secs(10);

/// What changed of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChange {
    /// Its use: it is new, edited or deleted, or can be used again.
    Use(StoreName),
    /// Its labels alone, by which PushSecrets select it.
    Labels(StoreName),
    /// Only whether it allows a mass deletion, for which ExternalSecrets may wait.
    Allowance(StoreName),
}

/// The two channels.
pub struct Announcements {
    changes: broadcast::Sender<StoreChange>,
    troubles: broadcast::Sender<StoreName>,
}

impl Default for Announcements {
    fn default() -> Self {
        Announcements { changes: broadcast::Sender::new(MOST_UNHEARD), troubles: broadcast::Sender::new(MOST_UNHEARD) }
    }
}

impl Announcements {
    /// Receives each store that changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<StoreChange> {
        self.changes.subscribe()
    }

    /// Receives each store that is in trouble from now on.
    pub fn troubles(&self) -> broadcast::Receiver<StoreName> {
        self.troubles.subscribe()
    }

    /// Announces that the use of the store changed.
    pub fn changed(&self, name: &StoreName) {
        self.announce(StoreChange::Use(name.clone()));
    }

    /// Announces a change.
    pub fn announce(&self, change: StoreChange) {
        // An error only means that there are no receivers.
        let _ = self.changes.send(change);
    }

    /// A callback that announces that the store can be used again.
    pub fn when_recovered(&self, name: &StoreName) -> Arc<dyn Fn() + Send + Sync> {
        announcer(&self.changes, StoreChange::Use(name.clone()))
    }

    /// A callback that announces that the store is in trouble, at most once per [`TROUBLE_PAUSE`].
    pub fn when_troubled(&self, name: &StoreName) -> Arc<dyn Fn() + Send + Sync> {
        rarely(announcer(&self.troubles, name.clone()))
    }
}

fn announcer<T: Clone + Send + Sync + 'static>(to: &broadcast::Sender<T>, news: T) -> Arc<dyn Fn() + Send + Sync> {
    let to = to.clone();
    Arc::new(move || {
        let _ = to.send(news.clone());
    })
}

fn rarely(call: Arc<dyn Fn() + Send + Sync>) -> Arc<dyn Fn() + Send + Sync> {
    let last: Mutex<Option<Instant>> = Mutex::default();
    Arc::new(move || {
        let mut last = last.lock();
        if last.is_none_or(|last| last.elapsed() >= TROUBLE_PAUSE) {
            *last = Some(Instant::now());
            call();
        }
    })
}
