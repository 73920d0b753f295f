//! ExternalSecret: keeps a Secret equal to the values at paths of a store.
//!
//! One reconcile reads as desired → observe → plan → apply → report. Most end before the first
//! request, because the inputs ([`inputs`]) are those of the last successful reconcile.

mod absence;
#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod annotation_tests;
pub mod apply;
pub mod bound;
pub mod consent;
pub mod desired;
mod earlier;
#[cfg(test)]
mod earlier_tests;
pub mod find;
mod former;
#[cfg(test)]
mod former_tests;
pub mod found;
mod held;
pub mod inputs;
pub mod observe;
pub mod ownership;
pub mod plan;
pub mod records;
pub mod refusal;
mod remains;
mod removals;
pub mod report;
mod roll;
mod settle;
mod settled;
#[cfg(test)]
mod tests;
mod unjudged;
#[cfg(test)]
mod unjudged_tests;
pub mod versions;
pub mod wanted;
#[cfg(test)]
mod went_back_tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use crate::api::ExternalSecret;
use crate::api::external_secret::ExternalSecretStatus;
use crate::api::kind::Kind;
use crate::cluster::ClusterError;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::referrers::{Interest, Referrer, declare_texts};
use crate::controller::report::{Report, Requeue, Verdict};
use crate::controller::undecodable::{Advice, Fate};
use crate::domain::object_name::Name;
use crate::domain::template_spec::TemplateSpec;
use crate::feed::{Follow, Freshness, SyncState, Trouble};
use crate::metrics::Stage;
use crate::store::{Foreign, StoreName, Stores, referred};
use crate::telemetry::trail::Cause;
use apply::Applied;
use bound::Losses;
use desired::Desired;
use earlier::Holding;
use inputs::{Inputs, Paths, Resource, Sessions, Texts};
use observe::{ObserveError, OpenStores};
use records::{Record, Records};
use report::{Failure, Moment, Synced};
use settle::Rendered;
use settled::is_frozen;
use unjudged::Unjudged;

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

    /// Before anything is reconciled, so that the share is computed over all targets.
    fn seen(&self, object: &ExternalSecret) {
        let name = Name::new(object.namespace().unwrap_or_default(), object.name_any());
        let past = |store: &StoreName| roll::past(object, store, Timestamp::now());
        self.losses.enrol(&name, roll::member(object), past, |store| self.allowance(store), Instant::now());
    }

    fn stores(&self, object: &ExternalSecret) -> Vec<StoreName> {
        referred::by_pull(object, &object.namespace().unwrap_or_default()).collect()
    }

    fn cause(&self, name: &Name) -> Option<Cause> {
        self.context.feed.take_up(name).or_else(|| self.context.template_moves.cause(name))
    }

    async fn reconcile(&self, object: Arc<ExternalSecret>, name: &Name) -> Report<ExternalSecretStatus> {
        if self.is_foreign(&object) {
            self.bar(name);
            self.context.feed.forget(name);
            self.records.forget(name);
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
                self.bar(name);
                self.records.bar(name, Resource::as_it_is(&object));
                return self.report_failure(&object, None, name, Failure::Spec(error), &moment).await;
            }
        };
        // Before anything is read, so that no event is missed.
        self.refer(name, &desired);
        let result = self.sync(&object, &desired, name).await;
        if let Err(failure) = &result {
            self.records.failed(name);
            unjudged::by(failure).into_iter().for_each(|unjudged| self.losses.unjudged(name, unjudged));
        }
        let in_place = result.as_ref().ok().map(|synced| match synced {
            Synced::Held { .. } => SyncState::Kept,
            Synced::Unchanged | Synced::Done { .. } => SyncState::Synced,
        });
        let report = match result {
            Ok(synced) => {
                self.context.feed.heed(name, BTreeSet::new());
                report::success(&object, &desired, synced, &moment)
            }
            Err(failure) => self.report_failure(&object, Some(&desired), name, failure, &moment).await,
        };
        match (&report, in_place) {
            (_, Some(state)) => self.context.feed.record(name, state),
            (Report::Verdict { verdict, .. }, None) => {
                self.context.feed.record(name, SyncState::Failing(trouble(verdict)));
            }
            // Nothing is decided.
            (
                Report::NotOurs
                | Report::Gone
                | Report::LetGo { .. }
                | Report::Orphaned { .. }
                | Report::Unchanged { .. }
                | Report::Undecided { .. },
                None,
            ) => {}
        }
        report
    }

    async fn undecodable(&self, name: &Name) -> Result<Fate<ExternalSecret>, ClusterError> {
        self.bar(name);
        let object = self.context.cluster.raw::<ExternalSecret>(&name.namespace, &name.name).await?;
        let Some(rest) = object.map(remains::of).filter(|rest| !self.is_foreign(rest)) else {
            self.context.feed.forget(name);
            self.records.forget(name);
            return Ok(Fate::Left);
        };
        if rest.metadata.deletion_timestamp.is_some() {
            self.context.feed.forget(name);
            return Ok(Fate::Ends(Box::new(rest)));
        }
        self.records.bar(name, Resource::as_it_is(&rest));
        let holding = match earlier::spec(&rest) {
            Some(earlier) => self.judge_earlier(&rest, name, &earlier).await,
            None => Ok(Holding::Nothing),
        };
        let holding = match holding {
            Ok(holding) => holding,
            Err(Failure::Write(error)) => return Err(error),
            Err(_undecided) => Holding::Unknown,
        };
        Ok(Fate::Told(Advice { requeue: report::holding_retry(holding, Requeue::AwaitChange), ..Advice::correct() }))
    }

    fn forget(&self, name: &Name) {
        self.set_aside(name);
        self.losses.forget(name);
    }

    fn forget_reconcile(&self, name: &Name) {
        self.set_aside(name);
        self.losses.forget_judged(name);
    }
}

