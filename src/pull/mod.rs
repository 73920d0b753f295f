//! ExternalSecret: keeps a Secret equal to what stands at paths of a store.
//!
//! One reconcile reads as desired → observe → plan → apply → report. Most end before the first request: the feed knows of
//! nothing new, the resource is the one that was tried last, and the target is as our last write left it.

mod absence;
pub mod apply;
pub mod bound;
pub mod consent;
pub mod desired;
pub mod observe;
pub mod plan;
pub mod records;
mod remains;
pub mod report;
mod roll;
mod stores;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use crate::api::condition::{self, ConditionStatus, READY};
use crate::api::external_secret::ExternalSecretStatus;
use crate::api::{ExternalSecret, names};
use crate::cluster::ClusterError;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::kind::Kind;
use crate::controller::referrers::{Interest, Name, Referrer};
use crate::controller::report::{Report, Requeue, Verdict};
use crate::controller::undecodable::{Advice, Fate};
use crate::feed::{Follow, Freshness, Labels, Standing, Trouble};
use crate::metrics::Stage;
use crate::store::{Foreign, StoreName};
use absence::Absence;
use apply::Applied;
use bound::{Halt, Losses};
use consent::Reader;
use desired::{Desired, Reference, Refresh};
use observe::{Located, Stores};
use plan::{Observed, PathVersion, Refusal, Snapshot, Step, TargetState, Written, plan};
use records::{Record, Records};
use report::{Failure, Moment, Synced, report};

/// How often a write is decided anew because the target moved meanwhile, before the object waits its turn again.
const ATTEMPTS: usize = 4;
/// How long the cache may take to show a status that we wrote.
const CACHE_LAG: Duration = Duration::from_secs(2);
/// How often a resource that asks to be synced once looks for its value until it is there.
const UNTIL_SYNCED: Duration = Duration::from_secs(3600);

/// Reconciles ExternalSecrets.
pub struct Pull<S> {
    context: Arc<Context>,
    stores: S,
    records: Arc<Records>,
    losses: Losses,
}

#[async_trait]
impl<S: Stores> Reconciler for Pull<S> {
    type Object = ExternalSecret;
    type Status = ExternalSecretStatus;
    const KIND: Kind = Kind::ExternalSecret;

    fn api(&self, namespace: &str) -> Api<Guarded<ExternalSecret>> {
        Api::namespaced(self.context.cluster.client(), namespace)
    }

    /// Before anything is reconciled, so that a share of all targets is one of all.
    fn observe(&self, object: &ExternalSecret) {
        let name = Name::new(object.namespace().unwrap_or_default(), object.name_any());
        let past = roll::past(object, Timestamp::now());
        self.losses.enrol(&name, roll::member(object), past, |store| self.allowance(store), Instant::now());
    }

    async fn reconcile(&self, object: Arc<ExternalSecret>, name: &Name) -> Report<ExternalSecretStatus> {
        if self.is_foreign(&object) {
            self.set_aside(name);
            return Report::NotOurs;
        }
        if object.metadata.deletion_timestamp.is_some() {
            self.set_aside(name);
            return self.let_go(&object).await;
        }
        let moment = Moment { now: Timestamp::now(), heartbeat: self.context.settings.status_heartbeat };
        let desired = match Desired::parse(&object) {
            Ok(desired) => desired.with_strangers(self.context.settings.strangers),
            Err(error) => {
                self.set_aside(name);
                return report(&object, None, Err(Failure::Spec(error)), &moment);
            }
        };
        // Before anything is read, so that no event falls between.
        let target = BTreeSet::from([Name::new(&desired.namespace, &desired.target)]);
        self.context.referrers.declare(Referrer::ExternalSecret(name.clone()), Interest::named(target));
        let result = self.sync(&object, &desired, name).await;
        let is_in_place = result.is_ok();
        let report = report(&object, Some(&desired), result, &moment);
        match &report {
            _ if is_in_place => self.context.feed.stands(name, Standing::InPlace),
            Report::Verdict { verdict, .. } => self.context.feed.stands(name, Standing::Failing(trouble(verdict))),
            // Nothing is decided.
            Report::NotOurs
            | Report::Gone
            | Report::LetGo { .. }
            | Report::Orphaned { .. }
            | Report::Unchanged { .. } => {}
        }
        report
    }

    async fn undecodable(&self, name: &Name) -> Result<Fate<ExternalSecret>, ClusterError> {
        self.set_aside(name);
        let object = self.context.cluster.raw::<ExternalSecret>(&name.namespace, &name.name).await?;
        let Some(rest) = object.map(remains::of).filter(|rest| !self.is_foreign(rest)) else { return Ok(Fate::Left) };
        match rest.metadata.deletion_timestamp {
            Some(_) => Ok(Fate::Ends(Box::new(rest))),
            None => Ok(Fate::Told(Advice::correct())),
        }
    }

