//! The Vault/OpenBao implementation: an authenticated client of one store identity.

pub mod access;
pub mod answers;
mod auth;
mod bucket;
pub mod capabilities;
pub mod connect;
mod custom_metadata;
mod error;
mod folders;
mod guard;
mod inspect;
mod kv;
mod listing;
mod mounts;
mod reply;
mod session;
#[cfg(test)]
mod tests;
pub mod transport;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use self::answers::{Answers, Certainty, Known};
use self::custom_metadata::Counting;
use self::error::Asked;
use self::folders::NoScan;
use self::kv::DataReply;
use self::listing::Scanned;
use self::mounts::Confirmed;
use self::reply::{Data, Health, MountInfo};
use self::session::{Session, Token, Verdict};
use self::transport::{Outgoing, Reply, Transport, largest};
use crate::api::store_location::StoreLocation;
use crate::domain::folder::RemoteFolder;
use crate::domain::path::{Mount, RemotePath};
use crate::domain::remote::{Entry, RemoteData};
use crate::store::auth::LoginSource;
use crate::store::error::Family;
use crate::store::meter::Call;
use crate::store::{
    Detail, Entries, Exchange, Head, Heads, Identity, Metadata, PathKey, StoreClient, StoreError, Written,
};
pub use inspect::{Inspection, Lacking, sample};

/// The largest request that servers accept by default.
const MAX_REQUEST: usize = 32 * 1024 * 1024;
/// A lagging standby must catch up within these pauses, or the request fails.
const STALE_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];
/// How often data is read again that the metadata lists but the read does not find: somebody wrote
/// it in between, or a standby lags.
const MOST_READS: usize = 3;

/// What is wrong with a reply whose names we would keep.
const TOO_LONG: &str = "a name in it is longer than any that a server draws";

/// How to treat an entry without data, if this login may not see its metadata.
#[derive(Clone, Copy)]
enum Unseen {
    /// A reader finds no value.
    IsRead,
    /// A writer cannot see its own or others' claims, and would claim without end.
    IsRefused,
}

/// The settings of a client, besides its transport.
pub struct ClientSettings {
    /// The identity of it.
    pub identity: Identity,
    /// The store's `path`.
    pub mount: Option<String>,
    /// The Vault namespace of the data.
    pub namespace: Option<HeaderValue>,
    /// The Vault namespace of the login.
    pub login_namespace: Option<HeaderValue>,
    /// The origin of its credential.
    pub source: Arc<dyn LoginSource>,
    /// What clients found out about their servers.
    pub answers: Answers,
}

/// An authenticated client of one store identity.
pub struct VaultClient {
    identity: Identity,
    mount: Option<String>,
    namespace: Option<HeaderValue>,
    transport: Arc<Transport>,
    session: Arc<Session>,
    known: Known,
    counting: Counting,
    no_scan: NoScan,
}

impl VaultClient {
    /// A client that connects and logs in on first use.
    pub fn new(transport: Arc<Transport>, settings: ClientSettings) -> Self {
        let ClientSettings { identity, mount, namespace, login_namespace, source, answers } = settings;
        let session = Arc::new(Session::new(transport.clone(), source, login_namespace));
        VaultClient {
            identity,
            mount,
            namespace,
            transport,
            session,
            known: Known::new(answers),
            counting: Counting::default(),
            no_scan: NoScan::default(),
        }
    }

    /// Revokes the session for good.
    pub async fn close(&self) {
        self.session.close().await;
    }

    /// Logs in no more, and says whether there is a session that can be used. For a store that does
    /// not lead here any more: its credential may have changed with it, and is not this server's.
    pub fn seal(&self) -> bool {
        self.session.seal()
    }

    /// Sends a request with our token. After a 403, looks the token up once: if it is gone, logs in
    /// and tries again.
    async fn authed(&self, mut request: Outgoing) -> Result<Reply, StoreError> {
        request.namespace = self.namespace.clone();
        let token = self.session.token().await?;
        let sent = Instant::now();
        let reply = self.caught_up(&mut request, &token).await?;
        if reply.status != StatusCode::FORBIDDEN || self.session.question(&token, sent).await? == Verdict::Policy {
            return Ok(reply);
        }
        let token = self.session.token().await?;
        let reply = self.caught_up(&mut request, &token).await?;
        if reply.status == StatusCode::FORBIDDEN {
            self.session.forbidden_when_fresh().await;
        }
        Ok(reply)
    }

