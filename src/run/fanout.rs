//! The cluster-wide kinds, which this version does not serve yet: each is told so instead of being ignored.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Api;

use crate::api::cluster_external_secret::ClusterExternalSecretStatus;
use crate::api::cluster_push_secret::ClusterPushSecretStatus;
use crate::api::condition::{Condition, ConditionStatus, Reason, Upsert, upsert};
use crate::api::{ClusterExternalSecret, ClusterPushSecret};
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::kind::Kind;
use crate::controller::referrers::Name;
use crate::controller::report::{Report, Requeue, StatusChange, Verdict};

/// Reports on ClusterExternalSecrets.
pub struct ClusterExternalSecrets(Arc<Context>);

/// Reports on ClusterPushSecrets.
pub struct ClusterPushSecrets(Arc<Context>);

impl ClusterExternalSecrets {
    pub fn new(context: &Arc<Context>) -> Arc<Self> {
        Arc::new(ClusterExternalSecrets(context.clone()))
    }
}

impl ClusterPushSecrets {
    pub fn new(context: &Arc<Context>) -> Arc<Self> {
        Arc::new(ClusterPushSecrets(context.clone()))
    }
}

#[async_trait]
impl Reconciler for ClusterExternalSecrets {
    type Object = ClusterExternalSecret;
    type Status = ClusterExternalSecretStatus;

    const KIND: Kind = Kind::ClusterExternalSecret;

    fn api(&self, _namespace: &str) -> Api<Guarded<ClusterExternalSecret>> {
        Api::all(self.0.cluster.client())
    }

    async fn reconcile(&self, object: Arc<ClusterExternalSecret>, _name: &Name) -> Report<ClusterExternalSecretStatus> {
        let mut after = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation;
        after.observed_generation = generation;
        let verdict = unsupported("ClusterExternalSecret", "an ExternalSecret", generation, &mut after.conditions);
        report(verdict, object.status.clone(), after)
    }

    fn forget(&self, _name: &Name) {}
}

#[async_trait]
impl Reconciler for ClusterPushSecrets {
    type Object = ClusterPushSecret;
    type Status = ClusterPushSecretStatus;

    const KIND: Kind = Kind::ClusterPushSecret;

    fn api(&self, _namespace: &str) -> Api<Guarded<ClusterPushSecret>> {
        Api::all(self.0.cluster.client())
    }

    async fn reconcile(&self, object: Arc<ClusterPushSecret>, _name: &Name) -> Report<ClusterPushSecretStatus> {
        let mut after = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation;
        after.observed_generation = generation;
        let verdict = unsupported("ClusterPushSecret", "a PushSecret", generation, &mut after.conditions);
        report(verdict, object.status.clone(), after)
    }

    fn forget(&self, _name: &Name) {}
}

fn unsupported(kind: &str, instead: &str, generation: Option<i64>, conditions: &mut Vec<Condition>) -> Verdict {
    let message = format!("this version of Waypost does not serve {kind}: create {instead} in each namespace instead");
    let ready = Condition::ready(ConditionStatus::False, Reason::Unsupported, message.clone(), generation);
    match upsert(conditions, ready, Time(Timestamp::now())) {
        Upsert::Changed | Upsert::Unchanged => {}
    }
    Verdict { ready: false, reason: Reason::Unsupported, message }
}

fn report<S>(verdict: Verdict, before: Option<S>, after: S) -> Report<S> {
    let status = Box::new(StatusChange { before, after, resource_version: None });
    Report::Verdict { verdict, status, requeue: Requeue::AwaitChange }
}
