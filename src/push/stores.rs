//! Clients of stores, from the registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::ledger::StoreKey;
use super::observe::{Absence, NoStore, Stores};
use crate::api::selector::StoreKind;
use crate::api::store_location::StoreLocation;
use crate::domain::label_query::LabelQuery;
use crate::store::{Registry, StoreClient, StoreName, StoreRefusal};

/// The registry as pushes use it.
pub struct FromRegistry(pub Arc<Registry>);

#[async_trait]
impl Stores for FromRegistry {
    async fn client(&self, namespace: &str, store: &StoreKey) -> Result<Arc<dyn StoreClient>, NoStore> {
        let name = StoreName::referred(namespace, store.kind, &store.name);
        self.0.client(namespace, &name).await.map_err(|refusal| NoStore {
            why: absence(&refusal),
            family: refusal.family(),
            text: refusal.to_string(),
        })
    }

    fn departing(&self, namespace: &str, store: &StoreKey) -> Option<Arc<dyn StoreClient>> {
        self.0.departing(&StoreName::referred(namespace, store.kind, &store.name))
    }

    fn former(&self, namespace: &str, store: &StoreKey, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        self.0.former(namespace, &StoreName::referred(namespace, store.kind, &store.name), location)
    }

    fn labelled(&self, namespace: &str, kind: StoreKind, query: &LabelQuery) -> BTreeSet<String> {
        self.0.labelled(namespace, kind, query)
    }

    fn serves_unclassified(&self) -> bool {
        self.0.serves_unclassified()
    }
}

fn absence(refusal: &StoreRefusal) -> Absence {
    match refusal {
        StoreRefusal::NotFound { .. } => Absence::Missing,
        StoreRefusal::OtherController { .. } => Absence::OtherController,
        StoreRefusal::NotAllowed { .. } => Absence::NotPermitted,
        StoreRefusal::Unsupported { .. } | StoreRefusal::Invalid { .. } | StoreRefusal::Failed(_) => Absence::Unusable,
    }
}
