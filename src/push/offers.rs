//! Offers: properties that their owner leaves to another PushSecret of the cluster.
//!
//! An owner that no longer wants a property offers it if another PushSecret may want it, and
//! removes nothing. The taker lists the property in its own ledger first, and then replaces the
//! owner's claim by its own. So the property always has a claim and a line, and keeps its value.
//! The owner removes its own line once it sees the taker's claim, and removes the property once
//! everybody who was asked has declined.
//!
//! Takers find an offer by its place, at whatever address. But a place is only what a server reports,
//! and another server can report the same. So a PushSecret at another address than the owner's
//! answers for itself alone: it ends no offer and holds none in hand. The owner looks for the
//! taker's claim at its own address.
//!
//! Offers are in memory only: after a restart, owners offer again. While its owner is reconciled,
//! an offer is closed, so that nobody takes what the owner may want back.

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::api::PushSecret;
use crate::controller::guarded::Guarded;
use crate::domain::claim::{self, CustomMetadata, Owner};
use crate::domain::object_name::Name;
use crate::store::{PathKey, Site};
pub use search::Search;

/// A PushSecret that may take an offer. After an edit it is asked again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiter {
    pub name: Name,
    pub uid: String,
    /// The generation of its spec.
    pub generation: i64,
}

/// The PushSecrets of the cluster, as the watch last showed them. One watch shows all changes in
/// order: whoever sees a deletion also sees every PushSecret that was created before it.
pub trait Others: Send + Sync {
    /// The PushSecrets for which `is_meant` is true. Each is looked at once.
    fn find(&self, is_meant: &dyn Fn(&PushSecret) -> bool) -> Vec<Arc<Guarded<PushSecret>>>;
}

/// The offers of this process, and the PushSecrets that wait for properties.
pub struct Offers {
    others: Box<dyn Others>,
    wake: Box<dyn Fn(Name) + Send + Sync>,
    state: Mutex<State>,
    put_down: Notify,
}

#[derive(Default)]
struct State {
    /// Orders the starts of reconciles and the openings of offers.
    clock: u64,
    offers: BTreeMap<At, Offer>,
    /// By refused PushSecret: where it was refused, and the owners in its way.
    refused: BTreeMap<Name, BTreeSet<(Site, Name)>>,
}

/// An offered property as its owner reaches it, and the UID of the owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    uid: String,
    site: Site,
    property: String,
}

struct Offer {
    by: Name,
    /// How long nothing but those who are asked held the removal.
    waited: Duration,
    /// When that was found last; `None` if something else held it.
    counted_at: Option<Instant>,
    /// Whether the present reconcile of its owner, or the last one, came far enough to know it.
    is_counted: bool,
    /// When it was opened; `None` while its owner is reconciled.
    open: Option<u64>,
    /// Whether somebody is taking it, at its owner's address.
    in_hand: bool,
    asked: BTreeSet<Waiter>,
    /// The last refusal of each PushSecret, also one from another address. It counts for the
    /// generation that gave it, and until that one is refused for nothing else.
    declined: BTreeMap<Name, Waiter>,
    /// Who took it. Its former owner still has to see that.
    taken_by: Option<Name>,
    /// The last one that had it in hand and did not take it: it has seen the offer.
    put_down_by: Option<Name>,
}

/// How long the offer of a property may hold its removal.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub now: Instant,
    /// The maximum time.
    pub most: Duration,
}

/// The properties to remove, and who may want each. A property that nobody may want is not offered.
pub type Asking = BTreeMap<(Site, String), Vec<Waiter>>;

/// A reconcile, as a taker of offers.
#[derive(Clone, Debug)]
pub struct Attempt {
    waiter: Waiter,
    began: u64,
}

/// The outcome of a reconcile at an entry that it publishes to.
pub struct Reached {
    pub site: Site,
    /// The properties that it owns there now.
    pub owned: BTreeSet<String>,
    /// The owners whose claims were in its way.
    pub refused_for: BTreeSet<Name>,
    /// The properties that others owned, if that was in its way.
    pub taken: BTreeSet<String>,
    /// Whether the outcome is final until something changes.
    pub is_final: bool,
}

