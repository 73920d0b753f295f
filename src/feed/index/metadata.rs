//! What consumers may read of an entry's metadata: whom a change of it concerns. It is not versioned,
//! and most consumers read none.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Index, LONGEST_LAG};
use crate::domain::description::What;
use crate::domain::object_name::Name;
use crate::store::Site;

/// What is known of the metadata of a path, as far as consumers may read it.
#[derive(Clone, Copy, Default)]
pub(super) struct Shown {
    /// The digest that was last seen; `None` while nobody reads metadata.
    seen: Option<u64>,
    /// When it last changed: reads begun before may lack that.
    changed: Option<Instant>,
}

impl Shown {
    /// Whether a read that was begun then may lack the last change.
    pub(super) fn is_outdated(&self, what: What, begun: Instant) -> bool {
        what == What::Metadata && self.changed.is_some_and(|at| begun < at)
    }
}

impl Index {
    /// A push changed custom metadata. A standby that lags shows the former one as if it were the
    /// present one, so a check follows once none does.
    pub(super) fn announce_metadata(&mut self, site: &Site, now: Instant) -> Vec<Name> {
        let readers = self.metadata_readers(site);
        if readers.is_empty() {
            return Vec::new();
        }
        self.path(site).shown.changed = Some(now);
        self.bring_forward(site, now + LONGEST_LAG);
        self.wake_announced(readers, now)
    }

    /// Applies what a read of the metadata shows. Whoever shares the read has it, and the others are told
    /// after the last of them.
    pub fn heed_metadata(&mut self, site: &Site, digest: u64, begun: Instant) {
        if let Some(path) = self.paths.get_mut(site) {
            path.untold |= path.shown.learn(digest, begun);
        }
    }

    /// Applies what a check shows, if anybody reads the metadata.
    pub(super) fn check_metadata(&mut self, site: &Site, digest: u64, begun: Instant) {
        if !self.metadata_readers(site).is_empty() {
            self.path(site).shown.learn(digest, begun);
        }
    }

    /// The consumers that follow the metadata of a path.
    fn metadata_readers(&self, site: &Site) -> BTreeSet<Name> {
        let Some(path) = self.paths.get(site) else { return BTreeSet::new() };
        let metadata = self.following(path, site).filter(|(_, held)| held.source.what == What::Metadata);
        metadata.map(|(name, _)| name.clone()).collect()
    }
}

impl Shown {
    /// Records a digest, and returns whether it is news. A push may have changed the metadata after the
    /// request: its announcement takes precedence.
    fn learn(&mut self, digest: u64, begun: Instant) -> bool {
        let is_overtaken = self.changed.is_some_and(|at| begun < at);
        let is_news = !is_overtaken && self.seen.replace(digest).is_some_and(|before| before != digest);
        if is_news {
            self.changed = Some(begun);
        }
        is_news
    }
}
