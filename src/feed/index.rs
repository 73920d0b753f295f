//! The feed's memory, without a clock and without requests: who reads what, what they have got, and what is due.

mod due;
mod standing;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Follow, Labels, Pushed, ReadKey, Seen, Source, Trouble};
use crate::controller::referrers::Name;
use crate::store::{Identity, PathKey};
pub(super) use due::{Check, Due};

/// How long bytes are held for a consumer that was woken and has not come yet.
const WOKEN_HOLD: Duration = Duration::from_secs(5);
/// How long a start lasts at most: objects far apart in the queue still share one read.
const LONGEST_START: Duration = Duration::from_secs(30);
/// A start is over when no new consumer came for this long.
const START_PAUSE: Duration = Duration::from_secs(3);
/// Two announcements of one path may overtake each other by no more than this.
const OVERTAKING: Duration = Duration::from_secs(5);
/// No standby lags longer than this: what is still absent then, is absent.
const LONGEST_LAG: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub(super) struct Index {
    consumers: HashMap<Name, Consumer>,
    paths: HashMap<PathKey, Path>,
    due: BTreeSet<(Instant, PathKey)>,
    awaited: HashMap<ReadKey, Awaited>,
    start: Option<Start>,
}

struct Consumer {
    /// Each read key once. Most consumers have one, for which a tree would set aside room for eleven.
    sources: Vec<(ReadKey, Held)>,
    follow: Follow,
    labels: Labels,
    queued: bool,
    /// When the version was announced that it is to get.
    announced: Option<Instant>,
    /// What was in its way when it was last reconciled.
    trouble: Option<Box<Trouble>>,
}

impl Consumer {
    fn held(&mut self, key: &ReadKey) -> Option<&mut Held> {
        self.sources.iter_mut().find(|(known, _)| known == key).map(|(_, held)| held)
    }

    fn keys(&self) -> BTreeSet<PathKey> {
        self.sources.iter().map(|(read, _)| read.key.clone()).collect()
    }

    fn reads(&self) -> BTreeSet<ReadKey> {
        self.sources.iter().map(|(read, _)| read.clone()).collect()
    }
}

struct Held {
    source: Source,
    taken: Option<Seen>,
    /// The version that its target was rendered from.
    stands: Option<u64>,
}

struct Path {
    consumers: BTreeSet<Name>,
    known: Option<Known>,
    /// The version that a push of ours removed last.
    removed: Option<u64>,
    failing: BTreeSet<Identity>,
    next: Option<Next>,
}

/// The next check of a path.
#[derive(Clone, Copy)]
struct Next {
    at: Instant,
    /// The shortest that a follower asked for.
    window: Duration,
}

#[derive(Clone, Copy)]
struct Known {
    seen: Seen,
    at: Instant,
}

/// Consumers that were woken for a read and have not come yet.
struct Awaited {
    names: HashSet<Name>,
    until: Instant,
}

struct Start {
    at: Timestamp,
    ends: Instant,
    latest: Instant,
}

/// What a read found, in view of what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It may be used.
    Good,
    /// Older than what is known, by a server that may lag: ask again.
    Behind,
    /// Older than what has been known for so long that no server can lag by it.
    WentBack {
        /// What was known.
        from: u64,
    },
}

impl Index {
    /// The controller starts: until no new consumer comes any more, reads are held for those who may follow.
    pub fn started(&mut self, at: Timestamp, now: Instant) {
        self.start = Some(Start { at, ends: now + 3 * START_PAUSE, latest: now + LONGEST_START });
    }

    pub fn in_first_wave(&self, created: Option<Timestamp>, now: Instant) -> bool {
        self.start.as_ref().is_some_and(|start| now < start.ends && created.is_some_and(|created| created < start.at))
    }

    /// Whether reads are held for consumers that nobody knows yet.
    pub fn starting(&self, now: Instant) -> bool {
        self.start.as_ref().is_some_and(|start| now < start.ends)
    }

