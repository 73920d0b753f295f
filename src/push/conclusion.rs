//! Makes a report of what a reconcile says: the status with its precondition, and what is left in a
//! store as an Event.

use kube::ResourceExt;

use super::report::Said;
use crate::api::PushSecret;
use crate::api::push_secret::PushSecretStatus;
use crate::controller::report::{Report, Requeue, StatusChange};
use crate::domain::object_name::Name;
use crate::metrics::LetGo;

/// What a reconcile says. If those who may want what it leaves could not be asked, it tries again
/// soon.
pub(super) fn concluded(said: Said, version: Option<String>, is_confirmed: bool) -> Said {
    let requeue = if is_confirmed { said.requeue } else { Requeue::BackOff };
    Said { version, requeue, ..said }
}

/// Builds the report. A status that changes the ledger carries the resourceVersion, so that a
/// reconcile never overwrites a newer ledger or misses an edit after pushing something new. Any
/// other status may always be written.
pub(super) fn verdict(object: &PushSecret, said: Said) -> Report<PushSecretStatus> {
    let (before, after) =
        (object.status.as_ref().map(PushSecretStatus::ledger).unwrap_or_default(), said.status.ledger());
    // CRDs of other controllers drop locations, so a first location alone is not worth a
    // conditional write.
    let locations_move = !before.locations.is_empty() && before.locations != after.locations;
    let moves = (before.synced, before.former) != (after.synced, after.former) || locations_move;
    let report = Report::Verdict {
        verdict: said.verdict,
        status: Box::new(StatusChange {
            before: object.status.clone(),
            after: said.status,
            resource_version: said.version.or(moves.then(|| object.resource_version()).flatten()),
        }),
        requeue: said.requeue,
    };
    let report = orphaned(object, LetGo::Declined, &said.left, report);
    orphaned(object, LetGo::StoreMoved, &said.lost, report)
}

fn orphaned(
    object: &PushSecret,
    why: LetGo,
    left: &[String],
    rest: Report<PushSecretStatus>,
) -> Report<PushSecretStatus> {
    if left.is_empty() {
        return rest;
    }
    let left = left.join("; ");
    let name = Name::new(object.namespace().unwrap_or_default(), object.name_any());
    tracing::warn!(push_secret = %name, left, reason = ?why, "left in the store");
    Report::Orphaned { why, left, rest: Box::new(rest) }
}
