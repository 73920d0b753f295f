//! Cluster-wide kinds that are not served: the status of each object says so.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::object::HasStatus;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::cluster_external_secret::UNSERVED;
use crate::api::condition::{self, Condition, Reason};
use crate::api::kind::Kind;
use crate::api::{ClusterExternalSecret, ClusterPushSecret};
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::report::{Report, Requeue, StatusChange, Verdict};
use crate::domain::object_name::Name;
use crate::store::{Foreign, Registry};
use crate::{fanout, pull};

/// A SecretStore that a cluster-wide resource names is a different one in each namespace, so it is
/// none here.
const NO_NAMESPACE: &str = "";

/// A kind that is not served.
pub trait UnservedKind: HasStatus + Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize {
    /// The kind.
    const KIND: Kind;
    /// Why it is not served, and what to do.
    const WHY: &'static str;

    /// The status fields of a report: the observed generation, and the conditions.
    fn reported(status: &mut Self::Status) -> (&mut Option<i64>, &mut Vec<Condition>);

    /// Whether another controller serves, or may serve, the object, according to its stores.
    fn is_foreign(&self, stores: &Registry) -> bool;
}

impl UnservedKind for ClusterExternalSecret {
    const KIND: Kind = Kind::ClusterExternalSecret;
    const WHY: &'static str = UNSERVED;

    fn reported(status: &mut Self::Status) -> (&mut Option<i64>, &mut Vec<Condition>) {
        (&mut status.observed_generation, &mut status.conditions)
    }

    fn is_foreign(&self, stores: &Registry) -> bool {
        stores.foreign(pull::desired::stores(&self.spec.external_secret_spec, NO_NAMESPACE)) != Foreign::None
    }
}

impl UnservedKind for ClusterPushSecret {
    const KIND: Kind = Kind::ClusterPushSecret;
    const WHY: &'static str = "this controller serves only one namespace (--namespace), and a ClusterPushSecret is for all: create a PushSecret in the namespace, or run a controller for all namespaces";

    fn reported(status: &mut Self::Status) -> (&mut Option<i64>, &mut Vec<Condition>) {
        (&mut status.observed_generation, &mut status.conditions)
    }

    fn is_foreign(&self, stores: &Registry) -> bool {
        fanout::is_foreign(self, stores)
    }
}

/// The reconciler of such a kind.
pub struct Unserved<K>(Arc<Context>, PhantomData<fn() -> K>);

impl<K> Unserved<K> {
    pub fn new(context: &Arc<Context>) -> Arc<Self> {
        Arc::new(Unserved(context.clone(), PhantomData))
    }
}

#[async_trait]
impl<K> Reconciler for Unserved<K>
where
    K: UnservedKind<Status: Serialize + Clone + Default + Send + Sync> + Send + Sync + 'static,
{
    type Object = K;
    type Status = K::Status;

    const KIND: Kind = K::KIND;

    fn api(&self, _namespace: &str) -> Api<Guarded<K>> {
        Api::all(self.0.cluster.client())
    }

    async fn reconcile(&self, object: Arc<K>, _name: &Name) -> Report<K::Status> {
        if object.is_foreign(&self.0.stores) {
            return Report::NotOurs;
        }
        let message = K::WHY.to_owned();
        let (before, generation) = (object.status().cloned(), object.meta().generation);
        let mut after = before.clone().unwrap_or_default();
        let (observed, conditions) = K::reported(&mut after);
        *observed = generation;
        condition::refuse(conditions, Reason::Unsupported, message.clone(), generation, Time(Timestamp::now()));
        let verdict = Verdict { ready: false, reason: Reason::Unsupported, message };
        let status = Box::new(StatusChange { before, after, resource_version: None });
        Report::Verdict { verdict, status, requeue: Requeue::AwaitChange }
    }

    fn forget(&self, _name: &Name) {}
}
