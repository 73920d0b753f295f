//! Whether a reconcile has nothing to do, because its inputs are those of the last successful one,
//! and whether a target that is read once has what it waits for.

use std::time::Duration;

use super::Pull;
use super::apply::Applied;
use super::desired::{Desired, Refresh};
use super::former;
use super::inputs::Inputs;
use super::plan::Presence;
use super::records::{Outcome, Record};
use super::report::Failure;
use super::versions::PathVersion;
use crate::api::ExternalSecret;
use crate::api::condition::{self, ConditionStatus, READY};
use crate::api::path_status::MAX_PATHS;
use crate::domain::object_name::Name;
use crate::feed::Follow;
use crate::store::Stores;

/// How often a resource that is synced once looks for its value until it exists.
const UNTIL_SYNCED: Duration = Duration::from_secs(3600);

impl<S: Stores> Pull<S> {
    /// Whether there is nothing to do. At most, this reads the target's metadata: if somebody
    /// changed it, if it was not read for the duration of a heartbeat, or if there was none. No event
    /// of a target that is not there is noted, and a write that seemed to fail may create it late.
    pub(super) async fn is_settled(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        name: &Name,
        today: &Inputs,
    ) -> Result<bool, Failure> {
        let target = Name::new(&desired.namespace, &desired.target);
        let in_doubt = self.records.take_doubt(name, &target, self.context.settings.status_heartbeat);
        let Some(record) = self.records.of(name) else { return Ok(false) };
        if !is_good(&record, today) || !self.is_told(object) {
            return Ok(false);
        }
        if !in_doubt && record.target.is_some() {
            return Ok(true);
        }
        let found = self.context.cluster.target_stamp(&desired.namespace, &desired.target).await;
        let today = Inputs { target: found.map_err(Failure::Write)?, ..today.clone() };
        let settled = is_good(&record, &today);
        if settled {
            self.records.looked(name);
        }
        Ok(settled)
    }

    /// Whether the status says that this generation is Ready, and no status write is pending.
    fn is_told(&self, object: &ExternalSecret) -> bool {
        let ready = object.status.as_ref().and_then(|status| condition::find(&status.conditions, READY));
        let says_so = ready.is_some_and(|ready| {
            ready.status == ConditionStatus::True
                && ready.observed_generation.is_none_or(|seen| Some(seen) == object.metadata.generation)
        });
        says_so && !self.context.written.is_owed(object.metadata.uid.as_deref().unwrap_or_default())
    }
}

/// Whether the last reconcile was successful and had exactly these inputs.
pub(super) fn is_good(record: &Record, today: &Inputs) -> bool {
    record.outcome == Outcome::Good && record.inputs == *today
}

/// Whether the resource asks not to be read again in its current state, except to repair the
/// target. One whose target was renamed is read until the status names the new target.
pub(super) fn is_frozen(object: &ExternalSecret, desired: &Desired) -> bool {
    let synced = object.status.as_ref().and_then(|status| status.synced_resource_version.as_ref());
    match desired.refresh {
        Refresh::Follow(_) => false,
        Refresh::OnChange => synced == Some(&desired.synced_resource_version),
        Refresh::Once => synced.is_some() && former::name(object, desired).is_none(),
    }
}

/// Whoever is read follows its store until it is synced: the value may be created later than the
/// resource (KG4).
pub(super) fn until_synced(desired: &Desired) -> Follow {
    match desired.refresh {
        Refresh::Follow(interval) => Follow::Every(interval),
        Refresh::OnChange | Refresh::Once => Follow::Every(UNTIL_SYNCED),
    }
}

/// Whether a target counts as synced, although values may be missing. What is read once waits for a
/// value that it never had (KG4), or for all of them if it has no target. It does not wait for a
/// value that it lost: others are still there, and it is not to follow them.
pub(super) fn is_synced(
    object: &ExternalSecret,
    desired: &Desired,
    applied: &Applied,
    versions: &[PathVersion],
) -> bool {
    let status = object.status.as_ref().filter(|status| status.synced_resource_version.is_some());
    let read = status.map(|status| status.paths.as_slice()).unwrap_or_default();
    // Other controllers' CRDs keep no paths, and ours the first ones.
    let is_cut_off = status.is_some() && (read.is_empty() || read.len() >= MAX_PATHS);
    let had = |path: &PathVersion| is_cut_off || read.iter().any(|read| read.is(&path.store, &path.path, path.what));
    match (desired.refresh, applied) {
        (Refresh::Follow(_), _) => true,
        (Refresh::OnChange | Refresh::Once, Applied::Deleted | Applied::Absent) => false,
        (Refresh::OnChange | Refresh::Once, Applied::Kept(_) | Applied::Wrote(_)) => {
            versions.iter().all(|path| path.presence == Presence::Live || had(path))
        }
    }
}
