//! When each path is checked next, with which logins, and how one listing checks all followed paths
//! below a folder.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Access, Held, Index, Next, Path};
use crate::domain::object_name::Name;
use crate::feed::listing::{Folder, Tree};
use crate::feed::{Follow, ReadKey, Seen, Source};
use crate::store::{Identity, Latest, Site};

/// The shortest interval between two checks of a path, whatever its consumers ask for.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
/// How often a path is checked that is read by consumers that do not follow, and by no others:
/// another cluster, or a person, may have withdrawn a consent.
const UNFOLLOWED_WINDOW: Duration = Duration::from_secs(3600);
/// The shortest pause before a check that failed is repeated because an answer is owed.
const RETRY: Duration = Duration::from_secs(30);

/// A path whose check is due.
pub(in crate::feed) struct Due {
    pub site: Site,
    /// The logins to check with.
    pub logins: Vec<Check>,
    /// The shortest interval of its consumers.
    pub window: Duration,
    /// When something happened that only a later answer shows.
    pub asked: Option<Instant>,
}

/// One login to check a path with.
pub(in crate::feed) struct Check {
    pub source: Source,
    /// Whether its last check failed.
    pub failing: bool,
}

impl Due {
    /// What is checked apart: with the logins that worked last time, in turn until one decides, and
    /// with each of the others alone. One that fails for a reason of its own, or is slow to fail,
    /// delays the others by one check.
    pub fn apart(self) -> impl Iterator<Item = Due> {
        let Due { site, logins, window, asked } = self;
        let (failing, working): (Vec<Check>, Vec<Check>) = logins.into_iter().partition(|login| login.failing);
        let alone = failing.into_iter().map(|login| vec![login]);
        let apart = std::iter::once(working).filter(|logins| !logins.is_empty()).chain(alone);
        apart.map(move |logins| Due { site: site.clone(), logins, window, asked })
    }
}

