//! The feed's memory, without a clock and without requests: who reads what, what they have read,
//! and which checks are due.

mod accepted;
mod announce;
mod consents;
mod due;
mod judge;
mod metadata;
mod past;
mod sync_state;
mod wake;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::listing::Tree;
use super::{Follow, Labels, ReadKey, Seen, Source, Trouble};
use crate::domain::object_name::Name;
use crate::store::{Identity, PathKey, Site};
use accepted::Accepted;
pub(super) use due::{Check, Due};
pub(super) use judge::Progress;
use metadata::Shown;

/// The maximum duration of the start, in which objects far apart in the queue still share one read.
const LONGEST_START: Duration = Duration::from_secs(30);
/// The maximum lag of a standby: what is still missing then does not exist.
const LONGEST_LAG: Duration = Duration::from_secs(10);
/// The start is over when there was no new consumer for this long.
const START_PAUSE: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Default)]
pub(super) struct Index {
    /// Behind pointers: a table has up to twice as many places as entries.
    consumers: HashMap<Name, Box<Consumer>>,
    /// In order, so that the sites of one place are in a row.
    paths: BTreeMap<Site, Path>,
    due: BTreeSet<(Instant, Site)>,
    /// What each login reads, by the top folders of mounts, with the number of consumers.
    trees: HashMap<Tree, BTreeMap<Site, usize>>,
    awaited: HashMap<ReadKey, Awaited>,
    /// The consumers that a read woke, for the task that made it.
    woken_by_reads: Vec<Name>,
    start: Option<Start>,
}

struct Consumer {
    /// Each read key once, in a `Vec`: most consumers have one key, and a tree would allocate room
    /// for eleven.
    sources: Vec<(ReadKey, Held)>,
    follow: Follow,
    labels: Labels,
    queued: bool,
    /// Whether its stores can be opened.
    access: Access,
    /// When the version that it is to read was announced.
    announced: Option<Instant>,
    /// Why its last reconcile failed.
    trouble: Option<Trouble>,
    /// What it accepted of paths that went back.
    accepted: BTreeMap<Site, Accepted>,
    /// Other paths whose consents concern it.
    heeded: Vec<Site>,
    /// When the labels by which it is judged changed.
    relabelled: Option<Instant>,
    /// What it has read for their consents alone since it last declared its paths.
    asked: Vec<(Site, Taken)>,
}

/// Whether the stores of a consumer can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// They could when it last subscribed.
    Open,
    /// They cannot now, so that its logins are another store's, or none: nothing is checked with
    /// them.
    Lost,
}

impl Consumer {
    fn held(&mut self, key: &ReadKey) -> Option<&mut Held> {
        self.sources.iter_mut().find(|(known, _)| known == key).map(|(_, held)| held)
    }

    /// Whether another version of the path concerns a read: the consumer follows, or waits for a
    /// pinned version that has no data, or not yet.
    fn heeds(&self, read: &ReadKey, held: &Held) -> bool {
        let has_its_version = || held.taken.is_some_and(|taken| taken.seen.live);
        self.follow != Follow::Never && (read.version.is_none() || !has_its_version())
    }

    fn sites(&self) -> BTreeSet<Site> {
        self.sources.iter().map(|(read, _)| read.site.clone()).collect()
    }

    fn reads(&self) -> BTreeSet<ReadKey> {
        self.sources.iter().map(|(read, _)| read.clone()).collect()
    }
}

struct Held {
    source: Source,
    taken: Option<Taken>,
    /// Since when its last read counts no longer, so that it reads again.
    outdated: Option<Instant>,
    /// The version that its target was rendered from.
    rendered: Option<Seen>,
    /// The version that an earlier process rendered its target from, until this one has read the path
    /// for it. Behind a pointer, as most have none.
    past: Option<Box<Known>>,
}

/// A read that a consumer has got.
#[derive(Clone, Copy)]
struct Taken {
    seen: Seen,
    /// When it was begun: later changes of the path are not in it.
    begun: Instant,
}

