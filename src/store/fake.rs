//! A store in memory with the semantics of KV v2, for tests of users of [`StoreClient`].
//! `tests/store_contract/main.rs` runs the same assertions on it and on a real server.

mod lists;
mod operation;
mod stored;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use super::{Detail, Entries, Exchange, Head, Heads, Identity, Metadata, PathKey, StoreClient, StoreError, Written};
use crate::api::store_location::StoreLocation;
use crate::domain::folder::RemoteFolder;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState, RemoteData};
pub use lists::Listing;
use operation::Asked;
pub use operation::{Operation, Request};
use stored::{Stored, duplicate, index};

/// A fault that a test injects.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request never reaches the store.
    Refuse(StoreError),
    /// The store carries it out, but the reply is lost.
    LoseReply(StoreError),
}

/// Whether a client has check-and-set for metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// As on OpenBao.
    Offered,
    /// As on Vault, or without the right to read metadata.
    #[default]
    Refused,
}

/// What a client's login may see of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Everything.
    #[default]
    All,
    /// Its data, with the custom metadata that comes along, but not its metadata alone.
    DataAlone,
}

type Hook = Box<dyn FnMut(&FakeStore, &Request) -> Option<Fault> + Send>;
type AfterHook = Box<dyn FnMut(&FakeStore, &Request) + Send>;

/// The store, or one client of it. Clones share the content.
#[derive(Clone)]
pub struct FakeStore {
    identity: Identity,
    counting: Counting,
    sight: Sight,
    mount: Arc<str>,
    /// How this client spells the server.
    address: Arc<str>,
    /// What the server calls itself there.
    name: &'static str,
    world: Arc<World>,
}

struct World {
    server: &'static str,
    hangs: AtomicBool,
    yields: AtomicBool,
    content: Mutex<Content>,
    hook: Mutex<Option<Hook>>,
    after: Mutex<Option<AfterHook>>,
}

#[derive(Default)]
struct Content {
    mounts: BTreeSet<String>,
    entries: BTreeMap<RemotePath, Stored>,
    listing: Listing,
    /// Changes of custom metadata need check-and-set, as with `metadata_cas_required`.
    metadata_needs_cas: bool,
    /// Entries that listings omit.
    hidden: BTreeSet<RemotePath>,
    faults: VecDeque<Fault>,
    slow: HashMap<Operation, Duration>,
    requests: Vec<Request>,
}

impl Default for FakeStore {
    fn default() -> Self {
        FakeStore::new()
    }
}

impl FakeStore {
    /// An empty store with a KV v2 mount at `secret/`.
    pub fn new() -> Self {
        FakeStore::on("fake")
    }

    /// The same, on another server.
    pub fn on(server: &'static str) -> Self {
        let content = Content { mounts: BTreeSet::from(["secret".to_owned()]), ..Content::default() };
        FakeStore {
            identity: Identity(server.into()),
            counting: Counting::default(),
            sight: Sight::default(),
            mount: "secret".into(),
            address: server.into(),
            name: server,
            world: Arc::new(World {
                server,
                hangs: AtomicBool::new(false),
                yields: AtomicBool::new(false),
                content: Mutex::new(content),
                hook: Mutex::new(None),
                after: Mutex::new(None),
            }),
        }
    }

    /// Stops answering, like a server that accepts requests but does nothing.
    pub fn hang(&self) {
        self.world.hangs.store(true, Ordering::Relaxed);
    }

    /// Answers again. Requests sent meanwhile are lost.
    pub fn recover(&self) {
        self.world.hangs.store(false, Ordering::Relaxed);
    }

    /// Answers requests of this kind this much later than it carries them out, from now on.
    pub fn slow(&self, operation: Operation, pause: Duration) {
        let mut content = self.content();
        match pause.is_zero() {
            true => content.slow.remove(&operation),
            false => content.slow.insert(operation, pause),
        };
    }

    /// Yields before and after each request, so that a task can be stopped on either side of it.
    pub fn yield_at_each_request(&self) {
        self.world.yields.store(true, Ordering::Relaxed);
    }

    /// Another client of the same store.
    pub fn with_identity(&self, identity: &str) -> Self {
        FakeStore { identity: Identity(identity.into()), ..self.clone() }
    }

    /// The same client, whose store has another path.
    pub fn with_mount(&self, mount: &str) -> Self {
        FakeStore { mount: mount.into(), ..self.clone() }
    }

    /// The same client, whose store spells the server in another way.
    pub fn with_address(&self, address: &str) -> Self {
        FakeStore { address: address.into(), ..self.clone() }
    }

    /// The same client, to which the server calls itself otherwise.
    pub fn with_name(&self, name: &'static str) -> Self {
        FakeStore { name, ..self.clone() }
    }

