//! One client per store identity, shared by all who use it, and the end of its session.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::announcements::Announcements;
use super::connection::{self, CaSource, Connection};
use super::credentials::ClusterCredential;
use super::former::Former;
use super::meter::{Meters, RequestMeter, StoreMeter};
use super::pace::Pace;
use super::readers::Readers;
use super::renewal::{self, Certificates};
use super::vault::answers::Answers;
use super::vault::connect::{self, ConnectError};
use super::vault::transport::{Lagging, Redirects, Settings, Transport};
use super::vault::{ClientSettings, VaultClient};
use super::{Identity, StoreClient, StoreName, StoreObject, StoreRefusal};
use crate::cluster::Cluster;

#[cfg(test)]
mod tests;

/// How long a session still serves the requests in flight after its store changed, before it is
/// revoked.
const GRACE: Duration = Duration::from_secs(20);
/// A client that is unused for this long is closed. It is longer than the usual refresh interval,
/// so that a resource that is refreshed once an hour logs in once.
pub const IDLE: Duration = Duration::from_secs(75 * 60);
/// How often unused clients are looked for.
pub const SWEEP: Duration = Duration::from_secs(60);
/// How long all revocations together may take at shutdown.
const FAREWELL: Duration = Duration::from_secs(5);

/// The clients of all stores.
pub struct Pool {
    pub(super) cluster: Cluster,
    /// Requests a second that one client may send on average.
    rate: NonZeroU32,
    meters: Meters,
    pub(super) announcements: Arc<Announcements>,
    clients: Cache<ClientKey, Made>,
    answers: Answers,
    gauges: Mutex<HashMap<StoreName, Gauges>>,
    /// Clients of deleted SecretStores, until their sessions end.
    departing: Mutex<HashMap<StoreName, Arc<VaultClient>>>,
    pub(super) former: Arc<Former>,
    pub(super) readers: Arc<Readers<ClientKey>>,
    /// Connections by address, CA and client certificate (as a digest), so that the namespaces of
    /// one store share them.
    connections: Connections,
    pub(super) closing: CancellationToken,
    pub(super) farewells: TaskTracker,
}

/// The key of a client. Another generation of a store, or another object with its name, has its own
/// clients.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    pub store: StoreName,
    uid: String,
    generation: i64,
    /// The consumer's namespace, if the credential is read there.
    consumer: Option<String>,
}

/// A client, and what it was made from.
#[derive(Clone)]
pub struct Made {
    pub client: Arc<VaultClient>,
    pub origin: Origin,
}

/// What the clients of one store share: how promptly it answers, and who counts its requests.
#[derive(Clone)]
struct Gauges {
    pace: Arc<Pace>,
    meter: Arc<StoreMeter>,
}

/// What a client was made from.
#[derive(Clone)]
pub struct Origin {
    pub connection: Arc<Connection>,
    pub credential: Arc<ClusterCredential>,
    /// The digest of its CA and client certificate.
    pub certificates: [u8; 32],
}

impl Pool {
    /// No clients yet.
    pub fn new(
        cluster: Cluster,
        rate: NonZeroU32,
        meter: Arc<dyn RequestMeter>,
        announcements: Arc<Announcements>,
        idle: Duration,
    ) -> Arc<Self> {
        let (readers, connections) = (Arc::<Readers<ClientKey>>::default(), Connections::default());
        let (closing, farewells) = (CancellationToken::new(), TaskTracker::new());
        let former = Arc::<Former>::default();
        let end = End {
            former: former.clone(),
            readers: readers.clone(),
            connections: connections.clone(),
            closing: closing.clone(),
            farewells: farewells.clone(),
        };
        Arc::new(Pool {
            cluster,
            rate,
            meters: Meters::new(meter),
            announcements,
            clients: Cache::builder()
                .time_to_idle(idle)
                .eviction_listener(move |key: Arc<ClientKey>, made: Made, _cause| end.of(&key, made))
                .build(),
            answers: Answers::default(),
            gauges: Mutex::default(),
            departing: Mutex::default(),
            former,
            readers,
            connections,
            closing,
            farewells,
        })
    }

    /// The client of a store for a resource in `namespace`, created on first use.
    pub async fn made(&self, namespace: &str, store: &StoreName, object: &StoreObject) -> Result<Made, StoreRefusal> {
        let connection = connection::parse(store, object.spec(), namespace)?;
        let key = ClientKey {
            store: store.clone(),
            uid: object.uid().to_owned(),
            generation: object.generation(),
            consumer: connection.referent.then(|| namespace.to_owned()),
        };
        connection.read_from().for_each(|(kind, object)| self.readers.add(kind, object, &key));
        let made = self.clients.try_get_with(key.clone(), self.make(&key, connection)).await;
        made.map_err(Arc::unwrap_or_clone)
    }

