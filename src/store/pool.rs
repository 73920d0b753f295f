//! One client per store identity, shared by all who use it, and its session's end.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::announcements::Announcements;
use super::connection::{self, CaSource, Connection};
use super::credentials::ClusterCredential;
use super::observer::RequestObserver;
use super::readers::Readers;
use super::renewal::{self, Certificates};
use super::vault::connect::{self, ConnectError};
use super::vault::transport::{Lagging, Redirects, Settings, Transport};
use super::vault::{ClientSettings, VaultClient};
use super::{Identity, StoreClient, StoreName, StoreObject, StoreRefusal};
use crate::cluster::Cluster;

/// After its store changed, a session serves the requests under way for this long before it is revoked.
const GRACE: Duration = Duration::from_secs(20);
/// At shutdown, all revocations together may take this long.
const FAREWELL: Duration = Duration::from_secs(5);

/// The clients of all stores.
pub struct Pool {
    pub(super) cluster: Cluster,
    /// Requests a second that one client may send on average.
    rate: NonZeroU32,
    observer: Arc<dyn RequestObserver>,
    pub(super) announcements: Arc<Announcements>,
    pub(super) clients: Mutex<HashMap<ClientKey, Arc<OnceCell<Made>>>>,
    /// Clients of namespaces' own stores that were deleted, until their sessions end.
    departing: Mutex<HashMap<StoreName, Arc<VaultClient>>>,
    pub(super) readers: Readers<ClientKey>,
    /// Connections by address, CA and client certificate (as a digest), so that the namespaces of one store share them.
    connections: Mutex<HashMap<[u8; 32], connect::HttpClient>>,
    closing: CancellationToken,
    farewells: TaskTracker,
}

/// Which client: another generation of a store, or another object of its name, has clients of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    pub store: StoreName,
    uid: String,
    generation: i64,
    /// Where the credential is read in the consumer's namespace.
    consumer: Option<String>,
}

/// A client with what it was made from.
#[derive(Clone)]
pub struct Made {
    pub client: Arc<VaultClient>,
    pub connection: Arc<Connection>,
    pub credential: Arc<ClusterCredential>,
    /// Of the CA and client certificate it was made with.
    pub certificates: [u8; 32],
}

impl Pool {
    /// No clients yet.
    pub fn new(
        cluster: Cluster,
        rate: NonZeroU32,
        observer: Arc<dyn RequestObserver>,
        announcements: Arc<Announcements>,
    ) -> Arc<Self> {
        Arc::new(Pool {
            cluster,
            rate,
            observer,
            announcements,
            clients: Mutex::default(),
            departing: Mutex::default(),
            readers: Readers::default(),
            connections: Mutex::default(),
            closing: CancellationToken::new(),
            farewells: TaskTracker::new(),
        })
    }

    /// The client of a store for a resource of `namespace`, made when it is first asked for.
    pub async fn made(&self, namespace: &str, store: &StoreName, object: &StoreObject) -> Result<Made, StoreRefusal> {
        let connection = connection::parse(store, object.spec(), namespace)?;
        let key = ClientKey {
            store: store.clone(),
            uid: object.uid().to_owned(),
            generation: object.generation(),
            consumer: connection.referent.then(|| namespace.to_owned()),
        };
        connection.secrets().for_each(|secret| self.readers.add(secret, &key));
        let cell = self
            .clients
            .lock()
            .expect("no code panics while it holds the clients")
            .entry(key.clone())
            .or_default()
            .clone();
        cell.get_or_try_init(|| self.make(&key, connection)).await.cloned()
    }

    /// The client of a namespace's own store that was deleted a moment ago, as long as its session lives: a namespace that is deleted
    /// takes its stores along before what was pushed through them can be removed. Only clean-ups may use it.
    pub fn departing(&self, store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        let departing = self.departing.lock().expect("no code panics while it holds the departing");
        departing.get(store).map(|client| client.clone() as Arc<dyn StoreClient>)
    }

    /// Keeps the client of a store until [`Pool::retire`] ends its session. Whoever deletes a store of all namespaces takes it from
    /// them at once.
    pub fn see_off(self: &Arc<Self>, name: &StoreName) {
        let clients = self.clients.lock().expect("no code panics while it holds the clients");
        let made = clients.iter().find_map(|(key, cell)| cell.get().filter(|_| key.store == *name).cloned());
        drop(clients);
        let (Some(made), Some(_)) = (made, &name.namespace) else { return };
        self.departing
            .lock()
            .expect("no code panics while it holds the departing")
            .insert(name.clone(), made.client.clone());
        let (pool, name) = (self.clone(), name.clone());
        self.farewells.spawn(async move {
            let _ = tokio::time::timeout(GRACE, pool.closing.cancelled()).await;
            let mut departing = pool.departing.lock().expect("no code panics while it holds the departing");
            // A store of that name may have come and gone again meanwhile.
            if departing.get(&name).is_some_and(|client| Arc::ptr_eq(client, &made.client)) {
                departing.remove(&name);
            }
        });
    }

    /// Drops clients, and revokes their sessions once the requests under way had time to end.
    pub fn retire(&self, goes: impl Fn(&ClientKey) -> bool) {
        let mut retired = Vec::new();
        self.clients.lock().expect("no code panics while it holds the clients").retain(|key, cell| {
            let keep = !goes(key);
            if !keep {
                retired.extend(cell.get().cloned());
            }
            keep
        });
        self.readers.remove(&goes);
        let mut connections = self.connections.lock().expect("no code panics while it holds the connections");
        for made in retired {
            // Another store may share them: it keeps its own handle.
            connections.remove(&made.certificates);
            let closing = self.closing.clone();
            self.farewells.spawn(async move {
                let _ = tokio::time::timeout(GRACE, closing.cancelled()).await;
                made.client.close().await;
            });
        }
    }

    /// Revokes every session. Clients that are still held can do nothing afterwards.
    pub async fn shutdown(&self) {
        self.closing.cancel();
        let clients: Vec<_> = self.clients.lock().expect("no code panics while it holds the clients").drain().collect();
        for made in clients.into_iter().filter_map(|(_, cell)| cell.get().cloned()) {
            self.farewells.spawn(async move { made.client.close().await });
        }
        self.farewells.close();
        // What cannot be revoked in time expires.
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
            store: format!("{}/{}", key.store.kind, key.store.name),
            observer: self.observer.clone(),
            recovered: self.announcements.when_changed(&key.store),
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
            },
        );
        Ok(Made { client: Arc::new(client), connection: Arc::new(connection), credential, certificates })
    }

    fn http(&self, digest: [u8; 32], found: &Certificates) -> Result<connect::HttpClient, ConnectError> {
        let mut connections = self.connections.lock().expect("no code panics while it holds the connections");
        if let Some(shared) = connections.get(&digest) {
            return Ok(shared.clone());
        }
        let ca = found.ca.as_ref().map(|(name, pem)| (name.as_str(), pem.as_slice()));
        let client = connect::client(ca, found.client.as_ref())?;
        connections.insert(digest, client.clone());
        Ok(client)
    }
}
