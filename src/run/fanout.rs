//! The cluster-wide kinds, which this version does not serve yet: each is told so instead of being ignored.

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

use crate::api::condition::{self, Condition, Reason};
use crate::api::{ClusterExternalSecret, ClusterPushSecret};
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::kind::Kind;
use crate::controller::referrers::Name;
use crate::controller::report::{Report, Requeue, StatusChange, Verdict};
use crate::store::{Foreign, Registry, StoreName};
use crate::{pull, push};

/// A SecretStore that a cluster-wide resource names is one of each namespace: there is none of its own.
const NO_NAMESPACE: &str = "";

/// A kind that makes others in namespaces.
pub trait FanOut: HasStatus + Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize {
    /// Which kind it is.
    const KIND: Kind;
    /// What to create by hand in each namespace.
    const INSTEAD: &'static str;

    /// What a report sets: the generation observed, and the conditions.
    fn reported(status: &mut Self::Status) -> (&mut Option<i64>, &mut Vec<Condition>);

    /// Whether another controller makes them, or may: their stores say so.
    fn is_foreign(&self, stores: &Registry) -> bool;
}

impl FanOut for ClusterExternalSecret {
    const KIND: Kind = Kind::ClusterExternalSecret;
    const INSTEAD: &'static str = "an ExternalSecret";

    fn reported(status: &mut Self::Status) -> (&mut Option<i64>, &mut Vec<Condition>) {
        (&mut status.observed_generation, &mut status.conditions)
    }

    fn is_foreign(&self, stores: &Registry) -> bool {
        stores.foreign(pull::desired::stores(&self.spec.external_secret_spec, NO_NAMESPACE)) != Foreign::None
    }
}

impl FanOut for ClusterPushSecret {
    const KIND: Kind = Kind::ClusterPushSecret;
    const INSTEAD: &'static str = "a PushSecret";

    fn reported(status: &mut Self::Status) -> (&mut Option<i64>, &mut Vec<Condition>) {
        (&mut status.observed_generation, &mut status.conditions)
    }

    fn is_foreign(&self, stores: &Registry) -> bool {
        let named = push::desired::stores(&self.spec.push_secret_spec);
        let named = named.iter().map(|store| StoreName::referred(NO_NAMESPACE, store.kind, &store.name));
        stores.foreign(named) == Foreign::All
    }
}

/// Reports on the objects of such a kind.
pub struct Unserved<K>(Arc<Context>, PhantomData<fn() -> K>);

impl<K> Unserved<K> {
    pub fn new(context: &Arc<Context>) -> Arc<Self> {
        Arc::new(Unserved(context.clone(), PhantomData))
    }
}

#[async_trait]
impl<K> Reconciler for Unserved<K>
where
    K: FanOut<Status: Serialize + Clone + Default + Send + Sync> + Send + Sync + 'static,
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
        let (kind, instead) = (K::KIND.as_str(), K::INSTEAD);
        let message =
            format!("this version of Waypost does not serve {kind}: create {instead} in each namespace instead");
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
