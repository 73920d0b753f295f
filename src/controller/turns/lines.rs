//! Who has a turn and who waits for one. This is pure bookkeeping: it reads no clock and wakes
//! nobody.
//!
//! An object runs only while each of its holders has room for it. One that waits holds nothing, and
//! its needs are remembered: whenever room may have come, the oldest object that can run gets a
//! reservation. So one that is held up by another holder blocks nobody, and after each call no
//! object waits that could run.
//!
//! Objects that use the same stores run in the order in which they came. An object of several stores
//! needs room in all of them at one moment: it may be overtaken while they are never free together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::holder::{Holder, Shares, Uses};
use super::waiting::Waiting;
use crate::domain::object_name::Name;
use crate::store::{Load, StoreName};

/// How long a turn is kept for the object that was woken for it. A woken object comes at once,
/// unless it is gone or all slots are taken.
pub const RESERVED: Duration = Duration::from_secs(1);

/// The lines of one queue.
pub struct Lines {
    shares: Shares,
    /// The next age, and the next number of a turn.
    next: u64,
    under_way: HashMap<u64, Arc<Uses>>,
    places: HashMap<Name, Place>,
    /// Those that are parked.
    waiting: Waiting,
    /// Those that have a reservation.
    reserved: HashMap<Name, Instant>,
}

/// The place of an object that waits. It is kept until the object has a turn or is gone.
#[derive(Clone)]
struct Place {
    since: u64,
    uses: Arc<Uses>,
    /// The holder that had no room when the object last asked.
    holder: String,
}

/// What happened to an object that waits, for whoever wakes it and for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What happened.
    pub what: What,
    /// The object.
    pub name: Name,
    /// The holder that had no room when the object last asked.
    pub holder: String,
}

/// See [`Note`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It has to wait.
    Parked,
    /// A turn is reserved for it: it must be told.
    Woken,
    /// It did not come for its turn in time. It keeps its age for when it comes.
    Expired,
}

impl Lines {
    /// Nobody waits; `half` is half of the queue's slots.
    pub fn new(half: usize) -> Self {
        Lines {
            shares: Shares::new(half),
            next: 0,
            under_way: HashMap::new(),
            places: HashMap::new(),
            waiting: Waiting::default(),
            reserved: HashMap::new(),
        }
    }

    /// The number of a turn for the object, which must [`end`](Self::end); none if it is parked.
    pub fn take(&mut self, name: &Name, loads: &[Load], now: Instant) -> (Option<u64>, Vec<Note>) {
        // What is reserved for it is still there, however late it comes.
        let was_reserved = self.reserved.remove(name).is_some();
        let mut notes = self.lapse(now);
        loads.iter().for_each(|load| self.learn(load));
        let uses = Arc::new(Uses::of(loads));
        let place = self.leave(name);
        if was_reserved && place.as_ref().is_some_and(|place| place.uses == uses) && self.full(&uses).is_none() {
            let turn = self.begin(uses);
            notes.extend(self.reserve(now));
            return (Some(turn), notes);
        }
        let since = place.map_or_else(|| self.number(), |place| place.since);
        self.park(name, Place { since, uses: uses.clone(), holder: String::new() });
        notes.extend(self.reserve(now));
        if self.reserved.remove(name).is_some() {
            self.give_up(name);
            notes.retain(|note| note.what != What::Woken || note.name != *name);
            return (Some(self.begin(uses)), notes);
        }
        let holder = self.full(&uses).unwrap_or_default();
        self.places.entry(name.clone()).and_modify(|place| place.holder = holder);
        notes.extend(self.note(What::Parked, name.clone()));
        (None, notes)
    }

    /// Ends a turn.
    pub fn end(&mut self, turn: u64, now: Instant) -> Vec<Note> {
        let mut notes = self.lapse(now);
        if let Some(uses) = self.under_way.remove(&turn) {
            for store in self.shares.prove(&uses) {
                self.waiting.changed(store, |uses| self.shares.needs(uses));
            }
        }
        notes.extend(self.reserve(now));
        notes
    }

    /// Call this when the object is deleted.
    pub fn forget(&mut self, name: &Name, now: Instant) -> Vec<Note> {
        self.leave(name);
        match self.reserved.remove(name) {
            Some(_) => self.reserve(now),
            None => Vec::new(),
        }
    }

