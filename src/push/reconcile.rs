//! One reconcile of a PushSecret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant as Moment;

use super::apply::{Apply, Removal, Results};
use super::arrival;
use super::conclusion::{self, concluded, verdict};
use super::deletions::Deletions;
use super::desired::{self, Desired, InvalidSpec, StoreQueries, StoreQuery};
use super::entry::{Applied, Applier, Wrote};
use super::former::{self, Fates};
use super::intents::Intents;
use super::ledger::{self, EntryRef, Ledger, StoreKey};
use super::locations;
use super::mapped::{self, Mapped};
use super::observe::{self, NoStore, SeenStores, Selected};
use super::offers::{Asking, Attempt, Offers, Patience};
use super::patience::Leeway;
use super::plan::{self, Aim, Known, Places, Plan};
use super::reading::NoSources;
use super::record::{Record, Recorded};
use super::rendered::Unrendered;
use super::report::{self, Done, Said, Setting};
use super::second_look::{Look, SecondLook};
use crate::api::PushSecret;
use crate::api::bounds;
use crate::api::condition::{self, Reason};
use crate::api::path_status::PushedPath;
use crate::api::push_secret::{PushDeletionPolicy, PushSecretStatus};
use crate::cluster::{Cluster, ClusterError};
use crate::controller::referrers::Referrers;
use crate::controller::report::{Report, Requeue, Verdict};
use crate::domain::claim::Owner;
use crate::domain::convention::Convention;
use crate::domain::fingerprint::synced_resource_version;
use crate::domain::path::RemotePath;
use crate::domain::source::Source;
use crate::feed::{News, Published, Pushed, Spelled};
use crate::store::{PathKey, Site, StoreRefusal, Stores, referred};

/// Everything outside the object that a reconcile may use.
pub struct World<'a> {
    /// The Kubernetes API.
    pub cluster: &'a Cluster,
    pub stores: &'a dyn Stores,
    /// Announces to the feed, at once, what the consumers of an entry must know.
    pub announce: &'a (dyn Fn(&Site, News) + Send + Sync),
    /// Tells the feed what is published and at which places; `None` for a place that is unknown
    /// now.
    pub publishes: &'a (dyn Fn(BTreeMap<Spelled, Option<Published>>) + Send + Sync),
    /// The paths that the status has no room for, as the last reconcile told the feed.
    pub beyond: &'a (dyn Fn() -> Vec<PushedPath> + Send + Sync),
    /// Tells the feed these paths.
    pub tells_beyond: &'a (dyn Fn(Vec<PushedPath>) + Send + Sync),
    /// Which object refers to which Secret.
    pub referrers: &'a Referrers,
    /// Which object refers to which ConfigMap.
    pub config_maps: &'a Referrers,
    /// The path convention.
    pub convention: &'a Convention,
    /// How often `status.refreshTime` moves without a change.
    pub heartbeat: Duration,
    /// After this time, a deleted PushSecret is released if waiting may be in vain: its store does
    /// not exist or may not be used, its namespace is being deleted, or its ledger says too little.
    pub cleanup_deadline: Duration,
    /// This cluster's name in claims.
    pub cluster_name: &'a str,
    /// The intents of others that were seen.
    pub intents: &'a Intents,
    /// Since when this process waits for deletions.
    pub deletions: &'a Deletions,
    /// The properties that PushSecrets offer, and who waits for them.
    pub offers: &'a Offers,
    /// The stores that get more time beside others.
    pub leeway: &'a Leeway,
    /// The time of the monotonic clock.
    pub instant: Instant,
    /// The time of the wall clock: only for the status, and for when it is written again.
    pub now: Timestamp,
}

/// The facts of one reconcile.
pub(super) struct Turn<'a> {
    pub world: &'a World<'a>,
    pub object: Arc<PushSecret>,
    pub before: PushSecretStatus,
    pub namespace: String,
    pub me: Owner,
    pub attempt: Attempt,
    /// When it began, by the clock of requests.
    began: Moment,
}