    /// The same client, with or without check-and-set for metadata.
    pub fn with_counting(&self, counting: Counting) -> Self {
        FakeStore { counting, ..self.clone() }
    }

    /// The same client, whose login may see this.
    pub fn with_sight(&self, sight: Sight) -> Self {
        FakeStore { sight, ..self.clone() }
    }

    /// Lets the next `count` requests fail, after earlier faults.
    pub fn fail_next(&self, count: usize, error: StoreError) {
        self.content().faults.extend(std::iter::repeat_n(Fault::Refuse(error), count));
    }

    /// Drops the faults that no request has met.
    pub fn heal(&self) {
        self.content().faults.clear();
    }

    /// Carries out the next request but loses its reply, after earlier faults.
    pub fn lose_next_reply(&self, error: StoreError) {
        self.content().faults.push_back(Fault::LoseReply(error));
    }

    /// Runs `hook` before each request, until replaced. It may change the store through
    /// [`FakeStore::put`] and similar methods, to act as another writer between two requests, and
    /// may return a fault.
    pub fn before_each(&self, hook: impl FnMut(&FakeStore, &Request) -> Option<Fault> + Send + 'static) {
        *self.world.hook.lock() = Some(Box::new(hook));
    }

    /// Runs `hook` after each request, until replaced: the reply exists, but the caller does not
    /// have it yet.
    pub fn after_each(&self, hook: impl FnMut(&FakeStore, &Request) + Send + 'static) {
        *self.world.after.lock() = Some(Box::new(hook));
    }

    /// All requests so far, except [`Operation::PathKey`].
    pub fn requests(&self) -> Vec<Request> {
        self.content().requests.clone()
    }

    /// The number of requests of this kind so far.
    pub fn count(&self, operation: Operation) -> usize {
        self.content().requests.iter().filter(|request| request.operation == operation).count()
    }

    /// The number of mutating requests so far.
    pub fn mutations(&self) -> usize {
        self.content().requests.iter().filter(|request| request.operation.mutates()).count()
    }

    /// Adds a KV v2 mount.
    pub fn add_mount(&self, mount: &str) {
        self.content().mounts.insert(mount.to_owned());
    }

    /// Removes a mount with all its entries.
    pub fn remove_mount(&self, mount: &str) {
        let mut content = self.content();
        content.mounts.remove(mount);
        content.entries.retain(|path, _| path.mount.as_str() != mount);
    }

    /// Another writer's new version, without check-and-set; it is not recorded. Returns its number.
    pub fn put(&self, path: &RemotePath, data: RemoteData) -> u64 {
        self.content().stored(path).push(data)
    }

    /// Another writer's custom metadata: replaces all of it, as a plain POST of metadata does.
    pub fn put_metadata(&self, path: &RemotePath, metadata: BTreeMap<String, String>) {
        self.content().stored(path).custom_metadata = metadata;
    }

    /// Another writer's setting of the entry's `delete_version_after`.
    pub fn expire_versions_after(&self, path: &RemotePath, duration: &str) {
        self.content().stored(path).delete_version_after = Some(duration.to_owned());
    }

    /// Another writer's soft delete of the latest version.
    pub fn soft_delete(&self, path: &RemotePath) {
        if let Some(latest) = self.content().stored(path).versions.last_mut() {
            *latest = None;
        }
    }

    /// Another writer's removal of the whole entry with its metadata and version numbers.
    pub fn purge(&self, path: &RemotePath) {
        self.content().entries.remove(path);
    }

    /// Another writer's restore from a snapshot that was taken when this was the latest version.
    pub fn restore(&self, path: &RemotePath, version: u64) {
        self.content().stored(path).cut(version);
    }

    /// Makes listing available or not from now on.
    pub fn set_listing(&self, listing: Listing) {
        self.content().listing = listing;
    }

    /// Accepts changes of custom metadata from now on only with check-and-set, like a mount with
    /// `metadata_cas_required`.
    pub fn require_metadata_cas(&self) {
        self.content().metadata_needs_cas = true;
    }

    /// Omits an entry from listings, like a server whose policy filters them.
    pub fn hide(&self, path: &RemotePath) {
        self.content().hidden.insert(path.clone());
    }

    /// The entry; the read is not recorded.
    pub fn peek(&self, path: &RemotePath) -> Entry {
        self.content().entry(path, None)
    }

    /// The data of one version; the read is not recorded. `None` if the version is deleted,
    /// destroyed or was never written.
    pub fn peek_version(&self, path: &RemotePath, version: u64) -> Option<RemoteData> {
        let content = self.content();
        let stored = content.entries.get(path)?;
        stored.at(version).map(duplicate)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.world.content.lock()
    }

