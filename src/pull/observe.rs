//! Observes the stores' snapshots, each path once, and the live target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::bound::Reads;
use super::desired::{Deletion, Desired};
use super::found::NotFound;
use super::inputs::{Resource, Sessions};
use super::plan::{Presence, Snapshot, TargetState};
use super::records::{Record, Rendering};
use super::wanted::Reference;
use crate::api::path_status::PulledPath;
use crate::api::{ExternalSecret, StoreRef, names};
use crate::cluster::{Cluster, ClusterError};
use crate::domain::claim;
use crate::domain::description::{self, What};
use crate::domain::object_name::Name;
use crate::domain::path::{PathError, RemotePath};
use crate::domain::remote::{Entry, EntryState};
use crate::feed::{Feed, Follow, Freshness, ReadError, Source};
use crate::store::error::Family;
use crate::store::{Site, StoreClient, StoreError, StoreName, StoreRefusal, Stores};

/// How many places are asked for at a time.
const CONCURRENT: usize = 8;
/// How many paths are read at a time. What each of them holds is known only then.
pub const CONCURRENT_READS: usize = 32;
/// The most that the paths of one spec may hold together, in bytes; the same as for the sources of a
/// push. A target holds at most a sixteenth of it.
const MOST_READ: usize = 16 * 1024 * 1024;
/// How long places are asked for, and then paths are read. A spec may name a thousand slow stores,
/// and a reconcile keeps a turn from others as long as it lasts.
const LONGEST: Duration = Duration::from_secs(60);

/// Why nothing can be decided. The target is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObserveError {
    /// A store.
    #[error(transparent)]
    Store(StoreRefusal),
    /// A key that names no entry.
    #[error("spec: {0}")]
    Path(PathError),
    /// A store that led to a path that the target was rendered from, and leads elsewhere now.
    #[error("{store} no longer leads to {path}, which the target was rendered from")]
    Moved {
        /// `Kind/name`.
        store: String,
        /// `mount/path`.
        path: String,
    },
    /// A failed read. The target keeps its data.
    #[error("{store}: {cause}")]
    Read {
        /// `Kind/name`.
        store: String,
        cause: ReadError,
    },
    /// The paths hold too much together.
    #[error(
        "the paths that it reads hold more than {} MiB together, most of it {path} of {store}: name fewer paths, or move \
         what nobody reads out of them",
        MOST_READ >> 20
    )]
    TooMuch {
        /// `Kind/name` of the store of the largest path.
        store: String,
        /// `mount/path` of it.
        path: String,
    },
    /// What is found cannot be read.
    #[error("{store}: {cause}")]
    NotFound {
        /// `Kind/name`.
        store: String,
        cause: NotFound,
    },
    /// The cluster.
    #[error(transparent)]
    Cluster(ClusterError),
}

impl ObserveError {
    /// Whether the only problem is that a store asks for fewer requests.
    pub fn is_throttled(&self) -> bool {
        match self {
            ObserveError::Store(StoreRefusal::Failed(error))
            | ObserveError::Read { cause: ReadError::Store(error), .. } => error.family() == Family::Throttled,
            ObserveError::Store(_)
            | ObserveError::Read { cause: ReadError::WentBack { .. }, .. }
            | ObserveError::Path(_)
            | ObserveError::Moved { .. }
            | ObserveError::TooMuch { .. }
            | ObserveError::NotFound { .. }
            | ObserveError::Cluster(_) => false,
        }
    }
}

/// A reference of the spec, with its place.
pub struct Located {
    reference: Reference,
    source: Source,
}

impl Located {
    /// Whether this reference leads to it.
    pub fn leads_from(&self, reference: &Reference) -> bool {
        self.reference == *reference
    }

    /// Where it leads.
    pub fn site(&self) -> Site {
        self.source.site()
    }

    /// The path it leads to.
    pub fn path(&self) -> &RemotePath {
        &self.source.path
    }
}

/// The opened stores of a spec.
pub type OpenStores = BTreeMap<StoreName, Arc<dyn StoreClient>>;

/// What opening each store of a spec gave, in its order.
pub struct Opened(Vec<(StoreName, Opening)>);

/// What opening one store gave.
type Opening = Result<Arc<dyn StoreClient>, StoreRefusal>;

