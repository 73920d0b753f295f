//! The stores from the watches, who may use them, and their clients.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::admit::{self, Admission, Class, ConditionError};
use super::announcements::Announcements;
use super::connection::{self, Connection};
use super::credentials::Currency;
use super::meter::RequestMeter;
use super::pool::{self, Made, Pool};
use super::vault::{VaultClient, connect};
use super::{StoreChange, StoreClient, StoreError, StoreName, StoreObject, StoreRefusal, referred};
use crate::api::names::ANNOTATION_ALLOW_MASS_DELETION;
use crate::api::store_location::StoreLocation;
use crate::api::{PushSecret, StoreKind, label_query};
use crate::cluster::{Cluster, ClusterError};
use crate::domain::label_query::LabelQuery;
use crate::domain::source::SourceKind;

#[cfg(test)]
mod tests;

const UNDECODABLE: &str = "it does not decode; its status says which field to correct";

/// The settings of stores.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// Which stores are ours.
    pub class: Class,
    /// Requests a second that one client may send on average.
    pub rate: NonZeroU32,
}

/// How many of a resource's stores belong, or may belong, to another controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// None of them.
    None,
    /// Some, and others are ours.
    Some,
    /// All of them.
    All,
}

impl Foreign {
    /// Of a list of stores, by whether each is foreign. Without any, only a controller that serves
    /// stores without a class may claim the resource.
    pub fn of(are_foreign: impl IntoIterator<Item = bool>, serves_unclassified: bool) -> Self {
        let foreign: Vec<bool> = are_foreign.into_iter().collect();
        match (foreign.contains(&true), foreign.contains(&false)) {
            (false, false) if !serves_unclassified => Foreign::All,
            (false, _) => Foreign::None,
            (true, true) => Foreign::Some,
            (true, false) => Foreign::All,
        }
    }
}

/// How work through a store affects others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    pub store: StoreName,
    /// The origin of its server (scheme, host and port); empty if no request can go there.
    pub server: String,
    /// Whether it is slow.
    pub slow: bool,
}

/// All stores and the clients made from them.
pub struct Registry {
    settings: RegistrySettings,
    stores: RwLock<HashMap<StoreName, StoreObject>>,
    /// Stores whose current state does not decode. An earlier state of each is known.
    undecodable: RwLock<HashSet<StoreName>>,
    pool: Arc<Pool>,
    announcements: Arc<Announcements>,
}

impl Registry {
    /// An empty registry; the store watches fill it.
    pub fn new(cluster: Cluster, settings: RegistrySettings, meter: Arc<dyn RequestMeter>) -> Arc<Self> {
        let announcements = Arc::new(Announcements::default());
        let pool = Pool::new(cluster, settings.rate, meter, announcements.clone(), pool::IDLE);
        Arc::new(Registry { settings, stores: RwLock::default(), undecodable: RwLock::default(), pool, announcements })
    }

    /// Adds or updates a store from the watch. Only a new generation, or another object with that
    /// name, gets new clients. Changed labels, and a changed allowance of mass deletions, are announced
    /// apart: they concern few of those who use the store.
    pub fn upsert(&self, name: StoreName, object: StoreObject) {
        let old = {
            let mut stores = self.stores.write();
            stores.insert(name.clone(), object.clone())
        };
        let decodes_again = self.undecodable.write().remove(&name);
        let version = |store: &StoreObject| (store.uid().to_owned(), store.generation());
        let allowance = |store: &StoreObject| store.annotation(ANNOTATION_ALLOW_MASS_DELETION).map(str::to_owned);
        let same_version = old.as_ref().is_some_and(|old| version(old) == version(&object));
        let leads_elsewhere = old.as_ref().is_some_and(|old| {
            old.uid() == object.uid() && old.spec().provider.location() != object.spec().provider.location()
        });
        if leads_elsewhere {
            self.pool.see_off_edited(&name);
        }
        if !same_version {
            self.pool.retire_soon(|key| key.store == name);
        }
        if !same_version || decodes_again {
            self.announcements.changed(&name);
            return;
        }
        if old.as_ref().is_some_and(|old| old.labels() != object.labels()) {
            self.announcements.announce(StoreChange::Labels(name.clone()));
        }
        if old.as_ref().and_then(allowance) != allowance(&object) {
            self.announcements.announce(StoreChange::Allowance(name));
        }
    }

    /// The store does not decode any more. What it was before serves nobody: the edit may have
    /// narrowed whom it serves, or where it leads.
    pub fn undecodable(self: &Arc<Self>, name: &StoreName) {
        if self.store(name).is_some() && self.undecodable.write().insert(name.clone()) {
            self.pool.retire_soon(|key| key.store == *name);
            self.announcements.changed(name);
        }
    }

    /// Forgets a store that was deleted.
    pub fn remove(self: &Arc<Self>, name: &StoreName) {
        self.undecodable.write().remove(name);
        let known = self.stores.write().remove(name).is_some();
        if known {
            self.pool.see_off(name);
            self.pool.forget_former(name);
            self.pool.forget_gauges(name);
            self.pool.retire_soon(|key| key.store == *name);
            self.announcements.changed(name);
        }
    }

