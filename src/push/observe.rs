//! Reads what a plan depends on: the stores, and the places of entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::apply::Clients;
use super::desired::Chosen;
use super::entry::Owners;
use super::ledger::{EntryRef, Mounts, StoreKey};
use super::locations::Locations;
use super::patience::{PATIENCE, no_answer, side_by_side};
use super::plan::Places;
use super::waiters;
use crate::api::condition::Reason;
use crate::api::push_ledger::PushLedger;
use crate::cluster::{Cluster, ClusterError};
use crate::domain::claim::Owner;
use crate::domain::path::RemotePath;
use crate::store::error::Family;
use crate::store::serving::spawn_serving;
use crate::store::{Site, StoreClient, StoreRefusal, Stores};

/// Why a store, or one of its former locations, cannot be used. Each text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStore {
    /// The namespace may not use the store, or it is not usable now.
    #[error(transparent)]
    Refused(StoreRefusal),
    /// The store leads elsewhere now, and no login for the former location is left.
    #[error("{store} leads elsewhere now, and no login for the former location is left")]
    Elsewhere { store: StoreKey },
    /// The watch shows the store late, or the API server does not say.
    #[error("{store} {late}: Waypost looks it up again in a moment")]
    Behind { store: StoreKey, late: Late },
}

/// What the watch shows late of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Late {
    /// Where it leads.
    #[error("was edited to lead elsewhere, or was deleted, a moment ago")]
    Location,
    /// Its labels.
    #[error("got other labels, or was deleted, a moment ago")]
    Labels,
    /// It is unknown whether it shows anything late.
    #[error("is not confirmed by the API server ({0})")]
    Unconfirmed(ClusterError),
}

impl Late {
    /// `what` is late, unless the API server says that it `is_shown`.
    fn unless(is_shown: Result<bool, ClusterError>, what: Late) -> Option<Self> {
        match is_shown {
            Ok(true) => None,
            Ok(false) => Some(what),
            Err(error) => Some(Late::Unconfirmed(error)),
        }
    }
}

impl NoStore {
    /// Whether the store does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, NoStore::Refused(StoreRefusal::NotFound { .. }))
    }

    /// The reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            NoStore::Refused(refusal) => refusal.reason(),
            NoStore::Elsewhere { .. } | NoStore::Behind { .. } => Reason::StoreNotReady,
        }
    }

    /// Whether only an edit of the store, or of what it says of namespaces, makes it usable.
    pub fn needs_edit(&self) -> bool {
        match self {
            NoStore::Refused(StoreRefusal::Failed(_)) | NoStore::Behind { .. } => false,
            NoStore::Refused(
                StoreRefusal::NotFound { .. }
                | StoreRefusal::OtherController { .. }
                | StoreRefusal::NotAllowed { .. }
                | StoreRefusal::Unsupported { .. }
                | StoreRefusal::Invalid { .. },
            )
            | NoStore::Elsewhere { .. } => true,
        }
    }

    /// Whether to retry, and when.
    pub fn family(&self) -> Family {
        match self {
            NoStore::Refused(refusal) => refusal.family(),
            NoStore::Elsewhere { .. } => Family::Refused,
            NoStore::Behind { .. } => Family::Failed,
        }
    }
}

/// The stores of one reconcile.
#[derive(Clone, Default)]
pub struct SeenStores {
    /// The stores to publish to, named and selected.
    pub chosen: Chosen,
    /// Selectors that match no store, for messages.
    pub unmatched: Vec<String>,
    /// The clients of the usable stores.
    pub clients: Clients,
    /// The mounts of the usable stores.
    pub mounts: Mounts,
    /// Where the usable stores lead.
    pub locations: Locations,
    /// The stores that cannot be used.
    pub absent: BTreeMap<StoreKey, NoStore>,
}

/// Looks up every store.
pub async fn stores(registry: &dyn Stores, namespace: &str, wanted: BTreeSet<StoreKey>) -> SeenStores {
    let mut seen = SeenStores::default();
    for store in wanted {
        match registry.client(namespace, &store.name_in(namespace)).await {
            Ok(client) => seen.can_use(store, client),
            Err(refusal) => drop(seen.absent.insert(store, NoStore::Refused(refusal))),
        }
    }
    seen
}

impl SeenStores {
    /// Adds stores that were deleted a moment ago and whose session is still open. Only a clean-up
    /// may use them.
    pub fn recall(&mut self, registry: &dyn Stores, namespace: &str) {
        let missing = self.absent.iter().filter(|(_, absent)| absent.is_missing());
        let departing: Vec<_> = missing
            .filter_map(|(store, _)| Some((store.clone(), registry.departing(&store.name_in(namespace))?)))
            .collect();
        for (store, client) in departing {
            self.absent.remove(&store);
            self.can_use(store, client);
        }
    }

    /// The stores that the watch shows late. Whatever is elsewhere than where the wanted stores lead
    /// is about to be removed. So a live read must confirm first where they lead: the watch may show
    /// a store before its last edit, which another leader may have followed. Such a store is not used
    /// until the watch has caught up.
    pub async fn shown_late(
        &self,
        stores: &dyn Stores,
        namespace: &str,
        wanted: &BTreeSet<StoreKey>,
        listed: &PushLedger,
        moved: &BTreeSet<String>,
    ) -> Vec<(StoreKey, Late)> {
        // Nothing is removed from a store that cannot be used.
        let is_left = |store: &StoreKey| !wanted.contains(store) && listed.synced.contains_key(&store.listed());
        let is_any_left = !moved.is_empty() || !listed.former.is_empty() || self.clients.keys().any(is_left);
        let is_meant = |store: &StoreKey| moved.contains(&store.listed()) || is_any_left && wanted.contains(store);
        let mut late = Vec::new();
        for (store, location) in self.locations.iter().filter(|(store, _)| is_meant(store)) {
            let still = stores.still_leads_to(&store.name_in(namespace), location).await;
            late.extend(Late::unless(still, Late::Location).map(|late| (store.clone(), late)));
        }
        late
    }

