//! Fan-out: a cluster-wide kind keeps a child in every matching namespace.
//!
//! One reconcile reads as desired → observe → plan → apply → report. The observed state comes from
//! the caches of the watches; what is to be changed is read live first. Nothing is written on a
//! Namespace: the garbage collector deletes children with their owner. The code is generic over
//! such kinds: [`kind`] has their differences, and [`push`] is the first.

pub mod apply;
pub mod change;
pub mod desired;
pub mod kind;
pub mod known;
pub mod observe;
pub mod plan;
pub mod push;
pub mod report;
pub mod selection;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::jiff::Timestamp;
use kube::Api;

use crate::api::kind::Kind;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::report::Report;
use crate::domain::object_name::Name;
use crate::store::{Foreign, Registry};
use apply::Applier;
use kind::Parent;
use known::Known;
use observe::Caches;
use plan::plan;

/// Whether every store that it names belongs, or may belong, to another controller.
pub fn is_foreign<P: Parent>(object: &P, stores: &Registry) -> bool {
    stores.foreign(object.stores()) == Foreign::All
}

/// Reconciles the objects of a cluster-wide kind.
pub struct FanOut<P: Parent> {
    context: Arc<Context>,
    caches: Caches<P::Child>,
    known: Known,
}

impl<P: Parent> FanOut<P> {
    /// The caches must be filled before anything is reconciled, because objects that they lack
    /// count as not existing.
    pub fn new(context: Arc<Context>, caches: Caches<P::Child>) -> Self {
        FanOut { context, caches, known: Known::default() }
    }
}

#[async_trait]
impl<P: Parent> Reconciler for FanOut<P> {
    type Object = P;
    type Status = P::Status;

    const KIND: Kind = P::KIND;

    fn api(&self, _namespace: &str) -> Api<Guarded<P>> {
        Api::all(self.context.cluster.client())
    }

    async fn reconcile(&self, object: Arc<P>, name: &Name) -> Report<P::Status> {
        if is_foreign(&*object, &self.context.stores) {
            self.forget(name);
            return Report::NotOurs;
        }
        if object.meta().deletion_timestamp.is_some() {
            self.forget(name);
            return Report::Gone;
        }
        let now = Timestamp::now();
        let desired = match desired::parse(&*object) {
            Ok(desired) => desired,
            Err(error) => return report::refused(&*object, &error, now),
        };
        let observed = self.caches.observe(&desired, &self.known);
        let plan = plan(&desired, &observed);
        let applier = Applier::<P> { cluster: &self.context.cluster, desired: &desired, known: &self.known };
        let results = applier.run(&plan).await;
        report::report(&*object, &desired, &results, &observed.contested, now)
    }

    fn forget(&self, name: &Name) {
        self.known.forget(&name.name);
    }
}
