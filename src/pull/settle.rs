//! Brings a target up to date: reads the paths, decides what to do with the target, and writes it;
//! again if the target changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt;

use super::Pull;
use super::absence::{self, Absence, Sought};
use super::apply::{self, Applied};
use super::bound::Halt;
use super::consent::{self, Consumer};
use super::desired::{Desired, Refresh};
use super::find::Folders;
use super::found;
use super::observe::{self, Located, ObserveError, OpenStores, Past, ReadPaths};
use super::ownership::{Whose, whose};
use super::plan::{self, Observed, Plan, Snapshot, Step, TargetState, Written, plan};
use super::records::Record;
use super::refusal::Refusal;
use super::report::Failure;
use super::settled::{is_synced, until_synced};
use super::versions::PathVersion;
use super::wanted::Reference;
use crate::api::ExternalSecret;
use crate::api::{names, wish};
use crate::cluster::ClusterError;
use crate::controller::compute::computed;
use crate::controller::drive::Reconciler;
use crate::domain::object_name::Name;
use crate::domain::template_spec::Texts;
use crate::feed::{Follow, Freshness, Labels, ReadError};
use crate::store::{StoreError, StoreName, Stores};

/// How often a write is decided again because the target changed meanwhile, before the object is
/// requeued.
const ATTEMPTS: usize = 4;

/// The result of a full reconcile.
pub(super) struct Rendered {
    pub applied: Applied,
    pub versions: Vec<PathVersion>,
    pub warnings: Vec<String>,
    /// Whether the target counts as synced.
    pub is_synced: bool,
}

/// What went because its producer withdrew its consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The target, if there was one.
    Target,
    /// Nothing: the producer does not ask for that, or the target has nothing from it.
    Nothing,
}

/// Decides. What computes for longer does so beside the reconciles of others.
async fn decided(desired: &Desired, observed: Observed) -> Result<Plan, Refusal> {
    if !desired.computes() {
        return plan(desired, observed);
    }
    let desired = desired.clone();
    computed(move || plan(&desired, observed)).await
}

impl<S: Stores> Pull<S> {
    /// Reads the paths, then decides and writes.
    pub(super) async fn bring_up(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        name: &Name,
        record: Option<&Record>,
        opened: &OpenStores,
        freshness: Freshness,
    ) -> Result<Rendered, Failure> {
        let (feed, follow, past) = (&self.context.feed, until_synced(desired), Past::of(object, record));
        let folders = Folders::locate(desired, opened, &self.context.cluster, past.paths).await;
        let folders = folders.map_err(|error| self.lost_access(name, error))?;
        let past = folders.past(past);
        let found = folders.expand(feed, name, freshness, follow).await.map_err(Failure::Observe)?;
        let desired = &*found;
        let located = observe::locate(desired, opened).await.map_err(|error| self.lost_access(name, error))?;
        observe::subscribe(feed, name, &located, follow);
        observe::recall(feed, desired, &located, past);
        let read = observe::read(feed, name, &located, freshness, past, observe::deadline())
            .await
            .map_err(Failure::Observe)?;
        let ReadPaths { snapshots, unusable } = read;
        if let Some(unusable) = unusable {
            self.check_permission(object, desired, &snapshots).await?;
            return Err(Failure::Observe(unusable));
        }
        let (applied, versions, notes) = self.settle(object, desired, record, opened, snapshots).await?;
        self.retire_former(object, desired).await?;
        let is_synced = is_synced(object, desired, &applied, &versions);
        if is_synced && !matches!(desired.refresh, Refresh::Follow(_)) {
            observe::subscribe(feed, name, &located, Follow::Never);
            feed.look_into(name, Vec::new(), Follow::Never);
        }
        let warnings = notes.into_iter().chain(self.warnings(desired, &located, &versions)).collect();
        Ok(Rendered { applied, versions, warnings, is_synced })
    }

    /// What the convention says of the paths that the target is made of.
    fn warnings(&self, desired: &Desired, located: &[Located], versions: &[PathVersion]) -> Vec<String> {
        let convention = self.context.conventions.in_namespace(&desired.namespace);
        let mut warnings = BTreeSet::new();
        for wanted in &desired.entries {
            let is_used = |located: &Located| versions.iter().any(|used| used.path == located.path().to_string());
            let located = located.iter().filter(|located| located.leads_from(&wanted.from));
            for located in located.filter(|located| is_used(located)) {
                let found = convention.judge_read(located.path(), wanted.of_data().map(String::as_str));
                warnings.extend(found.iter().map(ToString::to_string));
            }
        }
        warnings.into_iter().collect()
    }