struct Path {
    consumers: BTreeSet<Name>,
    known: Option<Known>,
    /// The last version that a push of ours removed, as long as nothing shows that its number is
    /// another's now.
    removed: Option<u64>,
    /// When a push last changed something without changing the version. Reads begun before do not
    /// have it.
    disturbed: Option<Instant>,
    /// What another address last announced of the place.
    hint: Option<Hint>,
    /// When the consents last changed.
    permitted: Option<Instant>,
    /// The last seen digest of its consents, at any version.
    consents: Option<u64>,
    /// The consents that a push changed last.
    superseded: Option<Box<Superseded>>,
    /// Its metadata, for those who read that.
    shown: Shown,
    failing: BTreeSet<Identity>,
    /// Whether a read showed another version than was known, and its followers were not told yet.
    untold: bool,
    /// When a check was last brought forward because a read was cut off.
    cut_off: Option<Instant>,
    /// When something happened, or will have, that no answer has shown yet.
    owed: Option<Instant>,
    next: Option<Next>,
}

/// An announcement of another address. Whoever reads the path reads it again, and what that shows
/// counts.
#[derive(Clone, Copy)]
struct Hint {
    /// The version to be expected, if it is the same server; 0 if none is.
    version: u64,
    at: Instant,
    /// The last announcement that repeated reads did not show.
    in_vain: Option<InVain>,
}

#[derive(Clone, Copy)]
struct InVain {
    version: u64,
    at: Instant,
}

/// Consents that a push changed. A standby that lags may still show them.
struct Superseded {
    /// Their digest, if anybody had read them.
    consents: Option<u64>,
    /// When they were changed.
    at: Instant,
    /// Whether a read that may show them was used.
    is_used: bool,
}

/// The next check of a path.
#[derive(Clone, Copy)]
struct Next {
    at: Instant,
    /// The shortest interval of its consumers.
    window: Duration,
}

#[derive(Clone, Copy)]
struct Known {
    seen: Seen,
    at: Instant,
}

/// Consumers that were woken for a read and have not read yet.
struct Awaited {
    names: HashSet<Name>,
    until: Instant,
}

struct Start {
    at: Timestamp,
    ends: Instant,
    latest: Instant,
}

impl Index {
    /// The controller starts: until there are no more new consumers, reads are held for those who
    /// may follow.
    pub fn started(&mut self, at: Timestamp, now: Instant) {
        self.start = Some(Start { at, ends: now + 3 * START_PAUSE, latest: now + LONGEST_START });
    }

    pub fn in_first_wave(&self, created: Option<Timestamp>, now: Instant) -> bool {
        self.start.as_ref().is_some_and(|start| now < start.ends && created.is_some_and(|created| created < start.at))
    }

    /// Whether reads are held for consumers that are not known yet.
    pub fn starting(&self, now: Instant) -> bool {
        self.start.as_ref().is_some_and(|start| now < start.ends)
    }

    /// Returns the paths whose consumers changed.
    pub fn subscribe(
        &mut self,
        name: &Name,
        sources: Vec<Source>,
        follow: Follow,
        now: Instant,
        jitter: impl Fn(Duration) -> Duration,
    ) -> BTreeSet<Site> {
        let mut before = self.remove(name);
        if before.is_none()
            && let Some(start) = &mut self.start
        {
            start.ends = start.ends.max(now + START_PAUSE).min(start.latest);
        }
        let announced = before.as_ref().and_then(|before| before.announced);
        let labels = before.as_ref().map(|before| before.labels).unwrap_or_default();
        let trouble = before.as_mut().and_then(|before| before.trouble.take());
        let accepted = before.as_mut().map(|before| std::mem::take(&mut before.accepted)).unwrap_or_default();
        let mut consumer = Consumer {
            sources: Vec::with_capacity(sources.len()),
            follow,
            labels,
            queued: false,
            access: Access::Open,
            announced,
            trouble,
            accepted,
            heeded: before.as_mut().map(|before| std::mem::take(&mut before.heeded)).unwrap_or_default(),
            relabelled: None,
            asked: Vec::new(),
        };
        for mut source in sources {
            let mut key = source.read_key();
            // Those who read one path share its texts.
            if let Some((known, _)) = self.paths.get_key_value(&key.site) {
                key.site = known.clone();
                source.key = known.place.clone();
            }
            let former = before.as_mut().and_then(|before| before.held(&key));
            let held = match former {
                Some(held) => Held { source, past: held.past.clone(), ..*held },
                None => Held { source, taken: None, outdated: None, rendered: None, past: None },
            };
            self.path(&key.site).consumers.insert(name.clone());
            match consumer.held(&key) {
                Some(known) => *known = held,
                None => consumer.sources.push((key, held)),
            }
        }
        let (sites, reads) = (consumer.sites(), consumer.reads());
        consumer.accepted.retain(|site, _| sites.contains(site));
        consumer.heeded.retain(|site| !sites.contains(site));
        for site in &consumer.heeded {
            self.path(site).consumers.insert(name.clone());
        }
        for (dropped, _) in before.iter().flat_map(|before| &before.sources).filter(|(read, _)| !reads.contains(read)) {
            self.awaits_no_longer(name, dropped);
        }
        reads.iter().for_each(|read| self.plant(read));
        self.consumers.insert(name.clone(), Box::new(consumer));
        let as_before = before.as_ref().is_some_and(|before| before.follow == follow && before.reads() == reads);
        let was_checked = before.as_ref().is_some_and(|before| before.access == Access::Open);
        if !(as_before && was_checked) {
            for site in &sites {
                match follow {
                    Follow::Every(window) => self.hasten(site, window, now, &jitter),
                    Follow::Never => self.schedule(site, now, &jitter),
                }
            }
        }
        if before.as_ref().is_some_and(|before| before.access == Access::Lost) {
            sites.iter().for_each(|site| self.retry(site, now));
        }
        let moved = match as_before {
            true => BTreeSet::new(),
            false => before.iter().flat_map(|before| before.sites()).chain(sites).collect(),
        };
        self.sweep_paths(before);
        moved
    }