    /// Gives a standby that lags behind our own writes time to catch up.
    async fn caught_up(&self, request: &mut Outgoing, token: &Arc<Token>) -> Result<Reply, StoreError> {
        request.token = token.header().cloned();
        for pause in STALE_PAUSES {
            let reply = self.transport.send(request).await?;
            if reply.status != StatusCode::PRECONDITION_FAILED {
                return Ok(reply);
            }
            tokio::time::sleep(pause).await;
        }
        self.transport.send(request).await
    }

    async fn confirm(&self, mount: &Mount, certainty: Certainty) -> Result<Confirmed, StoreError> {
        self.known.mount(mount, certainty, || self.ask_mount(mount)).await
    }

    async fn ask_mount(&self, mount: &Mount) -> Result<MountInfo, StoreError> {
        let path = format!("sys/internal/ui/mounts/{mount}");
        let reply = self.authed(plain(Call::MountInfo, Method::GET, path.clone())).await?;
        match reply.status {
            status if status.is_success() => {}
            _ => {
                return Err(match self.judge(&reply, "ask about the mount at", &path, mount, 0) {
                    // The server does not distinguish a missing mount from one where this login has
                    // no rights.
                    StoreError::Forbidden { .. } => StoreError::MountMissing { mount: mount.to_string() },
                    error => error,
                });
            }
        }
        let bad = |what| StoreError::BadReply { operation: "ask about the mount at", path, what };
        match reply::parse::<Data<MountInfo>>(&reply.body) {
            None => Err(bad("it does not describe a mount")),
            Some(Data { data }) if data.is_short() => Ok(data),
            Some(_) => Err(bad(TOO_LONG)),
        }
    }

    /// Sends a request that must succeed.
    async fn demand(&self, request: Outgoing, operation: &'static str, path: &RemotePath) -> Result<Reply, StoreError> {
        let bytes = request.body.as_ref().map_or(0, transport::Payload::len);
        let url = request.path.clone();
        if bytes > MAX_REQUEST {
            return Err(StoreError::TooLarge { path: url, bytes });
        }
        let reply = self.authed(request).await?;
        match reply.status.is_success() {
            true => Ok(reply),
            false => Err(self.judge(&reply, operation, &url, &path.mount, bytes)),
        }
    }

    fn judge(&self, reply: &Reply, operation: &'static str, path: &str, mount: &Mount, bytes: usize) -> StoreError {
        let asked = Asked { operation, path, mount: mount.as_str(), namespace: self.namespace(), bytes };
        match error::judge(reply, self.transport.server(), asked) {
            forbidden @ StoreError::Forbidden { .. } => self.session.doubt().unwrap_or(forbidden),
            other => other,
        }
    }

    fn namespace(&self) -> &str {
        self.namespace.as_ref().and_then(|namespace| namespace.to_str().ok()).unwrap_or_default()
    }

    /// The server's cluster id, or its address and namespace if it has none.
    async fn server_id(&self) -> Result<Arc<str>, StoreError> {
        self.known.server(self.ask_server()).await
    }

    async fn ask_server(&self) -> Result<Arc<str>, StoreError> {
        let reply = self.transport.health_counted().await?;
        let health = self.health_of(&reply)?;
        if let Err(error) = self.check_health(&reply, health.as_ref()) {
            if error.family() == Family::Failed {
                self.transport.count_failure(error.clone());
            }
            return Err(error);
        }
        let spelled = || format!("{} {}", self.transport.server(), self.namespace());
        Ok(health.and_then(|health| health.cluster_id).unwrap_or_else(spelled).into())
    }

    /// What a server says of its health; a proxy says nothing of it.
    fn health_of(&self, reply: &Reply) -> Result<Option<Health>, StoreError> {
        let health: Option<Health> = reply::parse(&reply.body);
        match health.as_ref().is_none_or(Health::is_short) {
            true => Ok(health),
            false => Err(StoreError::BadReply { operation: "ask for", path: "sys/health".to_owned(), what: TOO_LONG }),
        }
    }

    fn check_health(&self, reply: &Reply, health: Option<&Health>) -> Result<(), StoreError> {
        let server = self.transport.server().to_owned();
        match reply.status {
            StatusCode::SERVICE_UNAVAILABLE => Err(StoreError::Sealed { server }),
            status if !error::serves(status) => Err(StoreError::Standby { server }),
            // A standby answers 429 too, with a health body; a server that limits the rate of all
            // requests has none.
            StatusCode::TOO_MANY_REQUESTS if health.is_none_or(|health| health.initialized.is_none()) => {
                Err(StoreError::RateLimited { server })
            }
            _ => Ok(()),
        }
    }