/// Brings the stores closer to the spec, and reports the outcome.
pub async fn reconcile(object: Arc<PushSecret>, world: &World<'_>) -> Report<PushSecretStatus> {
    let me = Owner {
        uid: object.uid().unwrap_or_default(),
        cluster: world.cluster_name.to_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    };
    let began = Moment::now();
    let attempt = world.offers.begin(&me, object.metadata.generation.unwrap_or_default()).await;
    let report = decide(Turn::new(object, me, attempt.clone(), began, world)).await;
    world.offers.end(&attempt, !report.requeue().is_some_and(Requeue::is_failure));
    report
}

async fn decide(mut turn: Turn<'_>) -> Report<PushSecretStatus> {
    let world = turn.world;
    if turn.object.metadata.deletion_timestamp.is_some() {
        return turn.clean_up().await;
    }
    world.deletions.forget(&turn.me.object());
    turn.listen();
    let Some(seen) = turn.choose_stores().await else { return Report::NotOurs };
    if let Err(error) = turn.settle_finalizer().await {
        return turn.failed(&error);
    }
    let desired = match turn.parse(&seen) {
        Ok(desired) => desired,
        Err(verdict) => return turn.halt(verdict, Requeue::AwaitChange),
    };
    match turn.see_sources(&desired, &BTreeSet::new()).await {
        Ok((sources, look)) if sources.is_empty() && look.unrendered.is_empty() => {
            turn.without_sources(&seen, &desired, look).await
        }
        Ok((sources, look)) => turn.publish(&seen, &desired, &sources, look).await,
        Err(NoSources::Over { over, .. }) => {
            turn.halt(desired.sources.too_many(&turn.namespace, over), Requeue::AwaitChange)
        }
        Err(NoSources::Unrendered { why, .. }) => {
            // Somebody may offer meanwhile what it waits to push.
            let requeue = if why.fault.is_missing() { Requeue::BackOff } else { Requeue::AwaitChange };
            turn.halt(why.verdict(&desired.sources, &turn.namespace), requeue)
        }
        Err(NoSources::Cluster(error)) => turn.failed(&error),
    }
}

/// The outcome of a plan.
struct Carried {
    plan: Plan,
    results: Results,
    recorded: Recorded,
    /// The stores, with former locations.
    reached: SeenStores,
    fates: Fates,
    /// The known paths, those beyond the status too, without those of stores that lead elsewhere now.
    paths: Vec<PushedPath>,
    /// Whether a live read confirmed the PushSecret before it offered properties.
    is_confirmed: bool,
}

impl<'a> Turn<'a> {
    fn new(object: Arc<PushSecret>, me: Owner, attempt: Attempt, began: Moment, world: &'a World<'a>) -> Self {
        let (namespace, before) = (me.namespace.clone(), object.status.clone().unwrap_or_default());
        Turn { world, object, before, namespace, me, attempt, began }
    }

    /// The stores that the spec names or selects; `None` if all belong to another controller.
    async fn choose_stores(&self) -> Option<SeenStores> {
        let named = desired::stores(&self.object.spec);
        // A malformed selector is reported with the rest of the spec.
        let StoreQueries { refs, data_to } = desired::store_queries(&self.object.spec).unwrap_or_default();
        let serves = format!("that serves {}", self.namespace);
        let select = |query| self.select(query, &serves, "spec.secretStoreRefs");
        let selected: Vec<Selected> = refs.into_iter().map(select).collect();
        let all = selected.iter().flat_map(|(_, stores)| stores).chain(&named).cloned().collect();
        let mut seen = self.see_stores(&all).await;
        if self.belongs_to_others(&seen, &all) {
            return None;
        }
        seen.choose(named, selected, &ledger::stores(&self.before));
        for (index, query) in data_to {
            let field = format!("spec.dataTo[{index}].storeRef");
            seen.narrow(index, self.select(query, "of spec.secretStoreRefs", &field));
        }
        Some(seen)
    }

    /// The stores that a selector matches, and the message if none of them is `meant`.
    fn select(&self, (kind, query): StoreQuery, meant: &str, field: &str) -> Selected {
        let names = self.world.stores.labelled(&self.namespace, kind, &query);
        let words = format!(
            "no {kind} {meant} matches {query}: label one, or correct {field}; Waypost pushes to a matching store at once"
        );
        (words, names.into_iter().map(|name| StoreKey::new(kind, name)).collect())
    }

