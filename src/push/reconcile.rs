//! One reconcile of a PushSecret, as a table of contents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::apply::{Apply, Results};
use super::arrival;
use super::deletions::Deletions;
use super::desired::{self, Desired, InvalidSpec, StoreQueries, StoreQuery};
use super::entry::{Applier, Wrote};
use super::former::{self, Fates};
use super::intents::Intents;
use super::ledger::{self, Ledger, Spot, StoreKey};
use super::locations;
use super::mapped::{self, Mapped};
use super::observe::{self, Absence, SeenStores, Selected, Stores};
use super::offers::{Asking, Attempt, Offers, Patience};
use super::plan::{self, Aim, Known, Places, Plan};
use super::record::{Record, Recorded, is_same_wish};
use super::report::{self, Done, Said, Setting};
use super::sources::{BOUND, Sources};
use crate::api::PushSecret;
use crate::api::bounds;
use crate::api::condition::{self, Reason};
use crate::api::path_status::PushedPath;
use crate::api::push_secret::{PushDeletionPolicy, PushSecretStatus};
use crate::cluster::source::OverBound;
use crate::cluster::{Cluster, ClusterError};
use crate::controller::referrers::{Interest, Referrer, Referrers};
use crate::controller::report::{Report, Requeue, StatusChange, Verdict};
use crate::domain::claim::Owner;
use crate::domain::convention::Convention;
use crate::domain::fingerprint::synced_resource_version;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::source::Source;
use crate::feed::{Pushed, Spelled};
use crate::metrics::LetGo;
use crate::store::{PathKey, Site};

/// Everything outside the object that a reconcile may use.
pub struct World<'a> {
    /// The Kubernetes API.
    pub cluster: &'a Cluster,
    /// The stores.
    pub stores: &'a dyn Stores,
    /// Told at once what consumers of an entry are to know.
    pub announce: &'a (dyn Fn(&Site, Pushed) + Send + Sync),
    /// Told what is published, and where that is; nothing of it where it cannot be told now.
    pub publishes: &'a (dyn Fn(BTreeMap<Spelled, Option<PathKey>>) + Send + Sync),
    /// Who wants to hear about which Secret.
    pub referrers: &'a Referrers,
    /// Who wants to hear about which ConfigMap.
    pub config_maps: &'a Referrers,
    /// The rules of paths.
    pub convention: &'a Convention,
    /// How often `status.refreshTime` moves without a change.
    pub heartbeat: Duration,
    /// A PushSecret whose deletion is known for this long is let go, where waiting may be in vain: its store is gone, its namespace
    /// is going, or its ledger says too little.
    pub cleanup_deadline: Duration,
    /// This cluster's name in claims.
    pub cluster_name: &'a str,
    /// Others' announced claims.
    pub intents: &'a Intents,
    /// Since when deletions are waited for.
    pub deletions: &'a Deletions,
    /// What PushSecrets leave to others, and who waits.
    pub offers: &'a Offers,
    /// The time, by a clock that nobody sets.
    pub instant: Instant,
    /// The time, by a clock that may jump: for what is shown, not for what is decided.
    pub now: Timestamp,
}

/// One reconcile's own facts.
pub(super) struct Turn<'a> {
    pub world: &'a World<'a>,
    pub object: Arc<PushSecret>,
    pub before: PushSecretStatus,
    pub namespace: String,
    pub me: Owner,
    pub attempt: Attempt,
}

/// Brings the stores nearer to the PushSecret, and says how it stands.
pub async fn reconcile(object: Arc<PushSecret>, world: &World<'_>) -> Report<PushSecretStatus> {
    let me = Owner {
        uid: object.uid().unwrap_or_default(),
        cluster: world.cluster_name.to_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    };
    let attempt = world.offers.begin(&me, object.metadata.generation.unwrap_or_default()).await;
    let report = decide(Turn::new(object, me, attempt.clone(), world)).await;
    world.offers.end(&attempt, !matches!(report.requeue(), Some(Requeue::BackOff | Requeue::Throttled)));
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
    match turn.see_sources(&desired.sources).await {
        Ok(sources) if sources.is_empty() => turn.without_sources(&seen, &desired).await,
        Ok(sources) => turn.publish(&seen, &desired, &sources).await,
        Err(NoSources::Over(over)) => turn.halt(desired.sources.too_many(&turn.namespace, over), Requeue::AwaitChange),
        Err(NoSources::Cluster(error)) => turn.failed(&error),
    }
}

