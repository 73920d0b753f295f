//! Writes the ledger before anything is pushed, and the finalizer if `deletionPolicy` is `Delete`.
//! Reads the PushSecret live before an entry is written for the first time or loses anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use kube::ResourceExt;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::apply::Ledgers;
use super::entry::{Recorder, Sight};
use super::ledger::{self, EntryRef, Ledger, Line, Mounts};
use super::locations::{Locations, lines_of, settle};
use super::plan::Plan;
use super::second_look::SecondLook;
use crate::api::PushSecret;
use crate::api::push_ledger::PushLedger;
use crate::api::push_secret::PushDeletionPolicy;
use crate::api::wish;
use crate::cluster::{Cluster, ClusterError};

/// How long a live read serves the next entries of the same reconcile.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// The ledger during one reconcile. It is written at most once, with all lines of the plan. The
/// status that ends the reconcile removes lines that were too many. Until then, what such a line
/// lists counts as ours only if nobody claims it and the path has the mark (ADR 0026).
pub struct Record<'a> {
    cluster: &'a Cluster,
    /// Every line that the plan may need.
    lines: BTreeMap<EntryRef, BTreeMap<String, Line>>,
    /// The lines of what the plan removes or releases, as the cache lists them.
    old: BTreeMap<EntryRef, BTreeMap<String, Line>>,
    locations: Locations,
    /// What else is confirmed before a removal.
    again: Option<&'a SecondLook<'a>>,
    state: Mutex<State>,
}

/// The PushSecret and its ledger after a reconcile.
pub struct Recorded {
    /// The PushSecret as last written or read.
    pub object: PushSecret,
    /// Its ledger, with the lines that were needed since.
    pub ledger: Ledger,
    /// The resourceVersion that a status write must carry; `None` if only the cache was read.
    pub version: Option<String>,
}

struct State {
    object: PushSecret,
    /// The ledger as it was before we added lines.
    listed: PushLedger,
    /// The lines that were needed.
    announced: BTreeSet<(EntryRef, String)>,
    /// When the PushSecret was last read or written live.
    seen: Option<Instant>,
    /// Whether the plan's lines were added.
    added: bool,
}

impl<'a> Record<'a> {
    /// Starts from the ledger as the object has it.
    pub fn new(cluster: &'a Cluster, object: PushSecret, plan: &Plan, ledger: &Ledger, locations: Locations) -> Self {
        let lines = plan.iter().filter(|(_, job)| job.blocked.is_none());
        let lines = lines.map(|(entry_ref, job)| (entry_ref.clone(), job.lines.clone())).collect();
        let old = plan.iter().filter_map(|(entry_ref, job)| {
            let listed = ledger.pushed.get(entry_ref)?.iter();
            let removed = listed
                .filter(|(property, _)| job.goal.remove.contains(*property) || job.goal.release.contains(*property));
            Some((entry_ref.clone(), removed.map(|(property, line)| (property.clone(), line.clone())).collect()))
        });
        let listed = settled(&object, &locations);
        let state = State { object, listed, announced: BTreeSet::new(), seen: None, added: false };
        Record { cluster, lines, old: old.collect(), locations, again: None, state: Mutex::new(state) }
    }

    /// Looks `again` at the sources before a removal.
    pub fn looking(self, again: Option<&'a SecondLook<'a>>) -> Self {
        Record { again, ..self }
    }

    /// The state at the end of the reconcile.
    pub fn finish(self, mounts: &Mounts) -> Recorded {
        let State { object, listed, announced, seen, added: _ } = self.state.into_inner();
        let mut ledger = Ledger::read(&listed, mounts);
        // A store can get its first line without a write, if another entry reference of the same
        // place had the property. So all locations are set here.
        self.locations.iter().for_each(|(store, location)| ledger.locate(store, location));
        for (entry_ref, property) in announced {
            if let Some(line) = self.lines.get(&entry_ref).and_then(|lines| lines.get(&property)) {
                ledger.insert(entry_ref, property, line.clone());
            }
        }
        let version = seen.and(object.resource_version());
        Recorded { object, ledger, version }
    }

    /// Reads the PushSecret live. A cache is not enough to offer properties to others.
    pub async fn confirm(&self) -> Result<(), ClusterError> {
        let mut state = self.state.lock().await;
        let conflict = ClusterError::Conflict { verb: "look at", object: state.object.name_any() };
        self.look(&mut state, conflict).await
    }

