//! The port through which PushSecrets and ExternalSecrets use stores, and its implementation by the
//! registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Registry, StoreClient, StoreName, StoreRefusal};
use crate::api::StoreKind;
use crate::api::store_location::StoreLocation;
use crate::cluster::ClusterError;
use crate::domain::label_query::LabelQuery;

/// All stores, as the watch shows them.
#[async_trait]
pub trait Stores: Send + Sync + 'static {
    /// The client with which a resource of `namespace` uses this store.
    async fn client(&self, namespace: &str, store: &StoreName) -> Result<Arc<dyn StoreClient>, StoreRefusal>;

    /// Whether the store still leads there by the API server, which the watch may lag behind.
    async fn still_leads_to(&self, store: &StoreName, location: &StoreLocation) -> Result<bool, ClusterError>;

    /// Whether the store has the labels, by the API server, that the watch shows.
    async fn is_labelled_as_shown(&self, store: &StoreName) -> Result<bool, ClusterError>;

    /// The client of a namespace's own store that was deleted a moment ago, for clean-ups alone.
    fn departing(&self, store: &StoreName) -> Option<Arc<dyn StoreClient>>;

    /// The client with which a store, which the namespace may use, led to `location` before it was
    /// edited; for clean-ups alone.
    fn former(&self, namespace: &str, store: &StoreName, location: &StoreLocation) -> Option<Arc<dyn StoreClient>>;

    /// The names of the stores of a kind, of this namespace where the kind has one, that have these
    /// labels.
    fn labelled(&self, namespace: &str, kind: StoreKind, query: &LabelQuery) -> BTreeSet<String>;

    /// Whether stores that name no controller are ours, and with them whatever names no store.
    fn serves_unclassified(&self) -> bool;
}

#[async_trait]
impl Stores for Arc<Registry> {
    async fn client(&self, namespace: &str, store: &StoreName) -> Result<Arc<dyn StoreClient>, StoreRefusal> {
        Registry::client(self, namespace, store).await
    }

    async fn still_leads_to(&self, store: &StoreName, location: &StoreLocation) -> Result<bool, ClusterError> {
        Registry::still_leads_to(self, store, location).await
    }

    async fn is_labelled_as_shown(&self, store: &StoreName) -> Result<bool, ClusterError> {
        Registry::is_labelled_as_shown(self, store).await
    }

    fn departing(&self, store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        Registry::departing(self, store)
    }

    fn former(&self, namespace: &str, store: &StoreName, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        Registry::former(self, namespace, store, location)
    }

    fn labelled(&self, namespace: &str, kind: StoreKind, query: &LabelQuery) -> BTreeSet<String> {
        Registry::labelled(self, namespace, kind, query)
    }

    fn serves_unclassified(&self) -> bool {
        Registry::serves_unclassified(self)
    }
}
