//! One authenticated client per store identity, made when first used and kept for all who share the identity.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admit::{self, Admission, Class, ConditionError};
use super::connection::{self, CaSource, Connection};
use super::credentials::{self, ClusterCredential, Currency};
use super::observer::RequestObserver;
use super::readers::Readers;
use super::vault::connect::{self, ClientCertificate, ConnectError};
use super::vault::transport::{Lagging, Redirects, Settings, Transport};
use super::vault::{ClientSettings, VaultClient};
use super::{Identity, StoreClient, StoreError, StoreName, StoreObject, StoreRefusal};
use crate::api::StoreKind;
use crate::api::names::ANNOTATION_ALLOW_MASS_DELETION;
use crate::cluster::Cluster;
use crate::domain::label_query::LabelQuery;

/// Changes that nobody has taken yet; who falls behind by more must take all stores for changed.
const CHANGES: usize = 1024;
/// After its store changed, a session serves the requests under way for this long before it is revoked.
const GRACE: Duration = Duration::from_secs(20);
/// A store that fails is checked no oftener than this for it.
const TROUBLE_PAUSE: Duration = Duration::from_secs(10);
/// At shutdown, all revocations together may take this long.
const FAREWELL: Duration = Duration::from_secs(5);

/// What of the configuration concerns stores.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// Which stores are ours.
    pub class: Class,
    /// Requests a second that one client may send on average.
    pub rate: NonZeroU32,
}

/// How many of the stores that a resource names are another controller's, or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// None of them.
    None,
    /// Some, and others are ours.
    Some,
    /// All of them.
    All,
}

/// All stores and the clients made from them.
pub struct Registry {
    cluster: Cluster,
    settings: RegistrySettings,
    observer: Arc<dyn RequestObserver>,
    stores: RwLock<HashMap<StoreName, StoreObject>>,
    clients: Mutex<HashMap<ClientKey, Arc<OnceCell<Made>>>>,
    /// Clients of namespaces' own stores that were deleted, until their sessions end.
    departing: Mutex<HashMap<StoreName, Arc<VaultClient>>>,
    readers: Readers<ClientKey>,
    /// Connections by address, CA and client certificate (as a digest), so that the namespaces of one store share them.
    connections: Mutex<HashMap<[u8; 32], connect::HttpClient>>,
    changes: broadcast::Sender<StoreName>,
    troubles: broadcast::Sender<StoreName>,
    closing: CancellationToken,
    farewells: TaskTracker,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    store: StoreName,
    uid: String,
    generation: i64,
    /// Where the credential is read in the consumer's namespace.
    consumer: Option<String>,
}

#[derive(Clone)]
struct Made {
    client: Arc<VaultClient>,
    connection: Arc<Connection>,
    credential: Arc<ClusterCredential>,
    /// Of the CA and client certificate it was made with.
    certificates: [u8; 32],
}

