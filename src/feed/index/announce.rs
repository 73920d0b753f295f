//! Announcements of pushes: whom they wake, and what is known afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Held, Hint, Index};
use crate::domain::object_name::Name;
use crate::feed::{News, Pushed, Seen};
use crate::store::{PathKey, Site};

/// How long after a newer version became known an older announcement may still arrive.
const OVERTAKING: Duration = Duration::from_secs(5);

impl Index {
    /// Applies an announcement.
    pub fn announce(&mut self, site: &Site, news: impl Into<News>, now: Instant) -> Vec<Name> {
        match news.into() {
            News::Pushed(pushed) => self.announce_pushed(site, pushed, now),
            News::Found(version, created) => {
                self.announce_found(site, Seen { version, live: true, consents: None, created }, now)
            }
            News::Uncertain => {
                self.followed_sites(&site.place).iter().for_each(|site| self.bring_forward(site, now));
                Vec::new()
            }
        }
    }

    /// A push changed something: whoever reads the place at another address is woken too.
    fn announce_pushed(&mut self, site: &Site, pushed: Pushed, now: Instant) -> Vec<Name> {
        let mut woken = self.announce_here(site, pushed, now);
        for elsewhere in self.followed_sites(&site.place).iter().filter(|known| *known != site) {
            woken.extend(self.hint(elsewhere, pushed, now));
        }
        woken
    }

    fn followed_sites(&self, place: &PathKey) -> Vec<Site> {
        self.sites_of(place).map(|(site, _)| site.clone()).collect()
    }

    fn announce_here(&mut self, site: &Site, pushed: Pushed, now: Instant) -> Vec<Name> {
        match pushed {
            Pushed::Version(version, created) => {
                self.announce_version(site, Seen { version, live: true, consents: None, created }, now)
            }
            Pushed::Removal(version) => {
                if let Some(path) = self.paths.get_mut(site) {
                    path.disturbed = Some(now);
                }
                self.announce_version(site, Seen { version, live: false, consents: None, created: None }, now)
            }
            Pushed::Purge => {
                let path = self.paths.get_mut(site);
                let removed = path.and_then(|path| {
                    path.disturbed = Some(now);
                    // No later version goes backwards.
                    path.known.take()
                });
                let created = removed.and_then(|removed| removed.seen.created);
                self.announce_version(site, Seen { version: 0, live: false, consents: None, created }, now)
            }
            Pushed::Consent => self.announce_consent(site, now),
            Pushed::Release => self.announce_release(site, now),
            Pushed::CustomMetadata => self.announce_metadata(site, now),
        }
    }

    /// Another address announced something of the place. Nothing is known by that here.
    fn hint(&mut self, site: &Site, pushed: Pushed, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(site) else { return Vec::new() };
        let (version, permits) = match pushed {
            Pushed::Version(version, _) | Pushed::Removal(version) => (version, false),
            Pushed::Purge => (0, false),
            Pushed::Consent | Pushed::Release => (0, true),
            Pushed::CustomMetadata => return self.announce_metadata(site, now),
        };
        let in_vain = path.hint.and_then(|hint| hint.in_vain);
        path.hint = Some(Hint { version, at: now, in_vain });
        if permits {
            return self.permit(site, now, now);
        }
        let concerned = self.concerned(site);
        self.wake_announced(concerned, now)
    }

    /// Applies a version, unless a later one overtook it.
    fn announce_version(&mut self, site: &Site, pushed: Seen, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get(site) else { return Vec::new() };
        let overtaken =
            path.known.is_some_and(|known| pushed.is_before(known.seen) && now.duration_since(known.at) < OVERTAKING);
        if overtaken {
            return Vec::new();
        }
        let seen = self.learn(site, pushed, now);
        let behind = self.behind(site, seen);
        self.wake_announced(behind, now)
    }

    /// Takes a version for the latest, and returns it with what else is known of it.
    fn learn(&mut self, site: &Site, pushed: Seen, now: Instant) -> Seen {
        let Some(path) = self.paths.get_mut(site) else { return pushed };
        let same = path.known.map(|known| known.seen).filter(|known| known.version == pushed.version);
        let seen = Seen {
            // A write does not change consents.
            consents: same.and_then(|known| known.consents),
            created: pushed.created.or_else(|| same?.created),
            ..pushed
        };
        path.replace(seen, now);
        if !pushed.live {
            path.removed = Some(pushed.version);
        }
        self.number_anew(site, seen, now);
        seen
    }

    /// Applies what a push found as wanted some time ago: it takes nothing newer back, and wakes only
    /// those who have another version. A consumer that has none could not read the path.
    fn announce_found(&mut self, site: &Site, found: Seen, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get(site) else { return Vec::new() };
        if path.known.is_some_and(|known| found.is_before(known.seen)) {
            return Vec::new();
        }
        let has_another = |held: &Held| held.taken.is_some_and(|taken| taken.seen.is_another_version(found));
        let behind = self.heeding(path, site).filter(|(_, held)| has_another(held));
        let behind: BTreeSet<Name> = behind.map(|(name, _)| name.clone()).collect();
        self.learn(site, found, now);
        self.wake_announced(behind, now)
    }

    pub(super) fn wake_announced(&mut self, names: BTreeSet<Name>, now: Instant) -> Vec<Name> {
        for name in &names {
            if let Some(consumer) = self.consumers.get_mut(name) {
                consumer.announced.get_or_insert(now);
            }
        }
        self.wake(names, now)
    }

    /// The path's latest version is this one. Higher numbers, and the same number with another time
    /// of creation, are from before the entry was removed and created again, and so is a read that
    /// showed one, also if its reconcile has not ended.
    pub(super) fn number_anew(&mut self, site: &Site, latest: Seen, now: Instant) {
        let names: Vec<Name> =
            self.paths.get(site).into_iter().flat_map(|path| path.consumers.iter().cloned()).collect();
        for name in names {
            for (read, held) in self.consumers.get_mut(&name).into_iter().flat_map(|consumer| &mut consumer.sources) {
                if read.site == *site && read.version.is_none() {
                    held.rendered = held.rendered.filter(|rendered| rendered.is_of_entry(latest));
                    if held.taken.take_if(|taken| !taken.seen.is_of_entry(latest)).is_some() {
                        held.outdated = Some(now);
                    }
                }
            }
        }
    }
}
