//! Judges the results of reads and checks against what is known.

use std::time::Instant;

use super::accepted::By;
use super::{InVain, Index, LONGEST_LAG, Path};
use crate::domain::object_name::Name;
use crate::feed::{ReadKey, Seen};
use crate::store::{Identity, Site};

/// How a read compares with what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) enum Progress {
    /// It may be used.
    Good,
    /// It may be used. But another address announced more of the place, or a push changed the
    /// consents that it shows. So read again: the server may lag.
    Doubted,
    /// Older than what is known, or removed since, but the server may lag: read again.
    Behind,
    /// Older than what has been known for longer than a server can lag.
    WentBack {
        /// The known version.
        from: u64,
    },
}

impl Index {
    /// Applies a check of the path with `identity`, begun at `begun`. Wakes the followers that have
    /// another version or could not read until now, and all consumers if the consents changed.
    /// `metadata` is the digest of what consumers may read of it, if the check shows that.
    pub fn checked(
        &mut self,
        site: &Site,
        identity: &Identity,
        seen: Seen,
        metadata: Option<u64>,
        begun: Instant,
        now: Instant,
    ) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(site) else { return Vec::new() };
        path.answered(begun);
        let recovered = path.failing.remove(identity);
        let is_older = path.known.is_some_and(|known| seen.is_before(known.seen));
        let lacks_consents = path.lacks_consents(seen, now);
        let lagging = path.may_lag(seen, now) || lacks_consents;
        // A push may have changed the path meanwhile; its announcement takes precedence.
        let overtaken = path.is_disturbed_after(begun);
        let permits_others = !overtaken && !lagging && path.permits_others(seen);
        if !is_older && !lagging && !overtaken {
            path.know(seen, now);
        }
        let mut woken = if recovered { self.wake_readers(site, identity, now) } else { Vec::new() };
        if permits_others {
            woken.extend(self.permit(site, begun, now));
        }
        if !lagging && !overtaken {
            self.number_anew(site, seen, now);
            metadata.into_iter().for_each(|digest| self.check_metadata(site, digest, begun));
            woken.extend(self.wake_behind(site, seen, now));
        }
        if lacks_consents {
            self.check_consents_later(site);
        }
        woken
    }

    /// Applies a failed check: wakes the consumers that read with `identity`, once, so that they
    /// report the failure. Nobody may read with it any more.
    pub fn check_failed(&mut self, site: &Site, identity: &Identity, now: Instant) -> Vec<Name> {
        let is_read = self.is_read_with(site, identity);
        let Some(path) = self.paths.get_mut(site).filter(|_| is_read) else { return Vec::new() };
        if !path.failing.insert(identity.clone()) {
            return Vec::new();
        }
        self.wake_readers(site, identity, now)
    }

    /// Judges a read begun at `begun`, and records it if it is good and of the latest version. If
    /// `confirmed` by a person, its consumer accepts a version older than one known long ago, but not
    /// older than one announced just now. A lower version that was created later is not older.
    pub fn judge(
        &mut self,
        name: &Name,
        key: &ReadKey,
        seen: Seen,
        confirmed: bool,
        begun: Instant,
        now: Instant,
    ) -> Progress {
        let Some(path) = self.paths.get_mut(&key.site) else { return Progress::Good };
        // The login works again; the next failed check is news.
        path.failing.remove(&key.identity);
        // A push changed the path during the read: the reply may be from before or after.
        if path.is_disturbed_after(begun) || path.shown.is_outdated(key.what, begun) {
            return Progress::Behind;
        }
        let awaits_consents = path.awaits_consents(seen, now);
        if key.version.is_some() {
            // Consents are those of now, whatever the version.
            self.heed_consents(&key.site, seen, begun, now);
            return if awaits_consents { Progress::Doubted } else { Progress::Good };
        }
        if path.may_lag(seen, now) {
            return Progress::Behind;
        }
        let known = path.known.map(|known| known.seen);
        if let Some(known) = known.filter(|known| seen.version > 0 && seen.is_before(*known)) {
            let accepted = self.accept(name, &key.site, seen, known, confirmed);
            if accepted != By::All {
                // Consents are those of now, whatever the version.
                self.heed_consents(&key.site, seen, begun, now);
                return if accepted == By::One { Progress::Good } else { Progress::WentBack { from: known.version } };
            }
        }
        if let Some(progress) = self.beside_past(name, key, seen, now).filter(|_| !confirmed) {
            if let Progress::WentBack { .. } = progress {
                self.heed_consents(&key.site, seen, begun, now);
            }
            return progress;
        }
        self.is_up_to_date(name, &key.site);
        let Some(path) = self.paths.get_mut(&key.site) else { return Progress::Good };
        let is_another_entry = path.known.is_some_and(|known| !known.seen.is_of_entry(seen));
        path.untold |= path.known.is_some_and(|known| known.seen.is_another_version(seen));
        path.know(seen, now);
        let is_hinted = path.is_hinted_after(begun) || path.awaits_hinted(now);
        self.heed_consents(&key.site, seen, begun, now);
        if is_another_entry {
            self.number_anew(&key.site, seen, now);
        }
        if is_hinted || awaits_consents { Progress::Doubted } else { Progress::Good }
    }

    /// Repeated reads did not show what another address announced, so they stop.
    pub fn disregard_hint(&mut self, site: &Site, now: Instant) {
        let Some(path) = self.paths.get_mut(site) else { return };
        let known = path.known.map_or(0, |known| known.seen.version);
        if let Some(hint) = path.hint.as_mut().filter(|hint| known < hint.version) {
            hint.in_vain = Some(InVain { version: hint.version, at: now });
        }
    }

    /// Whether a held read begun at `begun` is still the latest known one, or shows its pinned version,
    /// and its login is not known to fail.
    pub fn is_current(&self, key: &ReadKey, seen: Seen, begun: Instant) -> bool {
        self.paths.get(&key.site).is_none_or(|path| {
            !path.has_news_since(begun)
                && !path.shown.is_outdated(key.what, begun)
                && !path.failing.contains(&key.identity)
                && match key.version {
                    Some(_) => seen.live || path.known.is_none_or(|known| known.at <= begun),
                    None => !path.differs(seen),
                }
        })
    }
}

impl Path {
    /// An answer begun at `begun` shows whatever happened before.
    pub(super) fn answered(&mut self, begun: Instant) {
        self.owed = self.owed.filter(|owed| begun < *owed);
    }

    /// Whether a standby may still show this because it lags. Later it is believed, also if a higher
    /// number has an earlier time: another server that takes over may have a clock that is behind.
    fn may_lag(&self, seen: Seen, now: Instant) -> bool {
        self.known.is_some_and(|known| now.duration_since(known.at) < LONGEST_LAG && seen.may_lag_behind(known.seen))
    }
}
