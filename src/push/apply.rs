//! Carries out a plan: writes everything new, and removes what is old. In a store that is published
//! to, that goes once everything new is in that store; in one that is left, once everything new is
//! in every store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::counted::Counted;
use super::entry::{Access, Applied, Applier, Recorder, Wrote};
use super::ledger::{EntryRef, StoreKey};
use super::observe::NoStore;
use super::patience::{Leeway, PATIENCE, Progress, no_answer, side_by_side};
use super::plan::{Job, Places, Plan, Problem};
use super::step::Removals;
use crate::domain::claim;
use crate::feed::News;
use crate::store::{Site, StoreClient};

/// The clients of the usable stores.
pub type Clients = BTreeMap<StoreKey, Arc<dyn StoreClient>>;

/// The outcome of each entry.
pub type Results = BTreeMap<EntryRef, Outcome>;

/// The outcome of one entry.
#[derive(Debug)]
pub struct Outcome {
    /// The state of the entry, or why it is not as wanted.
    pub result: Result<Applied, Problem>,
    /// What happened to the properties to remove.
    pub removal: Removal,
    /// The properties with a twin ([`Job::twins`]) that turned out to be that one, or to be absent
    /// here.
    pub resolved: BTreeSet<String>,
}

/// What happened to the properties to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// They are removed, or there were none.
    Done,
    /// They stay until everything new is in their store, or in every store if theirs is left.
    Postponed,
}

/// A ledger with a recorder for each entry.
pub trait Ledgers: Send + Sync {
    fn at<'a>(&'a self, entry_ref: &'a EntryRef) -> Box<dyn Recorder + 'a>;
}

/// Everything that is needed to carry out a plan.
pub struct Apply<'a> {
    pub applier: Applier<'a>,
    pub clients: &'a Clients,
    pub places: &'a Places,
    /// The stores to publish to.
    pub wanted: &'a BTreeSet<StoreKey>,
    /// The stores that cannot be used. One of those to publish to counts as unfinished.
    pub absent: &'a BTreeMap<StoreKey, NoStore>,
    pub ledgers: &'a dyn Ledgers,
    /// The stores that get more time.
    pub leeway: &'a Leeway,
    /// Announces to the feed, at once, what the consumers of an entry must know.
    pub announce: &'a (dyn Fn(&Site, News) + Send + Sync),
}

/// The halves of a plan.
#[derive(Clone, Copy)]
enum Half {
    /// Writing what is wanted.
    New,
    /// Removing what is no longer wanted.
    Old,
}

