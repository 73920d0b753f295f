//! The slots of a queue, shared between stores. The objects of one server hold at most half of
//! them, as do those of all slow stores together, and those of one slow store only a few: servers
//! that do not answer, or answer late, delay only their own objects. What is left of the turns of
//! slow and new stores by one server, or one namespace, is for the new stores of others.
//!
//! An object without a turn does not wait in a slot. It is parked, and woken when a turn is reserved
//! for it (`lines.rs`, `waiting.rs`).

mod holder;
mod lines;
mod waiting;

use std::sync::Arc;

use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use self::lines::{Lines, Note, What};
use crate::domain::object_name::Name;
use crate::store::{Load, StoreName};

/// The turns of one queue.
pub struct Turns {
    half: u16,
    shared: Arc<Shared>,
    woken: Mutex<Option<UnboundedReceiver<Name>>>,
}

struct Shared {
    kind: &'static str,
    lines: Mutex<Lines>,
    wake: UnboundedSender<Name>,
}

/// The right to reconcile an object now, returned when dropped.
pub struct Turn {
    number: u64,
    shared: Arc<Shared>,
}

impl Turns {
    /// No turn is taken; at most `half` objects of one server may run. `kind` is for the log.
    pub fn new(kind: &'static str, half: u16) -> Self {
        let (wake, woken) = unbounded_channel();
        let half = half.max(1);
        let shared = Shared { kind, lines: Mutex::new(Lines::new(usize::from(half))), wake };
        Turns { half, shared: Arc::new(shared), woken: Mutex::new(Some(woken)) }
    }

    /// The number of slots of the queue.
    pub fn slots(&self) -> u16 {
        self.half.saturating_mul(2)
    }

    /// A turn for an object that uses these stores; `None` if it is parked until it is woken.
    pub fn take(&self, name: &Name, loads: &[Load]) -> Option<Turn> {
        let (number, notes) = self.shared.lines.lock().take(name, loads, Instant::now());
        self.shared.tell(notes);
        number.map(|number| Turn { number, shared: self.shared.clone() })
    }

    /// Call this when the object is deleted.
    pub fn forget(&self, name: &Name) {
        let notes = self.shared.lines.lock().forget(name, Instant::now());
        self.shared.tell(notes);
    }

    /// Call this when a store changed or is gone.
    pub fn heed(&self, load: &Load) {
        let notes = self.shared.lines.lock().heed(load, Instant::now());
        self.shared.tell(notes);
    }

    /// The stores of which anything is known.
    pub fn stores(&self) -> Vec<StoreName> {
        self.shared.lines.lock().stores()
    }

    /// The parked objects that can be reconciled now. Call it once.
    pub fn woken(&self) -> impl Stream<Item = Name> + Send + use<> {
        let woken = self.woken.lock().take().map(|woken| (woken, self.shared.clone()));
        futures::stream::unfold(woken, async |woken| {
            let (mut woken, shared) = woken?;
            let name = shared.next(&mut woken).await?;
            Some((name, Some((woken, shared))))
        })
    }
}

impl Shared {
    /// The next woken object. Meanwhile, the turns that nobody comes for go to others, also when
    /// nothing else happens in the queue.
    async fn next(&self, woken: &mut UnboundedReceiver<Name>) -> Option<Name> {
        loop {
            // Whoever gets a reservation is sent here, so none is made unnoticed.
            let expiry = self.lines.lock().next_expiry();
            let Some(expiry) = expiry else { return woken.recv().await };
            if let Ok(name) = timeout_at(expiry, woken.recv()).await {
                return name;
            }
            let notes = self.lines.lock().expire(Instant::now());
            self.tell(notes);
        }
    }

    /// Wakes whom a turn is reserved for, and logs what happened.
    fn tell(&self, notes: Vec<Note>) {
        for Note { what, name, holder } in notes {
            let kind = self.kind;
            match what {
                What::Parked => debug!(kind, object = %name, holder, "an object waits for its turn"),
                What::Woken => {
                    debug!(kind, object = %name, holder, "an object that waited has its turn");
                    // Without a receiver the queue has ended.
                    let _ended = self.wake.send(name);
                }
                What::Expired => debug!(kind, object = %name, holder, "an object did not come for its turn"),
            }
        }
    }
}

#[cfg(test)]
impl Turns {
    /// Whether nothing is kept of objects that wait.
    pub fn nobody_waits(&self) -> bool {
        self.shared.lines.lock().nobody_waits()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let notes = self.shared.lines.lock().end(self.number, Instant::now());
        self.shared.tell(notes);
    }
}

#[cfg(test)]
mod tests;
