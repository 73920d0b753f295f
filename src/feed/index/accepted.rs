//! Versions that went back, and the consumers that accept them anyway. A person confirms one consumer,
//! and no other target changes.

use std::time::Instant;

use super::{Consumer, Index};
use crate::domain::object_name::Name;
use crate::feed::{Follow, ReadKey, Seen};
use crate::store::Site;

/// The last version that a consumer has read of a path that went back.
#[derive(Clone, Copy)]
pub(super) struct Accepted {
    seen: Seen,
    /// What was known of the path instead.
    known: Seen,
}

/// Who accepts a version that went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Not this consumer.
    Others,
    /// This consumer, and not all of the path's consumers.
    One,
    /// All of them: it is the version that is known from now on.
    All,
}

impl Consumer {
    /// Whether it reads on from a version that it accepted, although another one is known.
    pub(super) fn accepts(&self, site: &Site, seen: Seen, known: Seen) -> bool {
        let accepted = self.accepted.get(site);
        accepted.is_some_and(|accepted| !accepted.known.is_another_version(known) && !seen.is_before(accepted.seen))
    }
}

impl Index {
    /// Decides who accepts what a consumer has read. It is older than what is known of the path.
    pub(super) fn accept(&mut self, name: &Name, site: &Site, seen: Seen, known: Seen, confirmed: bool) -> By {
        let Some(consumer) = self.consumers.get_mut(name) else {
            return if confirmed { By::One } else { By::Others };
        };
        if !confirmed && !consumer.accepts(site, seen, known) {
            return By::Others;
        }
        consumer.accepted.insert(site.clone(), Accepted { seen, known });
        let all = self.paths.get(site).into_iter().flat_map(|path| self.reading(path, site));
        // A consumer that is not read again keeps its target, and needs no confirmation.
        let is_read = |name: &Name| self.consumers.get(name).is_some_and(|consumer| consumer.follow != Follow::Never);
        let latest = all.filter(|(name, read, _)| read.version.is_none() && is_read(name));
        let latest: Vec<Name> = latest.map(|(name, ..)| name.clone()).collect();
        let is_accepted = |name: &Name| {
            let accepted = self.consumers.get(name).and_then(|consumer| consumer.accepted.get(site));
            accepted.is_some_and(|accepted| !accepted.known.is_another_version(known))
        };
        if !latest.iter().all(is_accepted) {
            return By::One;
        }
        latest.iter().for_each(|name| self.is_up_to_date(name, site));
        By::All
    }

    /// A consumer has read what is known of the path: what it accepted before is over.
    pub(super) fn is_up_to_date(&mut self, name: &Name, site: &Site) {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.accepted.remove(site);
        }
    }

    /// Whether the refusal of this version, by a read begun at `begun`, is this consumer's as well.
    pub fn is_refused_alike(&self, name: &Name, key: &ReadKey, version: u64, begun: Instant) -> bool {
        let takes_older = self.consumers.get(name).is_some_and(|consumer| consumer.accepted.contains_key(&key.site));
        let path = self.paths.get(&key.site);
        let known = path.and_then(|path| path.known.as_ref()).into_iter().chain(self.past(name, key));
        let is_older = known.map(|known| known.seen.version).any(|known| version < known);
        !takes_older && is_older && path.is_none_or(|path| !path.has_news_since(begun))
    }
}