    /// Decides and writes; again if the target changed meanwhile.
    async fn settle(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        record: Option<&Record>,
        opened: &OpenStores,
        snapshots: Vec<(Reference, Snapshot)>,
    ) -> Result<(Applied, Vec<PathVersion>, Vec<String>), Failure> {
        let cluster = &self.context.cluster;
        let consumer = self.consumer(desired, &snapshots).await.map_err(Failure::Write)?;
        let name = Name::new(&desired.namespace, &desired.name);
        let texts = match &desired.template {
            Some(template) => cluster.template_texts(&desired.namespace, template).await.map_err(Failure::Write)?,
            None => Texts::default(),
        };
        let texts = Arc::new(texts);
        let mut target = observe::target(cluster, desired, opened, record).await.map_err(Failure::Write)?;
        let mut attempt = 1;
        loop {
            let unseen = matches!(target, TargetState::AsWritten(_));
            let adopts =
                matches!(&target, TargetState::Present(live) if matches!(whose(desired, live), Whose::Nobodys));
            let sought = absence::find(desired, &snapshots, &target);
            let (snapshots, consumer, texts) = (snapshots.clone(), consumer.clone(), texts.clone());
            let observed = Observed { snapshots, target, consumer, texts };
            let plan = match decided(desired, observed).await {
                Ok(plan) => plan,
                Err(refusal) => return Err(self.refuse(object, desired, refusal).await),
            };
            if plan.leaves_out && absence::takes_away(&plan.step) && self.context.feed.may_lack_consents(&name, None) {
                return Err(Failure::Observe(found::stale(desired)));
            }
            if let Step::Keep(written) = &plan.step
                && unseen
                && !self.is_as_written(desired, written).await?
            {
                target = observe::live(cluster, desired).await.map_err(Failure::Write)?;
                continue;
            }
            // Only a loss concerns the former targets now. Who waits for a value looks for none.
            let former = match sought.iter().any(Sought::is_missing) {
                true => self.former(object, desired).await?,
                false => BTreeMap::new(),
            };
            let takes_away = !former.is_empty() || absence::takes_away(&plan.step);
            let absences = absence::by_store(sought, &former);
            self.judge(&name, absences, takes_away).map_err(Failure::Halted)?;
            if plan.step.rests_on_the_resource(adopts) {
                self.confirm(object).await.map_err(Failure::Write)?;
            }
            match apply::apply(cluster, desired, plan.step).await {
                Ok(applied) => {
                    self.losses.carried_out(&name, Instant::now());
                    return Ok((applied, plan.versions, plan.notes));
                }
                Err(
                    ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. } | ClusterError::NotFound { .. },
                ) if attempt < ATTEMPTS => {
                    attempt += 1;
                    target = observe::live(cluster, desired).await.map_err(Failure::Write)?;
                }
                // It may be immutable by now, which only a read can show.
                Err(ClusterError::Invalid { .. }) if unseen => {
                    target = observe::live(cluster, desired).await.map_err(Failure::Write)?;
                }
                Err(error) => return Err(Failure::Write(error)),
            }
        }
    }

    /// Reads the ExternalSecret live. A cache is not enough for what its annotations allow, because the
    /// data of a Secret that was not ours, or cannot be changed, is gone for good. Nor is it enough for
    /// what its spec takes away: a person may just have saved what is gone from the store.
    pub(super) async fn confirm(&self, object: &ExternalSecret) -> Result<(), ClusterError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let subject = format!("ExternalSecret {namespace}/{name}");
        let live = self.context.cluster.get(&subject, self.api(&namespace).get_metadata(&name)).await?;
        match live.is_some_and(|live| wish::is_same(&object.metadata, &live.metadata)) {
            true => Ok(()),
            false => Err(ClusterError::Conflict { verb: "look at", object: subject }),
        }
    }

    pub(super) async fn consumer(
        &self,
        desired: &Desired,
        snapshots: &[(Reference, Snapshot)],
    ) -> Result<Consumer, ClusterError> {
        let name = Name::new(&desired.namespace, &desired.name);
        let asked = consent::asks_for_labels(snapshots);
        // Before they are read, so that no change is missed.
        self.context.feed.judged_by(&name, if asked { Labels::Decisive } else { Labels::Silent });
        let labels = match asked {
            true => self.context.cluster.namespace_labels(&desired.namespace).await?,
            false => BTreeMap::new(),
        };
        Ok(Consumer { labels, silence: self.context.settings.silence })
    }

    /// Deletes a target whose producer withdrew its consent, if the producer asks for it; otherwise
    /// leaves it unchanged. A former target holds what was withdrawn as well. If what was read may be
    /// without a consent that was given back since, nothing is deleted.
    pub(super) async fn refuse(&self, object: &ExternalSecret, desired: &Desired, refusal: Refusal) -> Failure {
        let gone = async {
            match self.take_target(object, desired, &refusal, None, |_| true).await? {
                Taken::Target => self.retire_former(object, desired).await,
                Taken::Nothing => Ok(()),
            }
        };
        match gone.await {
            Ok(()) => Failure::Refused(refusal),
            Err(failure) => failure,
        }
    }

    /// The same for an earlier spec that a status shows, of which the producers of these stores and
    /// paths take their values back. What was read `since` then is judged. The target may have been
    /// rendered from other paths since, without the status: then nothing is deleted. Nor are former
    /// targets: one that is former to an earlier spec may be the present one.
    pub(super) async fn refuse_earlier(
        &self,
        object: &ExternalSecret,
        earlier: &Desired,
        refusal: &Refusal,
        taken_back: &BTreeSet<(String, String)>,
        since: Option<Instant>,
    ) -> Result<Taken, Failure> {
        self.take_target(object, earlier, refusal, since, |target| match target {
            TargetState::Present(live) => {
                plan::places(&live.annotations).is_none_or(|from| !from.is_disjoint(taken_back))
            }
            TargetState::Absent | TargetState::AsWritten(_) => true,
        })
        .await
    }

    async fn take_target(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        refusal: &Refusal,
        since: Option<Instant>,
        concerns: impl Fn(&TargetState) -> bool,
    ) -> Result<Taken, Failure> {
        let Refusal::NotPermitted(denial) = refusal else { return Ok(Taken::Nothing) };
        if !refusal.takes_target() {
            return Ok(Taken::Nothing);
        }
        let cluster = &self.context.cluster;
        let target = observe::live(cluster, desired).await.map_err(Failure::Write)?;
        if !concerns(&target) {
            return Ok(Taken::Nothing);
        }
        let step = plan::remove(desired, target);
        if step.rests_on_the_resource(false) {
            self.confirm(object).await.map_err(Failure::Write)?;
        }
        // Last, because the consent may be given back during any of these requests.
        if self.context.feed.may_lack_consents(&Name::new(&desired.namespace, &desired.name), since) {
            let cause = ReadError::Store(StoreError::Stale { path: denial.path.clone() });
            return Err(Failure::Observe(ObserveError::Read { store: denial.store.clone(), cause }));
        }
        apply::apply(cluster, desired, step).await.map_err(Failure::Write)?;
        Ok(Taken::Target)
    }

    /// Checks the consents of a target that is not rendered again.
    pub(super) async fn check_permission(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        snapshots: &[(Reference, Snapshot)],
    ) -> Result<(), Failure> {
        let consumer = self.consumer(desired, snapshots).await.map_err(Failure::Write)?;
        match consent::check(desired, snapshots, &consumer) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.refuse(object, desired, refusal).await),
        }
    }

    /// The same of an earlier spec.
    pub(super) async fn check_earlier(
        &self,
        object: &ExternalSecret,
        earlier: &Desired,
        snapshots: &[(Reference, Snapshot)],
    ) -> Result<(), Failure> {
        let consumer = self.consumer(earlier, snapshots).await.map_err(Failure::Write)?;
        let Err(refusal) = consent::check(earlier, snapshots, &consumer) else { return Ok(()) };
        let taken_back = consent::taken_back(earlier, snapshots, &consumer);
        self.refuse_earlier(object, earlier, &refusal, &taken_back, None).await?;
        Err(Failure::Refused(refusal))
    }

    /// Decides whether a target may lose what is gone from a store.
    fn judge(&self, name: &Name, mut absences: BTreeMap<StoreName, Absence>, takes_away: bool) -> Result<(), Halt> {
        if !takes_away {
            absences.values_mut().for_each(|absence| *absence = (*absence).min(Absence::Harmless));
        }
        let allowance = |store: &StoreName| self.allowance(store);
        self.losses.judge(name, &absences, allowance, Instant::now())
    }

    /// The annotation of a store with which a person allows deletions.
    pub(super) fn allowance(&self, store: &StoreName) -> Option<String> {
        let object = self.context.stores.store(store)?;
        object.annotation(names::ANNOTATION_ALLOW_MASS_DELETION).map(str::to_owned)
    }

    /// Reads the target, because without a write no precondition shows that somebody else edited or
    /// deleted it.
    pub(super) async fn is_as_written(&self, desired: &Desired, written: &Written) -> Result<bool, Failure> {
        let stamp = self.context.cluster.target_stamp(&desired.namespace, &desired.target).await;
        Ok(stamp.map_err(Failure::Write)?.as_ref() == Some(&written.stamp))
    }
}