    /// Its stores cannot be opened: its logins check nothing until it subscribes again. What it
    /// reads still wakes it.
    pub fn lost_access(&mut self, name: &Name, now: Instant, jitter: impl Fn(Duration) -> Duration) {
        let Some(consumer) = self.consumers.get_mut(name) else { return };
        if std::mem::replace(&mut consumer.access, Access::Lost) == Access::Open {
            consumer.sites().iter().for_each(|site| self.schedule(site, now, &jitter));
        }
    }

    /// The consumers that reads woke since the last call.
    pub fn take_woken_by_reads(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.woken_by_reads)
    }

    /// Returns what it had read.
    pub fn forget(&mut self, name: &Name) -> BTreeSet<Site> {
        let before = self.remove(name);
        let sites = before.iter().flat_map(|before| before.sites()).collect();
        for (key, _) in before.iter().flat_map(|before| &before.sources) {
            self.awaits_no_longer(name, key);
        }
        self.sweep_paths(before);
        sites
    }

    pub fn judged_by(&mut self, name: &Name, labels: Labels) {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.labels = labels;
        }
    }

    /// Clears the mark that prevents queueing a consumer twice.
    pub fn take_up(&mut self, name: &Name) {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.queued = false;
        }
    }

    /// Whether a consumer has something to read.
    pub fn begin(&mut self, name: &Name) -> bool {
        self.take_up(name);
        let Some(consumer) = self.consumers.get(name) else { return true };
        consumer.sources.iter().any(|(read, held)| match (held.taken, self.paths.get(&read.site)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(taken), Some(path)) => {
                let accepts = path.known.is_some_and(|known| consumer.accepts(&read.site, taken.seen, known.seen));
                // A consent is not a version: it also reaches consumers that do not follow.
                path.permitted.is_some_and(|at| taken.begun < at)
                    || consumer.heeds(read, held)
                        && (path.differs(taken.seen) && !accepts
                            || path.shown.is_outdated(read.what, taken.begun)
                            || path.is_disturbed_after(taken.begun)
                            || path.is_hinted_after(taken.begun))
            }
        })
    }

    /// Whether a push of ours removed this version.
    pub fn is_removed_by_push(&self, site: &Site, version: u64) -> bool {
        self.paths.get(site).is_some_and(|path| path.removed == Some(version))
    }

    /// When the version that this consumer now has was announced; `None` if it did not wait for
    /// one.
    pub fn take_announced(&mut self, name: &Name) -> Option<Instant> {
        self.consumers.get_mut(name)?.announced.take()
    }

    /// Records that a consumer got this read, begun at `begun`.
    pub fn taken(&mut self, name: &Name, key: &ReadKey, seen: Seen, begun: Instant) {
        let taken = Taken { seen, begun };
        if let Some(consumer) = self.consumers.get_mut(name) {
            match consumer.held(key) {
                Some(held) => (held.taken, held.past, held.outdated) = (Some(taken), None, None),
                None => consumer.asked.push((key.site.clone(), taken)),
            }
        }
        self.awaits_no_longer(name, key);
    }

    fn awaits_no_longer(&mut self, name: &Name, key: &ReadKey) {
        if let Some(awaited) = self.awaited.get_mut(key) {
            awaited.names.remove(name);
            if awaited.names.is_empty() {
                self.awaited.remove(key);
            }
        }
    }

    /// Whether this read still has consumers to serve.
    pub fn is_awaited(&self, key: &ReadKey, now: Instant) -> bool {
        self.starting(now) || self.awaited.get(key).is_some_and(|awaited| now < awaited.until)
    }

    /// Records that a consumer could not read. It is woken when the path can be read again.
    pub fn failed(&mut self, name: &Name, key: &ReadKey) {
        if let Some(held) = self.consumers.get_mut(name).and_then(|consumer| consumer.held(key)) {
            (held.taken, held.outdated) = (None, None);
        }
    }

    /// Records that a consumer may not use the values of a read, because the version went back. It
    /// still goes by the consents.
    pub fn refused(&mut self, name: &Name, key: &ReadKey, seen: Seen, begun: Instant) {
        self.failed(name, key);
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.asked.push((key.site.clone(), Taken { seen, begun }));
        }
    }

    /// Drops consumers that were woken but did not read.
    pub fn expire(&mut self, now: Instant) {
        self.awaited.retain(|_, awaited| now < awaited.until);
    }

    /// The followed sites of a place.
    fn sites_of<'a>(&'a self, place: &'a PathKey) -> impl Iterator<Item = (&'a Site, &'a Path)> {
        let first = Site { place: place.clone(), address: Arc::from("") };
        self.paths.range(first..).take_while(|(site, _)| site.place == *place)
    }

    fn path(&mut self, site: &Site) -> &mut Path {
        self.paths.entry(site.clone()).or_insert_with(|| Path {
            consumers: BTreeSet::new(),
            known: None,
            removed: None,
            disturbed: None,
            hint: None,
            permitted: None,
            consents: None,
            superseded: None,
            shown: Shown::default(),
            failing: BTreeSet::new(),
            untold: false,
            cut_off: None,
            owed: None,
            next: None,
        })
    }

    fn remove(&mut self, name: &Name) -> Option<Box<Consumer>> {
        let consumer = self.consumers.remove(name)?;
        consumer.reads().iter().for_each(|read| self.uproot(read));
        for site in consumer.sources.iter().map(|(read, _)| &read.site).chain(&consumer.heeded) {
            if let Some(path) = self.paths.get_mut(site) {
                path.consumers.remove(name);
            }
        }
        Some(consumer)
    }

    /// Drops the paths that lost their last consumer, and what is known of logins that read a path
    /// no more: each edit of a store makes another one.
    fn sweep_paths(&mut self, before: Option<Box<Consumer>>) {
        let Some(before) = before else { return };
        let Consumer { sources, heeded, .. } = *before;
        for (ReadKey { site, identity, .. }, _) in &sources {
            let is_failing = self.paths.get(site).is_some_and(|path| path.failing.contains(identity));
            if is_failing && !self.is_read_with(site, identity) {
                self.path(site).failing.remove(identity);
            }
        }
        for site in sources.into_iter().map(|(read, _)| read.site).chain(heeded) {
            if self.paths.get(&site).is_some_and(|path| path.consumers.is_empty())
                && let Some(next) = self.paths.remove(&site).and_then(|path| path.next)
            {
                self.due.remove(&(next.at, site));
            }
        }
    }
}

