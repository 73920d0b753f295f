//! When a store was edited or works again, the objects that refer to it try again at once. So do
//! objects that a store admits by the labels of their namespace, when those may have changed.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::api::{ExternalSecret, PushSecret, StoreKind};
use crate::controller::guarded::Guarded;
use crate::controller::namespaces::NamespaceMoved;
use crate::controller::watch::Wakeups;
use crate::domain::object_name::Name;
use crate::store::{Registry, StoreName, referred};

/// The channels of the stores' own wake-ups.
pub struct StoreWakeups {
    /// To the check of ClusterSecretStores.
    pub cluster: UnboundedSender<Name>,
    /// To the check of SecretStores.
    pub namespaced: UnboundedSender<Name>,
}

/// The caches in which references are looked up, and the channels of wake-ups.
pub struct Dependants {
    /// All PushSecrets.
    pub pushes: Store<Guarded<PushSecret>>,
    /// All ExternalSecrets.
    pub pulls: Store<Guarded<ExternalSecret>>,
    /// The current stores.
    pub registry: Arc<Registry>,
    /// The channels of the stores' own wake-ups.
    pub stores: StoreWakeups,
    /// Their reconcilers.
    pub wakeups: Wakeups,
}

impl Dependants {
    /// Follows the changes and the troubles of stores, and namespaces, until `stop` is cancelled.
    pub async fn follow(
        self,
        mut changes: Receiver<StoreName>,
        mut troubles: Receiver<StoreName>,
        mut namespaces: UnboundedReceiver<NamespaceMoved>,
        stop: CancellationToken,
    ) {
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                trouble = troubles.recv() => {
                    // The store's next check makes up for a missed one.
                    trouble.iter().for_each(|store| self.recheck(store));
                    continue;
                }
                Some(moved) = namespaces.recv() => {
                    self.wake_admitted(&moved);
                    continue;
                }
                () = stop.cancelled() => return,
            };
            match change {
                Ok(store) => self.wake(Some(&store)),
                Err(RecvError::Lagged(_)) => self.wake(None),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Wakes the dependants of one store, or of all of them. A closed channel means that the
    /// process is shutting down.
    fn wake(&self, changed: Option<&StoreName>) {
        let concerned = |store: StoreName| changed.is_none_or(|changed| *changed == store);
        for object in self.pushes.state() {
            let name = name_of(&object);
            let refers = object.0.as_ref().is_ok_and(|push| {
                referred::by_push(push, &name.namespace).any(concerned)
                    || changed.is_some_and(|changed| selects(push, &name.namespace, changed))
            });
            if refers && self.wakeups.push.send(name).is_err() {
                return;
            }
        }
        for object in self.pulls.state() {
            let name = name_of(&object);
            let refers = object.0.as_ref().is_ok_and(|pull| referred::by_pull(pull, &name.namespace).any(concerned));
            if refers && self.wakeups.pull.send(name).is_err() {
                return;
            }
        }
        if let Some(store) = changed {
            self.recheck(store);
        }
    }

    /// Wakes the objects in these namespaces that use a store with a namespaceSelector.
    fn wake_admitted(&self, moved: &NamespaceMoved) {
        let is_meant = |namespace: &str| match moved {
            NamespaceMoved::One(name) => name == namespace,
            NamespaceMoved::All => true,
        };
        let by_labels = |store: StoreName| {
            self.registry.store(&store).is_some_and(|store| {
                store.spec().conditions.iter().any(|condition| condition.namespace_selector.is_some())
            })
        };
        for object in self.pushes.state() {
            let name = name_of(&object);
            let refers = is_meant(&name.namespace)
                && object
                    .0
                    .as_ref()
                    .is_ok_and(|push| self.registry.stores_of_push(push, &name.namespace).into_iter().any(by_labels));
            if refers && self.wakeups.push.send(name).is_err() {
                return;
            }
        }
        for object in self.pulls.state() {
            let name = name_of(&object);
            let refers = is_meant(&name.namespace)
                && object.0.as_ref().is_ok_and(|pull| referred::by_pull(pull, &name.namespace).any(by_labels));
            if refers && self.wakeups.pull.send(name).is_err() {
                return;
            }
        }
    }

    fn recheck(&self, store: &StoreName) {
        let name = Name::new(store.namespace.clone().unwrap_or_default(), &store.name);
        let _closed = match store.kind {
            StoreKind::ClusterSecretStore => self.stores.cluster.send(name).is_err(),
            StoreKind::SecretStore => self.stores.namespaced.send(name).is_err(),
        };
    }
}

/// Whether a PushSecret selects stores of this kind and namespace by labels: the store may have
/// matched before, or match now.
fn selects(push: &PushSecret, namespace: &str, changed: &StoreName) -> bool {
    push.spec.secret_store_refs.iter().any(|reference| {
        reference.label_selector.is_some()
            && *changed == StoreName::referred(namespace, reference.kind(), &changed.name)
    })
}

fn name_of<K: kube::Resource>(object: &Guarded<K>) -> Name {
    Name::new(object.namespace().unwrap_or_default(), object.name_any())
}
