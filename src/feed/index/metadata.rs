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
    /// The digest that was last seen since the last announcement.
    seen: Option<u64>,
    /// When it last changed: reads begun before may lack that.
    changed: Option<Instant>,
    /// Whether a read showed another one so shortly after a change that a standby may lag.
    is_doubted: bool,
}

/// What a read of the metadata says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// It is as before.
    Known,
    /// It changed.
    News,
    /// It changed a moment ago, and one of two servers lags.
    Doubt,
}

impl Shown {
    /// Whether a read that was begun then may lack the last change.
    pub(super) fn is_outdated(&self, what: What, begun: Instant) -> bool {
        what == What::Metadata && self.0.as_deref().is_some_and(|state| state.changed_after(begun))
    }
}

impl State {
    fn changed_after(&self, begun: Instant) -> bool {
        self.changed.is_some_and(|at| begun < at)
    }

    fn read(&mut self, digest: u64, begun: Instant) -> Word {
        let seen = *self.seen.get_or_insert(digest);
        // A push may have changed the metadata after the request: its announcement takes precedence.
        if seen == digest || self.changed_after(begun) {
            return Word::Known;
        }
        if self.changed.is_some_and(|at| begun.duration_since(at) < LONGEST_LAG) {
            self.is_doubted = true;
            return Word::Doubt;
        }
        (self.seen, self.changed) = (Some(digest), Some(begun));
        Word::News
    }

    /// Whether that is news.
    fn checked(&mut self, digest: u64, begun: Instant) -> bool {
        if self.changed_after(begun) {
            return false;
        }
        let was_doubted = std::mem::take(&mut self.is_doubted);
        let is_news = self.seen.replace(digest).is_some_and(|before| before != digest) || was_doubted;
        if is_news {
            self.changed = Some(begun);
        }
        is_news
    }
}

impl Index {
    /// A push changed custom metadata.
    pub(super) fn announce_metadata(&mut self, site: &Site, now: Instant) -> Vec<Name> {
        let readers: BTreeSet<Name> = self.metadata_readers(site).cloned().collect();
        if readers.is_empty() {
            return Vec::new();
        }
        let state = State { seen: None, changed: Some(now), is_doubted: false };
        self.path(site).shown = Shown(Some(Box::new(state)));
        self.check_metadata_later(site, now);
        self.wake_announced(readers, now)
    }

    /// Applies what a read of the metadata shows. Whoever shares the read has it, and the others are
    /// told after the last of them. Two servers of which one lags would have their readers wake each
    /// other, so a check decides where one may.
    pub fn heed_metadata(&mut self, site: &Site, digest: u64, begun: Instant) {
        let Some(path) = self.paths.get_mut(site) else { return };
        match path.shown.0.get_or_insert_default().read(digest, begun) {
            Word::Known => return,
            Word::News => path.untold = true,
            Word::Doubt => {}
        }
        self.check_metadata_later(site, begun);
    }

    /// Applies what a check shows, if anybody reads the metadata.
    pub(super) fn check_metadata(&mut self, site: &Site, digest: u64, begun: Instant) {
        if self.shows_metadata(site) && self.path(site).shown.0.get_or_insert_default().checked(digest, begun) {
            self.check_metadata_later(site, begun);
        }
    }

    /// Whether anybody follows the metadata of a path, which a read of its data does not show.
    pub fn shows_metadata(&self, site: &Site) -> bool {
        self.metadata_readers(site).next().is_some()
    }

    /// A standby that lags shows the former metadata as if it were the present one. So the path is
    /// checked again once none does.
    fn check_metadata_later(&mut self, site: &Site, changed: Instant) {
        self.bring_forward(site, changed + LONGEST_LAG);
    }

    /// The consumers that follow the metadata of a path.
    fn metadata_readers<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = &'a Name> {
        let path = self.paths.get(site).into_iter();
        let followed = path.flat_map(move |path| self.following(path, site));
        followed.filter(|(_, held)| held.source.what == What::Metadata).map(|(name, _)| name)
    }
}