    async fn read_data(&self, path: &RemotePath, version: Option<u64>) -> Result<DataReply, StoreError> {
        let reply = self.authed(kv::read(path, version)?).await?;
        match reply.status {
            status if status.is_success() => kv::data_reply(&reply, path),
            StatusCode::NOT_FOUND => match self.judge(&reply, "read", &path.data_url(), &path.mount, 0) {
                StoreError::Rejected { .. } => kv::data_reply(&reply, path),
                other => Err(other),
            },
            _ => Err(self.judge(&reply, "read", &path.data_url(), &path.mount, 0)),
        }
    }

    async fn read_entry(&self, path: &RemotePath, version: Option<u64>, unseen: Unseen) -> Result<Entry, StoreError> {
        self.confirm(&path.mount, Certainty::Known).await?;
        for _ in 0..MOST_READS {
            if let DataReply::Entry(entry) = self.read_data(path, version).await? {
                return Ok(entry);
            }
            if let Some(entry) = self.read_nothing(path, version, unseen).await? {
                return Ok(entry);
            }
        }
        Err(StoreError::Stale { path: path.to_string() })
    }

    /// Distinguishes an entry without that version from no entry, and both from no mount; `None` if
    /// it has that version by now.
    async fn read_nothing(
        &self,
        path: &RemotePath,
        version: Option<u64>,
        unseen: Unseen,
    ) -> Result<Option<Entry>, StoreError> {
        self.confirm(&path.mount, Certainty::Fresh).await?;
        let url = path.metadata_url();
        let reply = self.authed(kv::read_metadata(path)?).await?;
        match (reply.status, unseen) {
            (status, _) if status.is_success() => kv::without_data(&reply, path, version),
            (StatusCode::FORBIDDEN, Unseen::IsRead) => Ok(Some(Entry::unseen())),
            (StatusCode::NOT_FOUND, _) => match self.judge(&reply, "read", &url, &path.mount, 0) {
                StoreError::Rejected { .. } => Ok(Some(Entry::absent())),
                other => Err(other),
            },
            (_, Unseen::IsRead | Unseen::IsRefused) => Err(self.judge(&reply, "read", &url, &path.mount, 0)),
        }
    }
}

#[async_trait]
impl StoreClient for VaultClient {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn mount(&self) -> Option<&str> {
        self.mount.as_deref()
    }

    fn location(&self) -> StoreLocation {
        StoreLocation {
            server: self.transport.server().to_owned(),
            namespace: Some(self.namespace().to_owned()).filter(|namespace| !namespace.is_empty()),
            path: self.mount.clone(),
            ..StoreLocation::default()
        }
    }

    fn elsewhere(&self, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        if location.server != self.transport.server() {
            return None;
        }
        let client = VaultClient {
            identity: self.identity.clone(),
            mount: location.path.clone(),
            namespace: connect::namespace(location.namespace.as_deref()).ok()?,
            transport: self.transport.clone(),
            session: self.session.clone(),
            known: self.known.anew(),
            counting: Counting::default(),
            no_scan: NoScan::default(),
        };
        Some(Arc::new(client))
    }

    async fn path_key(&self, path: &RemotePath) -> Result<PathKey, StoreError> {
        let server = self.server_id().await?;
        let mount = self.confirm(&path.mount, Certainty::Recent).await?.accessor;
        Ok(PathKey { server, mount, path: path.path.as_str().into() })
    }

    async fn read(&self, path: &RemotePath, version: Option<u64>) -> Result<Entry, StoreError> {
        self.read_entry(path, version, Unseen::IsRead).await
    }

    async fn read_to_write(&self, path: &RemotePath) -> Result<Entry, StoreError> {
        self.read_entry(path, None, Unseen::IsRefused).await
    }

    async fn head(&self, path: &RemotePath) -> Result<Head, StoreError> {
        self.confirm(&path.mount, Certainty::Known).await?;
        let reply = self.authed(kv::read_metadata(path)?).await?;
        match reply.status {
            status if status.is_success() => return kv::head(&reply, path),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {}
            _ => return Err(self.judge(&reply, "read", &path.metadata_url(), &path.mount, 0)),
        }
        // Only a data read decides whether the entry exists, and whether rights are missing.
        let entry = self.read(path, None).await?;
        Ok(Head::of(entry))
    }