/// What became of a plan.
struct Carried {
    plan: Plan,
    results: Results,
    recorded: Recorded,
    /// The stores, and where they led before they were edited.
    reached: SeenStores,
    fates: Fates,
    /// The paths that were known before, but for those of stores that lead elsewhere now.
    paths: Vec<PushedPath>,
}

/// Why the sources were not read.
#[derive(Debug, thiserror::Error)]
enum NoSources {
    #[error("more than one PushSecret may have")]
    Over(OverBound),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl<'a> Turn<'a> {
    fn new(object: Arc<PushSecret>, me: Owner, attempt: Attempt, world: &'a World<'a>) -> Self {
        let (namespace, before) = (me.namespace.clone(), object.status.clone().unwrap_or_default());
        Turn { world, object, before, namespace, me, attempt }
    }

    /// Before the sources are read, so that no change of them falls between.
    fn listen(&self) {
        let named = |name: String| Interest::named(BTreeSet::from([Name::new(&self.namespace, name)]));
        let (secrets, config_maps) = match desired::sources(&self.object.spec) {
            Ok(Sources::Named(name)) => (named(name), Interest::default()),
            Ok(Sources::Labelled(query)) => {
                let labelled = Some((self.namespace.clone(), query));
                // One that loses its labels now is still to be heard of.
                let secrets = self.world.referrers.secrets_of(&self.referrer());
                (Interest { secrets, labelled }, Interest::default())
            }
            Ok(Sources::ConfigMap(name)) => (Interest::default(), named(name)),
            Err(_) => (Interest::default(), Interest::default()),
        };
        self.declare(secrets, config_maps);
    }

    pub(super) fn declare(&self, secrets: Interest, config_maps: Interest) {
        self.world.referrers.declare(self.referrer(), secrets);
        self.world.config_maps.declare(self.referrer(), config_maps);
    }

    fn referrer(&self) -> Referrer {
        Referrer::PushSecret(Name::new(&self.namespace, self.object.name_any()))
    }

    /// A Secret that loses its labels is heard of by its name alone. So the names come first and are declared, and what is read
    /// after that is what counts.
    async fn see_sources(&self, sources: &Sources) -> Result<Vec<Source>, NoSources> {
        let (cluster, namespace) = (self.world.cluster, &self.namespace);
        match sources {
            Sources::Named(name) => Ok(cluster.source(namespace, name).await?.into_iter().collect()),
            Sources::ConfigMap(name) => Ok(cluster.config_map_source(namespace, name).await?.into_iter().collect()),
            Sources::Labelled(query) => {
                let names = cluster.source_names(namespace, query).await?;
                let found = names.len();
                let secrets = names.into_iter().map(|name| Name::new(namespace, name)).collect();
                let labelled = Some((namespace.clone(), query.clone()));
                self.declare(Interest { secrets, labelled }, Interest::default());
                if found > BOUND.secrets {
                    let found = cluster.source_names(namespace, query).await?.len();
                    if found > BOUND.secrets {
                        return Err(NoSources::Over(OverBound::Secrets(found)));
                    }
                }
                cluster.sources(namespace, query, BOUND).await?.map_err(NoSources::Over)
            }
        }
    }

    /// The stores that the spec names or selects; nothing if all are another controller's.
    async fn choose_stores(&self) -> Option<SeenStores> {
        let named = desired::stores(&self.object.spec);
        // A selector that says nothing is told with the rest of the spec.
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

    /// The stores with some labels, and what is said if there are none that are `meant`.
    fn select(&self, (kind, query): StoreQuery, meant: &str, field: &str) -> Selected {
        let names = self.world.stores.labelled(&self.namespace, kind, &query);
        let words =
            format!("no {kind} {meant} matches {query}: label one, or correct {field}; it is pushed to at once");
        (words, names.into_iter().map(|name| StoreKey::new(kind, name)).collect())
    }

    pub(super) async fn see_stores(&self, wanted: &BTreeSet<StoreKey>) -> SeenStores {
        let listed = ledger::stores(&self.before);
        observe::stores(self.world.stores, &self.namespace, wanted.union(&listed).cloned().collect()).await
    }

    /// Whether all of these stores are another controller's. Where none is named, and where one does not exist, that may be; but a
    /// PushSecret that is being deleted is not held by a store that is gone.
    pub(super) fn belongs_to_others(&self, seen: &SeenStores, stores: &BTreeSet<StoreKey>) -> bool {
        let alone = self.world.stores.serves_unclassified();
        let goes = self.object.metadata.deletion_timestamp.is_some();
        let others = |store: &StoreKey| match seen.absent.get(store).map(|absent| absent.why) {
            Some(Absence::OtherController) => true,
            Some(Absence::Missing) => !alone && !goes,
            Some(Absence::NotPermitted | Absence::Unusable | Absence::Elsewhere) | None => false,
        };
        if stores.is_empty() { !alone } else { stores.iter().all(others) }
    }

    /// The finalizer stands as long as something pushed is to go with the PushSecret, and no longer. What is pushed for the first time
    /// gets it before that.
    async fn settle_finalizer(&mut self) -> Result<(), ClusterError> {
        let cluster = self.world.cluster;
        match self.object.spec.deletion_policy() {
            PushDeletionPolicy::None => {
                if let Some(metadata) = cluster.remove_push_finalizer(&self.object).await? {
                    self.object = Arc::new(PushSecret { metadata, ..(*self.object).clone() });
                }
                return Ok(());
            }
            PushDeletionPolicy::Delete if self.before.lists_nothing() => return Ok(()),
            PushDeletionPolicy::Delete => {}
        }
        let written = match cluster.add_push_finalizer(&self.object).await {
            // The cache was behind our own last write.
            Err(conflict @ ClusterError::Conflict { .. }) => {
                let fresh = cluster.fresh_push_secret(&self.object).await?;
                if !is_same_wish(&self.object, &fresh) {
                    return Err(conflict);
                }
                Some(cluster.add_push_finalizer(&fresh).await?.unwrap_or(fresh))
            }
            other => other?,
        };
        if let Some(written) = written {
            self.before = written.status.clone().unwrap_or_default();
            self.object = Arc::new(written);
        }
        Ok(())
    }

    fn parse(&self, seen: &SeenStores) -> Result<Desired, Verdict> {
        let (spec, convention) = (&self.object.spec, self.world.convention);
        let told =
            |invalid: InvalidSpec| Verdict { ready: false, reason: invalid.reason(), message: invalid.to_string() };
        let annotations = self.object.annotations();
        let desired = desired::parse(spec, annotations, &seen.chosen, &seen.mounts, convention).map_err(told)?;
        let checked = mapped::check(&desired, &seen.mounts, convention);
        checked.map_err(|fault| told(InvalidSpec::Mappings(fault)))?;
        // Last: whatever has a rule of its own is better told by that.
        bounds::check(spec).map_err(|bounds| told(InvalidSpec::Bounds(bounds)))?;
        Ok(desired)
    }

    async fn publish(&self, seen: &SeenStores, desired: &Desired, sources: &[Source]) -> Report<PushSecretStatus> {
        let mapped = mapped::map(desired, sources, &seen.mounts, self.world.convention);
        // Where a mapping that goes to some stores alone would lead in one that cannot be used, nobody knows.
        let hidden = desired.mappings.iter().filter_map(|entry| entry.stores.as_ref()).flatten();
        let is_known = hidden.into_iter().all(|store| !seen.absent.contains_key(store));
        let known = match mapped.astray.is_empty() && seen.unmatched.is_empty() && is_known {
            true => Known::All,
            false => Known::Some,
        };
        let Carried { plan, results, recorded, reached, fates, paths } =
            self.carry_out(seen, &Aim::Publish { desired, mapped: &mapped, sources, known }).await;
        let Recorded { object, ledger, version } = recorded;
        self.announce_missed(seen, &paths, &results).await;
        let before = PushSecretStatus { paths, ..object.status.clone().unwrap_or_default() };
        let Mapped { astray, warnings, .. } = &mapped;
        let SeenStores { absent, chosen, unmatched, .. } = &reached;
        let (wanted, fates) = (&chosen.stores, &fates);
        let done = Done { plan: &plan, results: &results, absent, wanted, unmatched, astray, fates };
        let warnings: Vec<String> = desired.warnings.iter().chain(warnings).cloned().collect();
        let said = report::published(&before, &ledger, &done, &self.setting(desired.refresh, &warnings));
        verdict(&object, Said { version, ..said })
    }

    /// No source is there. What was pushed goes only if this very spec was in place before: a source that was renamed in the
    /// spec, and is not there yet, deletes nothing.
    async fn without_sources(&self, seen: &SeenStores, desired: &Desired) -> Report<PushSecretStatus> {
        let listed = !self.before.lists_nothing();
        let deletes = self.object.spec.deletion_policy() == PushDeletionPolicy::Delete;
        if listed && deletes && self.was_synced() {
            let deleted = desired.sources.deleted(&self.namespace);
            let aim = Aim::Withdraw { existing: desired.existing, earlier: desired.earlier };
            let (object, said) = self.withdraw(seen, &aim, deleted, None).await;
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

    /// Whether the spec as it is now was in place once.
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
        let Carried { plan, results, recorded, reached, fates, .. } = self.carry_out(seen, aim).await;
        let Recorded { object, ledger, version } = recorded;
        let before = object.status.clone().unwrap_or_default();
        let (absent, wanted, fates) = (&reached.absent, &BTreeSet::new(), &fates);
        let done = Done { plan: &plan, results: &results, absent, wanted, unmatched: &[], astray: &[], fates };
        let said = report::withdrawn(&before, &ledger, &done, &self.setting(None, &[]), gone, way_out);
        (object, Said { version, ..said })
    }

    /// Plans, writes what is about to be written into the ledger, and writes.
    async fn carry_out(&self, seen: &SeenStores, aim: &Aim<'_>) -> Carried {
        let wanted: Vec<&Spot> = match aim {
            Aim::Publish { mapped, .. } => mapped.entries.keys().collect(),
            Aim::Withdraw { .. } => Vec::new(),
        };
        let listed = self.before.ledger();
        let unmoved = Ledger::read(&locations::as_if_unmoved(listed.clone()), &seen.mounts);
        let places = observe::places(&seen.clients, wanted.into_iter().chain(unmoved.pushed.keys())).await;
        self.declare_places(aim, &places);
        let locations = locations::learn(seen.locations.clone(), &places);
        let moved = locations::moved(&listed, &locations);
        let listed = locations::settle(listed, &locations);
        let reached = former::reach(seen, self.world.stores, &self.namespace, &listed);
        let ledger = Ledger::read(&listed, &reached.mounts);
        let former = ledger.pushed.keys().filter(|spot| spot.store.former.is_some());
        let places: Places = observe::places(&reached.clients, former).await.into_iter().chain(places).collect();
        let paths = self.before.paths.iter().filter(|path| !moved.contains(&path.store)).cloned().collect::<Vec<_>>();
        let (plan, asking) = self.plan(aim, &ledger, &places, &paths);
        let record = Record::new(self.world.cluster, (*self.object).clone(), &plan, &ledger, locations.clone());
        // What is offered stands, asked or not: one that cannot be looked at asks nobody.
        let may_ask = asking.is_empty() || record.confirm().await.is_ok();
        self.world.offers.open(&self.me, if may_ask { asking } else { Asking::new() }, self.world.instant);
        let none = BTreeSet::new();
        let wanted = match aim {
            Aim::Publish { .. } => &seen.chosen.stores,
            Aim::Withdraw { .. } => &none,
        };
        let results = {
            let applier = Applier {
                me: &self.me,
                owners: self.world.cluster,
                intents: self.world.intents,
                offers: self.world.offers,
                now: self.world.instant,
            };
            let apply = Apply {
                applier,
                clients: &reached.clients,
                places: &places,
                wanted,
                absent: &reached.absent,
                ledgers: &record,
                announce: self.world.announce,
            };
            apply.run(&plan).await
        };
        self.world.offers.reached(&self.attempt, &arrival::reached(&plan, &results, &places, &self.me));
        self.world.offers.freed(&self.me, &arrival::freed(&plan, &results, &places));
        let fates = self.fates(Fates::judge(aim, wanted, &reached, &locations, &ledger, &results));
        Carried { plan, results, recorded: record.finish(&reached.mounts), reached, fates, paths }
    }

    /// A former place that cannot be cleaned is waited for as long as for any clean-up.
    fn fates(&self, judged: Fates) -> Fates {
        let Turn { world, me, .. } = self;
        world.deletions.fail_only(&me.object(), &judged.failing);
        let failing_for = |place: &StoreKey| world.deletions.failing_for(&me.object(), &me.uid, place, world.instant);
        judged.give_up(world.cleanup_deadline, failing_for)
    }

    /// The plan, and what of it is offered to whom.
    fn plan(&self, aim: &Aim<'_>, ledger: &Ledger, places: &Places, paths: &[PushedPath]) -> (Plan, Asking) {
        let mut asking = Asking::new();
        let patience = Patience { now: self.world.instant, most: self.world.cleanup_deadline };
        let mut waiters = |path: &RemotePath, key: &PathKey, property: &str| {
            let waiters = self.world.offers.waiters(&self.me, key, path, property, patience);
            let names = waiters.iter().map(|waiter| waiter.name.to_string()).collect();
            if !waiters.is_empty() {
                asking.insert((key.clone(), property.to_owned()), waiters);
            }
            names
        };
        let deletion = self.object.spec.deletion_policy();
        let plan = plan::plan(aim, ledger, places, deletion, paths, &mut waiters);
        (plan, asking)
    }

    fn declare_places(&self, aim: &Aim<'_>, places: &Places) {
        let spelled = |spot: &Spot| Spelled { store: spot.store.listed(), path: spot.path.to_string() };
        let place = |spot: &Spot| (spelled(spot), places.get(spot).and_then(|place| place.as_ref().ok()).cloned());
        (self.world.publishes)(match aim {
            Aim::Publish { mapped, .. } => mapped.entries.keys().map(place).collect(),
            Aim::Withdraw { .. } => BTreeMap::new(),
        });
    }

    /// A version that was written when we could not say so any more (a lost reply, a restart) is announced late.
    async fn announce_missed(&self, seen: &SeenStores, paths: &[PushedPath], results: &Results) {
        for (spot, outcome) in results {
            let unsaid = outcome.result.as_ref().ok().filter(|applied| applied.wrote == Wrote::Nothing);
            let Some(version) = unsaid.and_then(|applied| applied.settled.version) else { continue };
            let (store, path) = (spot.store.to_string(), spot.path.to_string());
            let known = paths.iter().find(|known| known.store == store && known.path == path);
            if known.and_then(|known| known.version).and_then(|known| u64::try_from(known).ok()) == Some(version) {
                continue;
            }
            if let Some(client) = seen.clients.get(&spot.store)
                && let Ok(key) = client.path_key(&spot.path).await
            {
                (self.world.announce)(&Site::of(client.as_ref(), key), Pushed::Version(version));
            }
        }
    }

    pub(super) fn halt(&self, verdict: Verdict, requeue: Requeue) -> Report<PushSecretStatus> {
        let said = report::halted(&self.before, verdict, requeue, &self.setting(None, &[]));
        self::verdict(&self.object, said)
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
        }
    }
}

/// The ledger must not be overwritten by a reconcile that saw an older one, nor may a reconcile that pushed something new overlook
/// what became of the PushSecret meanwhile; the rest of the status may be written whatever happened.
pub(super) fn verdict(object: &PushSecret, said: Said) -> Report<PushSecretStatus> {
    let (before, after) =
        (object.status.as_ref().map(PushSecretStatus::ledger).unwrap_or_default(), said.status.ledger());
    // Definitions of others keep no locations: these alone are not worth a write that may have to be repeated.
    let locations_move = !before.locations.is_empty() && before.locations != after.locations;
    let moves = (before.synced, before.former) != (after.synced, after.former) || locations_move;
    let report = Report::Verdict {
        verdict: said.verdict,
        status: Box::new(StatusChange {
            before: object.status.clone(),
            after: said.status,
            resource_version: said.version.or(moves.then(|| object.resource_version()).flatten()),
        }),
        requeue: said.requeue,
    };
    let report = orphaned(object, LetGo::Declined, &said.left, report);
    orphaned(object, LetGo::StoreMoved, &said.lost, report)
}

fn orphaned(
    object: &PushSecret,
    why: LetGo,
    left: &[String],
    rest: Report<PushSecretStatus>,
) -> Report<PushSecretStatus> {
    if left.is_empty() {
        return rest;
    }
    let left = left.join("; ");
    tracing::warn!(push_secret = %object.name_any(), left, reason = ?why, "left in the store");
    Report::Orphaned { why, left, rest: Box::new(rest) }
}