/// Holds offers while their taker sets its claim. The owner and other waiters leave them alone.
pub struct InHand<'a> {
    offers: &'a Offers,
    by: Name,
    /// Where it is taken.
    site: Site,
    at: Vec<At>,
}

impl Offers {
    /// Starts without offers. `wake` queues a PushSecret.
    pub fn new(others: Box<dyn Others>, wake: Box<dyn Fn(Name) + Send + Sync>) -> Self {
        Offers { others, wake, state: Mutex::default(), put_down: Notify::new() }
    }

    /// Begins a reconcile: closes the offers of this PushSecret, once nobody is taking one.
    pub async fn begin(&self, me: &Owner, generation: i64) -> Attempt {
        let waiter = Waiter { name: name_of(me), uid: me.uid.clone(), generation };
        loop {
            // Subscribe before looking, so that no release in between is missed.
            let put_down = self.put_down.notified();
            if let Some(began) = self.lock().close(&me.uid) {
                return Attempt { waiter, began };
            }
            put_down.await;
        }
    }

    /// Looks for the PushSecrets that may want what this one gives up. One search serves a reconcile.
    pub fn search<'a>(&'a self, me: &'a Owner, patience: Patience) -> Search<'a> {
        Search::new(self, me, patience)
    }

    /// Replaces all offers of this PushSecret, and wakes the PushSecrets that are asked. For a
    /// property that was offered before, who declined it and how long it has waited is kept, and
    /// also for one that is `undecided`: whether to offer it could not be decided this time.
    pub fn open(&self, me: &Owner, asking: Asking, undecided: &dyn Fn(&PathKey, &str) -> bool) {
        let asked: BTreeSet<Name> = asking.values().flatten().map(|waiter| waiter.name.clone()).collect();
        self.lock().open(me, asking, undecided);
        self.wake(asked);
    }

    /// Counts the time that offers of this PushSecret have waited: of those in `holds`, where nothing
    /// else delays the removal. The time of the others stands still.
    ///
    /// The reconcile began with this `patience`, and ends `now`.
    pub fn count(&self, me: &Owner, holds: &BTreeSet<(Site, String)>, patience: Patience, now: Instant) {
        let mut state = self.lock();
        for (at, offer) in state.offers.iter_mut().filter(|(at, _)| at.uid == me.uid) {
            let counts = holds.contains(&(at.site.clone(), at.property.clone()));
            if counts || patience.is_over(offer) {
                offer.waited = Patience { now, ..patience }.waited(offer);
            }
            (offer.counted_at, offer.is_counted) = (counts.then_some(now), true);
        }
    }

    /// The properties offered at an entry, each with the UID of its owner.
    pub fn at(&self, site: &Site) -> BTreeSet<(String, String)> {
        let state = self.lock();
        let open = state.offers.iter().filter(|(at, offer)| at.site.place == site.place && offer.is_to_be_had());
        open.map(|(at, _)| (at.property.clone(), at.uid.clone())).collect()
    }

