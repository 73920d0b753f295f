//! The slots of a queue, shared between stores. The objects of one server hold at most half of
//! them, and those of a slow store only a few: a server that does not answer, or answers late,
//! delays only its own objects.
//!
//! An object without a turn does not wait in a slot. It is parked, and woken when a turn of its
//! store or server ends.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use futures::Stream;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::domain::object_name::Name;
use crate::store::{Load, StoreName};

/// The turns of one queue.
pub struct Turns {
    half: usize,
    lines: Arc<Mutex<Lines>>,
    woken: Mutex<Option<UnboundedReceiver<Name>>>,
}

struct Lines {
    by_holder: HashMap<Holder, Line>,
    wake: UnboundedSender<Name>,
}

/// What turns are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Holder {
    /// All stores of one address: they fail together.
    Server(String),
    /// One store: its login or its role may be slow although the server is not.
    Store(StoreName),
    /// No store at all.
    Nothing,
}

#[derive(Default)]
struct Line {
    under_way: usize,
    /// The maximum number of turns, as last computed.
    share: usize,
    parked: VecDeque<Name>,
    is_parked: HashSet<Name>,
}

/// The right to reconcile an object now, returned when dropped.
pub struct Turn {
    holders: Vec<Holder>,
    lines: Arc<Mutex<Lines>>,
}

impl Turns {
    /// No turn is taken; at most `half` objects of one server may run.
    pub fn new(half: u16) -> Self {
        let (wake, woken) = unbounded_channel();
        let lines = Lines { by_holder: HashMap::new(), wake };
        Turns { half: usize::from(half.max(1)), lines: Arc::new(Mutex::new(lines)), woken: Mutex::new(Some(woken)) }
    }

    /// The number of slots of the queue.
    pub fn slots(&self) -> u16 {
        u16::try_from(self.half * 2).unwrap_or(u16::MAX)
    }

    /// A turn for an object that uses these stores; `None` if it is parked until one ends.
    pub fn take(&self, name: &Name, loads: &[Load]) -> Option<Turn> {
        let mut lines = lock(&self.lines);
        let shares = self.shares(loads);
        for (holder, share) in &shares {
            let Some(line) = lines.by_holder.get_mut(holder) else { continue };
            line.share = *share;
            if line.under_way >= *share {
                line.park(name);
                return None;
            }
        }
        for (holder, share) in &shares {
            let line = lines.by_holder.entry(holder.clone()).or_default();
            line.share = *share;
            line.under_way += 1;
            // The store may have become faster, so that there is room for more than one.
            let next = line.next();
            lines.wake(next);
        }
        drop(lines);
        Some(Turn { holders: shares.into_keys().collect(), lines: self.lines.clone() })
    }

    /// Call this when the object is deleted.
    pub fn forget(&self, name: &Name) {
        lock(&self.lines).by_holder.values_mut().for_each(|line| {
            line.is_parked.remove(name);
        });
    }

    /// The parked objects that can be reconciled now. Call it once.
    pub fn woken(&self) -> impl Stream<Item = Name> + Send + use<> {
        let woken = self.woken.lock().take();
        futures::stream::unfold(woken, async |woken| {
            let mut woken = woken?;
            woken.recv().await.map(|name| (name, Some(woken)))
        })
    }

    /// The maximum of each holder, in an order that is the same for all objects, so that those that
    /// wait for the same holder wait in one line.
    fn shares(&self, loads: &[Load]) -> BTreeMap<Holder, usize> {
        let few = (self.half / 4).max(1);
        let shares = loads.iter().flat_map(|load| {
            let own = if load.slow { few } else { self.half };
            [(Holder::Server(load.server.clone()), self.half), (Holder::Store(load.store.clone()), own)]
        });
        let shares: BTreeMap<Holder, usize> = shares.collect();
        if shares.is_empty() { BTreeMap::from([(Holder::Nothing, self.half)]) } else { shares }
    }
}

impl Lines {
    fn wake(&self, name: Option<Name>) {
        if let Some(name) = name {
            // Without a receiver the queue has ended.
            let _ended = self.wake.send(name);
        }
    }
}

impl Line {
    fn park(&mut self, name: &Name) {
        if self.is_parked.insert(name.clone()) {
            self.parked.push_back(name.clone());
        }
    }

