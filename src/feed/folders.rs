//! Which consumers look into which folders. A push anywhere below a folder wakes those who look into
//! it, and a list of it once per interval finds what nobody announced. One list serves all who look
//! with the same login.
//!
//! What an entry has is followed by its path, as if the manifest named it. Here is decided only which
//! entries there are.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::schedule::{jittered, reached};
use super::{Feed, Follow, Freshness, News, Pushed};
use crate::domain::folder::RemoteFolder;
use crate::domain::object_name::Name;
use crate::store::{Detail, Entries, EntryKey, Identity, PathKey, Site, StoreClient, StoreError};

/// How long a list is kept for those whom its change has woken.
const HELD: Duration = Duration::from_secs(10);
/// How long a list that lacks what a push announced is repeated: a standby may lag.
const LONGEST_LAG: Duration = Duration::from_secs(10);
/// The pause before that, and the shortest interval between two lists of a folder.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a consumer looks into, and with which login.
#[derive(Clone)]
pub struct FolderSource {
    /// The login that lists.
    pub client: Arc<dyn StoreClient>,
    /// The folder, as this client spells it.
    pub folder: RemoteFolder,
    /// Its place. Its path is empty for a whole mount.
    pub place: PathKey,
    /// Whether labels decide what is found.
    pub detail: Detail,
}

impl FolderSource {
    fn key(&self) -> Key {
        let site = Site::of(self.client.as_ref(), self.place.clone());
        Key { site, identity: self.client.identity().clone(), detail: self.detail }
    }
}

/// One list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    site: Site,
    identity: Identity,
    detail: Detail,
}

/// See the module.
#[derive(Default)]
pub(super) struct Folders {
    looked_into: BTreeMap<Key, Folder>,
    /// The lists of each folder, by the accessor of its mount and its path. What a push does at one
    /// address of a server concerns every other one.
    places: HashMap<EntryKey, BTreeSet<Key>>,
    /// What each consumer looks into, with when the list was begun that it has taken.
    consumers: HashMap<Name, Vec<(Key, Option<Instant>)>>,
    due: BTreeSet<(Instant, Key)>,
    /// When a list was kept long enough.
    expires: Option<Instant>,
}

struct Folder {
    source: FolderSource,
    followers: BTreeMap<Name, Duration>,
    /// The last list.
    known: Option<Known>,
    /// When something last changed below it. Lists begun before may lack it.
    moved: Option<Instant>,
    /// Entries that were pushed and not listed since.
    expected: BTreeMap<String, Instant>,
    /// When a push last changed labels below it. A standby may list those of before for a while.
    relabelled: Option<Instant>,
    is_failing: bool,
    next: Option<Instant>,
    slot: Arc<Slot>,
}

/// What is kept of a list.
struct Known {
    digest: u64,
    /// A digest of each path.
    paths: HashSet<u64>,
}

/// The last list, for those who wait for it. Whoever makes it holds the lock.
type Slot = tokio::sync::Mutex<Option<Listed>>;

#[derive(Clone)]
struct Listed {
    begun: Instant,
    ended: Instant,
    entries: Result<Arc<Entries>, StoreError>,
}

impl Folders {
    /// Declares what a consumer looks into, and replaces what it declared before.
    fn look_into(&mut self, name: &Name, sources: Vec<FolderSource>, every: Duration, now: Instant) {
        let before = self.consumers.remove(name).unwrap_or_default();
        let mut looks = Vec::with_capacity(sources.len());
        for source in sources {
            let key = source.key();
            // Two finds may look into one folder.
            if looks.iter().any(|(known, _)| *known == key) {
                continue;
            }
            let taken = before.iter().find(|(known, _)| *known == key).and_then(|(_, taken)| *taken);
            self.places.entry(key.site.place.entry()).or_default().insert(key.clone());
            let folder = self.looked_into.entry(key.clone()).or_insert_with(|| Folder {
                source: source.clone(),
                followers: BTreeMap::new(),
                known: None,
                moved: None,
                expected: BTreeMap::new(),
                relabelled: None,
                is_failing: false,
                next: None,
                slot: Arc::default(),
            });
            // A rotated credential has another client.
            folder.source = source;
            folder.followers.insert(name.clone(), every.max(SHORTEST));
            self.schedule(&key, now + jittered(every.max(SHORTEST)));
            looks.push((key, taken));
        }
        let dropped = before.into_iter().map(|(key, _)| key).filter(|key| !looks.iter().any(|(kept, _)| kept == key));
        dropped.collect::<Vec<_>>().into_iter().for_each(|key| self.leave(name, &key));
        if !looks.is_empty() {
            self.consumers.insert(name.clone(), looks);
        }
    }

