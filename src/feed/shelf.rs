//! Shared reads: one request for all who need the same, and bytes that are held only while somebody
//! waits for them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::index::{Index, Progress};
use super::{Freshness, ReadError, ReadKey, Seen, Source, lock, schedule};
use crate::domain::description::{self, What};
use crate::domain::object_name::Name;
use crate::domain::remote::Entry;
use crate::store::{StoreClient, StoreError};

/// The maximum bytes held for later consumers; beyond it, they read for themselves.
const MOST_HELD: usize = 16 * 1024 * 1024;
/// How long an error is shared with others who need the same, so that ten consumers of a dead
/// server time out once.
const ERROR_HOLD: Duration = Duration::from_secs(1);
/// Pauses before reading again from a lagging server: together longer than the usual lag of a
/// standby.
const LAG_PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

/// See the module.
#[derive(Default)]
pub(super) struct Shelf {
    slots: Mutex<HashMap<ReadKey, Slot>>,
    held: Arc<AtomicUsize>,
}

/// One read for all who need the same.
#[derive(Default)]
struct Slot {
    read: Arc<Shared>,
    /// How many need it now.
    sharers: usize,
}

/// Locked while the read is in flight: others who need the same wait for the lock.
type Shared = tokio::sync::Mutex<Option<Read>>;

/// A consumer that waits for a read, until it has it or is stopped.
struct Sharer<'a> {
    shelf: &'a Shelf,
    index: &'a Mutex<Index>,
    key: &'a ReadKey,
    name: &'a Name,
    read: Arc<Shared>,
}

struct Read {
    begun: Instant,
    ended: Instant,
    /// The client that read. A rotated credential means another client with the same identity.
    client: Weak<dyn StoreClient>,
    outcome: Result<Kept, ReadError>,
}

/// Held bytes, counted until they are dropped.
struct Kept {
    entry: Arc<Entry>,
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Shelf {
    pub async fn read(
        &self,
        index: &Mutex<Index>,
        name: &Name,
        source: &Source,
        freshness: Freshness,
    ) -> Result<Arc<Entry>, ReadError> {
        let key = source.read_key();
        let sharer = self.join(index, &key, name);
        let mut read = sharer.read.lock().await;
        let is_read_by = |read: &&Read| std::ptr::addr_eq(read.client.as_ptr(), Arc::as_ptr(&source.client));
        let serving = |read: &Read| serves(read, &lock(index), name, &key, freshness, Instant::now());
        if !read.as_ref().filter(is_read_by).is_some_and(serving) {
            // The old bytes are dropped before the new ones are read.
            *read = None;
            *read = Some(self.fetch(index, name, &key, source, freshness).await);
        }
        let outcome = read.as_ref().map_or(Err(ReadError::Store(stale(source))), |read| match &read.outcome {
            Ok(kept) => Ok(kept.entry.clone()),
            Err(error) => Err(error.clone()),
        });
        match &outcome {
            Ok(entry) => {
                let begun = read.as_ref().map_or_else(Instant::now, |read| read.begun);
                lock(index).taken(name, &key, Seen::of(entry), begun);
            }
            Err(ReadError::WentBack { now, .. }) => {
                let begun = read.as_ref().map_or_else(Instant::now, |read| read.begun);
                lock(index).refused(name, &key, Seen::of(&now.entry()), begun);
            }
            Err(ReadError::Store(_)) => lock(index).failed(name, &key),
        }
        outcome
    }

    fn join<'a>(&'a self, index: &'a Mutex<Index>, key: &'a ReadKey, name: &'a Name) -> Sharer<'a> {
        let mut slots = self.slots();
        let slot = slots.entry(key.clone()).or_default();
        slot.sharers += 1;
        Sharer { shelf: self, index, key, name, read: slot.read.clone() }
    }

    /// Drops reads that nobody waits for any more.
    pub fn expire(&self, index: &Mutex<Index>, now: Instant) {
        let mut slots = self.slots();
        slots.retain(|key, slot| {
            let Ok(mut read) = slot.read.try_lock() else { return true };
            let keep = read.as_ref().is_some_and(|read| match &read.outcome {
                Ok(_) => lock(index).is_awaited(key, now),
                Err(_) => now.duration_since(read.ended) < ERROR_HOLD,
            });
            if !keep {
                *read = None;
            }
            keep || slot.sharers > 0
        });
    }

    /// Whether nothing is held or in flight.
    pub fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }

