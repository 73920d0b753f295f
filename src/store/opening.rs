//! Stores for unit tests that only open them: each by a function, and none is edited or deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::{StoreClient, StoreName, StoreRefusal, Stores};
use crate::api::StoreKind;
use crate::api::store_location::StoreLocation;
use crate::cluster::ClusterError;
use crate::domain::label_query::LabelQuery;

/// What opening a store gives.
pub type Opened = Result<Arc<dyn StoreClient>, StoreRefusal>;

type Open = dyn Fn(&str, &StoreName) -> Opened + Send + Sync;

/// Opens a store for a resource of a namespace.
pub struct Opening(Box<Open>);

impl Opening {
    /// Stores that this function opens.
    pub fn by(open: impl Fn(&str, &StoreName) -> Opened + Send + Sync + 'static) -> Self {
        Opening(Box::new(open))
    }
}

#[async_trait]
impl Stores for Opening {
    async fn client(&self, namespace: &str, store: &StoreName) -> Opened {
        (self.0)(namespace, store)
    }

    async fn still_leads_to(&self, _store: &StoreName, _location: &StoreLocation) -> Result<bool, ClusterError> {
        Ok(true)
    }

    async fn is_labelled_as_shown(&self, _store: &StoreName) -> Result<bool, ClusterError> {
        Ok(true)
    }

    fn departing(&self, _store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        None
    }

    fn former(&self, _namespace: &str, _store: &StoreName, _location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        None
    }

    fn labelled(&self, _namespace: &str, _kind: StoreKind, _query: &LabelQuery) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn serves_unclassified(&self) -> bool {
        true
    }
}