    /// Of the stores that lose something although labels may select them, those whose labels the watch
    /// shows late: another leader may have seen the labels, and pushed.
    pub async fn labelled_late(
        stores: &dyn Stores,
        namespace: &str,
        losing: BTreeSet<StoreKey>,
    ) -> Vec<(StoreKey, Late)> {
        let mut late = Vec::new();
        for store in losing {
            let is_shown = stores.is_labelled_as_shown(&store.name_in(namespace)).await;
            late.extend(Late::unless(is_shown, Late::Labels).map(|late| (store, late)));
        }
        late
    }

    /// Leaves out a store that the watch shows late. It is used once the watch has caught up.
    pub fn leave(&mut self, store: StoreKey, late: Late) {
        self.mounts.remove(&store);
        self.locations.remove(&store);
        self.clients.remove(&store);
        self.absent.insert(store.clone(), NoStore::Behind { store, late });
    }

    fn can_use(&mut self, store: StoreKey, client: Arc<dyn StoreClient>) {
        self.mounts.insert(store.clone(), client.mount().map(str::to_owned));
        self.locations.insert(store.clone(), client.location());
        self.clients.insert(store, client);
    }
}

/// The message for a selector that matches no store, and the stores that it matches.
pub type Selected = (String, BTreeSet<StoreKey>);

impl SeenStores {
    /// Decides which stores to publish to: the named ones, and the selected ones that are of our
    /// class and serve the namespace. The others are ignored, unless something was pushed to them
    /// (`listed`).
    pub fn choose(&mut self, named: BTreeSet<StoreKey>, selected: Vec<Selected>, listed: &BTreeSet<StoreKey>) {
        let serves = |store: &StoreKey| match self.absent.get(store) {
            Some(NoStore::Refused(refusal)) => match refusal {
                StoreRefusal::NotFound { .. }
                | StoreRefusal::OtherController { .. }
                | StoreRefusal::NotAllowed { .. } => false,
                StoreRefusal::Unsupported { .. } | StoreRefusal::Invalid { .. } | StoreRefusal::Failed(_) => true,
            },
            Some(NoStore::Elsewhere { .. } | NoStore::Behind { .. }) | None => true,
        };
        let mut wanted = named;
        for (words, mut stores) in selected {
            stores.retain(serves);
            if stores.is_empty() {
                self.unmatched.push(words);
            }
            wanted.append(&mut stores);
        }
        self.absent.retain(|store, _| wanted.contains(store) || listed.contains(store));
        self.chosen.stores = wanted;
    }

    /// Decides which of the stores to publish to a `dataTo` applies to.
    pub fn narrow(&mut self, data_to: usize, (words, mut stores): Selected) {
        stores.retain(|store| self.chosen.stores.contains(store));
        if stores.is_empty() {
            self.unmatched.push(words);
        }
        self.chosen.data_to.insert(data_to, stores);
    }
}

/// Finds the places of entries. A store that delays others is skipped; what it answers later saves
/// the next reconcile the request.
pub async fn places<'a>(clients: &Clients, entry_refs: impl Iterator<Item = &'a EntryRef>) -> Places {
    let mut by_store: BTreeMap<&StoreKey, BTreeSet<EntryRef>> = BTreeMap::new();
    for entry_ref in entry_refs.filter(|entry_ref| clients.contains_key(&entry_ref.store)) {
        by_store.entry(&entry_ref.store).or_default().insert(entry_ref.clone());
    }
    let found: Arc<Mutex<Places>> = Arc::default();
    let lock = |found: &Mutex<Places>| found.lock().clone();
    let asking = by_store.iter().map(|(store, entry_refs)| {
        let (client, entry_refs, found) = (clients[*store].clone(), entry_refs.clone(), found.clone());
        let asked = spawn_serving(async move {
            for entry_ref in entry_refs {
                let place = client.path_key(&entry_ref.path).await;
                found.lock().insert(entry_ref, place.map(|place| Site::of(client.as_ref(), place)));
            }
        });
        async { drop(asked.await) }
    });
    side_by_side(asking.collect(), || lock(&found).len(), || PATIENCE).await;
    let mut places = lock(&found);
    for entry_ref in by_store.into_values().flatten() {
        let late = no_answer(&entry_ref.store);
        places.entry(entry_ref).or_insert(Err(late));
    }
    places
}

#[async_trait]
impl Owners for Cluster {
    async fn exists(&self, owner: &Owner) -> Result<bool, ClusterError> {
        match self.push_secret_uid(&owner.namespace, &owner.name).await {
            Ok(uid) => Ok(uid.as_deref() == Some(owner.uid.as_str())),
            // In a namespace that we may not read, the owner counts as existing.
            Err(ClusterError::Forbidden { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn listed(&self, owner: &Owner, path: &RemotePath) -> Result<BTreeSet<String>, ClusterError> {
        match self.push_secret_ledger(&owner.namespace, &owner.name, &owner.uid).await {
            Ok(ledger) => Ok(waiters::listed(&ledger, path)),
            Err(ClusterError::Forbidden { .. }) => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }
}