    /// The client of a SecretStore that was just deleted, as long as its session lives. A deleted
    /// namespace deletes its stores before what was pushed through them can be removed. Only
    /// clean-ups may use it.
    pub fn departing(&self, store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        self.pool.departing(store)
    }

    /// The client with which a store led to `location` before it was edited, for a resource of
    /// `namespace`, as long as its session lives. Only clean-ups may use it, and only where the
    /// store as it is now serves that namespace.
    pub fn former(&self, namespace: &str, store: &StoreName, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        self.pool.former(namespace, store, location)
    }

    /// Whether the store still leads there by the API server, which the watch may lag behind.
    pub async fn still_leads_to(&self, store: &StoreName, location: &StoreLocation) -> Result<bool, ClusterError> {
        let Some(live) = self.pool.cluster.store(store.namespace.as_deref(), &store.name).await? else {
            return Ok(false);
        };
        // One that names its credential relative to its consumers' namespaces leads to one place
        // for all of them.
        let consumer = store.namespace.as_deref().unwrap_or_default();
        let connection = connection::parse(store, &live, consumer).ok();
        let leads_to = connection.and_then(|connection| connection.location().ok());
        Ok(leads_to.is_some_and(|live| live.is_spelled_as(location)))
    }

    /// Whether the store has the labels, by the API server, that the watch shows.
    pub async fn is_labelled_as_shown(&self, store: &StoreName) -> Result<bool, ClusterError> {
        let live = self.pool.cluster.store_labels(store.namespace.as_deref(), &store.name).await?;
        Ok(self.store(store).is_some_and(|shown| live.as_ref() == Some(shown.labels())))
    }

    /// The names of all stores.
    pub fn names(&self) -> Vec<StoreName> {
        self.stores.read().keys().cloned().collect()
    }

    /// The store, as last seen by the watch.
    pub fn store(&self, name: &StoreName) -> Option<StoreObject> {
        self.stores.read().get(name).cloned()
    }

    /// The names of the stores of a kind with these labels; of this namespace if the kind is
    /// namespaced.
    pub fn labelled(&self, namespace: &str, kind: StoreKind, query: &LabelQuery) -> BTreeSet<String> {
        let stores = self.stores.read();
        let meant = stores.iter().filter(|(name, object)| {
            **name == StoreName::referred(namespace, kind, &name.name) && query.matches(object.labels())
        });
        meant.map(|(name, _)| name.name.clone()).collect()
    }

    /// Receives what changed of stores: those whose use changed were created, edited or deleted,
    /// answer again after a failure, or have other certificates. A receiver that lagged must treat
    /// every store as changed.
    pub fn changes(&self) -> broadcast::Receiver<StoreChange> {
        self.announcements.changes()
    }

    /// Receives stores whose server fails or denies access: their condition should say so before
    /// their next check. A receiver that lagged misses some until that check.
    pub fn troubles(&self) -> broadcast::Receiver<StoreName> {
        self.announcements.troubles()
    }

    /// Whether stores without a class are ours, and with them objects that name no store.
    pub fn serves_unclassified(&self) -> bool {
        self.settings.class.serves(None)
    }

    /// How work through each of these stores affects others.
    pub fn loads(&self, stores: impl IntoIterator<Item = StoreName>) -> Vec<Load> {
        let load = |store: StoreName| {
            let server = self.store(&store).and_then(|object| object.spec().provider.server().map(origin));
            let server = server.unwrap_or_default();
            Load { server, slow: self.pool.is_slow(&store), store }
        };
        BTreeSet::from_iter(stores).into_iter().map(load).collect()
    }

    /// The stores that a PushSecret refers to, also by labels.
    pub fn stores_of_push(&self, push: &PushSecret, namespace: &str) -> BTreeSet<StoreName> {
        let selectors = push.spec.secret_store_refs.iter();
        let selected = selectors.filter_map(|reference| {
            let query = label_query::parse(reference.label_selector.as_ref()?).ok()?;
            Some((reference.kind(), self.labelled(namespace, reference.kind(), &query)))
        });
        let selected = selected
            .flat_map(|(kind, names)| names.into_iter().map(move |name| StoreName::referred(namespace, kind, &name)));
        referred::by_push(push, namespace).chain(selected).collect()
    }

    /// How many of these stores belong, or may belong, to another controller.
    pub fn foreign(&self, stores: impl IntoIterator<Item = StoreName>) -> Foreign {
        Foreign::of(stores.into_iter().map(|store| self.is_foreign(&store)), self.serves_unclassified())
    }

    /// If a store does not exist, only a controller that serves stores without a class may claim
    /// it.
    fn is_foreign(&self, store: &StoreName) -> bool {
        match self.ours(store) {
            Ok(_) => false,
            Err(StoreRefusal::NotFound { .. }) => !self.serves_unclassified(),
            Err(_) => true,
        }
    }

    /// Wakes the dependants of a store that can be used again.
    pub fn recovered(&self, name: &StoreName) {
        self.announcements.changed(name);
    }