    /// Records the request, runs faults and hooks, and only then carries it out.
    async fn serve<T>(
        &self,
        operation: Operation,
        path: &impl Asked,
        act: impl FnOnce(&mut Content) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.take_turns().await;
        if self.world.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let reply = self.answer(operation, path, act);
        let pause = self.content().slow.get(&operation).copied();
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        self.take_turns().await;
        reply
    }

    async fn take_turns(&self) {
        if self.world.yields.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    fn answer<T>(
        &self,
        operation: Operation,
        path: &impl Asked,
        act: impl FnOnce(&mut Content) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let request = Request { operation, path: path.to_string(), identity: self.identity.clone() };
        let fault = self.disturb(&request);
        let mut content = self.content();
        content.requests.push(request.clone());
        let reply = match fault {
            Some(Fault::Refuse(error)) => Err(error),
            Some(Fault::LoseReply(error)) => content.at_mount(path).and_then(|()| act(&mut content)).and(Err(error)),
            None => content.at_mount(path).and_then(|()| act(&mut content)),
        };
        drop(content);
        let after = self.world.after.lock().take();
        if let Some(mut hook) = after {
            hook(self, &request);
            self.world.after.lock().get_or_insert(hook);
        }
        reply
    }

    fn disturb(&self, request: &Request) -> Option<Fault> {
        let hook = self.world.hook.lock().take();
        let from_hook = hook.and_then(|mut hook| {
            let fault = hook(self, request);
            self.world.hook.lock().get_or_insert(hook);
            fault
        });
        from_hook.or_else(|| self.content().faults.pop_front())
    }
}

impl Content {
    fn at_mount(&self, path: &impl Asked) -> Result<(), StoreError> {
        let mount = path.mount();
        match self.mounts.contains(mount.as_str()) {
            true => Ok(()),
            false => Err(StoreError::MountMissing { mount: mount.to_string() }),
        }
    }

    fn stored(&mut self, path: &RemotePath) -> &mut Stored {
        self.entries.entry(path.clone()).or_default()
    }

    fn entry(&self, path: &RemotePath, version: Option<u64>) -> Entry {
        let Some(stored) = self.entries.get(path) else {
            return Entry::absent();
        };
        let latest = stored.latest();
        let asked = version.filter(|version| *version != 0).unwrap_or(latest);
        let state = match stored.at(asked) {
            Some(data) => EntryState::Live { version: asked, data: duplicate(data) },
            None if latest == 0 => EntryState::Empty,
            None => EntryState::Deleted { version: asked },
        };
        let created = stored.created_at(asked);
        Entry { state, created, custom_metadata: stored.custom_metadata.clone(), settings: None }
    }

    fn head(&self, path: &RemotePath, sight: Sight) -> Head {
        let head = Head::of(self.seen(path, None, sight));
        let stored = self.entries.get(path).filter(|_| sight == Sight::All);
        Head { metadata: stored.map(|stored| stored.head().metadata).or(head.metadata), ..head }
    }

    fn described(&self, path: &RemotePath) -> Entry {
        let entry = self.entry(path, None);
        let Some(stored) = self.entries.get(path) else { return entry };
        let state = match entry.state {
            EntryState::Live { version, .. } => EntryState::Live { version, data: RemoteData::new() },
            state => state,
        };
        Entry { state, settings: Some(Box::new(stored.settings())), ..entry }
    }

    /// The entry, as far as a login with these rights sees it.
    fn seen(&self, path: &RemotePath, version: Option<u64>, sight: Sight) -> Entry {
        let entry = self.entry(path, version);
        let was_written = (1..=self.entries.get(path).map_or(0, Stored::latest)).contains(&entry.cas());
        match sight {
            Sight::DataAlone if !was_written => Entry::unseen(),
            Sight::DataAlone | Sight::All => entry,
        }
    }

    fn existing(&mut self, path: &RemotePath) -> Result<&mut Stored, StoreError> {
        self.entries.get_mut(path).ok_or_else(|| StoreError::EntryMissing { path: path.to_string() })
    }

    fn blank(&mut self, path: &RemotePath, versions: &[u64]) {
        let Some(stored) = self.entries.get_mut(path) else { return };
        for version in versions {
            if let Some(data) = index(*version).and_then(|at| stored.versions.get_mut(at)) {
                *data = None;
            }
        }
    }
}

#[async_trait]
impl StoreClient for FakeStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn location(&self) -> StoreLocation {
        StoreLocation {
            server: self.address.to_string(),
            path: Some(self.mount.to_string()),
            ..StoreLocation::default()
        }
    }

    fn elsewhere(&self, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        let mount = location.path.as_deref().unwrap_or_default();
        (location.server == *self.address).then(|| Arc::new(self.with_mount(mount)) as Arc<dyn StoreClient>)
    }