    /// Says of which paths this is another consumer than before.
    pub fn subscribe(
        &mut self,
        name: &Name,
        sources: Vec<Source>,
        follow: Follow,
        now: Instant,
        jitter: impl Fn(Duration) -> Duration,
    ) -> BTreeSet<PathKey> {
        let mut before = self.remove(name);
        if before.is_none()
            && let Some(start) = &mut self.start
        {
            start.ends = start.ends.max(now + START_PAUSE).min(start.latest);
        }
        let announced = before.as_ref().and_then(|before| before.announced);
        let labels = before.as_ref().map(|before| before.labels).unwrap_or_default();
        let trouble = before.as_mut().and_then(|before| before.trouble.take());
        let mut consumer =
            Consumer { sources: Vec::with_capacity(sources.len()), follow, labels, queued: false, announced, trouble };
        for source in sources {
            let key = source.read_key();
            let former = before.as_mut().and_then(|before| before.held(&key));
            let (taken, stands) = former.map_or((None, None), |held| (held.taken, held.stands));
            self.path(&key.key).consumers.insert(name.clone());
            match consumer.held(&key) {
                Some(held) => *held = Held { source, taken, stands },
                None => consumer.sources.push((key, Held { source, taken, stands })),
            }
        }
        let (keys, reads) = (consumer.keys(), consumer.reads());
        self.consumers.insert(name.clone(), consumer);
        for key in &keys {
            self.schedule(key, now, &jitter);
        }
        let as_before = before.as_ref().is_some_and(|before| before.follow == follow && before.reads() == reads);
        let moved = match as_before {
            true => BTreeSet::new(),
            false => before.iter().flat_map(Consumer::keys).chain(keys).collect(),
        };
        self.sweep_paths(before);
        moved
    }

    /// Says what it had read.
    pub fn forget(&mut self, name: &Name) -> BTreeSet<PathKey> {
        let before = self.remove(name);
        let keys = before.iter().flat_map(Consumer::keys).collect();
        for (key, _) in before.iter().flat_map(|before| &before.sources) {
            if let Some(awaited) = self.awaited.get_mut(key) {
                awaited.names.remove(name);
            }
        }
        self.sweep_paths(before);
        keys
    }

