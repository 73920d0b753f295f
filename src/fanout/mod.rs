//! ClusterPushSecret: keeps a PushSecret in every namespace that matches.
//!
//! One reconcile reads as desired → observe → plan → apply → report. What is there comes from the caches of the watches; what is to
//! be changed is looked at live first. Nothing is written on a Namespace: children go with their owner by the garbage collector.

pub mod apply;
pub mod change;
pub mod desired;
pub mod known;
pub mod observe;
pub mod plan;
pub mod report;
pub mod selection;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::jiff::Timestamp;
use kube::Api;

use crate::api::ClusterPushSecret;
use crate::api::cluster_push_secret::ClusterPushSecretStatus;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::kind::Kind;
use crate::controller::referrers::Name;
use crate::controller::report::Report;
use crate::push;
use crate::store::{Foreign, Registry, StoreName};
use apply::Applier;
use desired::Desired;
use known::Known;
use observe::Caches;
use plan::plan;

/// A SecretStore that a cluster-wide resource names is one of each namespace: there is none of its own.
const NO_NAMESPACE: &str = "";

/// Whether every store that it names is another controller's, or may be.
pub fn is_foreign(object: &ClusterPushSecret, stores: &Registry) -> bool {
    let named = push::desired::stores(&object.spec.push_secret_spec);
    let named = named.iter().map(|store| StoreName::referred(NO_NAMESPACE, store.kind, &store.name));
    stores.foreign(named) == Foreign::All
}

/// Reconciles ClusterPushSecrets.
pub struct FanOut {
    context: Arc<Context>,
    caches: Caches,
    known: Known,
}

impl FanOut {
    /// The caches must be filled before anything is reconciled: what they do not show counts as not there.
    pub fn new(context: Arc<Context>, caches: Caches) -> Self {
        FanOut { context, caches, known: Known::default() }
    }
}

#[async_trait]
impl Reconciler for FanOut {
    type Object = ClusterPushSecret;
    type Status = ClusterPushSecretStatus;

    const KIND: Kind = Kind::ClusterPushSecret;

    fn api(&self, _namespace: &str) -> Api<Guarded<ClusterPushSecret>> {
        Api::all(self.context.cluster.client())
    }

    async fn reconcile(&self, object: Arc<ClusterPushSecret>, name: &Name) -> Report<ClusterPushSecretStatus> {
        if is_foreign(&object, &self.context.stores) {
            self.forget(name);
            return Report::NotOurs;
        }
        if object.metadata.deletion_timestamp.is_some() {
            self.forget(name);
            return Report::Gone;
        }
        let now = Timestamp::now();
        let desired = match Desired::parse(&object) {
            Ok(desired) => desired,
            Err(error) => return report::refused(&object, &error, now),
        };
        let observed = self.caches.observe(&desired, &self.known);
        let plan = plan(&desired, &observed);
        let applier = Applier { cluster: &self.context.cluster, desired: &desired, known: &self.known };
        let results = applier.run(&plan).await;
        report::report(&object, &desired, &results, &observed.contested, now)
    }

    fn forget(&self, name: &Name) {
        self.known.forget(&name.name);
    }
}