impl<S: Stores> Pull<S> {
    /// Creates the reconciler. `records` is shared with the Secret watch, which asks it whether an
    /// event is our own.
    pub fn new(context: Arc<Context>, stores: S, records: Arc<Records>) -> Self {
        Pull { context, stores, records, losses: Losses::default() }
    }

    /// Drops subscriptions and records of an object that is not reconciled.
    fn set_aside(&self, name: &Name) {
        self.unsubscribe(name);
        self.records.forget(name);
    }

    /// Drops the subscriptions of one that reads no store now. It goes on to heed what its target
    /// holds.
    fn bar(&self, name: &Name) {
        self.context.feed.look_into(name, Vec::new(), Follow::Never);
        self.context.feed.subscribe(name, Vec::new(), Follow::Never);
        self.refer_to_nothing(name);
        self.losses.unjudged(name, Unjudged::Barred);
    }

    fn unsubscribe(&self, name: &Name) {
        self.context.feed.forget(name);
        self.refer_to_nothing(name);
    }

    /// Declares the target, and the objects with texts of the template.
    fn refer(&self, name: &Name, desired: &Desired) {
        let target = BTreeSet::from([Name::new(&desired.namespace, &desired.target)]);
        self.context.referrers.declare(Referrer::ExternalSecret(name.clone()), Interest::named(target));
        self.refer_to_texts(name, desired.template.as_ref());
    }

    fn refer_to_texts(&self, name: &Name, template: Option<&TemplateSpec>) {
        let Context { referrers, config_maps, .. } = &*self.context;
        let referrer = Referrer::PullTemplate(name.clone());
        declare_texts(referrers, config_maps, &referrer, &name.namespace, template);
    }

    fn refer_to_nothing(&self, name: &Name) {
        self.context.referrers.declare(Referrer::ExternalSecret(name.clone()), Interest::default());
        self.refer_to_texts(name, None);
        self.context.template_moves.take(name);
    }

