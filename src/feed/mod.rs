//! Who reads which path at which version. A push wakes its consumers, one read serves all of them,
//! and a check once per interval, of one path or of many by one listing, finds edits that nobody
//! announced.
//!
//! The feed has versions, never data: a woken consumer reads with its own login. Only consumers of
//! one identity share bytes (spec S12), and only until the last of them is served. Then the bytes
//! are dropped, and so zeroed.

mod folders;
mod index;
mod listing;
mod publishers;
mod schedule;
mod shelf;
mod sync_state;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::sync::{Notify, mpsc};

use crate::api::StoreKind;
use crate::api::path_status::PushedPath;
use crate::domain::consent;
use crate::domain::description::What;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState, Outline};
use crate::store::{Identity, PathKey, Site, StoreClient, StoreError};
use crate::telemetry::trail::Cause;
pub use folders::FolderSource;
use folders::Folders;
use index::Index;
use listing::Listings;
pub use publishers::Published;
use publishers::{Declared, Publishers};
use shelf::Shelf;
pub use sync_state::{Follower, Spelled, SyncState, Trouble};

/// What a consumer reads, and with which login.
#[derive(Clone)]
pub struct Source {
    /// The login that reads.
    pub client: Arc<dyn StoreClient>,
    /// The kind of the store that it is a login of.
    pub kind: StoreKind,
    /// The place, whatever the store calls it.
    pub key: PathKey,
    /// The path, as this client spells it.
    pub path: RemotePath,
    /// A pinned version; `None` is the latest.
    pub version: Option<u64>,
    /// What of the entry.
    pub what: What,
}

impl Source {
    fn read_key(&self) -> ReadKey {
        let identity = self.client.identity().clone();
        ReadKey { identity, site: self.site(), version: self.version, what: self.what }
    }

    /// One request.
    async fn request(&self) -> Result<Entry, StoreError> {
        match self.what {
            What::Data => self.client.read(&self.path, self.version).await,
            What::Metadata => self.client.describe(&self.path).await,
        }
    }

    /// The place as its client sees it.
    pub fn site(&self) -> Site {
        Site::of(self.client.as_ref(), self.key.clone())
    }
}

/// The key of a shared read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ReadKey {
    identity: Identity,
    site: Site,
    version: Option<u64>,
    what: What,
}

/// Whether a consumer follows changes of its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Yes: at once when a push writes, and by a check at least this often.
    Every(Duration),
    /// No: it is read once, or only when its own resource changes.
    Never,
}

/// Whether the labels of its namespace decide what a consumer may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// They do not.
    #[default]
    Silent,
    /// A consent has a namespaceSelector.
    Decisive,
}

/// How fresh a shared read must be. It always has at least the announced version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A read that is still held for others: the consumer was woken together with them, or was
    /// queued with them at the start.
    Shared,
    /// Begun no earlier than this.
    Since(Instant),
    /// Begun no earlier than this, and a person confirmed it: a version that went backwards some
    /// time ago is accepted for this consumer.
    Asked(Instant),
}

/// What a push says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It changed the path.
    Pushed(Pushed),
    /// It wrote nothing, because this version is as wanted. The reply of an earlier write may have
    /// been lost.
    Found(u64, Option<Timestamp>),
    /// It may have removed something: the reply was lost. A check shows what is left.
    Uncertain,
}

/// What a push did to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It wrote this version, which the server created at this time, if that is known.
    Version(u64, Option<Timestamp>),
    /// It removed the last of its properties, and with it this version's data.
    Removal(u64),
    /// It removed the whole entry: its versions begin at 1 again.
    Purge,
    /// It changed a consent, at the same version.
    Consent,
    /// It released a claim, at the same version.
    Release,
    /// It changed custom metadata that is not Waypost's, at the same version.
    CustomMetadata,
}

impl From<Pushed> for News {
    fn from(pushed: Pushed) -> Self {
        News::Pushed(pushed)
    }
}

/// As logs name it: a version by its number.
impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            News::Pushed(pushed) => write!(f, "{pushed}"),
            News::Found(version, _) => write!(f, "Found({version})"),
            News::Uncertain => write!(f, "{self:?}"),
        }
    }
}

/// As logs and traces name it: a version by its number.
impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pushed::Version(version, _) => write!(f, "Version({version})"),
            Pushed::Removal(_) | Pushed::Purge | Pushed::Consent | Pushed::Release | Pushed::CustomMetadata => {
                write!(f, "{self:?}")
            }
        }
    }
}