impl Opened {
    /// Whether the spec reads this store.
    pub fn reads(&self, store: &StoreName) -> Reads {
        match self.0.iter().find(|(opened, _)| opened == store) {
            Some((_, Ok(_))) => Reads::Yes,
            None | Some((_, Err(StoreRefusal::NotAllowed { .. } | StoreRefusal::OtherController { .. }))) => Reads::No,
            Some((_, Err(_unusable))) => Reads::Unknown,
        }
    }

    /// The stores that can be used.
    pub fn usable(self) -> OpenStores {
        self.0.into_iter().filter_map(|(store, opened)| Some((store, opened.ok()?))).collect()
    }

    /// All stores.
    ///
    /// # Errors
    /// [`ObserveError::Store`] for the first unusable store.
    pub fn all(self) -> Result<OpenStores, ObserveError> {
        self.0.into_iter().map(|(store, opened)| Ok((store, opened.map_err(ObserveError::Store)?))).collect()
    }
}

/// One of these stores.
///
/// # Errors
/// [`ObserveError::Store`] if it is none of them.
pub fn client(opened: &OpenStores, store: &StoreName) -> Result<Arc<dyn StoreClient>, ObserveError> {
    let missing = || ObserveError::Store(StoreRefusal::NotFound { store: store.clone() });
    opened.get(store).cloned().ok_or_else(missing)
}

/// Opens each store once, without a request to a server.
pub async fn open(desired: &Desired, stores: &impl Stores) -> Opened {
    let mut opened: Vec<(StoreName, _)> = Vec::new();
    let stores_of =
        desired.entries.iter().map(|wanted| &wanted.from.store).chain(desired.finds.iter().map(|find| &find.store));
    for store in stores_of.map(|store| store_name(desired, store)) {
        if !opened.iter().any(|(known, _)| *known == store) {
            let client = stores.client(&desired.namespace, &store).await;
            opened.push((store, client));
        }
    }
    Opened(opened)
}

/// The store of a reference.
pub fn store_of(desired: &Desired, reference: &Reference) -> StoreName {
    store_name(desired, &reference.store)
}

/// A store that the spec refers to.
pub fn store_name(desired: &Desired, store: &StoreRef) -> StoreName {
    StoreName::referred(&desired.namespace, store.kind(), store.name.as_deref().unwrap_or_default())
}

/// Finds the place of each reference.
///
/// # Errors
/// [`ObserveError`] for a key that does not name an entry, or a server that does not describe its
/// mounts.
pub async fn locate(desired: &Desired, opened: &OpenStores) -> Result<Vec<Located>, ObserveError> {
    let routes = routes(desired, opened).collect::<Result<Vec<Route>, _>>()?;
    // In their order, so that the same one of several errors is told each time.
    let deadline = deadline();
    let places: Vec<_> = routes.into_iter().map(|route| route.place(deadline)).collect();
    stream::iter(places).buffered(CONCURRENT).try_collect().await
}

/// The same, with what is wrong beside what is not.
pub async fn locate_each(desired: &Desired, opened: &OpenStores) -> Vec<Result<Located, ObserveError>> {
    let deadline = deadline();
    let places: Vec<_> = routes(desired, opened).map(|route| async move { route?.place(deadline).await }).collect();
    stream::iter(places).buffered(CONCURRENT).collect().await
}

/// Each reference of a spec once, whose store is open.
fn routes<'d>(desired: &'d Desired, opened: &OpenStores) -> impl Iterator<Item = Result<Route<'d>, ObserveError>> {
    let mut references: Vec<&Reference> = Vec::new();
    for wanted in &desired.entries {
        if !references.contains(&&wanted.from) {
            references.push(&wanted.from);
        }
    }
    references.into_iter().filter_map(|reference| {
        let client = opened.get(&store_of(desired, reference)).cloned()?;
        let path = RemotePath::parse_read(client.mount(), &reference.key).map_err(ObserveError::Path);
        Some(path.map(|path| Route { reference, client, path }))
    })
}

/// Until when places that are asked for now, or paths that are read now, must have been answered.
pub fn deadline() -> Instant {
    Instant::now() + LONGEST
}

