//! Sessions with where stores led before they were edited, kept for a while so that what was pushed
//! there can be removed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::pool::Pool;
use super::vault::VaultClient;
use super::{StoreClient, StoreName};
use crate::api::store_location::StoreLocation;

/// How long a session is kept after its store was edited to lead elsewhere. In this time, all
/// PushSecrets of the store write to the new location and remove what is at the former one. An
/// administrator who shuts a server out waits no longer than this.
pub(super) const LINGER: Duration = Duration::from_secs(5 * 60);

/// The clients of such stores.
#[derive(Default)]
pub struct Former(Mutex<HashMap<StoreName, Vec<Left>>>);

struct Left {
    /// The namespace whose credential it has, where each has one of its own.
    consumer: Option<String>,
    client: Arc<VaultClient>,
}

impl Former {
    /// Whether it keeps this client, and ends its session.
    pub fn keeps(&self, client: &Arc<VaultClient>) -> bool {
        self.lock().values().flatten().any(|left| Arc::ptr_eq(&left.client, client))
    }

    fn let_go(&self, store: &StoreName, client: &Arc<VaultClient>) {
        let mut all = self.lock();
        if let Some(left) = all.get_mut(store) {
            left.retain(|left| !Arc::ptr_eq(&left.client, client));
        }
        all.retain(|_, left| !left.is_empty());
    }

    fn find(&self, consumer: &str, store: &StoreName, location: &StoreLocation) -> Option<Arc<VaultClient>> {
        let all = self.lock();
        let mut left = all.get(store)?.iter().rev();
        let is_meant = |left: &&Left| {
            left.consumer.as_deref().is_none_or(|own| own == consumer) && left.client.location().is_spelled_as(location)
        };
        left.find(is_meant).map(|left| left.client.clone())
    }

    /// Whether a client of this store is kept.
    #[cfg(test)]
    pub fn has(&self, store: &StoreName) -> bool {
        self.lock().contains_key(store)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StoreName, Vec<Left>>> {
        self.0.lock()
    }
}

impl Pool {
    /// Keeps the sessions of a store that was edited to lead elsewhere. They log in no more: its
    /// credential belongs to where it leads now. Goes before [`Pool::retire_soon`].
    pub fn see_off_edited(self: &Arc<Self>, store: &StoreName) {
        for (consumer, client) in self.clients_of(store).into_iter().filter(|(_, client)| client.seal()) {
            let left = Left { consumer, client: client.clone() };
            self.former.lock().entry(store.clone()).or_default().push(left);
            let (pool, store) = (self.clone(), store.clone());
            self.farewells.spawn(async move {
                let _ = tokio::time::timeout(LINGER, pool.closing.cancelled()).await;
                pool.former.let_go(&store, &client);
                client.close().await;
            });
        }
    }

    /// Ends the sessions that [`Pool::see_off_edited`] kept: the store is gone.
    pub fn forget_former(self: &Arc<Self>, store: &StoreName) {
        let left = self.former.lock().remove(store).unwrap_or_default();
        self.farewells.spawn(async move {
            for left in left {
                left.client.close().await;
            }
        });
    }

    /// The client with which a store led there before it was edited, as long as its session lives.
    /// Only clean-ups may use it.
    pub fn former(&self, consumer: &str, store: &StoreName, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        self.former.find(consumer, store, location).map(|client| client as Arc<dyn StoreClient>)
    }
}
