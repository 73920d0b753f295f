//! What consumers may read of an entry's metadata: whom a change of it concerns. It is not versioned,
//! and most consumers read none.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Index, LONGEST_LAG};
use crate::domain::description::What;
use crate::domain::object_name::Name;
use crate::store::Site;

/// What is known of the metadata of a path, as far as consumers may read it. Behind a pointer, as most
/// paths have none.
#[derive(Default)]
pub(super) struct Shown(Option<Box<State>>);

#[derive(Default)]
struct State {
    /// The digest that was last seen.
    seen: Option<u64>,
    /// When it last changed: reads begun before may lack that.
    changed: Option<Instant>,
}

impl Shown {
    /// Whether a read that was begun then may lack the last change.
    pub(super) fn is_outdated(&self, what: What, begun: Instant) -> bool {
        let changed = self.0.as_deref().and_then(|state| state.changed);
        what == What::Metadata && changed.is_some_and(|at| begun < at)
    }

    /// Records a digest, and returns whether it is news. A push may have changed the metadata after the
    /// request: its announcement takes precedence.
    fn learn(&mut self, digest: u64, begun: Instant) -> bool {
        let state = self.0.get_or_insert_default();
        let is_overtaken = state.changed.is_some_and(|at| begun < at);
        let is_news = !is_overtaken && state.seen.replace(digest).is_some_and(|before| before != digest);
        if is_news {
            state.changed = Some(begun);
        }
        is_news
    }
}

impl Index {
    /// A push changed custom metadata.
    pub(super) fn announce_metadata(&mut self, site: &Site, now: Instant) -> Vec<Name> {
        let readers = self.metadata_readers(site);
        if readers.is_empty() {
            return Vec::new();
        }
        self.path(site).shown.0.get_or_insert_default().changed = Some(now);
        self.check_metadata_later(site, now);
        self.wake_announced(readers, now)
    }

    /// Applies what a read of the metadata shows. Whoever shares the read has it, and the others are
    /// told after the last of them.
    pub fn heed_metadata(&mut self, site: &Site, digest: u64, begun: Instant) {
        let Some(path) = self.paths.get_mut(site) else { return };
        if path.shown.learn(digest, begun) {
            path.untold = true;
            self.check_metadata_later(site, begun);
        }
    }

    /// Applies what a check shows, if anybody reads the metadata.
    pub(super) fn check_metadata(&mut self, site: &Site, digest: u64, begun: Instant) {
        let Some(path) = self.paths.get(site) else { return };
        let is_read = self.following(path, site).any(|(_, held)| held.source.what == What::Metadata);
        if is_read && self.path(site).shown.learn(digest, begun) {
            self.check_metadata_later(site, begun);
        }
    }

    /// A standby that lags shows the former metadata as if it were the present one. So the path is
    /// checked again once none does.
    fn check_metadata_later(&mut self, site: &Site, changed: Instant) {
        self.bring_forward(site, changed + LONGEST_LAG);
    }

    /// The consumers that follow the metadata of a path.
    fn metadata_readers(&self, site: &Site) -> BTreeSet<Name> {
        let Some(path) = self.paths.get(site) else { return BTreeSet::new() };
        let metadata = self.following(path, site).filter(|(_, held)| held.source.what == What::Metadata);
        metadata.map(|(name, _)| name.clone()).collect()
    }
}