    /// Begins to take these properties, each from the owner with this UID. `None` if one of them is
    /// no longer offered.
    pub fn take(&self, me: &Owner, site: &Site, from: &BTreeMap<String, String>) -> Option<InHand<'_>> {
        let mut state = self.lock();
        let mut all = Vec::new();
        for (property, uid) in from {
            let is_it = |at: &At| at.uid == *uid && at.property == *property && at.site.place == site.place;
            let meant = state.offers.iter().filter(|(at, offer)| is_it(at) && offer.is_to_be_had());
            let before = all.len();
            all.extend(meant.map(|(at, _)| at.clone()));
            if all.len() == before {
                return None;
            }
        }
        for at in all.iter().filter(|at| at.site == *site) {
            state.offers.entry(at.clone()).and_modify(|offer| offer.in_hand = true);
        }
        Some(InHand { offers: self, by: name_of(me), site: site.clone(), at: all })
    }

    /// Records the outcome of a reconcile: closes the offers that it took, and declines those where
    /// it was refused. Wakes the owners of both.
    pub fn reached(&self, attempt: &Attempt, reached: &[Reached]) {
        let woken = self.lock().reached(attempt, reached);
        self.wake(woken);
    }

    /// Ends a reconcile. If it is not retried soon, it declines everything that it did not take.
    pub fn end(&self, attempt: &Attempt, is_final: bool) {
        if is_final {
            let woken = self.lock().decline(attempt, |_| true);
            self.wake(woken);
        }
    }

    /// Wakes the PushSecrets that were refused at these entries because of claims of this one: they
    /// may be free now. An address does not matter: who is woken looks for itself.
    pub fn freed(&self, me: &Owner, places: &BTreeSet<PathKey>) {
        if !places.is_empty() {
            let (state, mine) = (self.lock(), name_of(me));
            let woken = state.refused_for(|(site, owner)| places.contains(&site.place) && *owner == mine);
            drop(state);
            self.wake(woken);
        }
    }

    /// Wakes the owners of properties that a write of ours removed or replaced, so that they write
    /// them again: another leader had let them take these properties, or they had counted as dead.
    /// `metadata` has their claims.
    pub fn crossed<'p>(&self, me: &Owner, metadata: &CustomMetadata, written: impl IntoIterator<Item = &'p String>) {
        let owners = written.into_iter().filter_map(|property| claim::owner(metadata, property));
        let others = owners.filter(|owner| owner.uid != me.uid && owner.cluster == me.cluster);
        self.wake(others.map(|owner| name_of(&owner)).collect());
    }

    /// Forgets a PushSecret that does not exist any more, and wakes those that waited for its
    /// answer or its properties.
    pub fn forget(&self, name: &Name) {
        let mut state = self.lock();
        state.refused.remove(name);
        state.offers.retain(|_, offer| offer.by != *name);
        for offer in state.offers.values_mut() {
            offer.declined.remove(name);
            offer.taken_by.take_if(|taker| taker == name);
        }
        let asked_it = |offer: &&Offer| offer.asked.iter().any(|waiter| waiter.name == *name);
        let mut woken: BTreeSet<Name> = state.offers.values().filter(asked_it).map(|offer| offer.by.clone()).collect();
        woken.extend(state.refused_for(|(_, owner)| owner == name));
        drop(state);
        self.wake(woken);
    }

    /// Drops what a PushSecret of another controller offers and waits for. What it declined stays so:
    /// whoever asked it would ask again at once.
    pub fn leave(&self, name: &Name) {
        let mut state = self.lock();
        state.refused.remove(name);
        state.offers.retain(|_, offer| offer.by != *name);
    }

    fn wake(&self, names: BTreeSet<Name>) {
        names.into_iter().for_each(|name| (self.wake)(name));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Closes the offers of an owner, and returns the time; `None` while somebody is taking one.
    fn close(&mut self, uid: &str) -> Option<u64> {
        let mut ours: Vec<&mut Offer> =
            self.offers.iter_mut().filter(|(at, _)| at.uid == uid).map(|(_, offer)| offer).collect();
        if ours.iter().any(|offer| offer.in_hand) {
            return None;
        }
        ours.iter_mut().for_each(|offer| offer.close());
        Some(self.tick())
    }

    fn open(&mut self, me: &Owner, asking: Asking, undecided: &dyn Fn(&PathKey, &str) -> bool) {
        let open = Some(self.tick());
        let is_kept = |at: &At| {
            asking.contains_key(&(at.site.clone(), at.property.clone())) || undecided(&at.site.place, &at.property)
        };
        self.offers.retain(|at, _| at.uid != me.uid || is_kept(at));
        for ((site, property), asked) in asking {
            let at = At { uid: me.uid.clone(), site, property };
            if asked.is_empty() {
                self.offers.entry(at).and_modify(|offer| (offer.open, offer.asked) = (None, BTreeSet::new()));
                continue;
            }
            let offer = self.offers.entry(at).or_insert_with(|| Offer::new(name_of(me)));
            (offer.open, offer.asked, offer.put_down_by) = (open, asked.into_iter().collect(), None);
        }
    }

    /// Says who left these, and that the taker is refused there for their sake no longer.
    fn taken(&mut self, taker: &Name, site: &Site, all: &[At]) -> BTreeSet<Name> {
        let mut left = BTreeSet::new();
        for at in all {
            let Some(offer) = self.offers.get_mut(at) else { continue };
            match at.site == *site {
                true => offer.is_taken_by(taker),
                // Only a look at the owner's own address shows whether it is so there too.
                false => offer.is_answered_by(taker),
            }
            left.insert(offer.by.clone());
            if let Some(refused) = self.refused.get_mut(taker) {
                refused.remove(&(site.clone(), offer.by.clone()));
            }
        }
        left
    }

    fn reached(&mut self, attempt: &Attempt, reached: &[Reached]) -> BTreeSet<Name> {
        let mut woken = BTreeSet::new();
        let owned = |at: &At| reached.iter().any(|one| one.site == at.site && one.owned.contains(&at.property));
        let taken = self
            .offers
            .iter_mut()
            .filter(|(at, offer)| at.uid != attempt.waiter.uid && offer.open.is_some() && owned(at));
        for (_, offer) in taken {
            offer.is_taken_by(&attempt.waiter.name);
            woken.insert(offer.by.clone());
        }
        let refused = reached.iter().flat_map(|one| one.refused_for.iter().map(|by| (one.site.clone(), by.clone())));
        let refused: BTreeSet<(Site, Name)> = refused.collect();
        reached.iter().for_each(|one| self.ask_again(attempt, one));
        match refused.is_empty() {
            true => drop(self.refused.remove(&attempt.waiter.name)),
            false => drop(self.refused.insert(attempt.waiter.name.clone(), refused)),
        }
        let is_final = |site: &Site| reached.iter().any(|one| one.is_final && one.site == *site);
        woken.extend(self.decline(attempt, is_final));
        woken
    }

    /// Forgets what it declined if nothing else was in its way this time: what it wants may have
    /// changed without an edit, and nobody offered it.
    fn ask_again(&mut self, attempt: &Attempt, one: &Reached) {
        let is_meant = |at: &At, offer: &Offer| {
            let is_unseen = offer.open.is_none_or(|open| open >= attempt.began);
            is_unseen && at.site == one.site && one.taken.contains(&at.property)
        };
        let meant = self.offers.iter().filter(|(at, offer)| is_meant(at, offer));
        let could_be_offered: BTreeSet<&String> = meant.map(|(at, _)| &at.property).collect();
        if could_be_offered.len() == one.taken.len() {
            let meant = self.offers.iter_mut().filter(|(at, offer)| is_meant(at, offer));
            meant.for_each(|(_, offer)| drop(offer.declined.remove(&attempt.waiter.name)));
        }
    }

    /// Declines offers. A reconcile can only have seen those that were open before it began.
    fn decline(&mut self, attempt: &Attempt, at_entry: impl Fn(&Site) -> bool) -> BTreeSet<Name> {
        let mut woken = BTreeSet::new();
        for (at, offer) in &mut self.offers {
            let has_seen = |open: u64| open < attempt.began || offer.put_down_by.as_ref() == Some(&attempt.waiter.name);
            let was_open = !offer.in_hand && offer.open.is_some_and(has_seen);
            let is_asked = offer.asked.iter().any(|asked| asked.name == attempt.waiter.name);
            if was_open && is_asked && at_entry(&at.site) && offer.is_declined_by(&attempt.waiter) {
                woken.insert(offer.by.clone());
            }
        }
        woken
    }

    fn refused_for(&self, is_meant: impl Fn(&(Site, Name)) -> bool) -> BTreeSet<Name> {
        let meant = self.refused.iter().filter(|(_, refused)| refused.iter().any(&is_meant));
        meant.map(|(name, _)| name.clone()).collect()
    }
}