    pub(super) async fn see_stores(&self, wanted: &BTreeSet<StoreKey>) -> SeenStores {
        let listed = ledger::stores(&self.before);
        observe::stores(self.world.stores, &self.namespace, wanted.union(&listed).cloned().collect()).await
    }

    /// Whether all of these stores belong to another controller. If there is none, or one does not
    /// exist, they may. But a store that does not exist holds no PushSecret that is being deleted, nor
    /// does having none if the status is ours and lists nothing.
    pub(super) fn belongs_to_others(&self, seen: &SeenStores, stores: &BTreeSet<StoreKey>) -> bool {
        let alone = self.world.stores.serves_unclassified();
        let goes = self.object.metadata.deletion_timestamp.is_some();
        let others = |store: &StoreKey| match seen.absent.get(store) {
            Some(NoStore::Refused(StoreRefusal::OtherController { .. })) => true,
            Some(no_store) => no_store.is_missing() && !alone && !goes,
            None => false,
        };
        match stores.is_empty() {
            true => !(alone || goes && self.before.is_ours() && self.before.lists_nothing()),
            false => stores.iter().all(others),
        }
    }

    fn parse(&self, seen: &SeenStores) -> Result<Desired, Verdict> {
        let (spec, convention) = (&self.object.spec, self.world.convention);
        let told =
            |invalid: InvalidSpec| Verdict { ready: false, reason: invalid.reason(), message: invalid.to_string() };
        let annotations = self.object.annotations();
        let desired = desired::parse(spec, annotations, &seen.chosen, &seen.mounts, convention).map_err(told)?;
        if let Some(fault) = mapped::faults(&desired, &seen.mounts, convention).into_iter().next() {
            return Err(told(InvalidSpec::Mappings(fault)));
        }
        // Bounds are checked last, because specific rules have better messages.
        bounds::check(spec).map_err(|bounds| told(InvalidSpec::Bounds(bounds)))?;
        Ok(desired)
    }

    async fn publish(
        &self,
        seen: &SeenStores,
        desired: &Desired,
        sources: &[Source],
        look: Look,
    ) -> Report<PushSecretStatus> {
        let mut mapped = mapped::map(desired, sources, &seen.mounts, self.world.convention);
        mapped.astray.extend(look.unrendered.iter().map(Unrendered::astray));
        if self.awaits_first_keys(desired, &mapped) {
            return self.halt(desired.sources.not_filled(&self.namespace), Requeue::AwaitChange);
        }
        // For a mapping that applies to some stores only, the paths in an unusable one are unknown.
        let hidden = desired.mappings.iter().filter_map(|entry| entry.stores.as_ref()).flatten();
        let is_known = hidden.into_iter().all(|store| !seen.absent.contains_key(store));
        let known = match mapped.astray.is_empty() && seen.unmatched.is_empty() && is_known {
            true => Known::All,
            false => Known::Some,
        };
        let again = SecondLook::new(self, seen, desired, Some(&mapped), look);
        let Carried { plan, results, recorded, reached, fates, paths, is_confirmed } =
            Box::pin(self.carry_out(seen, &Aim::Publish { desired, mapped: &mapped, sources, known }, Some(&again)))
                .await;
        let Recorded { object, ledger, version } = recorded;
        let before = PushSecretStatus { paths, ..object.status.clone().unwrap_or_default() };
        let Mapped { astray, warnings, .. } = &mapped;
        let SeenStores { absent, chosen, unmatched, .. } = &reached;
        let (wanted, fates) = (&chosen.stores, &fates);
        let done = Done { plan: &plan, results: &results, absent, wanted, unmatched, astray, fates };
        let warnings: Vec<String> = desired.warnings.iter().chain(warnings).cloned().collect();
        let mut said = report::published(&before, &ledger, &done, &self.setting(desired.refresh, &warnings));
        (self.world.tells_beyond)(std::mem::take(&mut said.beyond));
        verdict(&object, concluded(said, version, is_confirmed))
    }

