//! Announcements of pushes: whom they wake, and what is known afterwards.

use std::time::{Duration, Instant};

use super::{Index, Known};
use crate::domain::object_name::Name;
use crate::feed::{Pushed, Seen};
use crate::store::PathKey;

/// How late an overtaken announcement of a path may be.
const OVERTAKING: Duration = Duration::from_secs(5);

impl Index {
    /// Applies an announcement.
    pub fn announce(&mut self, key: &PathKey, pushed: Pushed, now: Instant) -> Vec<Name> {
        match pushed {
            Pushed::Version(version) => self.announce_version(key, version, true, now),
            Pushed::Removal(version) => {
                if let Some(path) = self.paths.get_mut(key) {
                    path.removed = Some(version);
                    path.disturbed = Some(now);
                }
                self.announce_version(key, version, false, now)
            }
            Pushed::Purge => {
                if let Some(path) = self.paths.get_mut(key) {
                    path.removed = Some(0);
                    path.disturbed = Some(now);
                    // No later version goes backwards.
                    path.known = None;
                }
                self.announce_version(key, 0, false, now)
            }
            Pushed::Consent => self.announce_consent(key, now),
        }
    }

    /// Applies a version, unless a later one overtook it.
    fn announce_version(&mut self, key: &PathKey, version: u64, live: bool, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(key) else { return Vec::new() };
        let overtaken =
            path.known.is_some_and(|known| known.seen.version > version && now.duration_since(known.at) < OVERTAKING);
        if overtaken {
            return Vec::new();
        }
        // A write does not change consents.
        let consents = path.known.filter(|known| known.seen.version == version).and_then(|known| known.seen.consents);
        let seen = Seen { version, live, consents };
        path.known = Some(Known { seen, at: now });
        self.number_anew(key, version);
        let behind = self.behind(key, seen);
        for name in &behind {
            if let Some(consumer) = self.consumers.get_mut(name) {
                consumer.announced.get_or_insert(now);
            }
        }
        self.wake(behind, now)
    }

    /// Other consents at the same version: all earlier reads are outdated.
    fn announce_consent(&mut self, key: &PathKey, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(key) else { return Vec::new() };
        if let Some(known) = &mut path.known {
            known.seen.consents = None;
        }
        path.disturbed = Some(now);
        path.consents = None;
        self.permit(key, now, now)
    }

    /// The consents of a path changed: all reads of it begun before `at` are outdated, at any
    /// version, even those of consumers that do not follow.
    pub(super) fn permit(&mut self, key: &PathKey, at: Instant, now: Instant) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(key) else { return Vec::new() };
        path.permitted = Some(path.permitted.map_or(at, |before| before.max(at)));
        let readers = path.consumers.clone();
        self.wake(readers, now)
    }

    /// The path's latest version is this one. Higher numbers are from before the entry was removed
    /// and created again.
    pub(super) fn number_anew(&mut self, key: &PathKey, version: u64) {
        let names: Vec<Name> =
            self.paths.get(key).into_iter().flat_map(|path| path.consumers.iter().cloned()).collect();
        for name in names {
            for (read, held) in self.consumers.get_mut(&name).into_iter().flat_map(|consumer| &mut consumer.sources) {
                if read.key == *key && read.version.is_none() && held.stands.is_some_and(|stands| stands > version) {
                    held.stands = None;
                }
            }
        }
    }
}