    async fn sync(&self, object: &ExternalSecret, desired: &Desired, name: &Name) -> Result<Synced, Failure> {
        let began = Instant::now();
        let behind = self.context.feed.is_behind(name);
        let losing = self.losses.awaits(name);
        let record = self.records.of(name);
        let was_read_as_asked = is_frozen(object, desired);
        let target = record.as_ref().and_then(|record| record.inputs.target.clone());
        let paths = if behind || losing { Paths::Moved } else { Paths::AsRead };
        // A reconcile that fails is repeated, so whatever it takes is not lost.
        let texts = match self.context.template_moves.take(name) {
            Some(_) => Texts::Moved,
            None => Texts::AsRead,
        };
        let today = |opened: &OpenStores| {
            let (resource, stores) = (Resource::of(desired), Sessions::of(opened));
            Inputs { resource, stores, paths, texts, target: target.clone() }
        };
        if was_read_as_asked {
            let rendered = earlier::rendered(object, desired);
            let opened = self.open(&rendered, name).await?;
            let today = today(&opened);
            if let Some(held) = self.hold(object, desired, &rendered, name, &today, &opened).await? {
                self.losses.unjudged(name, Unjudged::Decided);
                return Ok(held);
            }
        }
        let opened = self.open(desired, name).await?;
        let today = today(&opened);
        if !was_read_as_asked && self.is_settled(object, desired, name, &today).await? {
            return Ok(Synced::Unchanged);
        }
        let freshness = match &record {
            None if self.context.feed.in_first_wave(created(object)) => Freshness::Shared,
            Some(record) if today.resource.confirms_since(&record.inputs.resource) => Freshness::Asked(began),
            Some(record) if record.inputs.resource != today.resource => Freshness::Since(began),
            // A loss is judged again.
            Some(record) if (behind || texts == Texts::Moved || record.inputs.stores != today.stores) && !losing => {
                Freshness::Shared
            }
            Some(_) | None => Freshness::Since(began),
        };
        // Whatever ends this reconcile early, the next one does not rely on what was read.
        self.records.failed(name);
        let attempt = self.bring_up(object, desired, name, record.as_deref(), &opened, freshness).await;
        self.records.note(name, Record::after(desired, record, today, attempt.as_ref()));
        let Rendered { applied, versions, warnings, is_synced } = attempt?;
        if let Some(announced) = self.context.feed.take_announced(name)
            && matches!(applied, Applied::Wrote(_))
        {
            self.context.metrics.propagated(Stage::Pull, announced.elapsed());
        }
        Ok(Synced::Done { applied, versions, warnings, is_synced })
    }

    async fn open(&self, desired: &Desired, name: &Name) -> Result<OpenStores, Failure> {
        let opened = observe::open(desired, &self.stores).await;
        self.losses.opened(name, |store| opened.reads(store));
        opened.all().map_err(|error| self.lost_access(name, error))
    }

    /// The report on a failure, and on what the target holds meanwhile.
    async fn report_failure(
        &self,
        object: &ExternalSecret,
        desired: Option<&Desired>,
        name: &Name,
        failure: Failure,
        moment: &Moment,
    ) -> Report<ExternalSecretStatus> {
        match self.holding(object, name, &failure).await {
            Ok(holding) => report::failure(object, desired, &failure, holding, moment),
            Err(undecided) => report::failure(object, desired, &undecided, Holding::Unknown, moment),
        }
    }

    /// What it subscribed to before may be read with logins that have ended.
    fn lost_access(&self, name: &Name, error: ObserveError) -> Failure {
        self.context.feed.look_into(name, Vec::new(), Follow::Never);
        self.context.feed.lost_access(name);
        Failure::Observe(error)
    }

    /// Whether a store that it names belongs, or may belong, to another controller.
    fn is_foreign(&self, object: &ExternalSecret) -> bool {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        self.context.stores.foreign(desired::stores(&object.spec, namespace)) != Foreign::None
    }

    /// The garbage collector deletes the target, which has an owner reference to the resource. We
    /// set no finalizer. External Secrets Operator does, and if it served the resource before us,
    /// nobody else would remove the finalizer.
    async fn let_go(&self, object: &ExternalSecret) -> Report<ExternalSecretStatus> {
        match self.context.cluster.release_external_secret(object).await {
            Ok(()) => Report::Gone,
            Err(error) => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
                tracing::warn!(external_secret = %format!("{namespace}/{}", object.name_any()), %error, "it cannot be released");
                Report::Undecided { requeue: Requeue::BackOff }
            }
        }
    }
}

fn trouble(verdict: &Verdict) -> Trouble {
    Trouble { reason: verdict.reason.as_str() }
}

fn created(object: &ExternalSecret) -> Option<Timestamp> {
    object.metadata.creation_timestamp.as_ref().map(|time| time.0)
}
