//! Carries a plan out: everything new first, everything old after, and only when all of the new is there.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use super::entry::{Applied, Applier, Place, Recorder};
use super::ledger::{Spot, StoreKey};
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

impl Apply<'_> {
    /// Writes, then removes.
    pub async fn run(&self, plan: &mut Plan) -> Results {
        let mut results = Results::new();
        let mut new: Vec<(&Spot, &mut Job)> = plan.iter_mut().filter(|(_, job)| job.is_new()).collect();
        // A path that also loses a property comes last, so that it gets one version and not two.
        new.sort_by_key(|(_, job)| !job.goal.remove.is_empty());
        let last = new.len().saturating_sub(1);
        for (index, (spot, job)) in new.into_iter().enumerate() {
            let whole = index == last && results.values().all(Outcome::is_well);
            let outcome = match whole || job.goal.remove.is_empty() {
                true => self.one(spot, job).await,
                false => self.without_removal(spot, job).await,
            };
            results.insert(spot.clone(), outcome);
        }
        let well = results.values().all(Outcome::is_well);
        for (spot, job) in plan.iter() {
            match results.get(spot).map(|outcome| outcome.removal) {
                Some(Removal::Done) => {}
                Some(Removal::Postponed) if !well => {}
                None if !well => {
                    results.insert(spot.clone(), job.untouched());
                }
                Some(Removal::Postponed) | None => {
                    let earlier = results.remove(spot);
                    let outcome = self.one(spot, job).await.after(earlier);
                    results.insert(spot.clone(), outcome);
                }
            }
        }
        results
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
        let place = Place { client: client.as_ref(), path: &spot.path, ledger: ledger.as_ref(), announce: &announce };
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