    async fn ensure(
        &self,
        entry_ref: &EntryRef,
        properties: &BTreeSet<String>,
        sight: Sight,
    ) -> Result<(), ClusterError> {
        let mut state = self.state.lock().await;
        let wanted =
            self.lines.get(entry_ref).into_iter().flatten().filter(|(property, _)| properties.contains(*property));
        let wanted: Vec<(&String, &Line)> = wanted.collect();
        match self.write(&mut state, entry_ref, &wanted).await {
            // The cache lags behind our own last write, or the object was edited. Only an edit is a
            // reason to give up.
            Err(conflict @ ClusterError::Conflict { .. }) => {
                self.look(&mut state, conflict).await?;
                self.write(&mut state, entry_ref, &wanted).await?;
            }
            other => other?,
        }
        let is_fresh = state.seen.is_some_and(|seen| seen.elapsed() < FRESH);
        if sight == Sight::Live && !is_fresh {
            let conflict = ClusterError::Conflict { verb: "look at", object: state.object.name_any() };
            self.look(&mut state, conflict).await?;
            self.write(&mut state, entry_ref, &wanted).await?;
        }
        let old = self.old.get(entry_ref);
        let removed = old.into_iter().flat_map(BTreeMap::values);
        if sight == Sight::Live && !lists(&self.settled(&state.object), entry_ref, removed) {
            // Whoever removed the line knew more than our cache.
            return Err(ClusterError::Conflict { verb: "look at", object: state.object.name_any() });
        }
        if sight == Sight::Live
            && let Some(again) = self.again
        {
            again.confirm(entry_ref, &old.into_iter().flat_map(BTreeMap::keys).collect()).await?;
        }
        state.announced.extend(wanted.into_iter().map(|(property, _)| (entry_ref.clone(), property.clone())));
        Ok(())
    }

    /// Replaces the cached PushSecret by a live read. The error is `conflict` if it is another one,
    /// or asks for something else.
    async fn look(&self, state: &mut State, conflict: ClusterError) -> Result<(), ClusterError> {
        let fresh = self.cluster.fresh_push_secret(&state.object).await?;
        if !wish::is_same(&state.object.metadata, &fresh.metadata) {
            return Err(conflict);
        }
        let ours = |line: &Line, entry_ref: &EntryRef| !lists(&state.listed, entry_ref, [line]);
        let mut listed = self.settled(&fresh);
        if state.added {
            // Lines that we added do not count as listed before.
            for (entry_ref, lines) in &self.lines {
                let store = listed.synced.entry(entry_ref.store.listed()).or_default();
                lines.values().filter(|line| ours(line, entry_ref)).for_each(|line| ledger::take(store, line));
            }
            listed.synced.retain(|_, lines| !lines.is_empty());
        }
        (state.listed, state.object, state.seen) = (listed, fresh, Some(Instant::now()));
        Ok(())
    }

    /// Writes missing lines, and all others that the plan may need with them.
    async fn write(
        &self,
        state: &mut State,
        entry_ref: &EntryRef,
        wanted: &[(&String, &Line)],
    ) -> Result<(), ClusterError> {
        if wanted.is_empty() {
            return Ok(());
        }
        if state.object.spec.deletion_policy() == PushDeletionPolicy::Delete
            && let Some(written) = self.cluster.add_push_finalizer(&state.object).await?
        {
            (state.object, state.seen) = (written, Some(Instant::now()));
        }
        let ledger = self.settled(&state.object);
        if lists(&ledger, entry_ref, wanted.iter().map(|(_, line)| *line)) {
            return Ok(());
        }
        let written = self.cluster.write_ledger(&state.object, &self.with_all_lines(ledger)).await?;
        (state.object, state.seen, state.added) = (written, Some(Instant::now()), true);
        Ok(())
    }

    /// Adds all lines of the plan. The locations are recorded with the lines, so before anything is
    /// written to a store.
    fn with_all_lines(&self, mut ledger: PushLedger) -> PushLedger {
        for (entry_ref, lines) in self.lines.iter().filter(|(_, lines)| !lines.is_empty()) {
            let listed = ledger.synced.entry(entry_ref.store.listed()).or_default();
            lines.values().for_each(|line| ledger::put(listed, line));
            if let Some(location) = self.locations.get(&entry_ref.store) {
                let recorded = ledger.locations.remove(&entry_ref.store.listed()).unwrap_or_default();
                ledger.locations.insert(entry_ref.store.listed(), location.clone().or_known_as(&recorded));
            }
        }
        ledger
    }

    fn settled(&self, object: &PushSecret) -> PushLedger {
        settled(object, &self.locations)
    }
}

/// The ledger, sorted by where the stores lead now.
fn settled(object: &PushSecret, locations: &Locations) -> PushLedger {
    settle(object.status.as_ref().map(|status| status.ledger()).unwrap_or_default(), locations)
}

fn lists<'l>(ledger: &PushLedger, entry_ref: &EntryRef, lines: impl IntoIterator<Item = &'l Line>) -> bool {
    let listed = lines_of(ledger, &entry_ref.store);
    lines.into_iter().all(|line| listed.is_some_and(|listed| ledger::has(listed, line)))
}

struct At<'a>(&'a Record<'a>, &'a EntryRef);

#[async_trait]
impl Recorder for At<'_> {
    async fn ensure(&self, properties: &BTreeSet<String>, sight: Sight) -> Result<(), ClusterError> {
        self.0.ensure(self.1, properties, sight).await
    }
}

impl Ledgers for Record<'_> {
    fn at<'a>(&'a self, entry_ref: &'a EntryRef) -> Box<dyn Recorder + 'a> {
        Box::new(At(self, entry_ref))
    }
}