    async fn fetch(
        &self,
        index: &Mutex<Index>,
        name: &Name,
        key: &ReadKey,
        source: &Source,
        freshness: Freshness,
    ) -> Read {
        let mut begun = Instant::now();
        let outcome = self.fetch_current(index, name, key, source, freshness, &mut begun).await;
        let ended = Instant::now();
        match &outcome {
            Ok(_) if shows_all(&lock(index), key) => {
                lock(index).postpone(&key.site, begun, ended, schedule::jittered);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(path = %source.path, %error, "read failed"),
        }
        let client = Arc::downgrade(&source.client);
        Read { begun, ended, client, outcome: outcome.map(|entry| self.kept(entry)) }
    }

    /// Reads until the answer is no older than what is known of the path. `begun` is when the last
    /// request was sent.
    async fn fetch_current(
        &self,
        index: &Mutex<Index>,
        name: &Name,
        key: &ReadKey,
        source: &Source,
        freshness: Freshness,
        begun: &mut Instant,
    ) -> Result<Entry, ReadError> {
        let confirmed = matches!(freshness, Freshness::Asked(_));
        let mut pauses = LAG_PAUSES.iter();
        loop {
            *begun = Instant::now();
            let entry = source.request().await.map_err(ReadError::Store)?;
            let seen = Seen::of(&entry);
            let progress = lock(index).judge(name, key, seen, confirmed, *begun, Instant::now());
            let shows_metadata = source.what == What::Metadata && progress != Progress::Behind;
            if let Some(digest) = description::digest_of(&entry).filter(|_| shows_metadata) {
                lock(index).heed_metadata(&key.site, digest, *begun);
            }
            match (progress, pauses.next()) {
                (Progress::Good, _) => {
                    lock(index).use_consents(&key.site, seen, Instant::now());
                    tracing::debug!(path = %source.path, version = seen.version, "read");
                    return Ok(entry);
                }
                (Progress::WentBack { from }, _) => {
                    let (path, now) = (source.path.to_string(), Box::new(entry.outline()));
                    return Err(ReadError::WentBack { path, from, now });
                }
                (Progress::Doubted, None) => {
                    let (mut index, now) = (lock(index), Instant::now());
                    index.disregard_hint(&key.site, now);
                    index.use_consents(&key.site, seen, now);
                    return Ok(entry);
                }
                (Progress::Doubted | Progress::Behind, Some(pause)) => tokio::time::sleep(*pause).await,
                (Progress::Behind, None) => return Err(ReadError::Store(stale(source))),
            }
        }
    }

    fn kept(&self, entry: Entry) -> Kept {
        let bytes = entry.bytes();
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Kept { entry: Arc::new(entry), bytes, held: self.held.clone() }
    }

    fn has_room(&self) -> bool {
        self.held.load(Ordering::Relaxed) <= MOST_HELD
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<ReadKey, Slot>> {
        self.slots.lock()
    }
}

impl Drop for Sharer<'_> {
    /// After the last one, those who did not share the read are told what it showed, and bytes that
    /// nobody waits for are dropped. This is so however each of them ended: a reconcile that fails at
    /// another path is stopped while it reads.
    fn drop(&mut self) {
        let (mut slots, now) = (self.shelf.slots(), Instant::now());
        let Some(slot) = slots.get_mut(self.key) else { return };
        slot.sharers -= 1;
        if slot.sharers > 0 {
            return;
        }
        let mut index = lock(self.index);
        index.tell_others(self.name, &self.key.site, now);
        let keep = match self.read.try_lock().as_deref() {
            Ok(Some(Read { outcome: Ok(_), .. })) => index.is_awaited(self.key, now) && self.shelf.has_room(),
            Ok(Some(Read { outcome: Err(_), .. })) => true,
            Ok(None) => {
                index.cut_off(&self.key.site, now);
                false
            }
            Err(_in_use) => true,
        };
        if !keep {
            slots.remove(self.key);
        }
    }
}

fn serves(read: &Read, index: &Index, name: &Name, key: &ReadKey, freshness: Freshness, now: Instant) -> bool {
    let fresh = match freshness {
        Freshness::Shared => true,
        Freshness::Since(since) | Freshness::Asked(since) => read.begun >= since,
    };
    let held = now.duration_since(read.ended) < ERROR_HOLD;
    match &read.outcome {
        Err(ReadError::WentBack { now, .. }) => {
            let confirmed = matches!(freshness, Freshness::Asked(_));
            held && fresh && !confirmed && index.is_refused_alike(name, key, now.version, read.begun)
        }
        Err(_) => held,
        Ok(kept) => {
            let seen = Seen::of(&kept.entry);
            fresh && index.is_current(key, seen, read.begun) && !index.had_later(name, key, seen)
        }
    }
}

/// Whether a read shows what a check would: an earlier version shows nothing of the latest one, and
/// data nothing of the metadata that somebody else reads.
fn shows_all(index: &Index, key: &ReadKey) -> bool {
    key.version.is_none() && (key.what == What::Metadata || !index.shows_metadata(&key.site))
}

fn stale(source: &Source) -> StoreError {
    StoreError::Stale { path: source.path.to_string() }
}