impl Patience {
    fn is_over(self, offer: &Offer) -> bool {
        self.waited(offer) >= self.most
    }

    fn waited(self, offer: &Offer) -> Duration {
        let more = offer.counted_at.map(|since| self.now.saturating_duration_since(since));
        offer.waited.saturating_add(more.unwrap_or_default())
    }
}

impl Offer {
    fn new(by: Name) -> Self {
        Offer {
            by,
            waited: Duration::ZERO,
            counted_at: None,
            is_counted: false,
            open: None,
            in_hand: false,
            asked: BTreeSet::new(),
            declined: BTreeMap::new(),
            taken_by: None,
            put_down_by: None,
        }
    }

    /// Its owner begins a reconcile. If the one before was cut off, something else than those who are
    /// asked may have held the removal.
    fn close(&mut self) {
        self.counted_at.take_if(|_| !self.is_counted);
        (self.open, self.is_counted) = (None, false);
    }

    fn is_taken_by(&mut self, name: &Name) {
        (self.open, self.in_hand, self.taken_by) = (None, false, Some(name.clone()));
    }

    /// This generation of it does not want the property. Returns whether that is news.
    fn is_declined_by(&mut self, waiter: &Waiter) -> bool {
        self.declined.insert(waiter.name.clone(), waiter.clone()).as_ref() != Some(waiter)
    }

