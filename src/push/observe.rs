//! Reads what a plan is made from: the stores, where entries are, and the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::apply::Clients;
use super::entry::Owners;
use super::ledger::{Mounts, Spot, StoreKey};
use super::plan::Places;
use crate::cluster::{Cluster, ClusterError};
use crate::domain::claim::Owner;
use crate::store::StoreClient;
use crate::store::error::Family;

/// Why a store cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoStore {
    /// In a word.
    pub why: Absence,
    /// What to do about it.
    pub family: Family,
    /// In a sentence, with what to do.
    pub text: String,
}

/// Why a store cannot be used, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It does not exist.
    Missing,
    /// Another controller serves it.
    OtherController,
    /// It does not serve this namespace.
    NotPermitted,
    /// It is wrong, or cannot be had now.
    Unusable,
}

/// Gives clients of stores.
#[async_trait]
pub trait Stores: Send + Sync {
    /// The client of a store for a resource in `namespace`.
    async fn client(&self, namespace: &str, store: &StoreKey) -> Result<Arc<dyn StoreClient>, NoStore>;

    /// Whether stores that name no controller are ours, and with them whatever names no store.
    fn serves_unclassified(&self) -> bool;
}

/// The stores of one reconcile.
#[derive(Default)]
pub struct SeenStores {
    /// Those that can be used.
    pub clients: Clients,
    /// Their mounts.
    pub mounts: Mounts,
    /// The others.
    pub absent: BTreeMap<StoreKey, NoStore>,
}

/// Looks every store up.
pub async fn stores(registry: &dyn Stores, namespace: &str, wanted: BTreeSet<StoreKey>) -> SeenStores {
    let mut seen = SeenStores::default();
    for store in wanted {
        match registry.client(namespace, &store).await {
            Ok(client) => {
                seen.mounts.insert(store.clone(), client.mount().map(str::to_owned));
                seen.clients.insert(store, client);
            }
            Err(absence) => {
                seen.absent.insert(store, absence);
            }
        }
    }
    seen
}

/// Finds out where entries are, whatever their stores call the place.
pub async fn places<'a>(clients: &Clients, spots: impl Iterator<Item = &'a Spot>) -> Places {
    let mut places = Places::new();
    for spot in spots {
        if let (Some(client), false) = (clients.get(&spot.store), places.contains_key(spot)) {
            places.insert(spot.clone(), client.path_key(&spot.path).await);
        }
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
}
