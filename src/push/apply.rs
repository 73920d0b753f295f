//! Carries a plan out: everything new first, everything old after, and only when all of the new is there.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Applied, Applier, Place, Recorder};
use super::ledger::{Spot, StoreKey};
use super::patience::{no_answer, side_by_side};
use super::plan::{Job, Places, Plan, Problem};
use crate::feed::Pushed;
use crate::store::{PathKey, StoreClient};

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
    /// The ledger.
    pub ledgers: &'a dyn Ledgers,
    /// Told at once what consumers of an entry are to know.
    pub announce: &'a (dyn Fn(&PathKey, Pushed) + Send + Sync),
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
    pub async fn run(&self, plan: &mut Plan) -> Results {
        let results = Mutex::new(Results::new());
        let new = plan.iter_mut().filter(|(_, job)| job.is_new());
        self.half(Half::New, new.collect(), &results).await;
        let well = lock(&results).values().all(Outcome::is_well);
        let mut old: Vec<(&Spot, &mut Job)> = Vec::new();
        for (spot, job) in plan.iter_mut() {
            let removal = lock(&results).get(spot).map(|outcome| outcome.removal);
            match removal {
                Some(Removal::Done) => {}
                Some(Removal::Postponed) if !well => {}
                None if !well => drop(lock(&results).insert(spot.clone(), job.untouched())),
                Some(Removal::Postponed) | None => old.push((spot, job)),
            }
        }
        self.half(Half::Old, old, &results).await;
        results.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn half(&self, half: Half, jobs: Vec<(&Spot, &mut Job)>, results: &Mutex<Results>) {
        let spots: Vec<Spot> = jobs.iter().map(|(spot, _)| (*spot).clone()).collect();
        let mut by_store: BTreeMap<&StoreKey, Vec<(&Spot, &mut Job)>> = BTreeMap::new();
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
                            note(spot, self.one(spot, job).await);
                        }
                    }
                }
            }
        });
        side_by_side(work.collect(), || done.load(Ordering::Relaxed)).await;
        let finished = finished.into_inner().unwrap_or_else(PoisonError::into_inner);
        for spot in spots.iter().filter(|spot| !finished.contains(*spot)) {
            let result = Err(Problem::Store(no_answer(&spot.store)));
            note(spot, Outcome { result, removal: Removal::Postponed });
        }
    }

    /// Everything new of one store.
    async fn write(&self, mut jobs: Vec<(&Spot, &mut Job)>, note: impl Fn(&Spot, Outcome)) {
        // A path that also loses a property comes last, so that it gets one version and not two.
        jobs.sort_by_key(|(_, job)| !job.goal.remove.is_empty());
        let last = jobs.len().saturating_sub(1);
        let mut well = true;
        for (index, (spot, job)) in jobs.into_iter().enumerate() {
            let whole = index == last && well;
            let outcome = match whole || job.goal.remove.is_empty() {
                true => self.one(spot, job).await,
                false => self.without_removal(spot, job).await,
            };
            well &= outcome.is_well();
            note(spot, outcome);
        }
    }

    async fn without_removal(&self, spot: &Spot, job: &mut Job) -> Outcome {
        let remove = mem::take(&mut job.goal.remove);
        let outcome = self.one(spot, job).await;
        job.goal.remove = remove;
        Outcome { removal: Removal::Postponed, ..outcome }
    }

    async fn one(&self, spot: &Spot, job: &Job) -> Outcome {
        let removal = |result: &Result<Applied, Problem>| match result {
            Ok(_) => Removal::Done,
            Err(_) if job.goal.remove.is_empty() => Removal::Done,
            Err(_) => Removal::Postponed,
        };
        let result = self.converge(spot, job).await;
        Outcome { removal: removal(&result), result }
    }

    async fn converge(&self, spot: &Spot, job: &Job) -> Result<Applied, Problem> {
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
        let announce = |pushed| (self.announce)(key, pushed);
        let ledger = self.ledgers.at(spot);
        let place =
            Place { client: client.as_ref(), path: &spot.path, key, ledger: ledger.as_ref(), announce: &announce };
        self.applier.converge(&place, &job.goal).await.map_err(Problem::Apply)
    }
}

impl Job {
    /// Whether the entry is to get something.
    fn is_new(&self) -> bool {
        !self.lines.is_empty()
    }

    fn untouched(&self) -> Outcome {
        Outcome { result: Ok(Applied::default()), removal: Removal::Postponed }
    }
}

impl Outcome {
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
