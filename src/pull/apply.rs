//! Carries out a step. Each write has the state that it was decided on as its precondition.

use super::desired::Desired;
use super::plan::{Step, Written, written};
use crate::api::names;
use crate::cluster::{Cluster, ClusterError};
use crate::domain::target::{Stamp, Target};

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The target was as desired.
    Kept(Written),
    /// It was created or changed.
    Wrote(Written),
    /// It was deleted, as the spec says.
    Deleted,
    /// It did not exist, and should not.
    Absent,
}

/// Carries out a step.
///
/// # Errors
/// [`ClusterError::Conflict`], `AlreadyExists` and `NotFound` mean that the target changed since it
/// was read.
pub async fn apply(cluster: &Cluster, desired: &Desired, step: Step) -> Result<Applied, ClusterError> {
    let manager = names::target_manager(&desired.name);
    match step {
        Step::Keep(written) => Ok(Applied::Kept(written)),
        Step::StayAbsent => Ok(Applied::Absent),
        Step::Create(target) => {
            let stamp = cluster.create_target(&target, &manager).await?;
            Ok(wrote(&target, stamp, "created"))
        }
        Step::Apply(target, at) => {
            let stamp = cluster.apply_target(&target, &at, &manager).await?;
            Ok(wrote(&target, stamp, "updated"))
        }
        Step::Replace(target, live, removals) => {
            let stamp = cluster.replace_target(&target, &live, &removals, &manager).await?;
            Ok(wrote(&target, stamp, "updated"))
        }
        Step::Recreate(target, at) => {
            // What the API server would refuse must not cost the Secret that is there.
            cluster.check_target(&target, &manager).await?;
            delete(cluster, desired, &desired.target, &at).await?;
            let stamp = cluster.create_target(&target, &manager).await?;
            Ok(wrote(&target, stamp, "recreated"))
        }
        Step::Delete(at) => {
            delete(cluster, desired, &desired.target, &at).await?;
            Ok(Applied::Deleted)
        }
    }
}

/// Deletes a Secret. No other function does.
pub async fn delete(cluster: &Cluster, desired: &Desired, name: &str, at: &Stamp) -> Result<(), ClusterError> {
    cluster.delete_target(&desired.namespace, name, at).await?;
    tracing::info!(namespace = desired.namespace, secret = name, external_secret = desired.name, "target deleted");
    Ok(())
}

fn wrote(target: &Target, stamp: Stamp, what: &'static str) -> Applied {
    tracing::info!(
        namespace = target.namespace,
        secret = target.name,
        external_secret = target.owner.name,
        "target {what}"
    );
    Applied::Wrote(written(target, stamp))
}