impl Registry {
    /// An empty registry; the store watches feed it.
    pub fn new(cluster: Cluster, settings: RegistrySettings, observer: Arc<dyn RequestObserver>) -> Arc<Self> {
        Arc::new(Registry {
            cluster,
            settings,
            observer,
            stores: RwLock::default(),
            clients: Mutex::default(),
            departing: Mutex::default(),
            readers: Readers::default(),
            connections: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES),
            troubles: broadcast::Sender::new(CHANGES),
            closing: CancellationToken::new(),
            farewells: TaskTracker::new(),
        })
    }

    /// Takes a store over from the watch. Only a new generation (or another object of that name) makes its clients anew; an
    /// allowance of deletions is told to those who wait for it, and other labels to those who select by them.
    pub fn upsert(&self, name: StoreName, object: StoreObject) {
        let old = {
            let mut stores = self.stores.write().expect("no code panics while it holds the stores");
            stores.insert(name.clone(), object.clone())
        };
        let version = |store: &StoreObject| (store.uid().to_owned(), store.generation());
        let allowance = |store: &StoreObject| store.annotation(ANNOTATION_ALLOW_MASS_DELETION).map(str::to_owned);
        let same_version = old.as_ref().is_some_and(|old| version(old) == version(&object));
        if !same_version {
            self.retire(|key| key.store == name);
        }
        let labels_differ = old.as_ref().is_some_and(|old| old.labels() != object.labels());
        if !same_version || labels_differ || old.as_ref().and_then(allowance) != allowance(&object) {
            self.announce(&name);
        }
    }

    /// Forgets a store that was deleted.
    pub fn remove(self: &Arc<Self>, name: &StoreName) {
        let known = self.stores.write().expect("no code panics while it holds the stores").remove(name).is_some();
        if known {
            self.see_off(name);
            self.retire(|key| key.store == *name);
            self.announce(name);
        }
    }

    /// The client of a namespace's own store that was deleted a moment ago, as long as its session lives: a namespace that is deleted
    /// takes its stores along before what was pushed through them can be removed. Only clean-ups may use it.
    pub fn departing(&self, store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        let departing = self.departing.lock().expect("no code panics while it holds the departing");
        departing.get(store).map(|client| client.clone() as Arc<dyn StoreClient>)
    }

    /// Keeps the client of a store until [`Self::retire`] ends its session. Whoever deletes a store of all namespaces takes it from
    /// them at once.
    fn see_off(self: &Arc<Self>, name: &StoreName) {
        let clients = self.clients.lock().expect("no code panics while it holds the clients");
        let made = clients.iter().find_map(|(key, cell)| cell.get().filter(|_| key.store == *name).cloned());
        drop(clients);
        let (Some(made), Some(_)) = (made, &name.namespace) else { return };
        self.departing
            .lock()
            .expect("no code panics while it holds the departing")
            .insert(name.clone(), made.client.clone());
        let (registry, name) = (self.clone(), name.clone());
        self.farewells.spawn(async move {
            let _ = tokio::time::timeout(GRACE, registry.closing.cancelled()).await;
            let mut departing = registry.departing.lock().expect("no code panics while it holds the departing");
            // A store of that name may have come and gone again meanwhile.
            if departing.get(&name).is_some_and(|client| Arc::ptr_eq(client, &made.client)) {
                departing.remove(&name);
            }
        });
    }

    /// The store as last seen by the watch.
    pub fn store(&self, name: &StoreName) -> Option<StoreObject> {
        self.stores.read().expect("no code panics while it holds the stores").get(name).cloned()
    }

    /// The names of the stores of a kind, of this namespace where the kind has one, that have these labels.
    pub fn labelled(&self, namespace: &str, kind: StoreKind, query: &LabelQuery) -> BTreeSet<String> {
        let stores = self.stores.read().expect("no code panics while it holds the stores");
        let meant = stores.iter().filter(|(name, object)| {
            **name == StoreName::referred(namespace, kind, &name.name) && query.matches(object.labels())
        });
        meant.map(|(name, _)| name.name.clone()).collect()
    }

    /// Stores that were created, edited or deleted, that answer again after they failed, or whose certificates changed:
    /// whoever depends on them tries again. A receiver that lagged takes every store for changed.
    pub fn changes(&self) -> broadcast::Receiver<StoreName> {
        self.changes.subscribe()
    }

    /// Stores whose server fails or refuses us: their condition should say so before their next check is due. A receiver
    /// that lagged misses some, which that check makes good.
    pub fn troubles(&self) -> broadcast::Receiver<StoreName> {
        self.troubles.subscribe()
    }

    /// Whether stores that name no controller are ours, and with them whatever names no store.
    pub fn serves_unclassified(&self) -> bool {
        self.settings.class.serves(None)
    }

    /// How many of these stores are another controller's, or may be.
    pub fn foreign(&self, stores: impl IntoIterator<Item = StoreName>) -> Foreign {
        let foreign: Vec<bool> = stores.into_iter().map(|store| self.is_foreign(&store)).collect();
        match (foreign.contains(&true), foreign.contains(&false)) {
            (false, false) if !self.serves_unclassified() => Foreign::All,
            (false, _) => Foreign::None,
            (true, true) => Foreign::Some,
            (true, false) => Foreign::All,
        }
    }

    /// Of a store that does not exist only a controller that serves every class it meets can say that nobody else does.
    fn is_foreign(&self, store: &StoreName) -> bool {
        match self.ours(store) {
            Ok(_) => false,
            Err(StoreRefusal::NotFound { .. }) => !self.serves_unclassified(),
            Err(_) => true,
        }
    }

    /// Wakes whoever depends on the store, which can be used again.
    pub fn recovered(&self, name: &StoreName) {
        self.announce(name);
    }

    /// The client with which a resource of `namespace` uses this store. Logs in only when the client is used.
    pub async fn client(
        self: &Arc<Self>,
        namespace: &str,
        store: &StoreName,
    ) -> Result<Arc<dyn StoreClient>, StoreRefusal> {
        let object = self.ours(store)?;
        self.admit(namespace, store, &object).await?;
        let made = self.made(namespace, store, &object).await?;
        Ok(made.client)
    }

    /// The store, if it is there and of our class.
    pub fn ours(&self, store: &StoreName) -> Result<StoreObject, StoreRefusal> {
        let object = self.store(store).ok_or_else(|| StoreRefusal::NotFound { store: store.clone() })?;
        let controller = object.spec().controller.clone();
        match self.settings.class.serves(controller.as_deref()) {
            true => Ok(object),
            false => Err(StoreRefusal::OtherController { store: store.clone(), class: controller.unwrap_or_default() }),
        }
    }

    /// Told that a Secret was written or deleted: whoever logs in or connects with what stood there does so anew, and whoever
    /// depends on it tries again. A credential that was rotated is used at once, and the old session ends.
    pub fn secret_moved(self: &Arc<Self>, namespace: &str, name: &str) {
        let readers = self.readers.of(namespace, name);
        if readers.is_empty() {
            return;
        }
        let registry = self.clone();
        tokio::spawn(async move {
            for key in readers {
                registry.renew(&key).await;
            }
        });
    }

    /// The store's own client for its check, with the connection it stands for; made anew when its certificates or its
    /// credential changed.
    /// `None` when the credential is read in each consumer's namespace, so that the store alone has no login.
    pub async fn inspected(
        self: &Arc<Self>,
        store: &StoreName,
    ) -> Result<(Connection, Option<Arc<VaultClient>>), StoreRefusal> {
        let object = self.ours(store)?;
        let home = store.namespace.clone().unwrap_or_default();
        let connection = connection::parse(store, object.spec(), &home)?;
        if connection.referent {
            return Ok((connection, None));
        }
        let mut made = self.made(&home, store, &object).await?;
        if self.currency(&made).await.map_err(StoreRefusal::Failed)? == Currency::Outdated {
            self.retire(|key| key.store == *store);
            self.announce(store);
            made = self.made(&home, store, &object).await?;
        }
        Ok((connection, Some(made.client)))
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

    async fn admit(&self, namespace: &str, store: &StoreName, object: &StoreObject) -> Result<(), StoreRefusal> {
        let StoreObject::Cluster(_) = object else { return Ok(()) };
        let invalid = |error: ConditionError| StoreRefusal::Invalid { store: store.clone(), what: error.to_string() };
        let admission = match admit::by_name(object.spec(), namespace).map_err(invalid)? {
            Admission::ByLabels => {
                let labels =
                    self.cluster.namespace_labels(namespace).await.map_err(|error| {
                        StoreRefusal::Failed(StoreError::CredentialUnread { what: error.to_string() })
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

    async fn made(
        self: &Arc<Self>,
        namespace: &str,
        store: &StoreName,
        object: &StoreObject,
    ) -> Result<Made, StoreRefusal> {
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

    /// Drops a client whose credential or certificates are not what they were, and wakes those who waited for either.
    async fn renew(&self, key: &ClientKey) {
        let cell = self.clients.lock().expect("no code panics while it holds the clients").get(key).cloned();
        let currency = match cell.and_then(|cell| cell.get().cloned()) {
            Some(made) => self.currency(&made).await,
            None => Ok(Currency::Missing),
        };
        match currency {
            Ok(Currency::Current) => {}
            // The API server did not answer: the store's next check looks again.
            Err(StoreError::CredentialUnread { .. }) => {}
            // There is no session to end.
            Ok(Currency::Missing) => self.announce(&key.store),
            Ok(Currency::Outdated) | Err(_) => {
                self.retire(|retired| retired == key);
                self.announce(&key.store);
            }
        }
    }

    async fn currency(&self, made: &Made) -> Result<Currency, StoreError> {
        let (ca, certificate) = self.certificates(&made.connection).await?;
        match digest(&made.connection.server, &ca, &certificate) == made.certificates {
            true => made.credential.currency().await,
            false => Ok(Currency::Outdated),
        }
    }

    async fn make(self: &Arc<Self>, key: &ClientKey, connection: Connection) -> Result<Made, StoreRefusal> {
        let invalid = |error: ConnectError| StoreRefusal::Invalid { store: key.store.clone(), what: error.to_string() };
        let address = connect::address(&connection.server).map_err(invalid)?;
        let headers = connect::headers(&connection.headers.0).map_err(invalid)?;
        let namespace = connect::namespace(connection.namespace.as_deref()).map_err(invalid)?;
        let login_namespace = connect::namespace(connection.login_namespace.as_deref()).map_err(invalid)?;
        let (ca, certificate) = self.certificates(&connection).await.map_err(StoreRefusal::Failed)?;
        let certificates = digest(&connection.server, &ca, &certificate);
        let http = self.http(certificates, &ca, &certificate).map_err(invalid)?;
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
            rate: self.settings.rate,
            store: format!("{}/{}", key.store.kind, key.store.name),
            observer: self.observer.clone(),
            recovered: announcer(&self.changes, &key.store),
            troubled: rarely(announcer(&self.troubles, &key.store)),
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

    async fn certificates(&self, connection: &Connection) -> Result<(Ca, Option<ClientCertificate>), StoreError> {
        let ca = credentials::ca(&self.cluster, &connection.ca).await?;
        let certificate = credentials::client_certificate(&self.cluster, connection).await?;
        Ok((ca, certificate))
    }

    fn http(
        &self,
        digest: [u8; 32],
        ca: &Ca,
        certificate: &Option<ClientCertificate>,
    ) -> Result<connect::HttpClient, ConnectError> {
        let mut connections = self.connections.lock().expect("no code panics while it holds the connections");
        if let Some(shared) = connections.get(&digest) {
            return Ok(shared.clone());
        }
        let ca = ca.as_ref().map(|(name, pem)| (name.as_str(), pem.as_slice()));
        let client = connect::client(ca, certificate.as_ref())?;
        connections.insert(digest, client.clone());
        Ok(client)
    }

    /// Drops clients, and revokes their sessions once the requests under way had time to end.
    fn retire(&self, goes: impl Fn(&ClientKey) -> bool) {
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

    fn announce(&self, name: &StoreName) {
        // Without receivers there is nobody to tell.
        let _ = self.changes.send(name.clone());
    }
}

fn announcer(listeners: &broadcast::Sender<StoreName>, name: &StoreName) -> Arc<dyn Fn() + Send + Sync> {
    let (listeners, name) = (listeners.clone(), name.clone());
    Arc::new(move || {
        let _ = listeners.send(name.clone());
    })
}

/// The same, no oftener than once a [`TROUBLE_PAUSE`].
fn rarely(call: Arc<dyn Fn() + Send + Sync>) -> Arc<dyn Fn() + Send + Sync> {
    let last: Mutex<Option<Instant>> = Mutex::default();
    Arc::new(move || {
        let mut last = last.lock().expect("no code panics while it holds the time");
        if last.is_none_or(|last| last.elapsed() >= TROUBLE_PAUSE) {
            *last = Some(Instant::now());
            call();
        }
    })
}

/// A CA bundle with the name of its source.
type Ca = Option<(String, Vec<u8>)>;

fn digest(server: &str, ca: &Ca, certificate: &Option<ClientCertificate>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let none: &[u8] = &[];
    let parts = [
        server.as_bytes(),
        ca.as_ref().map_or(none, |(_, pem)| pem),
        certificate.as_ref().map_or(none, |pair| pair.certificate.expose()),
        certificate.as_ref().map_or(none, |pair| pair.key.expose()),
    ];
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