/// Where a reference leads, before its server says which place that is.
pub struct Route<'a> {
    pub reference: &'a Reference,
    pub client: Arc<dyn StoreClient>,
    pub path: RemotePath,
}

impl Route<'_> {
    /// Finds the place.
    ///
    /// # Errors
    /// [`ObserveError::Read`] for a server that does not describe its mounts, or not in time.
    pub async fn place(self, deadline: Instant) -> Result<Located, ObserveError> {
        let Route { reference, client, path } = self;
        let asked = async { client.path_key(&path).await.map_err(ReadError::Store) };
        let key = in_time(&reference.store, client.as_ref(), deadline, asked).await?;
        let Reference { store, version, what, .. } = reference;
        let source = Source { client, kind: store.kind(), key, path, version: *version, what: *what };
        Ok(Located { reference: reference.clone(), source })
    }
}

/// Declares to the feed what is read and whether changes matter.
pub fn subscribe(feed: &Feed, name: &Name, located: &[Located], follow: Follow) {
    feed.subscribe(name, located.iter().map(|located| located.source.clone()).collect(), follow);
}

/// Tells the feed which versions the target was rendered from, by the status. What a store showed
/// before it was edited says nothing of where it leads now.
pub fn recall(feed: &Feed, desired: &Desired, located: &[Located], past: Past<'_>) {
    let name = Name::new(&desired.namespace, &desired.name);
    for Located { reference, source } in located.iter().filter(|located| located.source.version.is_none()) {
        let from = store_of(desired, reference);
        let stores = past.rendering.into_iter().flat_map(|rendering| &rendering.stores);
        let mut former = stores.filter(|(store, _)| *store == from);
        if former.any(|(_, identity)| identity != source.client.identity()) {
            continue;
        }
        let (store, path) = (super::plan::store_name(reference), source.path.to_string());
        let of_path = past.paths.iter().filter(|past| past.is(&store, &path, source.what));
        let versions = of_path.filter_map(|past| {
            // Without the time, an entry that was created again would look like an older version.
            Some((u64::try_from(past.version?).ok()?, past.created_at.as_ref()?.0))
        });
        // Others may be pinned ones.
        if let Some((version, created)) = versions.max() {
            feed.recall(&name, source, version, Some(created));
        }
    }
}

/// What was read of the paths of a spec.
pub struct ReadPaths {
    /// One snapshot for each reference.
    pub snapshots: Vec<(Reference, Snapshot)>,
    /// Why no value of them may be used: a version went back, or they hold too much. Who may read them
    /// is not versioned, and takes no room, so the snapshots still show that.
    pub unusable: Option<ObserveError>,
}

/// What is known from before a read.
#[derive(Clone, Copy, Default)]
pub struct Past<'a> {
    /// What was read then, from the status.
    pub paths: &'a [PulledPath],
    /// What this process rendered the target from.
    pub rendering: Option<&'a Rendering>,
}

