//! Reads what a plan is made from: the stores, where entries are, and the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::apply::Clients;
use super::desired::Chosen;
use super::entry::Owners;
use super::ledger::{EntryRef, Mounts, StoreKey};
use super::locations::Locations;
use super::patience::{no_answer, side_by_side};
use super::plan::Places;
use super::waiters;
use crate::cluster::{Cluster, ClusterError};
use crate::domain::claim::Owner;
use crate::domain::path::RemotePath;
use crate::store::error::Family;
use crate::store::serving::spawn_serving;
use crate::store::{StoreClient, StoreRefusal, Stores};

/// Why a store, or where it led before it was edited, cannot be used. Each text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStore {
    /// The namespace may not use it, or it cannot be had now.
    #[error(transparent)]
    Refused(StoreRefusal),
    /// It leads elsewhere now.
    #[error("{store} leads elsewhere now, and no login for the former place is left")]
    Elsewhere {
        /// The store.
        store: StoreKey,
    },
    /// The API server has it otherwise than the watch has shown it, or cannot be asked.
    #[error(
        "{store} was edited a moment ago, or the API server cannot be asked about it: it is looked up again in a moment"
    )]
    Behind {
        /// The store.
        store: StoreKey,
    },
}

impl NoStore {
    /// Whether the store does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, NoStore::Refused(StoreRefusal::NotFound { .. }))
    }

    /// What to do about it.
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
    /// Those that are published to, named and selected.
    pub chosen: Chosen,
    /// Selectors of stores that select none, in words.
    pub unmatched: Vec<String>,
    /// Those that can be used.
    pub clients: Clients,
    /// Their mounts.
    pub mounts: Mounts,
    /// Where they lead.
    pub locations: Locations,
    /// The others.
    pub absent: BTreeMap<StoreKey, NoStore>,
}

/// Looks every store up.
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
    /// For a clean-up: a store that was deleted a moment ago can still be used, where its session is left.
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

    /// The watch is behind: the store is used when it has caught up.
    pub fn leave(&mut self, store: StoreKey) {
        self.mounts.remove(&store);
        self.locations.remove(&store);
        self.clients.remove(&store);
        self.absent.insert(store.clone(), NoStore::Behind { store });
    }

    fn can_use(&mut self, store: StoreKey, client: Arc<dyn StoreClient>) {
        self.mounts.insert(store.clone(), client.mount().map(str::to_owned));
        self.locations.insert(store.clone(), client.location());
        self.clients.insert(store, client);
    }
}

/// A selector of stores, in words, and the stores that it selects.
pub type Selected = (String, BTreeSet<StoreKey>);

impl SeenStores {
    /// Settles which stores are published to: those that are named, and of the selected ones those that are ours and serve the
    /// namespace. The others are nobody's concern, unless something was pushed to them (`listed`).
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

    /// Settles which of the stores that are published to a `dataTo` is for.
    pub fn narrow(&mut self, data_to: usize, (words, mut stores): Selected) {
        stores.retain(|store| self.chosen.stores.contains(store));
        if stores.is_empty() {
            self.unmatched.push(words);
        }
        self.chosen.data_to.insert(data_to, stores);
    }
}

/// Finds out where entries are, whatever their stores call the place. A store that keeps others waiting is left behind; what it
/// answers later spares the next reconcile the question.
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
                found.lock().insert(entry_ref, place);
            }
        });
        async { drop(asked.await) }
    });
    side_by_side(asking.collect(), || lock(&found).len()).await;
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
            // In a namespace that we may not read it has to be taken for there.
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
