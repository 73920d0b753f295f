//! What becomes of losses that were found when a later reconcile ends before it judges them.

use super::observe::ObserveError;
use super::report::Failure;
use crate::feed::ReadError;
use crate::store::StoreRefusal;

/// How such a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjudged {
    /// The resource reads none of its stores.
    Barred,
    /// Its target is decided, whatever is gone: it keeps its data, or was deleted for another reason.
    Decided,
}

/// How a reconcile with this failure ended. `None` if it judged the losses, or if nothing was
/// decided: a failure may pass, and a target that waits together with other losses
/// goes on waiting meanwhile.
pub fn by(failure: &Failure) -> Option<Unjudged> {
    match failure {
        Failure::Spec(_) => Some(Unjudged::Barred),
        Failure::Refused(_)
        | Failure::Observe(
            ObserveError::Path(_)
            | ObserveError::Moved { .. }
            | ObserveError::TooMuch { .. }
            | ObserveError::NotFound { .. }
            | ObserveError::Read { cause: ReadError::WentBack { .. }, .. }
            | ObserveError::Store(
                StoreRefusal::NotFound { .. }
                | StoreRefusal::OtherController { .. }
                | StoreRefusal::NotAllowed { .. }
                | StoreRefusal::Unsupported { .. }
                | StoreRefusal::Invalid { .. },
            ),
        ) => Some(Unjudged::Decided),
        Failure::Halted(_)
        | Failure::Observe(
            ObserveError::Store(StoreRefusal::Failed(_))
            | ObserveError::Read { cause: ReadError::Store(_), .. }
            | ObserveError::Cluster(_),
        )
        | Failure::Write(_) => None,
    }
}