impl<'a> Apply<'a> {
    /// Writes, then removes. Stores are written in parallel; one that hangs is skipped.
    ///
    /// In a store that is published to, old properties are removed once everything new is in that
    /// store: no other store delays it. In a store that is no longer published to, they are removed
    /// once everything new is in every store. Of two lines for one place, that of a former location
    /// comes last.
    pub async fn run(&self, plan: &Plan) -> (Results, Written<'a>) {
        let results = Mutex::new(Results::new());
        let new = plan.iter().filter(|(_, job)| job.is_new());
        self.half(Half::New, new.collect(), &results).await;
        let written = Written::of(plan, self.wanted, self.absent, &lock(&results));
        let mut old: Vec<(&EntryRef, &Job)> = Vec::new();
        for (entry_ref, job) in plan {
            let removal = lock(&results).get(entry_ref).map(|outcome| outcome.removal);
            match (removal, written.may_lose(&entry_ref.store)) {
                // It may have been written at its twin.
                (Some(Removal::Done), true) if !job.twins.is_empty() => old.push((entry_ref, job)),
                (Some(Removal::Done), true | false) | (Some(Removal::Postponed), false) => {}
                (None, false) => drop(lock(&results).insert(entry_ref.clone(), Outcome::untouched())),
                (Some(Removal::Postponed) | None, true) => old.push((entry_ref, job)),
            }
        }
        let (mut last, old): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|(entry_ref, job)| !self.others(plan, entry_ref, job).is_empty());
        self.half(Half::Old, old, &results).await;
        last.retain(|(entry_ref, job)| {
            let others = self.others(plan, entry_ref, job);
            let mut results = lock(&results);
            let is_due =
                others.iter().all(|(other, property)| results.get(other).is_some_and(|one| one.is_done(property)));
            if !is_due {
                results.entry((*entry_ref).clone()).or_insert_with(Outcome::untouched);
            }
            is_due
        });
        self.half(Half::Old, last, &results).await;
        (results.into_inner(), written)
    }

    /// For an entry of a former location: the other references of the plan to the same entry, and the
    /// properties that both give up. If the servers are one, the others remove these, whether our
    /// claim is left or not. So only what is there after that may be called an orphan.
    fn others<'p>(&self, plan: &'p Plan, entry_ref: &EntryRef, job: &Job) -> Vec<(&'p EntryRef, String)> {
        let place = |entry_ref: &EntryRef| self.places.get(entry_ref)?.as_ref().ok().map(|site| site.place.entry());
        let (Some(here), true) = (place(entry_ref), entry_ref.store.former.is_some()) else { return Vec::new() };
        let others =
            plan.iter().filter(|(other, _)| other.store.former.is_none() && place(other).as_ref() == Some(&here));
        let gives_up =
            |job: &Job, property: &String| job.goal.remove.contains(property) || job.goal.offer.contains_key(property);
        let both = others.flat_map(|(other, theirs)| {
            let all = theirs.goal.remove.iter().chain(theirs.goal.offer.keys());
            all.filter(|property| gives_up(job, property)).map(move |property| (other, property.clone()))
        });
        both.collect()
    }

    async fn half(&self, half: Half, jobs: Vec<(&EntryRef, &Job)>, results: &Mutex<Results>) {
        let entry_refs: Vec<EntryRef> = jobs.iter().map(|(entry_ref, _)| (*entry_ref).clone()).collect();
        let mut by_store: BTreeMap<&StoreKey, Vec<(&EntryRef, &Job)>> = BTreeMap::new();
        for (entry_ref, job) in jobs {
            by_store.entry(&entry_ref.store).or_default().push((entry_ref, job));
        }
        let done = AtomicUsize::new(0);
        let note = |entry_ref: &EntryRef, outcome: Outcome| {
            let mut results = lock(results);
            let earlier = results.remove(entry_ref);
            results.insert(entry_ref.clone(), outcome.after(earlier));
            done.fetch_add(1, Ordering::Relaxed);
        };
        let begin = |store: &StoreKey| self.leeway.begin(store.name_in(&self.applier.me.namespace));
        let stores: BTreeMap<StoreKey, Progress> =
            by_store.keys().map(|store| ((*store).clone(), begin(store))).collect();
        let finished = Mutex::new(BTreeSet::new());
        let work = by_store.into_iter().map(|(store, jobs)| {
            let (note, finished, progress) = (&note, &finished, &stores[store]);
            async move {
                let note = |entry_ref: &EntryRef, outcome| {
                    note(entry_ref, outcome);
                    lock(finished).insert(entry_ref.clone());
                };
                match half {
                    Half::New => self.write(jobs, progress, note).await,
                    Half::Old => {
                        for (entry_ref, job) in jobs {
                            let mut outcome = self.one(entry_ref, job, Removals::Now, progress).await;
                            outcome.resolved = self.resolve(entry_ref, job, results, progress).await;
                            note(entry_ref, outcome);
                        }
                    }
                }
            }
        });
        let is_done = |entry_ref: &EntryRef| lock(&finished).contains(entry_ref);
        let still_works = |store: &StoreKey| entry_refs.iter().any(|at| at.store == *store && !is_done(at));
        let steps = || done.load(Ordering::Relaxed) + stores.values().map(Progress::steps).sum::<usize>();
        let patience = || {
            let working = stores.iter().filter(|(store, _)| still_works(store));
            working.map(|(_, progress)| progress.patience()).max().unwrap_or(PATIENCE)
        };
        side_by_side(work.collect(), steps, patience).await;
        let skipped: BTreeSet<StoreKey> = stores.keys().filter(|store| still_works(store)).cloned().collect();
        for (store, progress) in stores {
            self.leeway.end(progress, skipped.contains(&store));
        }
        let finished = finished.into_inner();
        for entry_ref in entry_refs.iter().filter(|entry_ref| !finished.contains(*entry_ref)) {
            let result = Err(Problem::Store(no_answer(&entry_ref.store)));
            note(entry_ref, Outcome::new(result, Removal::Postponed));
        }
    }

    /// Writes everything new in one store.
    async fn write(&self, mut jobs: Vec<(&EntryRef, &Job)>, progress: &Progress, note: impl Fn(&EntryRef, Outcome)) {
        // A path that also loses a property is last, so that it gets one version instead of two.
        jobs.sort_by_key(|(_, job)| !job.goal.remove.is_empty());
        let last = jobs.len().saturating_sub(1);
        let mut well = true;
        for (index, (entry_ref, job)) in jobs.into_iter().enumerate() {
            let removals = if index == last && well { Removals::Now } else { Removals::Later };
            let outcome = self.one(entry_ref, job, removals, progress).await;
            well &= outcome.is_well();
            note(entry_ref, outcome);
        }
    }

    async fn one(&self, entry_ref: &EntryRef, job: &Job, removals: Removals, progress: &Progress) -> Outcome {
        let result = self.converge(entry_ref, job, removals, progress).await;
        let removal = match (&result, removals) {
            (_, Removals::Now | Removals::Later) if job.goal.remove.is_empty() => Removal::Done,
            (Ok(_), Removals::Now) => Removal::Done,
            (Ok(_), Removals::Later) | (Err(_), Removals::Now | Removals::Later) => Removal::Postponed,
        };
        Outcome::new(result, removal)
    }

    /// Which properties with a twin need no line here any more. A server's name does not tell it from
    /// a copy; but what was just written at the other address is the latest version here only if both
    /// are one. What has neither a value nor our claim here needs no line either.
    async fn resolve(
        &self,
        entry_ref: &EntryRef,
        job: &Job,
        results: &Mutex<Results>,
        progress: &Progress,
    ) -> BTreeSet<String> {
        let (false, Some(client)) = (job.twins.is_empty(), self.clients.get(&entry_ref.store)) else {
            return BTreeSet::new();
        };
        let client = Counted { client: client.as_ref(), progress };
        let Ok(entry) = client.read(&entry_ref.path, None).await else { return BTreeSet::new() };
        let (results, created) = (lock(results), entry.created);
        let was_written = |to: &EntryRef| {
            let applied = results.get(to).and_then(|outcome| outcome.result.as_ref().ok());
            applied.filter(|applied| applied.wrote == Wrote::Version).is_some_and(|Applied { settled, .. }| {
                settled.version == Some(entry.cas()) && created.is_some() && settled.created == created
            })
        };
        let is_absent = |property: &String| {
            let is_ours = claim::owner(&entry.custom_metadata, property).is_some_and(|owner| owner == *self.applier.me);
            !is_ours && entry.data().is_none_or(|data| !data.contains_key(property))
        };
        let resolved = job.twins.iter().filter(|(property, to)| is_absent(property) || was_written(to));
        resolved.map(|(property, _)| property.clone()).collect()
    }

    async fn converge(
        &self,
        entry_ref: &EntryRef,
        job: &Job,
        removals: Removals,
        progress: &Progress,
    ) -> Result<Applied, Problem> {
        if let Some(problem) = &job.blocked {
            return Err(problem.clone());
        }
        if job.goal.is_idle() {
            return Ok(Applied::default());
        }
        let (Some(client), Some(Ok(site))) = (self.clients.get(&entry_ref.store), self.places.get(entry_ref)) else {
            // Entries are those of usable stores, and an unknown place blocks its job.
            return Ok(Applied::default());
        };
        let announce = |news| (self.announce)(site, news);
        let ledger = self.ledgers.at(entry_ref);
        let client = Counted { client: client.as_ref(), progress };
        let access =
            Access { client: &client, path: &entry_ref.path, site, ledger: ledger.as_ref(), announce: &announce };
        self.applier.converge(&access, &job.goal, removals).await.map_err(Problem::Apply)
    }
}