#[cfg(test)]
impl Index {
    /// The number of consumers; asserts that no other state is left without them.
    pub fn consumers(&self) -> usize {
        let nothing = self.paths.is_empty() && self.trees.is_empty() && self.due.is_empty() && self.awaited.is_empty();
        assert!(!self.consumers.is_empty() || nothing);
        self.consumers.len()
    }

    /// When the last of the paths is due.
    pub fn last_due(&self) -> Option<Instant> {
        self.due.last().map(|(at, _)| *at)
    }

    /// What is known was known so much earlier.
    pub fn pass(&mut self, time: Duration) {
        for path in self.paths.values_mut() {
            let known = path.known.as_mut().map(|known| &mut known.at);
            let superseded = path.superseded.as_mut().map(|superseded| &mut superseded.at);
            let all = known.into_iter().chain(superseded).chain(&mut path.permitted).chain(&mut path.owed);
            all.for_each(|at| *at = at.checked_sub(time).unwrap_or(*at));
        }
        for (_, held) in self.consumers.values_mut().flat_map(|consumer| &mut consumer.sources) {
            let taken = held.taken.as_mut().map(|taken| &mut taken.begun);
            let past = held.past.as_mut().map(|past| &mut past.at);
            taken.into_iter().chain(past).for_each(|at| *at = at.checked_sub(time).unwrap_or(*at));
        }
    }