    /// Handles sources that do not exist. What was pushed is removed only if this very spec was
    /// pushed before: a source that was renamed in the spec, and does not exist yet, removes
    /// nothing.
    async fn without_sources(&self, seen: &SeenStores, desired: &Desired, look: Look) -> Report<PushSecretStatus> {
        let listed = !self.before.lists_nothing();
        let deletes = self.object.spec.deletion_policy() == PushDeletionPolicy::Delete;
        if listed && deletes && self.was_synced() {
            let deleted = desired.sources.deleted(&self.namespace);
            let aim = Aim::Withdraw { existing: desired.existing, earlier: desired.earlier };
            let again = SecondLook::new(self, seen, desired, None, look);
            let (object, said) =
                self.withdrawn(Box::pin(self.carry_out(seen, &aim, Some(&again))).await, deleted, None);
            return verdict(&object, said);
        }
        let said_deleted = condition::find(&self.before.conditions, condition::READY)
            .is_some_and(|ready| ready.reason.as_deref() == Some(Reason::SourceDeleted.as_str()));
        let verdict = match (listed, said_deleted && self.was_synced()) {
            (false, true) => desired.sources.deleted(&self.namespace),
            (true, _) => desired.sources.gone(&self.namespace),
            (false, false) => desired.sources.not_found(&self.namespace),
        };
        self.halt(verdict, Requeue::AwaitChange)
    }

    /// Whether the sources exist, no mapping gives anything of them, and the present generation was
    /// never pushed. As with sources that do not exist yet, what was pushed before the edit stays: its
    /// successor may be created empty and filled a moment later.
    fn awaits_first_keys(&self, desired: &Desired, mapped: &Mapped) -> bool {
        let is_fruitless = !mapped.gives_any && mapped.astray.is_empty() && !desired.mappings.is_empty();
        is_fruitless && !self.before.lists_nothing() && !self.was_synced()
    }

    /// Whether the present generation was pushed once.
    fn was_synced(&self) -> bool {
        let generation = self.before.synced_resource_version.as_deref().and_then(|text| text.split_once('-'));
        generation.is_some_and(|(generation, _)| generation == self.generation().to_string())
    }

    pub(super) async fn withdraw(
        &self,
        seen: &SeenStores,
        aim: &Aim<'_>,
        gone: Verdict,
        way_out: Option<&str>,
    ) -> (PushSecret, Said) {
        self.withdrawn(Box::pin(self.carry_out(seen, aim, None)).await, gone, way_out)
    }

    fn withdrawn(&self, carried: Carried, gone: Verdict, way_out: Option<&str>) -> (PushSecret, Said) {
        let Carried { plan, results, recorded, reached, fates, is_confirmed, .. } = carried;
        let Recorded { object, ledger, version } = recorded;
        let before = object.status.clone().unwrap_or_default();
        let (absent, wanted, fates) = (&reached.absent, &BTreeSet::new(), &fates);
        let done = Done { plan: &plan, results: &results, absent, wanted, unmatched: &[], astray: &[], fates };
        let said = report::withdrawn(&before, &ledger, &done, &self.setting(None, &[]), gone, way_out);
        (object, concluded(said, version, is_confirmed))
    }

