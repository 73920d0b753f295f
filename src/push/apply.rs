//! Carries a plan out: everything new first, everything old after, and only when all of the new is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::entry::{Applied, Applier, Place, Recorder};
use super::ledger::{Spot, StoreKey};
use super::observe::NoStore;
use super::patience::{no_answer, side_by_side};
use super::plan::{Job, Places, Plan, Problem};
use super::step::Removals;
use crate::feed::Pushed;
use crate::store::{Site, StoreClient};

/// The clients of the stores that can be used.
pub type Clients = BTreeMap<StoreKey, Arc<dyn StoreClient>>;

/// What became of the entries.
pub type Results = BTreeMap<Spot, Outcome>;

/// What became of one entry.
#[derive(Debug)]
pub struct Outcome {
    /// How it stands, or why not.
    pub result: Result<Applied, Problem>,
    /// What became of the properties that were to go.
    pub removal: Removal,
}

/// What became of the properties that were to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// They are gone, or there were none.
    Done,
    /// They wait until everything new is written.
    Postponed,
}

/// Gives a recorder for each entry.
pub trait Ledgers: Send + Sync {
    /// The recorder of this entry.
    fn at<'a>(&'a self, spot: &'a Spot) -> Box<dyn Recorder + 'a>;
}

/// Everything that is needed to carry a plan out.
pub struct Apply<'a> {
    /// Who we are.
    pub applier: Applier<'a>,
    /// The stores.
    pub clients: &'a Clients,
    /// Where the entries are.
    pub places: &'a Places,
    /// The stores that are published to.
    pub wanted: &'a BTreeSet<StoreKey>,
    /// The stores that cannot be used: among those that are published to, work that is not done.
    pub absent: &'a BTreeMap<StoreKey, NoStore>,
    /// The ledger.
    pub ledgers: &'a dyn Ledgers,
    /// Told at once what consumers of an entry are to know.
    pub announce: &'a (dyn Fn(&Site, Pushed) + Send + Sync),
}

/// The two halves of a plan.
#[derive(Clone, Copy)]
enum Half {
    /// What is wanted.
    New,
    /// What is not wanted any more.
    Old,
}

