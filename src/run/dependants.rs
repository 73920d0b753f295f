//! When a store was edited or works again, the objects that refer to it try again at once; when its
//! labels changed, only those that select stores by labels. So do objects that a store admits by the
//! labels of their namespace, when those may have changed.

use std::collections::HashSet;
use std::sync::Arc;

use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::api::{ExternalSecret, PushSecret, StoreKind};
use crate::controller::guarded::Guarded;
use crate::controller::namespaces::NamespaceMoved;
use crate::controller::watch::Wakeups;
use crate::domain::object_name::Name;
use crate::store::{Registry, StoreChange, StoreName, referred};

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
        mut changes: Receiver<StoreChange>,
        mut troubles: Receiver<StoreName>,
        mut namespaces: UnboundedReceiver<NamespaceMoved>,
        stop: CancellationToken,
    ) {
        loop {
            let first = tokio::select! {
                first = changes.recv() => first,
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
            match News::gather(first, &mut changes) {
                Some(news) => self.wake(&news),
                None => return,
            }
        }
    }

    /// Wakes the dependants that the news concern. A closed channel means that the process is
    /// shutting down.
    fn wake(&self, news: &News) {
        for object in self.pushes.state() {
            let concerned = object.0.as_ref().is_ok_and(|push| news.concern_push(push, namespace_of(&object)));
            if concerned && self.wakeups.push.send(name_of(&object)).is_err() {
                return;
            }
        }
        for object in self.pulls.state() {
            let concerned = object.0.as_ref().is_ok_and(|pull| news.concern_pull(pull, namespace_of(&object)));
            if concerned && self.wakeups.pull.send(name_of(&object)).is_err() {
                return;
            }
        }
        match news.missed {
            true => self.registry.names().iter().for_each(|store| self.recheck(store)),
            false => news.used.iter().for_each(|store| self.recheck(store)),
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

/// What changed of stores since the dependants were last looked through. A burst of changes is one
/// look, so that many edits of stores do not cost a look at all objects each.
#[derive(Default)]
struct News {
    /// Changes were missed: anything may have changed of any store.
    missed: bool,
    /// Stores whose use changed.
    used: HashSet<StoreName>,
    /// Stores whose labels changed.
    labelled: HashSet<StoreName>,
    /// Stores whose allowance of mass deletions changed.
    allowing: HashSet<StoreName>,
}

impl News {
    /// This change and those that wait behind it; none if there are no more.
    fn gather(first: Result<StoreChange, RecvError>, changes: &mut Receiver<StoreChange>) -> Option<News> {
        let mut news = News::default();
        match first {
            Ok(change) => news.add(change),
            Err(RecvError::Lagged(_)) => news.missed = true,
            Err(RecvError::Closed) => return None,
        }
        loop {
            match changes.try_recv() {
                Ok(change) => news.add(change),
                Err(TryRecvError::Lagged(_)) => news.missed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(news),
            }
        }
    }

    fn add(&mut self, change: StoreChange) {
        let _is_new = match change {
            StoreChange::Use(store) => self.used.insert(store),
            StoreChange::Labels(store) => self.labelled.insert(store),
            StoreChange::Allowance(store) => self.allowing.insert(store),
        };
    }

    /// Whether they may change what a PushSecret does. One that selects by labels may have selected
    /// any store of its kind before, or select it now.
    fn concern_push(&self, push: &PushSecret, namespace: &str) -> bool {
        let (mut named, mut selected) = (referred::by_push(push, namespace), referred::selected_by_push(push));
        if self.missed {
            return named.next().is_some() || selected.next().is_some();
        }
        let changed = || self.used.iter().chain(&self.labelled);
        let is_of = |store: &StoreName, kind| *store == StoreName::referred(namespace, kind, &store.name);
        named.any(|store| self.used.contains(&store)) || selected.any(|kind| changed().any(|store| is_of(store, kind)))
    }

    /// Whether they may change what an ExternalSecret does.
    fn concern_pull(&self, pull: &ExternalSecret, namespace: &str) -> bool {
        let concern = |store: &StoreName| self.missed || self.used.contains(store) || self.allowing.contains(store);
        referred::by_pull(pull, namespace).any(|store| concern(&store))
    }
}

fn namespace_of<K: Resource>(object: &Guarded<K>) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

fn name_of<K: Resource>(object: &Guarded<K>) -> Name {
    Name::new(object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests;