    /// Plans, records, and writes to the stores. Before each removal it looks `again` at the sources.
    /// Its future is large, so callers box it.
    async fn carry_out(&self, seen: &SeenStores, aim: &Aim<'_>, again: Option<&SecondLook<'_>>) -> Carried {
        let wanted: Vec<&EntryRef> = match aim {
            Aim::Publish { mapped, .. } => mapped.entries.keys().collect(),
            Aim::Withdraw { .. } => Vec::new(),
        };
        let listed = self.before.ledger();
        let unmoved = Ledger::read(&locations::as_if_unmoved(listed.clone()), &seen.mounts);
        let places = observe::places(&seen.clients, wanted.into_iter().chain(unmoved.pushed.keys())).await;
        self.declare_places(aim, &places);
        let none = BTreeSet::new();
        let wanted_stores = match aim {
            Aim::Publish { .. } => &seen.chosen.stores,
            Aim::Withdraw { .. } => &none,
        };
        let mut locations = locations::learn(seen.locations.clone(), &places);
        let mut moved = locations::moved(&listed, &locations);
        let mut usable = seen.clone();
        for (store, late) in seen.shown_late(self.world.stores, &self.namespace, wanted_stores, &listed, &moved).await {
            locations.remove(&store);
            moved.remove(&store.listed());
            usable.leave(store, late);
        }
        let listed = locations::settle(listed, &locations);
        let mut reached = former::reach(&usable, self.world.stores, &self.namespace, &listed);
        let ledger = Ledger::read(&listed, &reached.mounts);
        let former = ledger.pushed.keys().filter(|entry_ref| entry_ref.store.former.is_some());
        let places: Places = observe::places(&reached.clients, former).await.into_iter().chain(places).collect();
        let known = self.before.paths.iter().cloned().chain((self.world.beyond)());
        let paths = known.filter(|path| !moved.contains(&path.store)).collect::<Vec<_>>();
        let (mut plan, asking) = self.plan(aim, &ledger, &places, &paths);
        let losing = if self.selects_stores(aim) { plan::losing(&plan) } else { BTreeSet::new() };
        let labelled_late = SeenStores::labelled_late(self.world.stores, &self.namespace, losing).await;
        labelled_late.iter().for_each(|(store, late)| reached.leave(store.clone(), late.clone()));
        // A store that turned out to be shown late is an unfinished one, at each of its entries.
        plan.retain(|entry_ref, _| !reached.absent.contains_key(&entry_ref.store));
        let record = Record::new(self.world.cluster, (*self.object).clone(), &plan, &ledger, locations.clone());
        let record = record.looking(again);
        // If the live read fails, the offers stay closed and nobody is asked. The properties stay,
        // and the next try follows soon.
        let is_confirmed =
            labelled_late.is_empty() && (asking.values().all(Vec::is_empty) || record.confirm().await.is_ok());
        if is_confirmed {
            let undecided =
                |place: &PathKey, property: &str| plan::is_undecided(&plan, &ledger, &places, place, property);
            self.world.offers.open(&self.me, asking, &undecided);
        }
        let (results, written) = {
            let applier = Applier {
                me: &self.me,
                owners: self.world.cluster,
                intents: self.world.intents,
                offers: self.world.offers,
                now: self.world.instant,
                began: self.began,
            };
            let apply = Apply {
                applier,
                clients: &reached.clients,
                places: &places,
                wanted: wanted_stores,
                absent: &reached.absent,
                ledgers: &record,
                leeway: self.world.leeway,
                announce: self.world.announce,
            };
            apply.run(&plan).await
        };
        self.announce_missed(&plan, &places, &paths, &results);
        let held = arrival::held(&plan, &results, &places, |store| is_confirmed && written.may_lose(store));
        let now = self.world.instant + self.began.elapsed();
        self.world.offers.count(&self.me, &held, self.patience(), now);
        self.world.offers.reached(&self.attempt, &arrival::reached(&plan, &results, &places, &self.me));
        self.world.offers.freed(&self.me, &arrival::freed(&plan, &results, &places));
        let fates = Fates::judge(aim, wanted_stores, &reached, &locations, &ledger, &results);
        let fates = self.fates(fates.with_twins(&ledger, &plan, &places));
        Carried { plan, results, recorded: record.finish(&reached.mounts), reached, fates, paths, is_confirmed }
    }

    /// Whether labels decide which stores are published to, or what is published there.
    fn selects_stores(&self, aim: &Aim<'_>) -> bool {
        match aim {
            Aim::Publish { .. } => referred::selected_by_push(&self.object).next().is_some(),
            Aim::Withdraw { .. } => false,
        }
    }

    /// The plan, and which properties are offered to whom.
    fn plan(&self, aim: &Aim<'_>, ledger: &Ledger, places: &Places, paths: &[PushedPath]) -> (Plan, Asking) {
        let mut asking = Asking::new();
        let search = self.world.offers.search(&self.me, self.patience());
        let mut waiters = |path: &RemotePath, site: &Site, property: &str| {
            let waiters = search.waiters(site, path, property);
            let names = waiters.iter().map(|waiter| waiter.name.to_string()).collect();
            asking.insert((site.clone(), property.to_owned()), waiters);
            names
        };
        let deletion = self.object.spec.deletion_policy();
        let plan = plan::plan(aim, ledger, places, deletion, paths, &mut waiters);
        (plan, asking)
    }

