//! SecretStores and ClusterSecretStores: added to the registry when the watch shows them, then
//! checked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;

use crate::api::kind::Kind;
use crate::api::store_spec::SecretStoreStatus;
use crate::api::{ClusterSecretStore, ConditionStatus, SecretStore, StoreKind};
use crate::check;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::report::{Report, Requeue, StatusChange, Verdict};
use crate::domain::object_name::Name;
use crate::store::{StoreName, StoreObject};

/// A store that cannot be used is checked again after this time, so that a corrected role or CA
/// takes effect soon. The session limits how often a denied login is tried again.
const RECHECK: Duration = Duration::from_secs(10);

/// Checks ClusterSecretStores.
pub struct ClusterStores(Checks);

/// Checks SecretStores.
pub struct NamespacedStores(Checks);

impl ClusterStores {
    pub fn new(context: &Arc<Context>) -> Arc<Self> {
        Arc::new(ClusterStores(Checks::new(context)))
    }
}

impl NamespacedStores {
    pub fn new(context: &Arc<Context>) -> Arc<Self> {
        Arc::new(NamespacedStores(Checks::new(context)))
    }
}

#[async_trait]
impl Reconciler for ClusterStores {
    type Object = ClusterSecretStore;
    type Status = SecretStoreStatus;

    const KIND: Kind = Kind::ClusterSecretStore;

    fn api(&self, _namespace: &str) -> Api<Guarded<ClusterSecretStore>> {
        Api::all(self.0.context.cluster.client())
    }

    fn seen(&self, object: &ClusterSecretStore) {
        let object = StoreObject::Cluster(Arc::new(object.clone()));
        self.0.context.stores.upsert(object.store_name(), object);
    }

    fn seen_undecodable(&self, name: &Name) {
        self.0.context.stores.undecodable(&StoreName::cluster(&name.name));
    }

    fn stores(&self, object: &ClusterSecretStore) -> Vec<StoreName> {
        vec![StoreName::cluster(&object.name_any())]
    }

    async fn reconcile(&self, object: Arc<ClusterSecretStore>, _name: &Name) -> Report<SecretStoreStatus> {
        self.0.check(&StoreObject::Cluster(object)).await
    }

    fn forget(&self, name: &Name) {
        self.0.forget(&StoreName::cluster(&name.name));
    }

    fn forget_reconcile(&self, name: &Name) {
        self.0.forget_check(&StoreName::cluster(&name.name));
    }
}

#[async_trait]
impl Reconciler for NamespacedStores {
    type Object = SecretStore;
    type Status = SecretStoreStatus;

    const KIND: Kind = Kind::SecretStore;

    fn api(&self, namespace: &str) -> Api<Guarded<SecretStore>> {
        Api::namespaced(self.0.context.cluster.client(), namespace)
    }

    fn seen(&self, object: &SecretStore) {
        let object = StoreObject::Namespaced(Arc::new(object.clone()));
        self.0.context.stores.upsert(object.store_name(), object);
    }

    fn seen_undecodable(&self, name: &Name) {
        self.0.context.stores.undecodable(&StoreName::referred(&name.namespace, StoreKind::SecretStore, &name.name));
    }

    fn stores(&self, object: &SecretStore) -> Vec<StoreName> {
        let namespace = object.namespace().unwrap_or_default();
        vec![StoreName::referred(&namespace, StoreKind::SecretStore, &object.name_any())]
    }

    async fn reconcile(&self, object: Arc<SecretStore>, _name: &Name) -> Report<SecretStoreStatus> {
        self.0.check(&StoreObject::Namespaced(object)).await
    }

    fn forget(&self, name: &Name) {
        self.0.forget(&StoreName::referred(&name.namespace, StoreKind::SecretStore, &name.name));
    }

    fn forget_reconcile(&self, name: &Name) {
        self.0.forget_check(&StoreName::referred(&name.namespace, StoreKind::SecretStore, &name.name));
    }
}

/// What both kinds share.
struct Checks {
    context: Arc<Context>,
    /// Stores whose last check failed.
    failing: Mutex<HashSet<StoreName>>,
}

impl Checks {
    fn new(context: &Arc<Context>) -> Self {
        Checks { context: context.clone(), failing: Mutex::default() }
    }

    async fn check(&self, object: &StoreObject) -> Report<SecretStoreStatus> {
        let name = object.store_name();
        let convention = self.context.conventions.current();
        let Some(outcome) = check::check(&self.context.stores, &name, &convention.secret_prefix).await else {
            return Report::NotOurs;
        };
        let ready = outcome.status == ConditionStatus::True;
        let interval = check::interval(object.spec());
        let requeue = Requeue::After(if ready { interval } else { interval.min(RECHECK) });
        if self.note(&name, ready) {
            self.context.stores.recovered(&name);
        }
        let now = Time(Timestamp::now());
        match check::status(object.status(), &outcome, object.generation(), now) {
            None => Report::Unchanged { ready, requeue },
            Some(after) => Report::Verdict {
                verdict: Verdict { ready, reason: outcome.reason, message: outcome.message },
                status: Box::new(StatusChange { before: object.status().cloned(), after, resource_version: None }),
                requeue,
            },
        }
    }

    /// Records the result of the check; returns whether the store can be used again.
    fn note(&self, name: &StoreName, ready: bool) -> bool {
        let mut failing = self.failing.lock();
        match ready {
            true => failing.remove(name),
            false => {
                failing.insert(name.clone());
                false
            }
        }
    }

    fn forget(&self, name: &StoreName) {
        self.forget_check(name);
        self.context.stores.remove(name);
    }

    fn forget_check(&self, name: &StoreName) {
        self.failing.lock().remove(name);
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::cluster::in_memory::ApiServer;
    use crate::controller::drive::Driven;
    use crate::controller::guarded::Guarded;

    fn store(uid: &str) -> Guarded<SecretStore> {
        let metadata = json!({ "name": "vault", "namespace": "team", "uid": uid, "resourceVersion": "1" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "provider": {} } })).unwrap()
    }

    /// A list has another object, and its last page is not there yet: the cache shows the first.
    #[tokio::test]
    async fn the_end_of_a_check_leaves_a_store_that_has_replaced_the_checked_one() {
        let context = Context::on(ApiServer::default().cluster());
        let driven = Driven::new(NamespacedStores::new(&context), context.clone(), 1);
        let name = StoreName::referred("team", StoreKind::SecretStore, "vault");
        let uid = || context.stores.store(&name).map(|store| store.uid().to_owned());
        let page = [Event::Init, Event::InitApply(store("second"))];
        [Event::Apply(store("first"))].into_iter().chain(page).for_each(|event| driven.on_event(&Ok(event)));
        assert_eq!(uid().as_deref(), Some("second"));
        driven.run_once(&store("first")).await;
        assert_eq!(uid().as_deref(), Some("second"));
    }
}