    fn leave(&mut self, name: &Name, key: &Key) {
        let Some(folder) = self.looked_into.get_mut(key) else { return };
        folder.followers.remove(name);
        if !folder.followers.is_empty() {
            return;
        }
        if let Some(next) = folder.next {
            self.due.remove(&(next, key.clone()));
        }
        self.looked_into.remove(key);
        let place = key.site.place.entry();
        if let Some(keys) = self.places.get_mut(&place) {
            keys.remove(key);
            if keys.is_empty() {
                self.places.remove(&place);
            }
        }
    }

    /// The folder is listed by then, if not before.
    fn schedule(&mut self, key: &Key, at: Instant) {
        let Some(folder) = self.looked_into.get_mut(key) else { return };
        let at = folder.next.map_or(at, |next| next.min(at));
        if let Some(before) = folder.next.replace(at) {
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((at, key.clone()));
    }

    /// The interval begins again.
    fn begin_interval(&mut self, key: &Key, now: Instant) {
        let Some(folder) = self.looked_into.get_mut(key) else { return };
        if let Some(before) = folder.next.take() {
            self.due.remove(&(before, key.clone()));
        }
        if let Some(every) = folder.followers.values().min().copied() {
            self.schedule(key, now + jittered(every));
        }
    }

    /// Applies an announcement about an entry. Returns whom it wakes. That an entry which is listed has
    /// another version, or other consents, is told to those who read it, and is nothing to the folder.
    pub fn announce(&mut self, place: &PathKey, news: News, now: Instant) -> Vec<Name> {
        let mut woken = Vec::new();
        if self.places.is_empty() {
            return woken;
        }
        let path = digest(&*place.path);
        for folder in parents(&place.path) {
            let keys = self.places.get(&(place.mount.clone(), folder.into())).cloned().unwrap_or_default();
            for key in keys {
                let Some(folder) = self.looked_into.get_mut(&key) else { continue };
                let is_listed = folder.known.as_ref().is_some_and(|known| known.paths.contains(&path));
                let moves = match news {
                    News::Found(..) => false,
                    News::Uncertain | News::Pushed(Pushed::Purge) => true,
                    News::Pushed(Pushed::CustomMetadata) => key.detail == Detail::CustomMetadata,
                    News::Pushed(Pushed::Version(..) | Pushed::Removal(_) | Pushed::Consent | Pushed::Release) => {
                        !is_listed
                    }
                };
                match news {
                    News::Pushed(Pushed::Version(..)) => drop(folder.expected.insert(place.path.to_string(), now)),
                    News::Pushed(Pushed::Removal(_) | Pushed::Purge) => drop(folder.expected.remove(&*place.path)),
                    News::Pushed(Pushed::CustomMetadata) => folder.relabelled = Some(now),
                    News::Pushed(Pushed::Consent | Pushed::Release) | News::Found(..) | News::Uncertain => {}
                }
                if moves {
                    folder.moved = Some(now);
                    woken.extend(folder.followers.keys().cloned());
                }
            }
        }
        woken
    }

    /// Whether a consumer has not taken what is below its folders now.
    pub fn is_behind(&self, name: &Name) -> bool {
        let looks = self.consumers.get(name).into_iter().flatten();
        looks.into_iter().any(|(key, taken)| {
            let moved = self.looked_into.get(key).and_then(|folder| folder.moved);
            taken.is_none_or(|begun| moved.is_some_and(|moved| begun < moved))
        })
    }

    /// Records a list. Returns whom it wakes: those who have another one.
    fn listed(&mut self, key: &Key, begun: Instant, entries: &Entries, now: Instant) -> Vec<Name> {
        let known =
            Known { digest: digest(entries), paths: entries.keys().map(|path| digest(path.as_str())).collect() };
        let followers: Vec<Name> =
            self.looked_into.get(key).into_iter().flat_map(|folder| folder.followers.keys()).cloned().collect();
        // Whoever was behind is on its way.
        let up_to_date: Vec<Name> = followers.into_iter().filter(|name| !self.is_behind(name)).collect();
        let Some(folder) = self.looked_into.get_mut(key) else { return Vec::new() };
        if folder.known.as_ref().is_some_and(|before| before.digest != known.digest) {
            folder.moved = folder.moved.max(Some(begun));
        }
        let failed = std::mem::take(&mut folder.is_failing).then(|| folder.followers.keys().cloned().collect());
        folder.known = Some(known);
        folder
            .expected
            .retain(|path, at| *at > begun || !entries.contains_key(path) && now.duration_since(*at) < LONGEST_LAG);
        folder.relabelled.take_if(|at| now.duration_since(*at) >= LONGEST_LAG);
        let again = match (folder.expected.is_empty(), folder.relabelled) {
            (false, _) => Some(now + SHORTEST),
            (true, Some(at)) if now < at + SHORTEST => Some(at + SHORTEST),
            (true, Some(at)) => Some(at + LONGEST_LAG),
            (true, None) => None,
        };
        self.begin_interval(key, now);
        if let Some(again) = again {
            self.schedule(key, again);
        }
        let woken: Vec<Name> = failed.unwrap_or(up_to_date);
        woken.into_iter().filter(|name| self.is_behind(name)).collect()
    }

    /// Records that a check failed. Returns whom it wakes: everybody, the first time.
    fn failed(&mut self, key: &Key, now: Instant) -> Vec<Name> {
        self.begin_interval(key, now);
        let Some(folder) = self.looked_into.get_mut(key) else { return Vec::new() };
        // No list from before the failure counts.
        folder.moved = Some(now);
        match std::mem::replace(&mut folder.is_failing, true) {
            true => Vec::new(),
            false => folder.followers.keys().cloned().collect(),
        }
    }

    /// Records when the list was begun that a consumer has now; `None` if it has none.
    fn take(&mut self, name: &Name, key: &Key, begun: Option<Instant>) {
        let looks = self.consumers.get_mut(name).into_iter().flatten();
        if let Some((_, taken)) = looks.into_iter().find(|(known, _)| known == key) {
            *taken = begun;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: Instant) -> Vec<(Key, FolderSource)> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, key));
                break;
            }
            if let Some(folder) = self.looked_into.get_mut(&key) {
                folder.next = None;
                due.push((key, folder.source.clone()));
            }
        }
        due
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        self.looked_into.get(key).map(|folder| folder.slot.clone()).unwrap_or_default()
    }

    fn moved(&self, key: &Key) -> Option<Instant> {
        self.looked_into.get(key)?.moved
    }

    /// Drops lists that were kept long enough. A list that is being made is looked at the next time.
    fn expire(&mut self, now: Instant) {
        let mut next = None;
        for slot in self.looked_into.values().map(|folder| &folder.slot) {
            let Ok(mut held) = slot.try_lock() else {
                next = Some(now + HELD);
                continue;
            };
            held.take_if(|held| now.duration_since(held.begun) >= HELD);
            let left = held.as_ref().map(|held| held.begun + HELD);
            next = next.into_iter().chain(left).min();
        }
        self.expires = next;
    }

    /// When the next list is due, or one was kept long enough.
    fn next(&self) -> Option<Instant> {
        self.next_due().into_iter().chain(self.expires).min()
    }
}