    /// It has taken the property elsewhere: whatever becomes of it here, that one needs not be asked
    /// again.
    fn is_answered_by(&mut self, name: &Name) {
        let asked: Vec<Waiter> = self.asked.iter().filter(|asked| asked.name == *name).cloned().collect();
        for waiter in &asked {
            self.is_declined_by(waiter);
        }
    }

    fn is_to_be_had(&self) -> bool {
        self.open.is_some() && !self.in_hand
    }
}

impl InHand<'_> {
    /// Ends the taking after the claim is set: wakes the owners, and closes the offers.
    pub fn taken(self) {
        let woken = self.offers.lock().taken(&self.by, &self.site, &self.at);
        self.offers.wake(woken);
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let mut woken = BTreeSet::new();
        let mut state = self.offers.lock();
        // Others who were asked meanwhile have not seen the offer, so they are asked again.
        let now = state.tick();
        for at in self.at.iter().filter(|at| at.site == self.site) {
            if let Some(offer) = state.offers.get_mut(at).filter(|offer| offer.in_hand) {
                (offer.in_hand, offer.open) = (false, offer.open.map(|_| now));
                offer.put_down_by = Some(self.by.clone());
                woken.extend(offer.asked.iter().map(|waiter| waiter.name.clone()).filter(|name| *name != self.by));
            }
        }
        drop(state);
        self.offers.put_down.notify_waiters();
        self.offers.wake(woken);
    }
}

impl Others for Store<Guarded<PushSecret>> {
    fn find(&self, is_meant: &dyn Fn(&PushSecret) -> bool) -> Vec<Arc<Guarded<PushSecret>>> {
        self.state().into_iter().filter(|object| object.0.as_ref().is_ok_and(is_meant)).collect()
    }
}

impl Waiter {
    pub fn of(push: &PushSecret) -> Self {
        Waiter {
            name: name(push),
            uid: push.uid().unwrap_or_default(),
            generation: push.metadata.generation.unwrap_or_default(),
        }
    }
}

fn name(push: &PushSecret) -> Name {
    Name::new(push.namespace().unwrap_or_default(), push.name_any())
}

fn name_of(owner: &Owner) -> Name {
    Name::new(&owner.namespace, &owner.name)
}