    /// The object that has waited longest, if there is room.
    fn next(&mut self) -> Option<Name> {
        while self.under_way < self.share {
            let name = self.parked.pop_front()?;
            if self.is_parked.remove(&name) {
                return Some(name);
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = lock(&self.lines);
        for holder in &self.holders {
            let Some(line) = lines.by_holder.get_mut(holder) else { continue };
            line.under_way -= 1;
            let next = line.next();
            if line.under_way == 0 && line.parked.is_empty() {
                lines.by_holder.remove(holder);
            }
            lines.wake(next);
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep};

    use super::*;

    const HALF: u16 = 8;

    fn name(name: &str) -> Name {
        Name::new("ns", name)
    }

    fn load(store: &str, slow: bool) -> Load {
        Load { store: StoreName::cluster(store), server: format!("https://{store}"), slow }
    }

    fn take(turns: &Turns, number: usize, load: &Load) -> Option<Turn> {
        turns.take(&name(&format!("{}-{number}", load.store.name)), std::slice::from_ref(load))
    }

    #[test]
    fn one_server_gets_half_of_the_slots_and_a_slow_store_a_few() {
        let turns = Turns::new(HALF);
        assert_eq!(turns.slots(), 2 * HALF);
        let prompt: Vec<_> = (0..50).filter_map(|number| take(&turns, number, &load("one", false))).collect();
        assert_eq!(prompt.len(), 8);
        let slow: Vec<_> = (0..50).filter_map(|number| take(&turns, number, &load("slow", true))).collect();
        assert_eq!(slow.len(), 2);
        // Stores of one address fail together, and one that is slow leaves the rest to the others.
        let other = Load { server: "https://slow".into(), ..load("other", false) };
        let others: Vec<_> = (0..50).filter_map(|number| take(&turns, number, &other)).collect();
        assert_eq!(others.len(), 6);
        let storeless: Vec<_> = (0..50).filter_map(|number| turns.take(&name(&number.to_string()), &[])).collect();
        assert_eq!(storeless.len(), 8);
        drop((prompt, slow, others, storeless));
        assert!(take(&turns, 0, &load("one", false)).is_some());
    }

    #[tokio::test]
    async fn who_is_parked_is_woken_in_turn_and_who_is_gone_is_not() {
        let turns = Turns::new(1);
        let mut woken = std::pin::pin!(turns.woken());
        let store = load("one", false);
        let first = take(&turns, 0, &store).unwrap();
        for number in [1, 2, 2, 3, 4] {
            assert!(take(&turns, number, &store).is_none());
        }
        turns.forget(&name("one-1"));
        drop(first);
        assert_eq!(woken.next().await, Some(name("one-2")));
        drop(take(&turns, 2, &store).unwrap());
        assert_eq!(woken.next().await, Some(name("one-3")));
        // It went before it was looked at again: the next event of the store goes on with the
        // others.
        drop(take(&turns, 5, &store).unwrap());
        assert_eq!(woken.next().await, Some(name("one-4")));
    }

    #[test]
    fn an_object_of_two_stores_holds_a_turn_of_each_or_none() {
        let turns = Turns::new(1);
        let both = [load("one", false), load("two", false)];
        let one = take(&turns, 0, &both[0]).unwrap();
        assert!(turns.take(&name("both"), &both).is_none());
        let two = take(&turns, 0, &both[1]).unwrap();
        drop((one, two));
        let held = turns.take(&name("both"), &both).unwrap();
        assert!(take(&turns, 1, &both[0]).is_none() && take(&turns, 1, &both[1]).is_none());
        drop(held);
        assert!(take(&turns, 1, &both[0]).is_some());
    }

    /// A queue with its slots: 50 objects of a store that answers after 14 s, or never, and one of
    /// another behind them.
    #[tokio::test(start_paused = true)]
    async fn fifty_objects_of_a_store_that_hangs_delay_no_other() {
        for answers_after in [Duration::from_secs(14), Duration::from_secs(24 * 3600)] {
            let turns = Arc::new(Turns::new(HALF));
            let slots = Arc::new(Semaphore::new(turns.slots().into()));
            let began = Instant::now();
            let work = |number: usize, store: &'static str, takes: Duration| {
                let (turns, slots) = (turns.clone(), slots.clone());
                tokio::spawn(async move {
                    let _slot = slots.acquire_owned().await.unwrap();
                    let turn = take(&turns, number, &load(store, false));
                    if turn.is_some() {
                        sleep(takes).await;
                    }
                })
            };
            for number in 0..50 {
                work(number, "slow", answers_after);
            }
            work(0, "other", Duration::ZERO).await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        }
    }
}
