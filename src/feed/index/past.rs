//! What an earlier process rendered a target from. It is compared with the first read of this one,
//! which knows nothing of the path: a version that went back meanwhile is none to follow.

use std::time::Instant;

use super::{Index, Known, LONGEST_LAG, Progress};
use crate::domain::object_name::Name;
use crate::feed::{ReadKey, Seen};

impl Index {
    /// Records what the target of a consumer was rendered from, as far as its status tells. It counts
    /// until the consumer has read the path, and for nobody else.
    pub fn recall(&mut self, name: &Name, key: &ReadKey, seen: Seen, now: Instant) {
        let held = self.consumers.get_mut(name).and_then(|consumer| consumer.held(key));
        if let Some(held) = held.filter(|held| held.taken.is_none() && held.rendered.is_none()) {
            held.past.get_or_insert_with(|| Box::new(Known { seen, at: now }));
        }
    }

    /// How a read compares with what an earlier process rendered the target of this consumer from;
    /// `None` if that is no later version.
    pub(super) fn beside_past(&self, name: &Name, key: &ReadKey, seen: Seen, now: Instant) -> Option<Progress> {
        let past = self.past(name, key).filter(|past| seen.version > 0 && seen.is_before(past.seen))?;
        Some(match now.duration_since(past.at) < LONGEST_LAG {
            true => Progress::Behind,
            false => Progress::WentBack { from: past.seen.version },
        })
    }

    /// Whether an earlier process rendered the target of this consumer from a later version than this.
    pub fn had_later(&self, name: &Name, key: &ReadKey, seen: Seen) -> bool {
        self.past(name, key).is_some_and(|past| seen.is_before(past.seen))
    }

    pub(super) fn past(&self, name: &Name, key: &ReadKey) -> Option<&Known> {
        let (_, held) = self.consumers.get(name)?.sources.iter().find(|(known, _)| known == key)?;
        held.past.as_deref()
    }
}
