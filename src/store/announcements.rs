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

/// The two channels.
pub struct Announcements {
    changes: broadcast::Sender<StoreName>,
    troubles: broadcast::Sender<StoreName>,
}

impl Default for Announcements {
    fn default() -> Self {
        Announcements { changes: broadcast::Sender::new(MOST_UNHEARD), troubles: broadcast::Sender::new(MOST_UNHEARD) }
    }
}

impl Announcements {
    /// Receives each store that changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<StoreName> {
        self.changes.subscribe()
    }

    /// Receives each store that is in trouble from now on.
    pub fn troubles(&self) -> broadcast::Receiver<StoreName> {
        self.troubles.subscribe()
    }

    /// Announces that the store changed.
    pub fn changed(&self, name: &StoreName) {
        // An error only means that there are no receivers.
        let _ = self.changes.send(name.clone());
    }

    /// A callback that announces that the store changed.
    pub fn when_changed(&self, name: &StoreName) -> Arc<dyn Fn() + Send + Sync> {
        announcer(&self.changes, name)
    }

    /// A callback that announces that the store is in trouble, at most once per [`TROUBLE_PAUSE`].
    pub fn when_troubled(&self, name: &StoreName) -> Arc<dyn Fn() + Send + Sync> {
        rarely(announcer(&self.troubles, name))
    }
}

fn announcer(listeners: &broadcast::Sender<StoreName>, name: &StoreName) -> Arc<dyn Fn() + Send + Sync> {
    let (listeners, name) = (listeners.clone(), name.clone());
    Arc::new(move || {
        let _ = listeners.send(name.clone());
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
