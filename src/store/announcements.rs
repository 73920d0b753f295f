//! What the rest of the program is told about stores: that one changed, and that one is in trouble.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::StoreName;

/// Announcements that nobody has taken yet; who falls behind by more must take all stores for changed.
const MOST_UNHEARD: usize = 1024;
/// A store that fails is checked no oftener than this for it.
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
    /// Hears of each store that changed from now on.
    pub fn changes(&self) -> broadcast::Receiver<StoreName> {
        self.changes.subscribe()
    }

    /// Hears of each store that is in trouble from now on.
    pub fn troubles(&self) -> broadcast::Receiver<StoreName> {
        self.troubles.subscribe()
    }

    /// Says that the store changed.
    pub fn changed(&self, name: &StoreName) {
        // Without receivers there is nobody to tell.
        let _ = self.changes.send(name.clone());
    }

    /// A call that says that the store changed.
    pub fn when_changed(&self, name: &StoreName) -> Arc<dyn Fn() + Send + Sync> {
        announcer(&self.changes, name)
    }

    /// A call that says that the store is in trouble, no oftener than once a [`TROUBLE_PAUSE`].
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
        let mut last = last.lock().expect("no code panics while it holds the time");
        if last.is_none_or(|last| last.elapsed() >= TROUBLE_PAUSE) {
            *last = Some(Instant::now());
            call();
        }
    })
}