    fn forget(&self, name: &Name) {
        self.set_aside(name);
        self.losses.forget(name);
    }
}

impl<S: Stores> Pull<S> {
    /// Puts the reconciler together. `records` is shared with the Secret watch, which asks it whether an event is our own.
    pub fn new(context: Arc<Context>, stores: S, records: Arc<Records>) -> Self {
        Pull { context, stores, records, losses: Losses::default() }
    }

    /// Reads and keeps nothing for an object that is not, or cannot be, brought up.
    fn set_aside(&self, name: &Name) {
        self.context.feed.forget(name);
        self.context.referrers.declare(Referrer::ExternalSecret(name.clone()), Interest::default());
        self.records.forget(name);
    }

    async fn sync(&self, object: &ExternalSecret, desired: &Desired, name: &Name) -> Result<Synced, Failure> {
        let began = Instant::now();
        let behind = self.context.feed.is_behind(name);
        let losing = self.losses.awaits(name);
        let record = self.records.of(name);
        if self.is_settled(object, desired, name, record.as_ref(), behind || losing).await? {
            return Ok(Synced::Unchanged);
        }
        let freshness = match &record {
            None if self.context.feed.in_first_wave(created(object)) => Freshness::Shared,
            Some(record) if record.tried != desired.synced_resource_version => Freshness::Asked(began),
            // What is to be lost is looked at anew.
            Some(_) if behind && !losing => Freshness::Shared,
            Some(_) | None => Freshness::Since(began),
        };
        let tried_before = record.as_ref().map(|record| record.tried.clone());
        let attempt = self.bring_up(object, desired, name, record.as_ref(), freshness).await;
        let target = match &attempt {
            Ok((Applied::Kept(written) | Applied::Wrote(written), ..)) => Some(written.clone()),
            Ok((Applied::Deleted | Applied::Absent, ..)) => None,
            // What was written for another state of the resource says nothing about this one.
            Err(_) => record
                .filter(|record| record.tried == desired.synced_resource_version)
                .and_then(|record| record.target.map(|(_, written)| written)),
        };
        let tried = match (&attempt, tried_before) {
            // A person's word that nothing could be read for still stands.
            (Err(Failure::Observe(_)), Some(tried)) => tried,
            (Ok(_) | Err(_), _) => desired.synced_resource_version.clone(),
        };
        self.note(desired, name, tried, target, attempt.is_ok().then(Instant::now));
        let (applied, versions, warnings) = attempt?;
        if let Some(announced) = self.context.feed.take_announced(name)
            && matches!(applied, Applied::Wrote(_))
        {
            self.context.metrics.propagated(Stage::Pull, announced.elapsed());
        }
        Ok(Synced::Done { applied, versions, warnings })
    }

    /// Whether a store that it names is another controller's, or may be.
    fn is_foreign(&self, object: &ExternalSecret) -> bool {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        self.context.stores.foreign(desired::stores(&object.spec, namespace)) != Foreign::None
    }