    /// The logins whose last check of the path failed.
    pub fn failing(&self, site: &Site) -> Vec<Identity> {
        self.paths.get(site).into_iter().flat_map(|path| &path.failing).cloned().collect()
    }

    /// What a consumer has read.
    pub fn taken_by(&mut self, name: &Name, key: &ReadKey) -> Option<Seen> {
        self.consumers.get_mut(name)?.held(key)?.taken.map(|taken| taken.seen)
    }
}

impl Path {
    /// Records what is known now, and when it became known if it is news.
    fn know(&mut self, seen: Seen, now: Instant) {
        let is_news = |known: Seen| known.differs(seen) || known.consents.is_none() && seen.consents.is_some();
        match &mut self.known {
            Some(known) if !is_news(known.seen) => known.seen.created = known.seen.created.or(seen.created),
            _ => self.replace(seen, now),
        }
    }

    fn replace(&mut self, seen: Seen, now: Instant) {
        let is_of_entry = self.known.is_none_or(|known| known.seen.is_of_entry(seen));
        self.removed = self.removed.filter(|removed| match removed.cmp(&seen.version) {
            Ordering::Less => *removed > 0 && is_of_entry,
            Ordering::Equal => !seen.live && is_of_entry,
            Ordering::Greater => false,
        });
        let before = self.known.filter(|_| seen.version == 0);
        let created = seen.created.or_else(|| before?.seen.created);
        self.known = Some(Known { seen: Seen { created, ..seen }, at: now });
    }

    fn differs(&self, seen: Seen) -> bool {
        self.known.is_some_and(|known| known.seen.differs(seen))
    }

    /// Whether reads are repeated until they show the version that another address announced. If
    /// that was just in vain, further announcements are followed by one read each: announcements
    /// without end may come from another server that only calls itself the same. If the announced
    /// version is here by now, it is the same server, and a standby lagged.
    fn awaits_hinted(&self, now: Instant) -> bool {
        let known = self.known.map_or(0, |known| known.seen.version);
        self.hint.is_some_and(|hint| {
            let is_doubted = |missed: InVain| now.duration_since(missed.at) < LONGEST_LAG && known < missed.version;
            known < hint.version && now.duration_since(hint.at) < LONGEST_LAG && !hint.in_vain.is_some_and(is_doubted)
        })
    }

    /// When a standby cannot lag any more that has not shown what another address announced, or may
    /// have shown superseded consents.
    fn catches_up(&self, now: Instant) -> Option<Instant> {
        let is_shown = |hint: &Hint| {
            self.known.is_some_and(|known| match hint.version {
                // Whatever was announced, it changed something.
                0 => known.at >= hint.at,
                version => known.seen.version >= version,
            })
        };
        let hinted = self.hint.filter(|hint| !is_shown(hint)).map(|hint| hint.at);
        let used = self.superseded.as_ref().filter(|superseded| superseded.is_used).map(|superseded| superseded.at);
        let caught_up = hinted.into_iter().chain(used).map(|at| at + LONGEST_LAG);
        caught_up.filter(|at| now < *at).min()
    }

    /// Whether something was announced after this time that a read begun then may lack.
    fn has_news_since(&self, begun: Instant) -> bool {
        self.is_disturbed_after(begun) || self.is_hinted_after(begun) || self.permitted.is_some_and(|at| begun < at)
    }

    /// Whether another address announced something after this time.
    fn is_hinted_after(&self, begun: Instant) -> bool {
        self.hint.is_some_and(|hint| begun < hint.at)
    }

    /// Whether a push changed something after this time, so that a read begun at it may lack it.
    fn is_disturbed_after(&self, begun: Instant) -> bool {
        self.disturbed.is_some_and(|at| begun < at)
    }
}
