//! SecretStores and ClusterSecretStores: told to the registry as soon as they are seen, checked in turn.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Api;

use crate::api::store_spec::SecretStoreStatus;
use crate::api::{ClusterSecretStore, ConditionStatus, SecretStore, StoreKind};
use crate::check;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::kind::Kind;
use crate::controller::referrers::Name;
use crate::controller::report::{Report, Requeue, StatusChange, Verdict};
use crate::store::{StoreName, StoreObject};

/// Checks ClusterSecretStores.
pub struct ClusterStores(Arc<Context>);

/// Checks SecretStores.
pub struct NamespacedStores(Arc<Context>);

impl ClusterStores {
    pub fn new(context: &Arc<Context>) -> Arc<Self> {
        Arc::new(ClusterStores(context.clone()))
    }
}

impl NamespacedStores {
    pub fn new(context: &Arc<Context>) -> Arc<Self> {
        Arc::new(NamespacedStores(context.clone()))
    }
}

#[async_trait]
impl Reconciler for ClusterStores {
    type Object = ClusterSecretStore;
    type Status = SecretStoreStatus;

    const KIND: Kind = Kind::ClusterSecretStore;

    fn api(&self, _namespace: &str) -> Api<Guarded<ClusterSecretStore>> {
        Api::all(self.0.cluster.client())
    }

    fn observe(&self, object: &ClusterSecretStore) {
        let object = StoreObject::Cluster(Arc::new(object.clone()));
        self.0.stores.upsert(object.store_name(), object);
    }

    async fn reconcile(&self, object: Arc<ClusterSecretStore>, _name: &Name) -> Report<SecretStoreStatus> {
        checked(&self.0, &StoreObject::Cluster(object)).await
    }

    fn forget(&self, name: &Name) {
        self.0.stores.remove(&StoreName::cluster(&name.name));
    }
}

#[async_trait]
impl Reconciler for NamespacedStores {
    type Object = SecretStore;
    type Status = SecretStoreStatus;

    const KIND: Kind = Kind::SecretStore;

    fn api(&self, namespace: &str) -> Api<Guarded<SecretStore>> {
        Api::namespaced(self.0.cluster.client(), namespace)
    }

    fn observe(&self, object: &SecretStore) {
        let object = StoreObject::Namespaced(Arc::new(object.clone()));
        self.0.stores.upsert(object.store_name(), object);
    }

    async fn reconcile(&self, object: Arc<SecretStore>, _name: &Name) -> Report<SecretStoreStatus> {
        checked(&self.0, &StoreObject::Namespaced(object)).await
    }

    fn forget(&self, name: &Name) {
        self.0.stores.remove(&StoreName::referred(&name.namespace, StoreKind::SecretStore, &name.name));
    }
}

async fn checked(context: &Context, object: &StoreObject) -> Report<SecretStoreStatus> {
    let Some(outcome) = check::check(&context.stores, &object.store_name()).await else {
        return Report::NotOurs;
    };
    let requeue = Requeue::After(check::interval(object.spec()));
    let now = Time(Timestamp::now());
    match check::status(object.status(), &outcome, object.generation(), now) {
        None => Report::Unchanged { requeue },
        Some(after) => Report::Verdict {
            verdict: Verdict {
                ready: outcome.status == ConditionStatus::True,
                reason: outcome.reason,
                message: outcome.message,
            },
            status: Box::new(StatusChange { before: object.status().cloned(), after, resource_version: None }),
            requeue,
        },
    }
}