    /// The garbage collector takes the target, which names the resource as its owner. We set no finalizer, but an External
    /// Secrets Operator that served the resource before us did, and nobody else would remove it.
    async fn let_go(&self, object: &ExternalSecret) -> Report<ExternalSecretStatus> {
        match self.context.cluster.release_external_secret(object).await {
            Ok(()) => Report::Gone,
            Err(error) => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
                tracing::warn!(external_secret = %format!("{namespace}/{}", object.name_any()), %error, "it cannot be let go");
                Report::Unchanged { requeue: Requeue::BackOff }
            }
        }
    }

    async fn bring_up(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        name: &Name,
        record: Option<&Record>,
        freshness: Freshness,
    ) -> Result<(Applied, Vec<PathVersion>, Vec<String>), Failure> {
        let feed = &self.context.feed;
        let located = observe::locate(desired, &self.stores).await.map_err(Failure::Observe)?;
        observe::subscribe(feed, name, &located, until_synced(object, desired));
        let snapshots = observe::read(feed, name, &located, freshness).await.map_err(Failure::Observe)?;
        let (applied, versions) = self.settle(desired, record, snapshots).await?;
        self.retire_former(object, desired, &applied).await?;
        if !matches!(desired.refresh, Refresh::Follow(_)) {
            observe::subscribe(feed, name, &located, Follow::Never);
        }
        Ok((applied, versions, self.warnings(desired, &located)))
    }

    /// Whether there is nothing to do, found out by looking at the target's metadata at most.
    async fn is_settled(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        name: &Name,
        record: Option<&Record>,
        behind: bool,
    ) -> Result<bool, Failure> {
        let frozen = is_frozen(object, desired);
        let tried = record.filter(|record| record.tried == desired.synced_resource_version);
        let just_synced = tried.and_then(|record| record.synced).is_some_and(|at| at.elapsed() < CACHE_LAG);
        if !(is_ready(object, desired) || just_synced) || !(frozen || tried.is_some() && !behind) {
            return Ok(false);
        }
        let cluster = &self.context.cluster;
        if let Some(Record { target: Some((target, written)), .. }) = record
            && target.name == desired.target
            && self.is_as_written(desired, written).await?
        {
            return Ok(true);
        }
        if !frozen {
            return Ok(false);
        }
        match observe::live(cluster, desired).await.map_err(Failure::Write)? {
            TargetState::Present(live) if plan::is_intact(desired, &live) => {
                let data_hash = live.annotations.get(names::ANNOTATION_DATA_HASH).cloned().unwrap_or_default();
                let (tried, written) =
                    (desired.synced_resource_version.clone(), Written { stamp: live.stamp, data_hash });
                self.note(desired, name, tried, Some(written), Some(Instant::now()));
                Ok(true)
            }
            TargetState::Present(_) | TargetState::Absent | TargetState::AsWritten(_) => Ok(false),
        }
    }

    /// Decides and writes, anew when the target moved in between.
    async fn settle(
        &self,
        desired: &Desired,
        record: Option<&Record>,
        snapshots: Vec<(Reference, Snapshot)>,
    ) -> Result<(Applied, Vec<PathVersion>), Failure> {
        let cluster = &self.context.cluster;
        let reader = self.reader(desired, &snapshots).await.map_err(Failure::Write)?;
        let name = Name::new(&desired.namespace, &desired.name);
        let mut target = observe::target(cluster, desired, record).await.map_err(Failure::Write)?;
        let mut attempt = 1;
        loop {
            let unseen = matches!(target, TargetState::AsWritten(_));
            let absences = absence::find(desired, &snapshots, &target);
            let observed = Observed { snapshots: snapshots.clone(), target, reader: reader.clone() };
            let plan = match plan(desired, observed) {
                Ok(plan) => plan,
                Err(refusal) => return self.refuse(desired, refusal).await,
            };
            if let Step::Keep(written) = &plan.step
                && unseen
                && !self.is_as_written(desired, written).await?
            {
                target = observe::live(cluster, desired).await.map_err(Failure::Write)?;
                continue;
            }
            self.judge(&name, absences, &plan.step).map_err(Failure::Halted)?;
            match apply::apply(cluster, desired, plan.step).await {
                Ok(applied) => {
                    self.losses.carried_out(&name, Instant::now());
                    return Ok((applied, plan.versions));
                }
                Err(
                    ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. } | ClusterError::NotFound { .. },
                ) if attempt < ATTEMPTS => {
                    attempt += 1;
                    target = observe::live(cluster, desired).await.map_err(Failure::Write)?;
                }
                // It may be immutable by now, which only a look can tell.
                Err(ClusterError::Invalid { .. }) if unseen => {
                    target = observe::live(cluster, desired).await.map_err(Failure::Write)?;
                }
                Err(error) => return Err(Failure::Write(error)),
            }
        }
    }

    async fn reader(&self, desired: &Desired, snapshots: &[(Reference, Snapshot)]) -> Result<Reader, ClusterError> {
        let name = Name::new(&desired.namespace, &desired.name);
        let asked = consent::asks_for_labels(snapshots);
        // Before they are read, so that no change falls between.
        self.context.feed.judged_by(&name, if asked { Labels::Decisive } else { Labels::Silent });
        let labels = match asked {
            true => self.context.cluster.namespace_labels(&desired.namespace).await?,
            false => BTreeMap::new(),
        };
        Ok(Reader { labels, silence: self.context.settings.silence })
    }

    /// A target whose producer withdrew its consent goes where the producer says so; otherwise it stays as it is.
    async fn refuse(&self, desired: &Desired, refusal: Refusal) -> Result<(Applied, Vec<PathVersion>), Failure> {
        if refusal.takes_target() {
            let target = observe::live(&self.context.cluster, desired).await.map_err(Failure::Write)?;
            let step = plan::remove(desired, target);
            apply::apply(&self.context.cluster, desired, step).await.map_err(Failure::Write)?;
        }
        Err(Failure::Refused(refusal))
    }

    /// Lets a target lose what is gone from a store, unless too many do.
    fn judge(&self, name: &Name, mut absences: BTreeMap<StoreName, Absence>, step: &Step) -> Result<(), Halt> {
        if !absence::takes_away(step) {
            absences.values_mut().for_each(|absence| *absence = (*absence).min(Absence::Harmless));
        }
        let allowance = |store: &StoreName| self.allowance(store);
        self.losses.judge(name, &absences, allowance, Instant::now())
    }

    /// What a person wrote on the store to let deletions through.
    fn allowance(&self, store: &StoreName) -> Option<String> {
        let object = self.context.stores.store(store)?;
        object.annotation(names::ANNOTATION_ALLOW_MASS_DELETION).map(str::to_owned)
    }

    /// Where nothing is written, no precondition finds out that somebody else edited or deleted the target.
    async fn is_as_written(&self, desired: &Desired, written: &Written) -> Result<bool, Failure> {
        let stamp = self.context.cluster.target_stamp(&desired.namespace, &desired.target).await;
        Ok(stamp.map_err(Failure::Write)?.as_ref() == Some(&written.stamp))
    }

    /// After a change of `target.name`: the former target goes once the new one is there (KG1).
    async fn retire_former(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        applied: &Applied,
    ) -> Result<(), Failure> {
        let former = object.status.as_ref().and_then(|status| status.binding.as_ref()).map(|binding| &binding.name);
        let Some(former) = former.filter(|former| !former.is_empty() && **former != desired.target) else {
            return Ok(());
        };
        let (Applied::Kept(_) | Applied::Wrote(_)) = applied else { return Ok(()) };
        let cluster = &self.context.cluster;
        let manager = names::target_manager(&desired.name);
        let live = cluster.target(&desired.namespace, former, &manager).await.map_err(Failure::Write)?;
        match live.filter(|live| live.owners.iter().any(|owner| owner.controller && owner.uid == desired.uid)) {
            Some(live) => apply::delete(cluster, desired, former, &live.stamp).await.map_err(Failure::Write),
            None => Ok(()),
        }
    }

    fn warnings(&self, desired: &Desired, located: &[Located]) -> Vec<String> {
        let convention = self.context.conventions.in_namespace(&desired.namespace);
        let mut warnings = BTreeSet::new();
        for wanted in &desired.entries {
            for located in located.iter().filter(|located| located.leads_from(&wanted.from)) {
                let found = convention.judge_read(located.path(), wanted.property.as_deref());
                warnings.extend(found.iter().map(ToString::to_string));
            }
        }
        warnings.into_iter().collect()
    }

    fn note(&self, desired: &Desired, name: &Name, tried: String, written: Option<Written>, synced: Option<Instant>) {
        let target = written.map(|written| (Name::new(&desired.namespace, &desired.target), written));
        self.records.note(name, Record { tried, target, synced });
    }
}

