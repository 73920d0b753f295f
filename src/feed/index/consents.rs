//! Consents of paths: whom a change concerns, and for how long a standby may not show it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Access, Consumer, Index, LONGEST_LAG, Path, Superseded, Taken};
use crate::domain::object_name::Name;
use crate::feed::{Follow, Labels, Seen};
use crate::store::Site;

impl Index {
    /// Other paths of which a consumer hears when their consents change, instead of those before.
    pub fn heed(&mut self, name: &Name, sites: BTreeSet<Site>) {
        if sites.is_empty() && self.consumers.get(name).is_none_or(|consumer| consumer.heeded.is_empty()) {
            return;
        }
        let read = self.consumers.get(name).map(|consumer| consumer.sites()).unwrap_or_default();
        let heeded: Vec<Site> = sites.difference(&read).cloned().collect();
        for site in &heeded {
            self.path(site).consumers.insert(name.clone());
        }
        let consumer = self.consumers.entry(name.clone()).or_insert_with(|| Box::new(Consumer::without_sources()));
        consumer.asked.clear();
        let before = std::mem::replace(&mut consumer.heeded, heeded.clone());
        for site in before.iter().filter(|site| !heeded.contains(site)) {
            if let Some(path) = self.paths.get_mut(site) {
                path.consumers.remove(name);
            }
        }
        self.sweep_paths(Some(Box::new(Consumer { heeded: before, ..Consumer::without_sources() })));
    }

    /// Other consents at the same version: all earlier reads are outdated.
    pub(super) fn announce_consent(&mut self, site: &Site, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(site) else { return Vec::new() };
        if let Some(known) = &mut path.known {
            known.seen.consents = None;
        }
        let earlier = path.superseded.as_ref().and_then(|superseded| superseded.consents);
        let consents = path.consents.take().or(earlier);
        path.superseded = Some(Box::new(Superseded { consents, at: now, is_used: false }));
        self.announce_release(site, now)
    }

    /// Other claims at the same version: all earlier reads are outdated.
    pub(super) fn announce_release(&mut self, site: &Site, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(site) else { return Vec::new() };
        path.disturbed = Some(now);
        self.permit(site, now, now)
    }

    /// The consents of a path changed: all reads of it begun before `at` are outdated, at any
    /// version, even those of consumers that do not follow.
    pub(super) fn permit(&mut self, site: &Site, at: Instant, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(site) else { return Vec::new() };
        path.permitted = Some(path.permitted.map_or(at, |before| before.max(at)));
        let consumers = path.consumers.clone();
        self.wake(consumers, now)
    }

    /// Wakes all consumers of the path if a read begun at `begun` shows other consents than before.
    pub(super) fn heed_consents(&mut self, site: &Site, seen: Seen, begun: Instant, now: Instant) {
        let Some(path) = self.paths.get_mut(site) else { return };
        if !path.lacks_consents(seen, now) && path.permits_others(seen) {
            let woken = self.permit(site, begun, now);
            self.woken_by_reads.extend(woken);
        }
    }

    /// A read is used although it may show superseded consents: a check shows the present ones, and
    /// wakes all consumers if they are others.
    pub fn use_consents(&mut self, site: &Site, seen: Seen, now: Instant) {
        let Some(path) = self.paths.get_mut(site).filter(|_| seen.consents.is_some()) else { return };
        let may_be_superseded = path.lacks_consents(seen, now);
        let Some(superseded) = path.superseded.as_mut().filter(|superseded| !superseded.is_over(now)) else { return };
        if may_be_superseded || superseded.consents.is_none() {
            superseded.is_used = true;
            path.consents = seen.consents;
            if let Some(known) = &mut path.known {
                known.seen.consents = seen.consents;
            }
            self.check_consents_later(site);
        }
    }