    /// The client of a SecretStore that was just deleted, as long as its session lives. A deleted
    /// namespace deletes its stores before what was pushed through them can be removed. Only
    /// clean-ups may use it.
    pub fn departing(&self, store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        let departing = self.departing.lock();
        departing.get(store).map(|client| client.clone() as Arc<dyn StoreClient>)
    }

    /// Keeps the client of a deleted SecretStore until [`Pool::retire`] ends its session. Deleting
    /// a ClusterSecretStore revokes access immediately.
    pub fn see_off(self: &Arc<Self>, name: &StoreName) {
        let made = self.clients.iter().find_map(|(key, made)| (key.store == *name).then_some(made));
        let (Some(made), Some(_)) = (made, &name.namespace) else { return };
        self.departing.lock().insert(name.clone(), made.client.clone());
        let (pool, name) = (self.clone(), name.clone());
        self.farewells.spawn(async move {
            let _ = tokio::time::timeout(GRACE, pool.closing.cancelled()).await;
            let mut departing = pool.departing.lock();
            // A store of that name may have been created and deleted again meanwhile.
            if departing.get(&name).is_some_and(|client| Arc::ptr_eq(client, &made.client)) {
                departing.remove(&name);
            }
        });
    }

    /// The clients of a store that are made, each with the namespace whose credential it has, where
    /// that is its own.
    pub(super) fn clients_of(&self, store: &StoreName) -> Vec<(Option<String>, Arc<VaultClient>)> {
        let of_store = self.clients.iter().filter(|(key, _)| key.store == *store);
        of_store.map(|(key, made)| (key.consumer.clone(), made.client)).collect()
    }

    /// The client of this key, if it exists.
    pub async fn present(&self, key: &ClientKey) -> Option<Made> {
        self.clients.get(key).await
    }

    /// What the clients of a store were made from. Looking is no use of a client, or those that
    /// nobody uses would never be closed.
    pub(super) fn origins(&self, store: &StoreName) -> Vec<(ClientKey, Origin)> {
        let of_store = self.clients.iter().filter(|(key, _)| key.store == *store);
        of_store.map(|(key, made)| ((*key).clone(), made.origin)).collect()
    }

    /// Drops clients, and revokes their sessions once the requests in flight had time to end.
    pub async fn retire(&self, goes: impl Fn(&ClientKey) -> bool) {
        // A client that could not be created leaves only this.
        self.readers.remove(&goes);
        for key in self.keys(goes) {
            self.clients.invalidate(&key).await;
        }
    }

    /// The same in the background.
    pub fn retire_soon(self: &Arc<Self>, goes: impl Fn(&ClientKey) -> bool) {
        self.readers.remove(&goes);
        let keys = self.keys(goes);
        if !keys.is_empty() {
            let pool = self.clone();
            self.farewells.spawn(async move { pool.retire(|key| keys.contains(key)).await });
        }
    }

    /// Whether the store is slow.
    pub fn is_slow(&self, store: &StoreName) -> bool {
        self.gauges().get(store).is_some_and(|gauges| gauges.pace.is_slow())
    }

    /// Call this when the store is deleted. Its clients still have them.
    pub fn forget_gauges(&self, store: &StoreName) {
        self.gauges().remove(store);
    }

    fn gauges_of(&self, store: &StoreName) -> Gauges {
        let new = || Gauges { pace: Arc::default(), meter: self.meters.of(&format!("{}/{}", store.kind, store.name)) };
        self.gauges().entry(store.clone()).or_insert_with(new).clone()
    }