fn trouble(verdict: &Verdict) -> Trouble {
    Trouble { reason: verdict.reason.as_str(), message: verdict.message.clone() }
}

/// Whether the resource asked not to be read again in its present state, save to repair the target.
fn is_frozen(object: &ExternalSecret, desired: &Desired) -> bool {
    let synced = object.status.as_ref().and_then(|status| status.synced_resource_version.as_ref());
    match desired.refresh {
        Refresh::Follow(_) => false,
        Refresh::OnChange => synced == Some(&desired.synced_resource_version),
        Refresh::Once => synced.is_some(),
    }
}

/// Whether status says that all is well with this generation; a resource that is read once is well in any.
fn is_ready(object: &ExternalSecret, desired: &Desired) -> bool {
    let ready = object.status.as_ref().and_then(|status| condition::find(&status.conditions, READY));
    ready.is_some_and(|ready| {
        ready.status == ConditionStatus::True
            && (desired.refresh == Refresh::Once
                || ready.observed_generation.is_none_or(|seen| Some(seen) == object.metadata.generation))
    })
}

/// Until the first sync everything follows: the value may come later than the resource (KG4).
fn until_synced(object: &ExternalSecret, desired: &Desired) -> Follow {
    match desired.refresh {
        Refresh::Follow(interval) => Follow::Every(interval),
        Refresh::OnChange | Refresh::Once if is_frozen(object, desired) => Follow::Never,
        Refresh::OnChange | Refresh::Once => Follow::Every(UNTIL_SYNCED),
    }
}

fn created(object: &ExternalSecret) -> Option<Timestamp> {
    object.metadata.creation_timestamp.as_ref().map(|time| time.0)
}