    /// Learns how a store is now, if it was used. One that is gone is forgotten.
    pub fn heed(&mut self, load: &Load, now: Instant) -> Vec<Note> {
        if !self.shares.knows(&load.store) {
            return Vec::new();
        }
        self.learn(load);
        self.reserve(now)
    }

    /// The stores of which anything is known.
    pub fn stores(&self) -> Vec<StoreName> {
        self.shares.stores().cloned().collect()
    }

    /// Gives the turns that nobody came for to the next.
    pub fn expire(&mut self, now: Instant) -> Vec<Note> {
        let mut notes = self.lapse(now);
        if !notes.is_empty() {
            notes.extend(self.reserve(now));
        }
        notes
    }

    /// When the next reservation expires, if there is one.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.reserved.values().min().copied()
    }

    /// Ends the reservations that are over; the room is not given to anybody yet.
    fn lapse(&mut self, now: Instant) -> Vec<Note> {
        let over = self.reserved.extract_if(|_, until| *until <= now).map(|(name, _)| name);
        let over: Vec<Name> = over.collect();
        over.into_iter().filter_map(|name| self.note(What::Expired, name)).collect()
    }

    /// Reserves a turn for each parked object that can run, the oldest first.
    fn reserve(&mut self, now: Instant) -> Vec<Note> {
        let (mut held, mut notes) = (self.held(), Vec::new());
        loop {
            self.waiting.fill(self.shares.full(&held).cloned().collect());
            let Some((since, uses)) = self.waiting.oldest() else { return notes };
            for holder in self.shares.needs(&uses).holders() {
                *held.entry(holder.clone()).or_default() += 1;
            }
            if let Some(name) = self.waiting.remove(&uses, since) {
                self.reserved.insert(name.clone(), now + RESERVED);
                notes.extend(self.note(What::Woken, name));
            }
        }
    }

    /// What the objects hold that have a turn or a reservation: no more of them than slots.
    fn held(&self) -> BTreeMap<Holder, usize> {
        let reserved = self.reserved.keys().filter_map(|name| Some(&self.places.get(name)?.uses));
        let mut held = BTreeMap::new();
        for uses in self.under_way.values().chain(reserved) {
            for holder in self.shares.needs(uses).holders() {
                *held.entry(holder.clone()).or_default() += 1;
            }
        }
        held
    }

    /// A holder that has no room for one more object that uses this.
    fn full(&self, uses: &Uses) -> Option<String> {
        let (held, needs) = (self.held(), self.shares.needs(uses));
        let full = self.shares.full(&held).find(|full| needs.holders().any(|holder| holder == *full));
        full.map(Holder::to_string)
    }

    fn learn(&mut self, load: &Load) {
        if self.shares.heed(load) {
            self.waiting.changed(&load.store, |uses| self.shares.needs(uses));
        }
    }

    fn begin(&mut self, uses: Arc<Uses>) -> u64 {
        let turn = self.number();
        self.under_way.insert(turn, uses);
        turn
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn park(&mut self, name: &Name, place: Place) {
        self.waiting.add(&place.uses, place.since, name.clone(), || self.shares.needs(&place.uses));
        self.places.insert(name.clone(), place);
    }

    fn leave(&mut self, name: &Name) -> Option<Place> {
        let place = self.give_up(name)?;
        self.waiting.remove(&place.uses, place.since);
        Some(place)
    }

    /// After a crowd, which all objects are at a start, its room is given back.
    fn give_up(&mut self, name: &Name) -> Option<Place> {
        let place = self.places.remove(name);
        if self.places.is_empty() {
            self.places.shrink_to_fit();
        }
        place
    }

    fn note(&self, what: What, name: Name) -> Option<Note> {
        let holder = self.places.get(&name)?.holder.clone();
        Some(Note { what, name, holder })
    }
}

#[cfg(test)]
impl Lines {
    /// How many objects can wait without another allocation.
    pub fn room(&self) -> usize {
        self.places.capacity()
    }

    /// How many nodes of the tree of lines were looked at so far.
    pub fn looks(&self) -> usize {
        self.waiting.looks
    }

    /// Whether nothing is kept of objects that wait.
    pub fn nobody_waits(&self) -> bool {
        self.places.is_empty() && self.reserved.is_empty() && self.waiting.is_empty()
    }
}
