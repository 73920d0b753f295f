//! What reads and checks found, in view of what is known.

use std::time::{Duration, Instant};

use super::{Index, Known, Path};
use crate::domain::object_name::Name;
use crate::feed::{ReadKey, Seen};
use crate::store::{Identity, PathKey};

/// No standby lags longer than this: what is still absent then, is absent.
const LONGEST_LAG: Duration = Duration::from_secs(10);

/// What a read found, in view of what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) enum Progress {
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
    /// A check of the path by `identity` that was begun at `begun`: wakes the followers that have something else, or could
    /// not read until now, and every reader where others may read than before.
    pub fn checked(
        &mut self,
        key: &PathKey,
        identity: &Identity,
        seen: Seen,
        begun: Instant,
        now: Instant,
    ) -> Vec<Name> {
        let Some(path) = self.paths.get_mut(key) else { return Vec::new() };
        let recovered = path.failing.remove(identity);
        let older = path.known.filter(|known| seen.version < known.seen.version);
        let lagging = older.is_some_and(|known| now.duration_since(known.at) < LONGEST_LAG);
        // What it found may have been changed by a push meanwhile, whose word counts.
        let overtaken = path.is_disturbed_after(begun);
        let permits_others = !overtaken && !lagging && path.permits_others(seen);
        if older.is_none() && !overtaken && path.known.is_none_or(|known| known.seen != seen) {
            path.known = Some(Known { seen, at: now });
        }
        let mut woken = if recovered { self.wake_readers(key, identity, now) } else { Vec::new() };
        if permits_others {
            woken.extend(self.permit(key, begun, now));
        }
        if !lagging && !overtaken {
            self.number_anew(key, seen.version);
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

    /// How far a fresh read is that was begun at `begun`; records that of the latest version where it is good. A person's word
    /// (`accept_older`) allows for what was known long ago, not for what was announced just now: that is newer than the word,
    /// or a server lags.
    pub fn judge(&mut self, key: &ReadKey, seen: Seen, accept_older: bool, begun: Instant, now: Instant) -> Progress {
        let Some(path) = self.paths.get_mut(&key.key) else { return Progress::Good };
        // The login works after all; the next failed check is news again.
        path.failing.remove(&key.identity);
        // A push changed it while it was read: the reply may be of before or after.
        if path.is_disturbed_after(begun) {
            return Progress::Behind;
        }
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
        let permits_others = path.permits_others(seen);
        if path.known.is_none_or(|known| known.seen != seen) {
            path.known = Some(Known { seen, at: now });
        }
        if permits_others {
            let woken = self.permit(&key.key, begun, now);
            self.woken_by_reads.extend(woken);
        }
        Progress::Good
    }

    /// Whether a held read that was begun at `begun` is still the latest that is known, by a login that is not known to fail.
    pub fn is_current(&self, key: &ReadKey, seen: Seen, begun: Instant) -> bool {
        self.paths.get(&key.key).is_none_or(|path| {
            let outdated = path.is_disturbed_after(begun) || path.permitted.is_some_and(|at| begun < at);
            !outdated && !path.failing.contains(&key.identity) && (key.version.is_some() || !path.differs(seen))
        })
    }
}

impl Path {
    /// Notes who may read the path, and whether others might before. A version tells nothing of that, and need not be known.
    fn permits_others(&mut self, seen: Seen) -> bool {
        match (self.consents, seen.consents) {
            (_, None) => false,
            (before, Some(after)) => self.consents.replace(after).is_some_and(|_| before != Some(after)),
        }
    }
}