    fn patience(&self) -> Patience {
        Patience { now: self.world.instant, most: self.world.cleanup_deadline }
    }

    fn declare_places(&self, aim: &Aim<'_>, places: &Places) {
        let spelled =
            |entry_ref: &EntryRef| Spelled { store: entry_ref.store.listed(), path: entry_ref.path.to_string() };
        let place = |entry_ref: &EntryRef| {
            let site = places.get(entry_ref).and_then(|site| site.as_ref().ok()).cloned();
            (spelled(entry_ref), site.map(|site| Published { site, kind: entry_ref.store.kind }))
        };
        (self.world.publishes)(match aim {
            Aim::Publish { mapped, .. } => mapped.entries.keys().map(place).collect(),
            Aim::Withdraw { .. } => BTreeMap::new(),
        });
    }

    /// Announces what was written or removed but not announced, because of a lost reply or a
    /// restart. The status tells another number. It does not tell an entry that was purged and
    /// created again under the same number, so the feed compares what was found with what its
    /// consumers have. What is gone may be gone by our removal or not: whoever has read it before its
    /// claims were released reads again.
    fn announce_missed(&self, plan: &Plan, places: &Places, paths: &[PushedPath], results: &Results) {
        for (entry_ref, outcome) in results {
            let unsaid = outcome.result.as_ref().ok().filter(|applied| applied.wrote == Wrote::Nothing);
            let (Some(Applied { settled, .. }), Some(Ok(site))) = (unsaid, places.get(entry_ref)) else { continue };
            let (store, path) = (entry_ref.store.to_string(), entry_ref.path.to_string());
            let known = paths.iter().find(|known| known.store == store && known.path == path);
            let told = known.and_then(|known| known.version).and_then(|known| u64::try_from(known).ok());
            let job = plan.get(entry_ref);
            let removes = job.is_some_and(|job| !job.goal.remove.is_empty());
            // The status of what is withdrawn tells no version, and a taker may let it wait.
            let is_told = told.is_some() || job.is_some_and(|job| !job.goal.offer.is_empty());
            let news = match settled.version {
                Some(version) if is_told && told.is_none_or(|told| told == version) => {
                    News::Found(version, settled.created)
                }
                Some(version) => Pushed::Version(version, settled.created).into(),
                None if removes && outcome.removal == Removal::Done => Pushed::Release.into(),
                None => continue,
            };
            (self.world.announce)(site, news);
        }
    }

    pub(super) fn halt(&self, verdict: Verdict, requeue: Requeue) -> Report<PushSecretStatus> {
        self.world.deletions.pause(&self.me.object(), self.world.instant);
        conclusion::verdict(&self.object, self.halted(verdict, requeue))
    }

    pub(super) fn halted(&self, verdict: Verdict, requeue: Requeue) -> Said {
        report::halted(&self.before, verdict, requeue, &self.setting(None, &[]))
    }

    pub(super) fn failed(&self, error: &ClusterError) -> Report<PushSecretStatus> {
        let verdict = Verdict { ready: false, reason: Reason::Errored, message: error.to_string() };
        self.halt(verdict, Requeue::BackOff)
    }

    fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    fn setting<'s>(&self, refresh: Option<Duration>, warnings: &'s [String]) -> Setting<'s> {
        let none = BTreeMap::new();
        let annotations = self.object.metadata.annotations.as_ref().unwrap_or(&none);
        let labels = self.object.metadata.labels.as_ref().unwrap_or(&none);
        Setting {
            generation: self.generation(),
            synced_version: synced_resource_version(self.generation(), annotations, labels),
            now: self.world.now,
            heartbeat: self.world.heartbeat,
            refresh,
            warnings,
            deleted_for: self.object.metadata.deletion_timestamp.is_some().then(|| self.going_for()),
            removes: self.object.spec.deletion_policy() == PushDeletionPolicy::Delete,
        }
    }
}