    async fn heads(&self, folder: &RemotePath, limit: usize) -> Result<Heads, StoreError> {
        self.confirm(&folder.mount, Certainty::Known).await?;
        match self.scan(listing::request(folder.listing_url(), limit), &folder.mount).await? {
            Scanned::Found(reply) => listing::listed(&reply, folder).map(Heads::Listed),
            Scanned::Nothing => Ok(Heads::Listed(HashMap::new())),
            Scanned::TooLarge => Ok(Heads::TooLarge),
            Scanned::Unavailable => Ok(Heads::Unavailable),
        }
    }

    async fn list(&self, folder: &RemoteFolder, detail: Detail) -> Result<Entries, StoreError> {
        self.list_below(folder, detail).await
    }

    async fn create_entry(&self, path: &RemotePath) -> Result<(), StoreError> {
        self.confirm(&path.mount, Certainty::Known).await?;
        match self.demand(kv::create_entry(path), "create", path).await {
            // OpenBao: the entry exists, and is unchanged.
            Ok(_) | Err(StoreError::CasMismatch { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn patch_metadata(
        &self,
        path: &RemotePath,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StoreError> {
        self.change_metadata(path, changes).await
    }

    async fn exchange_metadata(
        &self,
        path: &RemotePath,
        seen: &Entry,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Exchange, StoreError> {
        self.exchange(path, seen, changes).await
    }

    async fn write(&self, path: &RemotePath, data: &RemoteData, cas: u64) -> Result<Written, StoreError> {
        // A KV v1 mount would store the request as a value, so it is sent only to a confirmed
        // mount.
        self.confirm(&path.mount, Certainty::Known).await?;
        let reply = self.demand(kv::write(path, data, cas), "write", path).await.map_err(|error| match error {
            StoreError::CasMismatch { .. } => StoreError::CasMismatch { path: path.to_string() },
            other => other,
        })?;
        kv::written(&reply, path)
    }

    async fn delete_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError> {
        self.confirm(&path.mount, Certainty::Known).await?;
        self.demand(kv::delete_versions(path, versions)?, "delete versions of", path).await.map(|_done| ())
    }

    async fn destroy_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError> {
        self.confirm(&path.mount, Certainty::Known).await?;
        self.demand(kv::destroy_versions(path, versions)?, "destroy versions of", path).await.map(|_done| ())
    }

    async fn metadata(&self, path: &RemotePath) -> Result<Option<Metadata>, StoreError> {
        self.confirm(&path.mount, Certainty::Known).await?;
        let reply = self.authed(kv::read_metadata(path)?).await?;
        let url = path.metadata_url();
        match reply.status {
            status if status.is_success() => kv::all_versions(&reply, path).map(Some),
            StatusCode::NOT_FOUND => match self.judge(&reply, "read", &url, &path.mount, 0) {
                StoreError::Rejected { .. } => Ok(None),
                other => Err(other),
            },
            _ => Err(self.judge(&reply, "read", &url, &path.mount, 0)),
        }
    }

    async fn describe(&self, path: &RemotePath) -> Result<Entry, StoreError> {
        self.confirm(&path.mount, Certainty::Known).await?;
        let mut reply = self.authed(kv::read_metadata(path)?).await?;
        if reply.status == StatusCode::NOT_FOUND {
            // A missing entry is about to be believed.
            self.confirm(&path.mount, Certainty::Fresh).await?;
            reply = self.authed(kv::read_metadata(path)?).await?;
        }
        match reply.status {
            status if status.is_success() => kv::described(&reply, path),
            status => match self.judge(&reply, "read", &path.metadata_url(), &path.mount, 0) {
                StoreError::Rejected { .. } if status == StatusCode::NOT_FOUND => Ok(Entry::absent()),
                error => Err(error),
            },
        }
    }

    async fn purge(&self, path: &RemotePath) -> Result<(), StoreError> {
        self.confirm(&path.mount, Certainty::Known).await?;
        self.demand(kv::purge(path)?, "purge", path).await.map(|_done| ())
    }
}

fn plain(call: Call, method: Method, path: String) -> Outgoing {
    let largest = largest(call);
    Outgoing { call, method, path, query: None, body: None, token: None, namespace: None, largest }
}