/// What is known of a path, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The latest version's number; 0 if there is none.
    pub version: u64,
    /// Whether that version has data.
    pub live: bool,
    /// A digest of the consents; `None` if only a read can show them, or this login may not see
    /// them.
    pub consents: Option<u64>,
    /// When that version was created, by the server's clock; `None` if that is not known. A purge and
    /// another creation begin the numbers again, and then this tells two versions with one number
    /// apart. If there is no version, it is the time of the last one before, as far as it was known.
    pub created: Option<Timestamp>,
}

impl Seen {
    fn of(entry: &Entry) -> Self {
        let live = matches!(entry.state, EntryState::Live { .. });
        let consents = match entry.state {
            EntryState::Unseen => None,
            EntryState::Absent | EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. } => {
                Some(consent::digest(&entry.custom_metadata))
            }
        };
        Seen { version: entry.cas(), live, consents, created: entry.created }
    }

    /// What is not known of either is no difference. Otherwise two logins of which one may not see
    /// the consents would contradict each other without end.
    fn differs(self, other: Self) -> bool {
        let consents = self.consents.zip(other.consents);
        self.is_another_version(other) || consents.is_some_and(|(one, other)| one != other)
    }

    /// Whether this is another version, or one that was deleted or undeleted, whatever its consents.
    fn is_another_version(self, other: Self) -> bool {
        let plain = |seen: Self| (seen.version, seen.live);
        plain(self) != plain(other) || self.created_beside(other).is_some_and(Ordering::is_ne)
    }

    /// Whether this is older than what is known. A lower number that was created later is that of a
    /// new entry. A higher number is never older: another server that takes over may have a clock that
    /// is behind.
    fn is_before(self, known: Self) -> bool {
        let created = self.created_beside(known);
        match self.version.cmp(&known.version) {
            Ordering::Less => created != Some(Ordering::Greater),
            Ordering::Equal => created == Some(Ordering::Less),
            Ordering::Greater => false,
        }
    }

    /// Whether a standby that lags may still show this. Other than what is older, this may be a version
    /// that was deleted since, or one of an entry that was removed since: its number is higher, and it
    /// was not created later.
    fn may_lag_behind(self, known: Self) -> bool {
        let created = self.created_beside(known);
        match self.version.cmp(&known.version) {
            Ordering::Less => self.is_before(known),
            Ordering::Equal => self.is_before(known) || self.live && !known.live && created != Some(Ordering::Greater),
            Ordering::Greater if known.version == 0 => created.is_some_and(Ordering::is_le),
            Ordering::Greater => created == Some(Ordering::Less),
        }
    }

    /// Whether this may still be a version of the entry whose latest version is `latest`.
    fn is_of_entry(self, latest: Self) -> bool {
        match self.version.cmp(&latest.version) {
            Ordering::Less => true,
            Ordering::Equal => self.created_beside(latest).is_none_or(Ordering::is_eq),
            Ordering::Greater => false,
        }
    }

    fn created_beside(self, other: Self) -> Option<Ordering> {
        self.created.zip(other.created).map(|(created, other)| created.cmp(&other))
    }
}

/// Why a read has no usable result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The store's error.
    #[error(transparent)]
    Store(StoreError),
    /// The version went backwards: a snapshot was restored, or the entry was purged and created
    /// again.
    #[error(
        "{path} went back from version {from} to an older version {} (restored, or purged and created again?): check it, then change the annotation waypost.io/force-sync of this resource (to the time, for example) to accept the current version",
        .now.version
    )]
    WentBack {
        /// `mount/path`.
        path: String,
        /// The former version.
        from: u64,
        /// The current version. Its values are refused, but who may read it counts.
        now: Box<Outline>,
    },
}

/// The consumers of all paths, and what they have read. One per process.
pub struct Feed {
    index: Mutex<Index>,
    listings: Mutex<Listings>,
    shelf: Shelf,
    wake: mpsc::UnboundedSender<Name>,
    woken: Mutex<Option<mpsc::UnboundedReceiver<Name>>>,
    publishers: Mutex<Publishers>,
    recount: mpsc::UnboundedSender<Name>,
    recounts: Mutex<Option<mpsc::UnboundedReceiver<Name>>>,
    /// Empty if no traces are exported.
    causes: Mutex<BTreeMap<Name, Cause>>,
    rescheduled: Notify,
    folders: Mutex<Folders>,
    folders_rescheduled: Notify,
}

impl Feed {
    /// A feed without consumers. Nothing is checked before [`Feed::run`].
    pub fn new() -> Arc<Self> {
        let (wake, woken) = mpsc::unbounded_channel();
        let (recount, recounts) = mpsc::unbounded_channel();
        Arc::new(Feed {
            index: Mutex::new(Index::default()),
            listings: Mutex::new(Listings::default()),
            shelf: Shelf::default(),
            wake,
            woken: Mutex::new(Some(woken)),
            publishers: Mutex::default(),
            recount,
            recounts: Mutex::new(Some(recounts)),
            causes: Mutex::default(),
            rescheduled: Notify::new(),
            folders: Mutex::default(),
            folders_rescheduled: Notify::new(),
        })
    }