/// Reads every path until the `deadline`, each once however it is spelled, and some at a time.
pub async fn read(
    feed: &Feed,
    name: &Name,
    located: &[Located],
    freshness: Freshness,
    past: Past<'_>,
    deadline: Instant,
) -> Result<ReadPaths, ObserveError> {
    let mut places: BTreeMap<_, &Located> = BTreeMap::new();
    for located in located {
        places.entry(place(located)).or_insert(located);
    }
    let (total, sizes) = (&AtomicUsize::new(0), &Mutex::new(Vec::new()));
    let reads = places.into_iter().map(|(place, located)| async move {
        let (reference, source) = (&located.reference, &located.source);
        match in_time(&reference.store, source.client.as_ref(), deadline, feed.read(name, source, freshness)).await {
            Ok(entry) => {
                let bytes = entry.bytes();
                let is_too_much = total.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_READ;
                sizes.lock().push((bytes, located));
                let entry = if is_too_much { Arc::new(entry.outline().entry()) } else { entry };
                Ok(((place, entry), None))
            }
            Err(error) => match &error {
                ObserveError::Read { cause: ReadError::WentBack { now, .. }, .. } => {
                    let entry = Arc::new(now.entry());
                    Ok(((place, entry), Some(error)))
                }
                ObserveError::Read { cause: ReadError::Store(_), .. }
                | ObserveError::Store(_)
                | ObserveError::Path(_)
                | ObserveError::Moved { .. }
                | ObserveError::TooMuch { .. }
                | ObserveError::NotFound { .. }
                | ObserveError::Cluster(_) => Err(error),
            },
        }
    });
    let reads: Vec<_> = reads.collect();
    let read: Vec<_> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
    let (entries, refused): (BTreeMap<_, Arc<Entry>>, Vec<_>) = read.into_iter().unzip();
    let is_too_much = total.load(Ordering::Relaxed) > MOST_READ;
    let unusable = refused.into_iter().flatten().next().or_else(|| is_too_much.then(|| too_much(&sizes.lock())));
    if unusable.is_none() {
        check_whole(located, &entries)?;
    }
    let snapshots = located
        .iter()
        .filter_map(|located| {
            let entry = match located.source.what {
                What::Data => entries.get(&place(located))?.clone(),
                What::Metadata => Arc::new(description::of(entries.get(&place(located))?)),
            };
            let (store, path) = (super::plan::store_name(&located.reference), located.source.path.to_string());
            let before = past.paths.iter().find(|before| before.is(&store, &path, located.source.what)).cloned();
            let presence = presence(feed, &located.source, &entry, before.as_ref());
            let owned = past.owned(&store, &path);
            Some((located.reference.clone(), Snapshot { path, entry, presence, before, owned }))
        })
        .collect();
    Ok(ReadPaths { snapshots, unusable })
}

/// What went well, and what did not.
pub fn apart<T>(results: Vec<Result<T, ObserveError>>) -> (Vec<T>, Vec<ObserveError>) {
    let (mut well, mut badly) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => well.push(value),
            Err(error) => badly.push(error),
        }
    }
    (well, badly)
}

/// Reads each path apart, without its values, for the consents that it shows: a path that cannot be
/// read hides nothing of the others, and many values together may be too much to hold. A version that
/// went back is as good as any, since consents are not versioned.
pub async fn read_consents(
    feed: &Feed,
    name: &Name,
    located: &[Located],
    freshness: Freshness,
) -> Vec<Result<Vec<(Reference, Snapshot)>, ObserveError>> {
    let deadline = deadline();
    let without_values = |read: Snapshot| Snapshot { entry: Arc::new(read.entry.outline().entry()), ..read };
    let reads: Vec<_> = located
        .iter()
        .map(|located| async move {
            let located = std::slice::from_ref(located);
            let read = read(feed, name, located, freshness, Past::default(), deadline).await?;
            Ok(read.snapshots.into_iter().map(|(reference, read)| (reference, without_values(read))).collect())
        })
        .collect();
    stream::iter(reads).buffered(CONCURRENT_READS).collect().await
}

impl<'a> Past<'a> {
    /// What the status and the record of a resource show.
    pub fn of(object: &'a ExternalSecret, record: Option<&'a Record>) -> Self {
        let paths = object.status.as_ref().map(|status| status.paths.as_slice()).unwrap_or_default();
        Past { paths, rendering: record.and_then(|record| record.rendered_from.as_ref()) }
    }

    /// The properties of a path that had an owner when they were last there.
    fn owned(&self, store: &str, path: &str) -> BTreeSet<String> {
        let of_path = self.paths.iter().filter(|past| past.store == store && past.path == path);
        let shown = of_path.flat_map(|past| &past.owned).cloned();
        let rendered = self.rendering.into_iter().flat_map(|rendering| rendering.owned(store, path));
        shown.chain(rendered.map(str::to_owned)).collect()
    }
}

fn presence(feed: &Feed, source: &Source, entry: &Entry, before: Option<&PulledPath>) -> Presence {
    match &entry.state {
        EntryState::Live { .. } => Presence::Live,
        EntryState::Deleted { version } if feed.is_removed_by_push(&source.site(), *version) => Presence::Removed,
        // A push removed it while the controller did not follow: it wrote an empty version, deleted
        // that, and released its claims. A person deletes the version that was read, and leaves the
        // claims.
        EntryState::Deleted { version } if is_later(*version, before) && claim::is_vacated(&entry.custom_metadata) => {
            Presence::Removed
        }
        EntryState::Absent | EntryState::Unseen if feed.is_removed_by_push(&source.site(), 0) => Presence::Removed,
        EntryState::Deleted { .. } | EntryState::Empty | EntryState::Absent | EntryState::Unseen => Presence::Missing,
    }
}