impl Apply<'_> {
    /// Writes, then removes. Stores work side by side, and one that hangs is left behind.
    ///
    /// In a store that is published to, what is old goes once everything new is in that store: no other store delays it. From a
    /// store that is not published to any more it goes once everything new is in every store.
    pub async fn run(&self, plan: &Plan) -> Results {
        let results = Mutex::new(Results::new());
        let new = plan.iter().filter(|(_, job)| job.is_new());
        self.half(Half::New, new.collect(), &results).await;
        let unfinished = self.unfinished(&lock(&results));
        let may_lose = |store: &StoreKey| match self.wanted.contains(store) {
            true => !unfinished.contains(store),
            false => unfinished.is_empty(),
        };
        let mut old: Vec<(&Spot, &Job)> = Vec::new();
        for (spot, job) in plan {
            let removal = lock(&results).get(spot).map(|outcome| outcome.removal);
            match (removal, may_lose(&spot.store)) {
                (Some(Removal::Done), true | false) | (Some(Removal::Postponed), false) => {}
                (None, false) => drop(lock(&results).insert(spot.clone(), Outcome::untouched())),
                (Some(Removal::Postponed) | None, true) => old.push((spot, job)),
            }
        }
        self.half(Half::Old, old, &results).await;
        results.into_inner()
    }

    /// The stores that are published to and do not have everything.
    fn unfinished(&self, results: &Results) -> BTreeSet<StoreKey> {
        let failed = results.iter().filter(|(_, outcome)| !outcome.is_well()).map(|(spot, _)| &spot.store);
        failed.chain(self.absent.keys().filter(|store| self.wanted.contains(*store))).cloned().collect()
    }

    async fn half(&self, half: Half, jobs: Vec<(&Spot, &Job)>, results: &Mutex<Results>) {
        let spots: Vec<Spot> = jobs.iter().map(|(spot, _)| (*spot).clone()).collect();
        let mut by_store: BTreeMap<&StoreKey, Vec<(&Spot, &Job)>> = BTreeMap::new();
        for (spot, job) in jobs {
            by_store.entry(&spot.store).or_default().push((spot, job));
        }
        let done = AtomicUsize::new(0);
        let note = |spot: &Spot, outcome: Outcome| {
            let mut results = lock(results);
            let earlier = results.remove(spot);
            results.insert(spot.clone(), outcome.after(earlier));
            done.fetch_add(1, Ordering::Relaxed);
        };
        let finished = Mutex::new(BTreeSet::new());
        let work = by_store.into_values().map(|jobs| {
            let (note, finished) = (&note, &finished);
            async move {
                let note = |spot: &Spot, outcome| {
                    note(spot, outcome);
                    lock(finished).insert(spot.clone());
                };
                match half {
                    Half::New => self.write(jobs, note).await,
                    Half::Old => {
                        for (spot, job) in jobs {
                            note(spot, self.one(spot, job, Removals::Now).await);
                        }
                    }
                }
            }
        });
        side_by_side(work.collect(), || done.load(Ordering::Relaxed)).await;
        let finished = finished.into_inner();
        for spot in spots.iter().filter(|spot| !finished.contains(*spot)) {
            let result = Err(Problem::Store(no_answer(&spot.store)));
            note(spot, Outcome { result, removal: Removal::Postponed });
        }
    }

    /// Everything new of one store.
    async fn write(&self, mut jobs: Vec<(&Spot, &Job)>, note: impl Fn(&Spot, Outcome)) {
        // A path that also loses a property comes last, so that it gets one version and not two.
        jobs.sort_by_key(|(_, job)| !job.goal.remove.is_empty());
        let last = jobs.len().saturating_sub(1);
        let mut well = true;
        for (index, (spot, job)) in jobs.into_iter().enumerate() {
            let removals = if index == last && well { Removals::Now } else { Removals::Later };
            let outcome = self.one(spot, job, removals).await;
            well &= outcome.is_well();
            note(spot, outcome);
        }
    }

    async fn one(&self, spot: &Spot, job: &Job, removals: Removals) -> Outcome {
        let result = self.converge(spot, job, removals).await;
        let removal = match (&result, removals) {
            (_, Removals::Now | Removals::Later) if job.goal.remove.is_empty() => Removal::Done,
            (Ok(_), Removals::Now) => Removal::Done,
            (Ok(_), Removals::Later) | (Err(_), Removals::Now | Removals::Later) => Removal::Postponed,
        };
        Outcome { result, removal }
    }

    async fn converge(&self, spot: &Spot, job: &Job, removals: Removals) -> Result<Applied, Problem> {
        if let Some(problem) = &job.blocked {
            return Err(problem.clone());
        }
        if job.goal.is_idle() {
            return Ok(Applied::default());
        }
        let (Some(client), Some(Ok(key))) = (self.clients.get(&spot.store), self.places.get(spot)) else {
            // Spots come from stores that can be used, and places that are not known block their jobs.
            return Ok(Applied::default());
        };
        let site = Site::of(client.as_ref(), key.clone());
        let announce = |pushed| (self.announce)(&site, pushed);
        let ledger = self.ledgers.at(spot);
        let place =
            Place { client: client.as_ref(), path: &spot.path, key, ledger: ledger.as_ref(), announce: &announce };
        self.applier.converge(&place, &job.goal, removals).await.map_err(Problem::Apply)
    }
}

impl Job {
    /// Whether the entry is to get something.
    fn is_new(&self) -> bool {
        !self.lines.is_empty()
    }
}

impl Outcome {
    fn untouched() -> Self {
        Outcome { result: Ok(Applied::default()), removal: Removal::Postponed }
    }

    fn is_well(&self) -> bool {
        self.result.is_ok()
    }

    /// A second pass over an entry: what the first one wrote was written.
    fn after(mut self, earlier: Option<Outcome>) -> Self {
        if let (Ok(now), Some(Outcome { result: Ok(before), .. })) = (&mut self.result, earlier) {
            now.wrote = now.wrote.max(before.wrote);
        }
        self
    }
}

/// Whether every entry of a store that was touched is as wanted.
pub fn is_well(results: &Results, store: &StoreKey) -> bool {
    results.iter().filter(|(spot, _)| spot.store == *store).all(|(_, outcome)| outcome.is_well())
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock()
}