    /// The ExternalSecrets to reconcile next. There is one receiver; a second call returns `None`.
    pub fn wakeups(&self) -> Option<mpsc::UnboundedReceiver<Name>> {
        self.woken.lock().take()
    }

    /// The PushSecrets whose consumers changed state. There is one receiver; a second call returns
    /// `None`.
    pub fn recounts(&self) -> Option<mpsc::UnboundedReceiver<Name>> {
        self.recounts.lock().take()
    }

    /// Declares all paths of a PushSecret with their places, and replaces what it declared before.
    /// `None` is a place that is not known now.
    pub fn publishes(&self, push: &Name, places: BTreeMap<Spelled, Option<Published>>) {
        if self.publishers().declare(push, places) == Declared::Anew {
            self.recount.send(push.clone()).ok();
        }
    }

    /// Declares the paths that the status of a PushSecret has no room for, as the status would show
    /// them, and replaces those declared before.
    pub fn tell_beyond(&self, push: &Name, paths: Vec<PushedPath>) {
        if self.publishers().tell_beyond(push, paths) == Declared::Anew {
            self.recount.send(push.clone()).ok();
        }
    }

    /// These paths; `None` if they were not declared yet.
    pub fn beyond(&self, push: &Name) -> Option<Vec<PushedPath>> {
        self.publishers().beyond(push).cloned()
    }

    /// The consumers that follow a path of this PushSecret, by name, as far as what their stores say of
    /// the place counts ([`Published`]). `None` while the place of the path is not known.
    pub fn followers(&self, push: &Name, path: &Spelled) -> Option<Vec<Follower>> {
        let published = self.publishers().place(push, path)?.clone();
        Some(self.index().followers_of(&published))
    }

    /// Records the state of a consumer after a reconcile.
    pub fn record(&self, name: &Name, state: SyncState) {
        let moved = self.index().record(name, state);
        self.recount(&moved);
    }

    /// Whether objects that existed when the controller started may still be unknown.
    pub fn is_starting(&self) -> bool {
        self.index().starting(Instant::now())
    }

    /// Announces what a push says of this path. If it changed something, its followers are queued at
    /// once, those at another address too. If it may have, the path is checked at once.
    pub fn announce(&self, site: &Site, news: impl Into<News>) {
        let news = news.into();
        let now = Instant::now();
        let mut woken: BTreeSet<Name> = self.index().announce(site, news, now).into_iter().collect();
        woken.extend(self.folders().announce(&site.place, news, now));
        if news == News::Uncertain {
            self.rescheduled.notify_one();
        }
        if let Some(cause) = Cause::current() {
            self.causes().extend(woken.iter().map(|name| (name.clone(), cause.clone())));
        }
        tracing::debug!(path = %site.place.path, %news, consumers = woken.len(), "push announced");
        self.wake(woken.into_iter().collect());
    }

    /// Whether this version of the path (0 if there is no entry) has no data because a push of this
    /// process removed it, at this very address.
    pub fn is_removed_by_push(&self, site: &Site, version: u64) -> bool {
        self.index().is_removed_by_push(site, version)
    }

    /// Whether what a consumer has read, `since` then if that is given, may be without the last change
    /// of its consents: a standby lags, or they changed after the read.
    pub fn may_lack_consents(&self, name: &Name, since: Option<Instant>) -> bool {
        self.index().may_lack_consents(name, since)
    }

    /// The same for an entry that was read at this site.
    pub fn lacks_consents(&self, site: &Site, entry: &Entry) -> bool {
        self.index().lacks_consents(site, Seen::of(entry), Instant::now())
    }

    /// Declares other paths whose consents concern a consumer, and replaces those declared before.
    /// It is woken when these consents change. No value is followed there, and nothing is checked for
    /// it.
    pub fn heed(&self, name: &Name, sites: BTreeSet<Site>) {
        self.index().heed(name, sites);
    }

    /// Records whether the labels of its namespace decide what a consumer may read.
    pub fn judged_by(&self, name: &Name, labels: Labels) {
        self.index().judged_by(name, labels);
    }

    /// Call this when the labels of these namespaces may have changed. Their consumers that are
    /// judged by labels are queued.
    pub fn labels_changed(&self, namespaces: impl Fn(&str) -> bool) {
        let woken = self.index().labels_changed(namespaces, Instant::now());
        self.wake(woken);
    }

    /// Begins a reconcile. Returns whether the feed knows of something that this consumer has not
    /// read yet, or does not know the consumer.
    pub fn is_behind(&self, name: &Name) -> bool {
        let is_behind = self.index().begin(name);
        is_behind || self.folders().is_behind(name)
    }