fn is_later(version: u64, before: Option<&PulledPath>) -> bool {
    let read = before.and_then(|before| before.version).and_then(|read| u64::try_from(read).ok());
    read.is_some_and(|read| version > read)
}

/// The target as our last write left it, if that may be relied on, else the live one. A write that
/// relies on the former has its state as a precondition, and reads the target if that fails. After an
/// edit of a store the data may be from elsewhere, and only the live target says from where it was.
pub async fn target(
    cluster: &Cluster,
    desired: &Desired,
    opened: &OpenStores,
    record: Option<&Record>,
) -> Result<TargetState, ClusterError> {
    let stores = Sessions::of(opened).identities();
    let is_from_there = |record: &Record| record.rendered_from.as_ref().is_some_and(|from| from.stores == stores);
    let unchanged = record.filter(|record| record.inputs.resource == Resource::of(desired) && is_from_there(record));
    match unchanged.and_then(|record| record.target.as_ref()) {
        // Removed keys, and data that cannot be changed, need a read first.
        Some((name, written))
            if *name.name == *desired.target
                && desired.deletion == Deletion::Retain
                && !desired.immutable
                && desired.has_fixed_keys() =>
        {
            Ok(TargetState::AsWritten(written.clone()))
        }
        Some(_) | None => live(cluster, desired).await,
    }
}

/// The live target.
pub async fn live(cluster: &Cluster, desired: &Desired) -> Result<TargetState, ClusterError> {
    let manager = names::target_manager(&desired.name);
    let live = cluster.target(&desired.namespace, &desired.target, &manager).await?;
    Ok(live.map_or(TargetState::Absent, |live| TargetState::Present(Box::new(live))))
}

type Place = (crate::store::Identity, crate::store::PathKey, Option<u64>, What);

fn place(located: &Located) -> Place {
    let source = &located.source;
    (source.client.identity().clone(), source.key.clone(), source.version, source.what)
}

/// I8: two logins that read one path must have read the same version, of the same entry. Another
/// address may be another server that only calls itself the same.
fn check_whole(located: &[Located], entries: &BTreeMap<Place, Arc<Entry>>) -> Result<(), ObserveError> {
    let mut read = BTreeMap::new();
    for located in located.iter().filter(|located| located.source.version.is_none()) {
        let Some(entry) = entries.get(&place(located)) else { continue };
        let (version, created) = read.entry(located.source.site()).or_insert((entry.cas(), entry.created));
        let is_of_another = created.zip(entry.created).is_some_and(|(created, other)| created != other);
        *created = created.or(entry.created);
        if *version != entry.cas() || is_of_another {
            let stale = StoreError::Stale { path: located.source.path.to_string() };
            return Err(read_error(&located.reference.store, ReadError::Store(stale)));
        }
    }
    Ok(())
}

fn too_much(sizes: &[(usize, &Located)]) -> ObserveError {
    // Of several that are as large, always the same one is named.
    let named = |located: &Located| (super::plan::store_name(&located.reference), located.source.path.to_string());
    let largest = sizes.iter().map(|(bytes, located)| (*bytes, named(located))).max();
    let (store, path) = largest.map(|(_, named)| named).unwrap_or_default();
    ObserveError::TooMuch { store, path }
}

fn read_error(store: &StoreRef, cause: ReadError) -> ObserveError {
    ObserveError::Read { store: super::plan::shown(store), cause }
}

/// The answer of a store, in time.
pub async fn in_time<T>(
    store: &StoreRef,
    client: &dyn StoreClient,
    deadline: Instant,
    request: impl Future<Output = Result<T, ReadError>>,
) -> Result<T, ObserveError> {
    let answer = timeout_at(deadline, request).await;
    answer.unwrap_or_else(|_elapsed| Err(ReadError::Store(late(client)))).map_err(|cause| read_error(store, cause))
}

fn late(client: &dyn StoreClient) -> StoreError {
    StoreError::Late { server: client.location().server, seconds: LONGEST.as_secs() }
}