impl Job {
    /// Whether something is to be written to the entry.
    fn is_new(&self) -> bool {
        !self.lines.is_empty()
    }
}

impl Outcome {
    /// The outcome of an entry without twins.
    pub fn new(result: Result<Applied, Problem>, removal: Removal) -> Self {
        Outcome { result, removal, resolved: BTreeSet::new() }
    }

    fn untouched() -> Self {
        Outcome::new(Ok(Applied::default()), Removal::Postponed)
    }

    fn is_well(&self) -> bool {
        self.result.is_ok()
    }

    /// Whether this property to give up needs no line here any more.
    fn is_done(&self, property: &str) -> bool {
        let awaits = |applied: &Applied| applied.settled.awaited.contains(property);
        self.removal == Removal::Done && self.result.as_ref().is_ok_and(|applied| !awaits(applied))
    }

    /// Merges the outcome of an earlier pass over the entry: what that one wrote counts.
    fn after(mut self, earlier: Option<Outcome>) -> Self {
        if let (Ok(now), Some(Outcome { result: Ok(before), .. })) = (&mut self.result, earlier) {
            now.wrote = now.wrote.max(before.wrote);
        }
        self
    }
}

/// Whether every entry of this store that has an outcome is as wanted.
pub fn is_well(results: &Results, store: &StoreKey) -> bool {
    results.iter().filter(|(entry_ref, _)| entry_ref.store == *store).all(|(_, outcome)| outcome.is_well())
}

/// The stores that had everything new before anything old was removed.
pub struct Written<'a> {
    wanted: &'a BTreeSet<StoreKey>,
    unfinished: BTreeSet<StoreKey>,
}

impl<'a> Written<'a> {
    fn of(
        plan: &Plan,
        wanted: &'a BTreeSet<StoreKey>,
        absent: &BTreeMap<StoreKey, NoStore>,
        results: &Results,
    ) -> Self {
        let new = plan.iter().filter(|(_, job)| job.is_new()).map(|(entry_ref, _)| entry_ref);
        let failed = new.filter(|entry_ref| results.get(*entry_ref).is_some_and(|outcome| !outcome.is_well()));
        let lacking = failed.map(|entry_ref| &entry_ref.store);
        let absent = absent.keys().filter(|store| wanted.contains(*store));
        Written { wanted, unfinished: lacking.chain(absent).cloned().collect() }
    }

    /// Whether old properties may be removed from a store: if it is published to, once everything new
    /// is there, and otherwise once everything new is in every store.
    pub fn may_lose(&self, store: &StoreKey) -> bool {
        match self.wanted.contains(store) {
            true => !self.unfinished.contains(store),
            false => self.unfinished.is_empty(),
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock()
}