    /// Whether this object is queued with all others that existed when the controller started, so
    /// that it may share a read that was made for another of them.
    pub fn in_first_wave(&self, created: Option<Timestamp>) -> bool {
        self.index().in_first_wave(created, Instant::now())
    }

    /// Declares everything that a consumer reads, and replaces what it declared before. Call it
    /// before reading.
    pub fn subscribe(&self, name: &Name, sources: Vec<Source>, follow: Follow) {
        let moved = self.index().subscribe(name, sources, follow, Instant::now(), schedule::jittered);
        self.recount(&moved);
        self.rescheduled.notify_one();
    }

    /// Records which version the status of a subscribed consumer shows for its target, and when that
    /// was created. If this process has read nothing for it yet, an older version is none to follow: a
    /// standby may lag, or else it went back.
    pub fn recall(&self, name: &Name, source: &Source, version: u64, created: Option<Timestamp>) {
        let seen = Seen { version, live: true, consents: None, created };
        self.index().recall(name, &source.read_key(), seen, Instant::now());
    }

    /// Records that the stores of a consumer cannot be opened. What it subscribed to still wakes it,
    /// but nothing is checked with its logins until it subscribes again.
    pub fn lost_access(&self, name: &Name) {
        self.index().lost_access(name, Instant::now(), schedule::jittered);
    }

    /// When the version that this consumer now has was announced. Call it when its target is
    /// written.
    pub fn take_announced(&self, name: &Name) -> Option<Instant> {
        self.index().take_announced(name)
    }

    /// Call this when a reconcile of this consumer starts, whatever it comes to: what happens from now
    /// on queues it again. Returns the span of the announcement that it follows.
    pub fn take_up(&self, name: &Name) -> Option<Cause> {
        self.index().take_up(name);
        self.causes().remove(name)
    }

    /// Drops a deleted consumer.
    pub fn forget(&self, name: &Name) {
        self.causes().remove(name);
        self.look_into(name, Vec::new(), Follow::Never);
        let moved = self.index().forget(name);
        self.recount(&moved);
    }

    /// Reads a path for a subscribed consumer, or shares another consumer's read.
    ///
    /// # Errors
    /// [`ReadError`]; all who wait for the same read get the same error.
    pub async fn read(&self, name: &Name, source: &Source, freshness: Freshness) -> Result<Arc<Entry>, ReadError> {
        let _passed_on = PassedOn(self);
        self.shelf.read(&self.index, name, source, freshness).await
    }

    fn wake(&self, names: Vec<Name>) {
        for name in names {
            // Without a receiver the controller has stopped or not started; it reconciles
            // everything when it starts.
            self.wake.send(name).ok();
        }
    }

    fn recount(&self, sites: &BTreeSet<Site>) {
        let publishers = self.publishers();
        for push in sites.iter().flat_map(|site| publishers.at(&site.place)) {
            // An error only means that nobody counts.
            self.recount.send(push.clone()).ok();
        }
    }

    fn publishers(&self) -> MutexGuard<'_, Publishers> {
        self.publishers.lock()
    }

    fn causes(&self) -> MutexGuard<'_, BTreeMap<Name, Cause>> {
        self.causes.lock()
    }

    fn listings(&self) -> MutexGuard<'_, Listings> {
        self.listings.lock()
    }

    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }
}

#[cfg(test)]
impl Feed {
    /// Checks every followed path, as if the time of the last one had come.
    pub async fn check_all(self: Arc<Self>) {
        let last = self.index().last_due();
        if let Some(last) = last {
            self.check_due(last, |window| window).await;
        }
    }

    /// Lets so much time pass since anything became known or was read.
    pub fn pass(&self, time: Duration) {
        self.index().pass(time);
        self.shelf.expire(&self.index, Instant::now() + time);
    }

    /// The number of lists that are kept up to date.
    pub fn lists(&self) -> usize {
        self.folders().lists()
    }

    /// Lists every folder, as if the time of the last list had come.
    pub async fn check_folders(&self) {
        let due = self.folders().take_all();
        for (key, source) in due {
            self.check_folder(&key, &source).await;
        }
    }

    /// The number of consumers.
    pub fn consumers(&self) -> usize {
        self.index().consumers()
    }
}

/// Passes on what a read has changed in the index, also if it was cut off.
struct PassedOn<'a>(&'a Feed);

impl Drop for PassedOn<'_> {
    fn drop(&mut self) {
        // Bytes may be held now, and a check may be due.
        self.0.rescheduled.notify_one();
        let woken = self.0.index().take_woken_by_reads();
        self.0.wake(woken);
    }
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock()
}