impl Index {
    /// When the next check is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the due paths, and schedules their next check.
    pub fn take_due(&mut self, now: Instant, jitter: impl Fn(Duration) -> Duration) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((at, site)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, site));
                break;
            }
            if let Some(path) = self.paths.get_mut(&site)
                && let (asked, Some(Next { window, .. })) = (path.owed, path.next.take())
            {
                due.push(Due { logins: self.checks(&site), site: site.clone(), window, asked });
            }
            self.schedule(&site, now, &jitter);
        }
        due
    }

    /// A read begun at `begun` counts as a check: the interval begins again. It does not show what
    /// happened later.
    pub fn postpone(&mut self, site: &Site, begun: Instant, now: Instant, jitter: impl Fn(Duration) -> Duration) {
        if let Some(path) = self.paths.get_mut(site) {
            path.answered(begun);
        }
        self.begin_interval(site, begun, now, &jitter);
    }

    fn begin_interval(&mut self, site: &Site, begun: Instant, now: Instant, jitter: &impl Fn(Duration) -> Duration) {
        let path = self.paths.get_mut(site).filter(|path| path.owed.is_none_or(|owed| owed <= begun));
        if let Some(next) = path.and_then(|path| path.next.take()) {
            self.due.remove(&(next.at, site.clone()));
        }
        self.schedule(site, now, jitter);
    }

    /// The paths of a tree that are checked, with their intervals.
    pub fn followed(&self, tree: &Tree) -> Vec<(Arc<str>, Duration)> {
        self.of(tree).map(|path| (path.site.place.path, path.window)).collect()
    }

    /// Applies a listing of a folder: it checks the `due` paths and every other followed path that
    /// it has. Returns the consumers to wake, and the paths that were not listed, which must be
    /// checked one by one. All intervals begin again, so that the next listing serves all of these
    /// paths again.
    pub fn listed(
        &mut self,
        folder: &Folder,
        due: Vec<Due>,
        entries: &HashMap<String, Latest>,
        begun: Instant,
        now: Instant,
        jitter: impl Fn(Duration) -> Duration,
    ) -> (Vec<Name>, Vec<Due>) {
        let (mut woken, mut unlisted) = (Vec::new(), Vec::new());
        let there = self.of(&folder.tree).filter(|path| folder.contains(&path.site.place.path));
        let paths: BTreeMap<Site, Due> = there.chain(due).map(|path| (path.site.clone(), path)).collect();
        for (site, path) in paths {
            match entries.get(&*site.place.path) {
                Some(&Latest { version, live, consents, created, metadata }) => {
                    let seen = Seen { version, live, consents: Some(consents), created };
                    woken.extend(self.checked(&site, &folder.tree.identity, seen, Some(metadata), begun, now));
                }
                None => unlisted.push(path),
            }
            self.begin_interval(&site, begun, now, &jitter);
        }
        (woken, unlisted)
    }

    /// Adds a consumer with this interval: the path is checked earlier, never later. Its other
    /// consumers are not visited.
    pub(super) fn hasten(
        &mut self,
        site: &Site,
        window: Duration,
        now: Instant,
        jitter: &impl Fn(Duration) -> Duration,
    ) {
        let window = window.max(SHORTEST_WINDOW);
        let at = now + jitter(window);
        let path = self.path(site);
        let before = path.next;
        let next = before
            .map_or(Next { at, window }, |before| Next { at: before.at.min(at), window: before.window.min(window) });
        path.next = Some(next);
        if let Some(before) = before {
            self.due.remove(&(before.at, site.clone()));
        }
        self.due.insert((next.at, site.clone()));
    }

    /// A read of the path was cut off: a check shows what it would have shown. A consumer that is cut
    /// off again and again brings one check forward per interval, because each check wakes consumers
    /// that have read nothing.
    pub fn cut_off(&mut self, site: &Site, now: Instant) {
        let Some(path) = self.paths.get_mut(site) else { return };
        let is_next = |at: Instant| path.next.is_some_and(|next| now.duration_since(at) >= next.window);
        if path.cut_off.is_none_or(is_next) {
            path.cut_off = Some(now);
            self.bring_forward(site, now);
        }
    }

    /// Makes a path due at this time, if anybody can check it. No earlier answer will do.
    pub(super) fn bring_forward(&mut self, site: &Site, asked: Instant) {
        if let Some(path) = self.paths.get_mut(site) {
            path.owed = path.owed.max(Some(asked));
        }
        self.due_by(site, asked);
    }

    /// Nobody could answer. What an answer is owed for is looked for again: after as long as it has
    /// been owed, so that a login that is denied for ever does not ask without end.
    pub fn retry(&mut self, site: &Site, now: Instant) {
        if let Some(owed) = self.paths.get(site).and_then(|path| path.owed) {
            let pause = now.saturating_duration_since(owed).max(RETRY);
            self.due_by(site, now + pause);
        }
    }

    fn due_by(&mut self, site: &Site, latest: Instant) {
        let Some(next) = self.paths.get_mut(site).and_then(|path| path.next.as_mut()) else { return };
        let (before, at) = (next.at, next.at.min(latest));
        next.at = at;
        self.due.remove(&(before, site.clone()));
        self.due.insert((at, site.clone()));
    }

    pub(super) fn schedule(&mut self, site: &Site, now: Instant, jitter: &impl Fn(Duration) -> Duration) {
        let Some(path) = self.paths.get(site) else { return };
        let window = self
            .checking(path, site)
            .map(|(name, _)| match self.consumers[name].follow {
                Follow::Every(interval) => interval.max(SHORTEST_WINDOW),
                Follow::Never => UNFOLLOWED_WINDOW,
            })
            .min();
        let before = path.next;
        let owed = path.owed.max(path.catches_up(now));
        let next = window.map(|window| {
            let at = now + jitter(window);
            let at = owed.filter(|owed| now < *owed).map_or(at, |owed| owed.min(at));
            // A new consumer may shorten the wait but never prolong it, or a busy path would never
            // be checked.
            let at = before.map_or(at, |before| before.at.min(at));
            Next { at, window }
        });
        if let Some(before) = before {
            self.due.remove(&(before.at, site.clone()));
        }
        if let Some(next) = next {
            self.due.insert((next.at, site.clone()));
        }
        let path = self.path(site);
        (path.next, path.owed) = (next, owed);
    }

    fn of(&self, tree: &Tree) -> impl Iterator<Item = Due> {
        self.candidates(tree).filter_map(|site| {
            let window = self.paths.get(site)?.next?.window;
            let followed = Due { site: site.clone(), logins: self.checks(site), window, asked: None };
            (Tree::of(&followed).as_ref() == Some(tree)).then_some(followed)
        })
    }

    /// The paths of a tree that its login reads, including those that another login checks. A
    /// listing visits no other paths.
    pub(in crate::feed) fn candidates(&self, tree: &Tree) -> impl Iterator<Item = &Site> {
        self.trees.get(tree).into_iter().flat_map(BTreeMap::keys)
    }

    /// Whether a consumer reads this path with this login.
    pub(super) fn is_read_with(&self, site: &Site, identity: &Identity) -> bool {
        match Tree::around(site, identity) {
            Some(tree) => self.trees.get(&tree).is_some_and(|paths| paths.contains_key(site)),
            None => {
                let path = self.paths.get(site).into_iter();
                path.flat_map(|path| self.reading(path, site)).any(|(_, read, _)| read.identity == *identity)
            }
        }
    }

    /// Records that a consumer reads this path with this login.
    pub(super) fn plant(&mut self, read: &ReadKey) {
        if let Some(tree) = Tree::around(&read.site, &read.identity) {
            *self.trees.entry(tree).or_default().entry(read.site.clone()).or_default() += 1;
        }
    }

    /// Removes that record.
    pub(super) fn uproot(&mut self, read: &ReadKey) {
        let Some(tree) = Tree::around(&read.site, &read.identity) else { return };
        let Some(paths) = self.trees.get_mut(&tree) else { return };
        if let Some(readers) = paths.get_mut(&read.site) {
            *readers -= 1;
            if *readers == 0 {
                paths.remove(&read.site);
            }
        }
        if paths.is_empty() {
            self.trees.remove(&tree);
        }
    }

    /// The consumers whose logins may check a path. Consents concern those too that do not follow
    /// its values.
    fn checking<'a>(&'a self, path: &'a Path, site: &'a Site) -> impl Iterator<Item = (&'a Name, &'a Held)> {
        self.reading(path, site)
            .filter(|(name, ..)| self.consumers[*name].access == Access::Open)
            .map(|(name, _, held)| (name, held))
    }

    fn checks(&self, site: &Site) -> Vec<Check> {
        let Some(path) = self.paths.get(site) else { return Vec::new() };
        let mut checks: BTreeMap<Identity, Check> = BTreeMap::new();
        for held in self.checking(path, site).map(|(_, held)| held) {
            let identity = held.source.client.identity();
            if !checks.contains_key(identity) {
                let failing = path.failing.contains(identity);
                checks.insert(identity.clone(), Check { source: held.source.clone(), failing });
            }
        }
        checks.into_values().collect()
    }
}