    fn gauges(&self) -> MutexGuard<'_, HashMap<StoreName, Gauges>> {
        self.gauges.lock()
    }

    fn keys(&self, goes: impl Fn(&ClientKey) -> bool) -> Vec<ClientKey> {
        self.clients.iter().filter(|(key, _)| goes(key)).map(|(key, _)| (*key).clone()).collect()
    }

    /// Closes clients that nobody used or held for a while: mainly those of deleted namespaces.
    pub async fn sweep(&self) {
        for (key, made) in &self.clients {
            // One is the pool's, one is ours.
            if Arc::strong_count(&made.client) > 2 {
                self.clients.get(&*key).await;
            }
        }
        self.clients.run_pending_tasks().await;
    }

    /// Revokes every session. Clients that are still held cannot be used afterwards.
    pub async fn shutdown(&self) {
        self.closing.cancel();
        self.retire(|_| true).await;
        self.farewells.close();
        // A token that is not revoked in time expires.
        let _ = tokio::time::timeout(FAREWELL, self.farewells.wait()).await;
    }

    async fn make(&self, key: &ClientKey, connection: Connection) -> Result<Made, StoreRefusal> {
        let invalid = |error: ConnectError| StoreRefusal::Invalid { store: key.store.clone(), what: error.to_string() };
        let address = connect::address(&connection.server).map_err(invalid)?;
        let headers = connect::headers(&connection.headers.0).map_err(invalid)?;
        let namespace = connect::namespace(connection.namespace.as_deref()).map_err(invalid)?;
        let login_namespace = connect::namespace(connection.login_namespace.as_deref()).map_err(invalid)?;
        let found = renewal::certificates(&self.cluster, &connection).await.map_err(StoreRefusal::Failed)?;
        let certificates = found.digest(&connection.server);
        let http = self.http(certificates, &found).map_err(invalid)?;
        let Gauges { pace, meter } = self.gauges_of(&key.store);
        let transport = Transport::new(Settings {
            http,
            address,
            redirects: match connection.ca {
                CaSource::System => Redirects::SameOrigin,
                CaSource::Bundle(_) | CaSource::Secret(_) | CaSource::ConfigMap(_) => Redirects::PinnedCa,
            },
            headers,
            lagging: match connection.forward_inconsistent {
                true => Lagging::Forward,
                false => Lagging::Refuse,
            },
            rate: self.rate,
            pace,
            meter,
            recovered: self.announcements.when_recovered(&key.store),
            troubled: self.announcements.when_troubled(&key.store),
        });
        let consumer = key.consumer.as_deref().unwrap_or_default();
        let identity = format!("{}#{}@{} {consumer}", key.store, key.uid, key.generation);
        let credential = Arc::new(ClusterCredential::new(self.cluster.clone(), connection.auth.clone()));
        let client = VaultClient::new(
            transport,
            ClientSettings {
                identity: Identity(identity.into()),
                mount: connection.mount.clone(),
                namespace,
                login_namespace,
                source: credential.clone(),
                answers: self.answers.clone(),
            },
        );
        let origin = Origin { connection: Arc::new(connection), credential, certificates };
        Ok(Made { client: Arc::new(client), origin })
    }

    fn http(&self, digest: [u8; 32], found: &Certificates) -> Result<connect::HttpClient, ConnectError> {
        let mut connections = self.connections.lock();
        if let Some(shared) = connections.get(&digest) {
            return Ok(shared.clone());
        }
        let ca = found.ca.as_ref().map(|(name, pem)| (name.as_str(), pem.as_slice()));
        let client = connect::client(ca, found.client.as_ref())?;
        connections.insert(digest, client.clone());
        Ok(client)
    }
}

impl ClientKey {
    /// Whether it is a client of this object at this generation.
    pub fn is_of(&self, object: &StoreObject) -> bool {
        self.uid == object.uid() && self.generation == object.generation()
    }
}

/// Connections, by the digest of what they were made with.
type Connections = Arc<Mutex<HashMap<[u8; 32], connect::HttpClient>>>;

/// What happens when a client leaves the pool.
struct End {
    former: Arc<Former>,
    readers: Arc<Readers<ClientKey>>,
    connections: Connections,
    closing: CancellationToken,
    farewells: TaskTracker,
}

impl End {
    fn of(&self, key: &ClientKey, made: Made) {
        self.readers.remove(|client| client == key);
        // Another store may share them; it keeps its own handle.
        self.connections.lock().remove(&made.origin.certificates);
        if self.former.keeps(&made.client) {
            return;
        }
        let closing = self.closing.clone();
        self.farewells.spawn(async move {
            // Gives requests in flight time to end.
            let _ = tokio::time::timeout(GRACE, closing.cancelled()).await;
            made.client.close().await;
        });
    }
}

#[cfg(test)]
impl Pool {
    /// What is kept of a store, in words.
    pub fn kept_of(&self, store: &StoreName) -> Vec<&'static str> {
        let Pool {
            clients,
            gauges,
            departing,
            readers,
            former,
            cluster: _,
            rate: _,
            meters: _,
            announcements: _,
            answers: _,
            connections: _,
            closing: _,
            farewells: _,
        } = self;
        let kept = [
            ("a client", clients.iter().any(|(key, _)| key.store == *store)),
            ("its gauges", gauges.lock().contains_key(store)),
            ("its session", departing.lock().contains_key(store)),
            ("what it reads", readers.any(|key| key.store == *store)),
            ("former sessions", former.has(store)),
        ];
        kept.into_iter().filter(|(_, is_kept)| *is_kept).map(|(what, _)| what).collect()
    }
}