#[cfg(test)]
impl Folders {
    /// The number of lists that are kept up to date; asserts that nothing else is left without them.
    pub fn lists(&self) -> usize {
        let lists = self.looked_into.len();
        assert_eq!(self.due.len(), lists);
        assert!(lists > 0 || self.places.is_empty() && self.consumers.is_empty());
        lists
    }

    /// Every list.
    pub fn take_all(&self) -> Vec<(Key, FolderSource)> {
        self.looked_into.iter().map(|(key, folder)| (key.clone(), folder.source.clone())).collect()
    }
}

impl Feed {
    /// Declares the folders that a consumer looks into, and replaces those declared before. Call it
    /// before listing them.
    pub fn look_into(&self, name: &Name, sources: Vec<FolderSource>, follow: Follow) {
        let (sources, every) = match follow {
            Follow::Every(interval) => (sources, interval),
            Follow::Never => (Vec::new(), Duration::MAX),
        };
        // Most look into none, and a folder that is left makes nothing due earlier.
        let looks = !sources.is_empty();
        self.folders().look_into(name, sources, every, Instant::now());
        if looks {
            self.folders_rescheduled.notify_one();
        }
    }

    /// The entries of a folder that a consumer looks into.
    ///
    /// # Errors
    /// The store's.
    pub async fn entries_below(
        &self,
        name: &Name,
        source: &FolderSource,
        freshness: Freshness,
    ) -> Result<Arc<Entries>, StoreError> {
        let key = source.key();
        let since = match freshness {
            Freshness::Shared => None,
            Freshness::Since(since) | Freshness::Asked(since) => Some(since),
        };
        let listed = self.listed(&key, source, since).await;
        self.folders().take(name, &key, listed.entries.is_ok().then_some(listed.begun));
        listed.entries
    }

