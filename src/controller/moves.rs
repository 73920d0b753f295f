//! When the source of each PushSecret was last seen to move: what the way to the store is measured from.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::referrers::Name;

/// The moves that nobody has looked at yet, by PushSecret.
#[derive(Default)]
pub struct Moves(Mutex<HashMap<Name, Instant>>);

impl Moves {
    /// The source moved at `at`. Of several moves before a look the first counts: it has waited longest.
    pub fn note(&self, push: Name, at: Instant) {
        self.lock().entry(push).and_modify(|known| *known = at.min(*known)).or_insert(at);
    }

    /// The move that is being looked at now.
    pub fn take(&self, push: &Name) -> Option<Instant> {
        self.lock().remove(push)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_of_several_moves_counts_once() {
        let (moves, push, first) = (Moves::default(), Name::new("db", "push"), Instant::now());
        moves.note(push.clone(), first);
        moves.note(push.clone(), first + Duration::from_secs(1));
        assert_eq!(moves.take(&push), Some(first));
        assert_eq!(moves.take(&push), None);
    }
}
