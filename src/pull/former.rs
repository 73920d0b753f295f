//! Deletes the former target after a change of `target.name`.

use super::Pull;
use super::apply::{self, Applied};
use super::desired::Desired;
use super::report::Failure;
use crate::api::{ExternalSecret, names};
use crate::store::Stores;

impl<S: Stores> Pull<S> {
    /// After a change of `target.name`, deletes the former target once the new one exists (KG1).
    pub(super) async fn retire_former(
        &self,
        object: &ExternalSecret,
        desired: &Desired,
        applied: &Applied,
    ) -> Result<(), Failure> {
        let former = object.status.as_ref().and_then(|status| status.binding.as_ref()).map(|binding| &binding.name);
        let Some(former) = former.filter(|former| !former.is_empty() && **former != desired.target) else {
            return Ok(());
        };
        let (Applied::Kept(_) | Applied::Wrote(_)) = applied else { return Ok(()) };
        let cluster = &self.context.cluster;
        let manager = names::target_manager(&desired.name);
        let live = cluster.target(&desired.namespace, former, &manager).await.map_err(Failure::Write)?;
        match live.filter(|live| live.owners.iter().any(|owner| owner.controller && owner.uid == desired.uid)) {
            Some(live) => apply::delete(cluster, desired, former, &live.stamp).await.map_err(Failure::Write),
            None => Ok(()),
        }
    }
}