    /// The client with which a resource in `namespace` uses this store. It logs in on first use.
    pub async fn client(
        self: &Arc<Self>,
        namespace: &str,
        store: &StoreName,
    ) -> Result<Arc<dyn StoreClient>, StoreRefusal> {
        let object = self.usable(store)?;
        self.admit(namespace, store, &object).await?;
        Ok(self.made(namespace, store, &object).await?.client)
    }

    /// The client. If the store changed while the client was created, nobody gets it, and it is
    /// closed: it would log in at the former server with what the credential is now. Of one that
    /// could not be created nothing is kept either.
    async fn made(&self, namespace: &str, store: &StoreName, object: &StoreObject) -> Result<Made, StoreRefusal> {
        let made = self.pool.made(namespace, store, object).await;
        let now = self.usable(store).ok();
        if !now.as_ref().is_some_and(|now| now.uid() == object.uid() && now.generation() == object.generation()) {
            self.pool.retire(|key| key.store == *store && !now.as_ref().is_some_and(|now| key.is_of(now))).await;
            if self.store(store).is_none() {
                self.pool.forget_gauges(store);
            }
            let server = made?.origin.connection.server.clone();
            return Err(StoreRefusal::Failed(StoreError::SessionClosed { server }));
        }
        made
    }

    /// Closes unused clients, until `stop` is cancelled.
    pub async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        while tokio::time::timeout(pool::SWEEP, stop.cancelled()).await.is_err() {
            self.pool.sweep().await;
        }
    }

    /// The store, if it exists and has our class.
    pub fn ours(&self, store: &StoreName) -> Result<StoreObject, StoreRefusal> {
        let object = self.store(store).ok_or_else(|| StoreRefusal::NotFound { store: store.clone() })?;
        let controller = object.spec().controller.clone();
        match self.settings.class.serves(controller.as_deref()) {
            true => Ok(object),
            false => Err(StoreRefusal::OtherController { store: store.clone(), class: controller.unwrap_or_default() }),
        }
    }

    /// The store, if it is ours and decodes.
    fn usable(&self, store: &StoreName) -> Result<StoreObject, StoreRefusal> {
        let object = self.ours(store)?;
        match self.undecodable.read().contains(store) {
            true => Err(StoreRefusal::Invalid { store: store.clone(), what: UNDECODABLE.to_owned() }),
            false => Ok(object),
        }
    }

    /// Call this when a Secret or ConfigMap was written or deleted. Clients that use it log in or
    /// connect again, and their dependants try again. A rotated credential is used at once, and the
    /// old session ends.
    pub fn moved(&self, kind: SourceKind, namespace: &str, name: &str) {
        self.pool.moved(kind, namespace, name);
    }

    /// The objects of this kind whose events matter to stores, as namespace and name.
    pub fn reads(&self, kind: SourceKind) -> Vec<(String, String)> {
        self.pool.read_by_clients(kind)
    }

    /// The store's own client for its check, with its connection. Clients whose certificates or
    /// credential changed are created again. `None` if the credential is read in each consumer's
    /// namespace, so that the store itself has no login.
    pub async fn inspected(
        self: &Arc<Self>,
        store: &StoreName,
    ) -> Result<(Connection, Option<Arc<VaultClient>>), StoreRefusal> {
        let object = self.usable(store)?;
        let home = store.namespace.clone().unwrap_or_default();
        let connection = connection::parse(store, object.spec(), &home)?;
        if connection.referent {
            self.pool.renew_all(store).await;
            return Ok((connection, None));
        }
        let mut made = self.made(&home, store, &object).await?;
        if self.pool.currency(&made.origin).await.map_err(StoreRefusal::Failed)? == Currency::Outdated {
            self.pool.retire(|key| key.store == *store).await;
            self.announcements.changed(store);
            made = self.made(&home, store, &object).await?;
        }
        Ok((connection, Some(made.client)))
    }

    /// Revokes every session. Clients that are still held cannot be used afterwards.
    pub async fn shutdown(&self) {
        self.pool.shutdown().await;
    }

    async fn admit(&self, namespace: &str, store: &StoreName, object: &StoreObject) -> Result<(), StoreRefusal> {
        let StoreObject::Cluster(_) = object else { return Ok(()) };
        let invalid = |error: ConditionError| StoreRefusal::Invalid { store: store.clone(), what: error.to_string() };
        let admission = match admit::by_name(object.spec(), namespace).map_err(invalid)? {
            Admission::ByLabels => {
                let labels =
                    self.pool.cluster.namespace_labels(namespace).await.map_err(|error| {
                        StoreRefusal::Failed(StoreError::NamespaceUnread { what: error.to_string() })
                    })?;
                admit::by_labels(object.spec(), &labels).map_err(invalid)?
            }
            known => known,
        };
        match admission {
            Admission::Yes => Ok(()),
            Admission::No | Admission::ByLabels => {
                Err(StoreRefusal::NotAllowed { store: store.clone(), namespace: namespace.to_owned() })
            }
        }
    }
}

/// One server may serve many paths, and they hang together.
fn origin(address: &str) -> String {
    connect::address(address).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}
