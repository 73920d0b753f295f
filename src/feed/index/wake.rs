//! Which consumers must read again, and which are queued.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use super::{Awaited, Held, Index, Path};
use crate::domain::object_name::Name;
use crate::feed::{Follow, Labels, ReadKey, Seen};
use crate::store::{Identity, Site};

/// How long bytes are held for a consumer that was woken but has not read yet.
const WOKEN_HOLD: Duration = Duration::from_secs(5);

impl Index {
    /// Labels of namespaces changed: consumers that are judged by them must read again.
    pub fn labels_changed(&mut self, namespaces: impl Fn(&str) -> bool, now: Instant) -> Vec<Name> {
        let judged = self.consumers.iter().filter(|(_, consumer)| consumer.labels == Labels::Decisive);
        let concerned = judged.filter(|(name, _)| namespaces(&name.namespace));
        let concerned: BTreeSet<Name> = concerned.map(|(name, _)| name.clone()).collect();
        self.outdate(&concerned, |_| true, now);
        for name in &concerned {
            self.consumers.entry(name.clone()).and_modify(|consumer| consumer.relabelled = Some(now));
        }
        self.wake(concerned, now)
    }

    /// The consumers whom another version of the path concerns.
    pub(super) fn heeding<'a>(&'a self, path: &'a Path, site: &'a Site) -> impl Iterator<Item = (&'a Name, &'a Held)> {
        self.reading(path, site)
            .filter(|(name, read, held)| self.consumers[*name].heeds(read, held))
            .map(|(name, _, held)| (name, held))
    }

    /// Those of them that follow, whatever they have.
    pub(super) fn following<'a>(
        &'a self,
        path: &'a Path,
        site: &'a Site,
    ) -> impl Iterator<Item = (&'a Name, &'a Held)> {
        self.reading(path, site)
            .filter(|(name, read, _)| self.consumers[*name].follow != Follow::Never && read.version.is_none())
            .map(|(name, _, held)| (name, held))
    }

    /// The consumers of a path, with each read of it.
    pub(super) fn reading<'a>(
        &'a self,
        path: &'a Path,
        site: &'a Site,
    ) -> impl Iterator<Item = (&'a Name, &'a ReadKey, &'a Held)> {
        path.consumers
            .iter()
            .filter_map(|name| self.consumers.get_key_value(name))
            .flat_map(|(name, consumer)| consumer.sources.iter().map(move |(read, held)| (name, read, held)))
            .filter(move |(_, read, _)| read.site == *site)
    }

    /// Wakes the followers that have another version than a read has shown. Its reader knows it, and
    /// so does whoever shared the read: call this after the last of them.
    pub fn tell_others(&mut self, reader: &Name, site: &Site, now: Instant) {
        let Some(path) = self.paths.get_mut(site).filter(|path| path.untold) else { return };
        path.untold = false;
        let Some(known) = path.known else { return };
        let mut behind = self.behind(site, known.seen);
        behind.remove(reader);
        let woken = self.wake(behind, now);
        self.woken_by_reads.extend(woken);
    }

    pub(super) fn wake_behind(&mut self, site: &Site, seen: Seen, now: Instant) -> Vec<Name> {
        let behind = self.behind(site, seen);
        // They may still have the known version: if the number went back, only a read can show it.
        self.outdate(&behind, |read| read.site == *site && read.version.is_none(), now);
        self.wake(behind, now)
    }

    pub(super) fn concerned(&self, site: &Site) -> BTreeSet<Name> {
        let path = self.paths.get(site).into_iter();
        path.flat_map(|path| self.heeding(path, site)).map(|(name, _)| name.clone()).collect()
    }

    /// Those of them that do not have this version.
    pub(super) fn behind(&self, site: &Site, seen: Seen) -> BTreeSet<Name> {
        let Some(path) = self.paths.get(site) else { return BTreeSet::new() };
        self.heeding(path, site)
            .filter(|(_, held)| {
                let lacks_metadata = |begun| path.shown.is_outdated(held.source.what, begun);
                held.taken.is_none_or(|taken| taken.seen.differs(seen) || lacks_metadata(taken.begun))
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn wake_readers(&mut self, site: &Site, identity: &Identity, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get(site) else { return Vec::new() };
        let readers: BTreeSet<Name> = self
            .following(path, site)
            .filter(|(_, held)| held.source.client.identity() == identity)
            .map(|(name, _)| name.clone())
            .collect();
        let is_meant = |read: &ReadKey| read.site == *site && read.identity == *identity && read.version.is_none();
        self.outdate(&readers, is_meant, now);
        self.wake(readers, now)
    }

    /// Makes these consumers read again, whatever they have.
    pub(super) fn outdate(&mut self, names: &BTreeSet<Name>, which: impl Fn(&ReadKey) -> bool, now: Instant) {
        for name in names {
            for (read, held) in self.consumers.get_mut(name).into_iter().flat_map(|consumer| &mut consumer.sources) {
                if which(read) {
                    (held.taken, held.outdated) = (None, Some(now));
                }
            }
        }
    }

    /// Marks these consumers as awaited for everything that they read, and returns those that are
    /// not queued yet.
    pub(super) fn wake(&mut self, names: BTreeSet<Name>, now: Instant) -> Vec<Name> {
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
}