    /// Makes the path due when no standby shows superseded consents any more.
    pub(super) fn check_consents_later(&mut self, site: &Site) {
        let superseded = self.paths.get(site).and_then(|path| path.superseded.as_ref());
        if let Some(caught_up) = superseded.map(|superseded| superseded.at + LONGEST_LAG) {
            self.bring_forward(site, caught_up);
        }
    }

    /// Whether what a consumer has read may show superseded consents, or was judged by superseded
    /// labels. Much may have been waited for since, so the time of the read counts.
    /// Only what was read `since` then counts, if it is given.
    pub fn may_lack_consents(&self, name: &Name, since: Option<Instant>) -> bool {
        let Some(Consumer { sources, asked, relabelled, .. }) = self.consumers.get(name).map(Box::as_ref) else {
            return false;
        };
        let is_relabelled = |begun: Instant| relabelled.is_some_and(|relabelled| begun < relabelled);
        let counts = |at: Instant| since.is_none_or(|since| at >= since);
        let taken = sources.iter().filter_map(|(read, held)| Some((&read.site, held.taken?)));
        let mut taken = taken.chain(asked.iter().map(|(site, taken)| (site, *taken)));
        sources.iter().filter_map(|(_, held)| held.outdated).any(counts)
            || taken.any(|(site, Taken { seen, begun })| {
                let path = self.paths.get(site);
                let is_former = || path.is_some_and(|path| path.may_lack_consents(seen, begun));
                counts(begun) && (is_relabelled(begun) || is_former() || self.is_outdated(site, begun))
            })
    }

    /// Whether the consents of a path changed after a read of it began.
    fn is_outdated(&self, site: &Site, begun: Instant) -> bool {
        self.paths.get(site).and_then(|path| path.permitted).is_some_and(|permitted| begun < permitted)
    }

    /// Whether a read may show superseded consents.
    pub fn lacks_consents(&self, site: &Site, seen: Seen, now: Instant) -> bool {
        self.paths.get(site).is_some_and(|path| path.lacks_consents(seen, now))
    }
}

impl Consumer {
    fn without_sources() -> Self {
        Consumer {
            sources: Vec::new(),
            follow: Follow::Never,
            labels: Labels::default(),
            queued: false,
            access: Access::Open,
            announced: None,
            trouble: None,
            accepted: Default::default(),
            heeded: Vec::new(),
            relabelled: None,
            asked: Vec::new(),
        }
    }
}

impl Path {
    /// Whether these are the consents from before a push changed them, which a standby may still
    /// show. With a later version than is known they are the present ones.
    pub(super) fn lacks_consents(&self, seen: Seen, now: Instant) -> bool {
        let is_known = self.superseded.as_ref().is_some_and(|superseded| superseded.consents.is_some());
        is_known && self.may_lack_consents(seen, now)
    }

    /// The same, also if nobody has read the consents from before.
    fn may_lack_consents(&self, seen: Seen, now: Instant) -> bool {
        let is_later = self.known.is_some_and(|known| known.seen.version < seen.version);
        self.superseded.as_ref().is_some_and(|superseded| {
            let is_former = superseded.consents.is_none_or(|former| Some(former) == seen.consents);
            !is_later && is_former && !superseded.is_over(now)
        })
    }

    /// Whether a read is repeated because of the consents that it shows. If that was just in vain,
    /// each further read is made once.
    pub(super) fn awaits_consents(&self, seen: Seen, now: Instant) -> bool {
        self.lacks_consents(seen, now) && self.superseded.as_ref().is_some_and(|superseded| !superseded.is_used)
    }

    /// Records the consents of the path, and returns whether they changed. This is independent of
    /// versions.
    pub(super) fn permits_others(&mut self, seen: Seen) -> bool {
        match (self.consents, seen.consents) {
            (_, None) => false,
            (before, Some(after)) => self.consents.replace(after).is_some_and(|_| before != Some(after)),
        }
    }
}

impl Superseded {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.at) >= LONGEST_LAG
    }
}