    pub fn judged_by(&mut self, name: &Name, labels: Labels) {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.labels = labels;
        }
    }

    /// Other labels of namespaces: whoever is judged by them is to look again.
    pub fn labels_changed(&mut self, namespaces: impl Fn(&str) -> bool, now: Instant) -> Vec<Name> {
        let concerned =
            |(name, consumer): &(&Name, &Consumer)| consumer.labels == Labels::Decisive && namespaces(&name.namespace);
        let concerned: BTreeSet<Name> = self.consumers.iter().filter(concerned).map(|(name, _)| name.clone()).collect();
        self.outdate(&concerned, |_| true);
        self.wake(concerned, now)
    }

    /// Clears the mark that keeps a consumer from being queued twice, and says whether it has something to read.
    pub fn begin(&mut self, name: &Name) -> bool {
        let Some(consumer) = self.consumers.get_mut(name) else { return true };
        consumer.queued = false;
        consumer.sources.iter().any(|(key, held)| match held.taken {
            None => true,
            Some(taken) => {
                consumer.follow != Follow::Never
                    && key.version.is_none()
                    && self.paths.get(&key.key).is_some_and(|path| path.differs(taken))
            }
        })
    }

    /// A push's own word.
    pub fn announce(&mut self, key: &PathKey, pushed: Pushed, now: Instant) -> Vec<Name> {
        match pushed {
            Pushed::Version(version) => self.announce_version(key, version, true, now),
            Pushed::Removal(version) => {
                if let Some(path) = self.paths.get_mut(key) {
                    path.removed = Some(version);
                }
                self.announce_version(key, version, false, now)
            }
            Pushed::Purge => {
                if let Some(path) = self.paths.get_mut(key) {
                    path.removed = Some(0);
                    // Whatever comes next is no step back.
                    path.known = None;
                }
                self.announce_version(key, 0, false, now)
            }
            Pushed::Consent => self.announce_consent(key, now),
        }
    }

    /// The truth, unless a later version overtook it.
    fn announce_version(&mut self, key: &PathKey, version: u64, live: bool, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(key) else { return Vec::new() };
        let overtaken =
            path.known.is_some_and(|known| known.seen.version > version && now.duration_since(known.at) < OVERTAKING);
        if overtaken {
            return Vec::new();
        }
        // A write leaves consents as they are.
        let consents = path.known.filter(|known| known.seen.version == version).and_then(|known| known.seen.consents);
        let seen = Seen { version, live, consents };
        path.known = Some(Known { seen, at: now });
        let behind = self.behind(key, seen);
        for name in &behind {
            if let Some(consumer) = self.consumers.get_mut(name) {
                consumer.announced.get_or_insert(now);
            }
        }
        self.wake(behind, now)
    }

    /// Other labels at the same version: what was read before is good no longer.
    fn announce_consent(&mut self, key: &PathKey, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(key) else { return Vec::new() };
        if let Some(known) = &mut path.known {
            known.seen.consents = None;
        }
        let following: BTreeSet<Name> = match self.paths.get(key) {
            Some(path) => self.following(path, key).map(|(name, _)| name.clone()).collect(),
            None => BTreeSet::new(),
        };
        self.outdate(&following, |read| read.key == *key);
        self.wake(following, now)
    }

    /// Whether a push of ours removed this version.
    pub fn is_removed_by_push(&self, key: &PathKey, version: u64) -> bool {
        self.paths.get(key).is_some_and(|path| path.removed == Some(version))
    }

    /// When the version was announced that this consumer has got now; nothing when it did not wait for one.
    pub fn take_announced(&mut self, name: &Name) -> Option<Instant> {
        self.consumers.get_mut(name)?.announced.take()
    }

    /// A check of the path by `identity`: wakes the followers that have something else, or could not read until now.
    pub fn checked(&mut self, key: &PathKey, identity: &Identity, seen: Seen, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(key) else { return Vec::new() };
        let recovered = path.failing.remove(identity);
        let older = path.known.filter(|known| seen.version < known.seen.version);
        let lagging = older.is_some_and(|known| now.duration_since(known.at) < LONGEST_LAG);
        if older.is_none() && path.known.is_none_or(|known| known.seen != seen) {
            path.known = Some(Known { seen, at: now });
        }
        let mut woken = if recovered { self.wake_readers(key, identity, now) } else { Vec::new() };
        if !lagging {
            woken.extend(self.wake_behind(key, seen, now));
        }
        woken
    }

    /// A failed check: wakes those who read by `identity`, once, so that they find out and say so.
    pub fn check_failed(&mut self, key: &PathKey, identity: &Identity, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(key) else { return Vec::new() };
        if !path.failing.insert(identity.clone()) {
            return Vec::new();
        }
        self.wake_readers(key, identity, now)
    }

    /// How far a fresh read of the latest version is; records it where it is good. A person's word (`accept_older`) allows for
    /// what was known long ago, not for what was announced just now: that is newer than the word, or a server lags.
    pub fn judge(&mut self, key: &ReadKey, seen: Seen, accept_older: bool, now: Instant) -> Progress {
        let Some(path) = self.paths.get_mut(&key.key) else { return Progress::Good };
        // The login works after all; the next failed check is news again.
        path.failing.remove(&key.identity);
        if key.version.is_some() {
            return Progress::Good;
        }
        if let Some(known) = path.known.filter(|known| seen.version < known.seen.version) {
            let settled = now.duration_since(known.at) >= LONGEST_LAG;
            match (settled, seen.version) {
                (false, _) => return Progress::Behind,
                (true, 0) => {}
                (true, _) if accept_older => {}
                (true, _) => return Progress::WentBack { from: known.seen.version },
            }
        }
        if path.known.is_none_or(|known| known.seen != seen) {
            path.known = Some(Known { seen, at: now });
        }
        Progress::Good
    }

    /// Whether a held read is still the latest that is known, by a login that is not known to fail.
    pub fn is_current(&self, key: &ReadKey, seen: Seen) -> bool {
        self.paths
            .get(&key.key)
            .is_none_or(|path| !path.failing.contains(&key.identity) && (key.version.is_some() || !path.differs(seen)))
    }

    /// A consumer got this read. Whether the bytes are to be kept for others.
    pub fn taken(&mut self, name: &Name, key: &ReadKey, seen: Seen, now: Instant) -> bool {
        if let Some(held) = self.consumers.get_mut(name).and_then(|consumer| consumer.held(key)) {
            held.taken = Some(seen);
        }
        if let Some(awaited) = self.awaited.get_mut(key) {
            awaited.names.remove(name);
            if awaited.names.is_empty() {
                self.awaited.remove(key);
            }
        }
        self.is_awaited(key, now)
    }

    /// Whether somebody is still to come for this read.
    pub fn is_awaited(&self, key: &ReadKey, now: Instant) -> bool {
        self.starting(now) || self.awaited.get(key).is_some_and(|awaited| now < awaited.until)
    }

    /// A consumer could not read: it is to look again when the path is known to be well.
    pub fn failed(&mut self, name: &Name, key: &ReadKey) {
        if let Some(held) = self.consumers.get_mut(name).and_then(|consumer| consumer.held(key)) {
            held.taken = None;
        }
    }

    /// Forgets those who were woken and did not come.
    pub fn expire(&mut self, now: Instant) {
        self.awaited.retain(|_, awaited| now < awaited.until);
    }

    fn following<'a>(&'a self, path: &'a Path, key: &'a PathKey) -> impl Iterator<Item = (&'a Name, &'a Held)> {
        path.consumers
            .iter()
            .filter_map(|name| self.consumers.get_key_value(name))
            .filter(|(_, consumer)| consumer.follow != Follow::Never)
            .flat_map(|(name, consumer)| consumer.sources.iter().map(move |(read, held)| (name, read, held)))
            .filter(move |(_, read, _)| read.key == *key && read.version.is_none())
            .map(|(name, _, held)| (name, held))
    }

    fn wake_behind(&mut self, key: &PathKey, seen: Seen, now: Instant) -> Vec<Name> {
        let behind = self.behind(key, seen);
        // What is known may still be what they have: where the number went back, only a read can tell.
        self.outdate(&behind, |read| read.key == *key);
        self.wake(behind, now)
    }

    /// The followers that have something else.
    fn behind(&self, key: &PathKey, seen: Seen) -> BTreeSet<Name> {
        let Some(path) = self.paths.get(key) else { return BTreeSet::new() };
        let following = self.following(path, key);
        following.filter(|(_, held)| held.taken != Some(seen)).map(|(name, _)| name.clone()).collect()
    }

    fn wake_readers(&mut self, key: &PathKey, identity: &Identity, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get(key) else { return Vec::new() };
        let readers: BTreeSet<Name> = self
            .following(path, key)
            .filter(|(_, held)| held.source.client.identity() == identity)
            .map(|(name, _)| name.clone())
            .collect();
        self.outdate(&readers, |read| read.key == *key && read.identity == *identity);
        self.wake(readers, now)
    }

    /// They are to read again, whatever they have.
    fn outdate(&mut self, names: &BTreeSet<Name>, which: impl Fn(&ReadKey) -> bool) {
        for name in names {
            for (read, held) in self.consumers.get_mut(name).into_iter().flat_map(|consumer| &mut consumer.sources) {
                if which(read) && read.version.is_none() {
                    held.taken = None;
                }
            }
        }
    }

    /// Marks them as expected at everything they read, and returns those that are not queued yet.
    fn wake(&mut self, names: BTreeSet<Name>, now: Instant) -> Vec<Name> {
        let mut woken = Vec::new();
        for name in names {
            let Some(consumer) = self.consumers.get_mut(&name) else { continue };
            for (key, _) in &consumer.sources {
                let awaited = self
                    .awaited
                    .entry(key.clone())
                    .or_insert_with(|| Awaited { names: HashSet::new(), until: now + WOKEN_HOLD });
                awaited.names.insert(name.clone());
                awaited.until = now + WOKEN_HOLD;
            }
            if !std::mem::replace(&mut consumer.queued, true) {
                woken.push(name);
            }
        }
        woken
    }

    fn path(&mut self, key: &PathKey) -> &mut Path {
        self.paths.entry(key.clone()).or_insert_with(|| Path {
            consumers: BTreeSet::new(),
            known: None,
            removed: None,
            failing: BTreeSet::new(),
            next: None,
        })
    }

    fn remove(&mut self, name: &Name) -> Option<Consumer> {
        let consumer = self.consumers.remove(name)?;
        for (key, _) in &consumer.sources {
            if let Some(path) = self.paths.get_mut(&key.key) {
                path.consumers.remove(name);
            }
        }
        Some(consumer)
    }

    /// Drops the paths that lost their last consumer.
    fn sweep_paths(&mut self, before: Option<Consumer>) {
        for (key, _) in before.into_iter().flat_map(|before| before.sources) {
            if self.paths.get(&key.key).is_some_and(|path| path.consumers.is_empty())
                && let Some(next) = self.paths.remove(&key.key).and_then(|path| path.next)
            {
                self.due.remove(&(next.at, key.key));
            }
        }
    }
}

impl Path {
    fn differs(&self, seen: Seen) -> bool {
        self.known.is_some_and(|known| known.seen != seen)
    }
}
