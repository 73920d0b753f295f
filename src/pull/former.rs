//! Deletes the former target after a change of `target.name`.

use super::Pull;
use super::apply;
use super::desired::Desired;
use super::report::Failure;
use crate::api::{ExternalSecret, names};
use crate::domain::target::Live;
use crate::store::Stores;

impl<S: Stores> Pull<S> {
    /// Deletes the former target, once the new one is as it should be: it may be that there should
    /// be none (KG1).
    pub(super) async fn retire_former(&self, object: &ExternalSecret, desired: &Desired) -> Result<(), Failure> {
        let former = name(object, desired).zip(self.former(object, desired).await?);
        let Some((name, live)) = former else { return Ok(()) };
        apply::delete(&self.context.cluster, desired, name, &live.stamp).await.map_err(Failure::Write)
    }

    /// The former target, if it still exists and is ours.
    pub(super) async fn former(&self, object: &ExternalSecret, desired: &Desired) -> Result<Option<Live>, Failure> {
        let Some(name) = name(object, desired) else { return Ok(None) };
        let manager = names::target_manager(&desired.name);
        let live = self.context.cluster.target(&desired.namespace, name, &manager).await.map_err(Failure::Write)?;
        Ok(live.filter(|live| live.owners.iter().any(|owner| owner.controller && owner.uid == desired.uid)))
    }
}

/// The name of the former target, if the status names another one than the spec.
fn name<'o>(object: &'o ExternalSecret, desired: &Desired) -> Option<&'o str> {
    let bound = object.status.as_ref()?.binding.as_ref()?.name.as_str();
    Some(bound).filter(|bound| !bound.is_empty() && *bound != desired.target)
}
