//! When what each object is made of changed: the source of a PushSecret, from which the time to the
//! store is measured, or the texts of an ExternalSecret's template.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use crate::domain::object_name::Name;
use crate::telemetry::trail::Cause;

/// A change of what an object is made of.
#[derive(Clone, Debug)]
pub struct Move {
    /// When it was seen.
    pub at: Instant,
    /// Its span.
    pub cause: Option<Cause>,
}

/// The changes that are not reconciled yet, by the object that they concern.
#[derive(Default)]
pub struct Moves(Mutex<HashMap<Name, Move>>);

impl Moves {
    /// Records a change. Of several before a reconcile, the first counts, because it has waited
    /// longest.
    pub fn note(&self, object: Name, moved: Move) {
        let mut moves = self.lock();
        match moves.get(&object) {
            Some(known) if known.at <= moved.at => {}
            Some(_) | None => drop(moves.insert(object, moved)),
        }
    }

    /// Takes the change that is reconciled now.
    pub fn take(&self, object: &Name) -> Option<Move> {
        self.lock().remove(object)
    }

    /// The span of the change to reconcile next.
    pub fn cause(&self, object: &Name) -> Option<Cause> {
        self.lock().get(object)?.cause.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Move>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::trail;

    #[test]
    fn the_span_of_a_move_is_known_until_it_is_looked_at() {
        let (moves, push) = (Moves::default(), Name::new("db", "push"));
        let spans = trail::tests::exported(|| {
            let cause = Cause::of(&trail::source_changed("Secret", &"db/source"));
            moves.note(push.clone(), Move { at: Instant::now(), cause });
            drop(trail::reconcile("PushSecret", &push, moves.cause(&push)));
            moves.take(&push);
            assert!(moves.cause(&push).is_none());
        });
        assert_eq!(spans[1].parent_span_id, spans[0].span_context.span_id());
    }

    #[test]
    fn the_first_of_several_moves_counts_once() {
        let (moves, push, first) = (Moves::default(), Name::new("db", "push"), Instant::now());
        let moved = |at| Move { at, cause: None };
        moves.note(push.clone(), moved(first));
        moves.note(push.clone(), moved(first + Duration::from_secs(1)));
        assert_eq!(moves.take(&push).map(|moved| moved.at), Some(first));
        assert!(moves.take(&push).is_none());
    }
}