    async fn path_key(&self, path: &RemotePath) -> Result<PathKey, StoreError> {
        let pause = self.content().slow.get(&Operation::PathKey).copied();
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        self.content().at_mount(path)?;
        Ok(PathKey {
            server: self.name.into(),
            mount: format!("{} of {}", path.mount, self.world.server).into(),
            path: path.path.as_str().into(),
        })
    }

    async fn read(&self, path: &RemotePath, version: Option<u64>) -> Result<Entry, StoreError> {
        self.serve(Operation::Read, path, |content| Ok(content.seen(path, version, self.sight))).await
    }

    async fn read_to_write(&self, path: &RemotePath) -> Result<Entry, StoreError> {
        let entry = self.read(path, None).await?;
        match entry.state {
            EntryState::Unseen => Err(StoreError::Forbidden { operation: "read", path: path.metadata_url() }),
            EntryState::Absent | EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. } => Ok(entry),
        }
    }

    async fn head(&self, path: &RemotePath) -> Result<Head, StoreError> {
        if self.world.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.serve(Operation::Head, path, |content| Ok(content.head(path, self.sight))).await
    }

    async fn heads(&self, folder: &RemotePath, limit: usize) -> Result<Heads, StoreError> {
        self.serve(Operation::Heads, folder, |content| Ok(content.heads(folder, limit))).await
    }

    async fn list(&self, folder: &RemoteFolder, detail: Detail) -> Result<Entries, StoreError> {
        self.serve(Operation::List, folder, |content| Ok(content.list(folder, detail))).await
    }

    async fn create_entry(&self, path: &RemotePath) -> Result<(), StoreError> {
        self.serve(Operation::CreateEntry, path, |content| {
            content.stored(path);
            Ok(())
        })
        .await
    }

    async fn patch_metadata(
        &self,
        path: &RemotePath,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StoreError> {
        self.serve(Operation::PatchMetadata, path, |content| {
            let blind = self.counting == Counting::Refused && content.metadata_needs_cas;
            let stored = content.existing(path)?;
            if blind {
                return Err(StoreError::MetadataNeedsCas { path: path.metadata_url() });
            }
            stored.change_metadata(changes);
            Ok(())
        })
        .await
    }

    async fn exchange_metadata(
        &self,
        path: &RemotePath,
        seen: &Entry,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Exchange, StoreError> {
        match self.counting {
            Counting::Offered => {}
            Counting::Refused => return Ok(Exchange::Unavailable),
        }
        self.serve(Operation::ExchangeMetadata, path, |content| {
            let absent = matches!(seen.state, EntryState::Absent);
            if content.entries.contains_key(path) == absent {
                return Ok(Exchange::Crossed);
            }
            let stored = content.stored(path);
            if stored.custom_metadata != seen.custom_metadata {
                return Ok(Exchange::Crossed);
            }
            stored.change_metadata(changes);
            Ok(Exchange::Done)
        })
        .await
    }

    async fn write(&self, path: &RemotePath, data: &RemoteData, cas: u64) -> Result<Written, StoreError> {
        self.serve(Operation::Write, path, |content| {
            let latest = content.entries.get(path).map_or(0, Stored::latest);
            if latest != cas {
                return Err(StoreError::CasMismatch { path: path.to_string() });
            }
            let stored = content.stored(path);
            let version = stored.push(duplicate(data));
            Ok(Written {
                version,
                created: stored.created_at(version),
                custom_metadata: stored.custom_metadata.clone(),
            })
        })
        .await
    }

    async fn delete_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError> {
        self.serve(Operation::DeleteVersions, path, |content| {
            content.blank(path, versions);
            Ok(())
        })
        .await
    }

    async fn destroy_versions(&self, path: &RemotePath, versions: &[u64]) -> Result<(), StoreError> {
        self.serve(Operation::DestroyVersions, path, |content| {
            content.blank(path, versions);
            if let Some(stored) = content.entries.get_mut(path) {
                stored.destroyed.extend(versions);
            }
            Ok(())
        })
        .await
    }

    async fn metadata(&self, path: &RemotePath) -> Result<Option<Metadata>, StoreError> {
        self.serve(Operation::Metadata, path, |content| Ok(content.entries.get(path).map(Stored::metadata))).await
    }

    async fn describe(&self, path: &RemotePath) -> Result<Entry, StoreError> {
        if self.sight == Sight::DataAlone {
            return Err(StoreError::Forbidden { operation: "read", path: path.metadata_url() });
        }
        self.serve(Operation::Describe, path, |content| Ok(content.described(path))).await
    }

    async fn purge(&self, path: &RemotePath) -> Result<(), StoreError> {
        self.serve(Operation::Purge, path, |content| {
            content.entries.remove(path);
            Ok(())
        })
        .await
    }
}