    /// A list that was begun after the last change below the folder, and after `since`; or one that
    /// failed while this waited for it.
    async fn listed(&self, key: &Key, source: &FolderSource, since: Option<Instant>) -> Listed {
        let asked = Instant::now();
        let slot = self.folders().slot(key);
        let mut held = slot.lock().await;
        let moved = self.folders().moved(key);
        let serves = |listed: &Listed| match listed.entries {
            Ok(_) => listed.begun.elapsed() < HELD && since.max(moved).is_none_or(|earliest| listed.begun >= earliest),
            Err(_) => listed.ended >= asked,
        };
        if let Some(listed) = held.as_ref().filter(|listed| serves(listed)) {
            return listed.clone();
        }
        let begun = Instant::now();
        let entries = source.client.list(&source.folder, source.detail).await.map(Arc::new);
        let listed = Listed { begun, ended: Instant::now(), entries };
        *held = Some(listed.clone());
        let woken = {
            let mut folders = self.folders();
            folders.expires.get_or_insert(listed.ended + HELD);
            match &listed.entries {
                Ok(entries) => {
                    tracing::debug!(folder = %source.folder, entries = entries.len(), "listed");
                    folders.listed(key, begun, entries, listed.ended)
                }
                Err(_) => Vec::new(),
            }
        };
        self.folders_rescheduled.notify_one();
        self.wake(woken);
        listed
    }

    /// Lists each folder once per interval, until cancelled.
    ///
    /// # Panics
    /// When a list does.
    pub async fn run_folders(self: Arc<Self>, token: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            let next = self.folders().next();
            tokio::select! {
                () = token.cancelled() => return,
                () = reached(next) => {
                    let now = Instant::now();
                    self.folders().expire(now);
                    for (key, source) in self.folders().take_due(now) {
                        let feed = self.clone();
                        running.spawn(async move { feed.check_folder(&key, &source).await });
                    }
                }
                () = self.folders_rescheduled.notified() => {}
                Some(ended) = running.join_next() => {
                    if let Some(panic) = ended.err().and_then(|failure| failure.try_into_panic().ok()) {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    pub(super) async fn check_folder(&self, key: &Key, source: &FolderSource) {
        if let Err(error) = self.listed(key, source, Some(Instant::now())).await.entries {
            tracing::debug!(folder = %source.folder, %error, "listing failed");
            let woken = self.folders().failed(key, Instant::now());
            self.wake(woken);
        }
    }
}

/// The folders of an entry, the whole mount first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::once("").chain(path.match_indices('/').map(|(at, _)| &path[..at]))
}

fn digest(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
