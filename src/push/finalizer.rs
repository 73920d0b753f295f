//! Keeps the finalizer of a PushSecret that is not being deleted as its `deletionPolicy` wants it.

use std::sync::Arc;

use super::reconcile::Turn;
use crate::api::PushSecret;
use crate::api::push_secret::PushDeletionPolicy;
use crate::api::wish;
use crate::cluster::ClusterError;

impl Turn<'_> {
    /// Sets or removes the finalizer: it is set while something pushed must be removed with the
    /// PushSecret. Before a first push, the ledger's recorder sets it. It stays once everything is
    /// withdrawn, because a source that comes back would only set it again.
    pub(super) async fn settle_finalizer(&mut self) -> Result<(), ClusterError> {
        let cluster = self.world.cluster;
        match self.object.spec.deletion_policy() {
            PushDeletionPolicy::None => {
                if let Some(metadata) = cluster.remove_push_finalizer(&self.object).await? {
                    self.object = Arc::new(PushSecret { metadata, ..(*self.object).clone() });
                }
                return Ok(());
            }
            PushDeletionPolicy::Delete if self.before.lists_nothing() => return Ok(()),
            PushDeletionPolicy::Delete => {}
        }
        let written = match cluster.add_push_finalizer(&self.object).await {
            // The cache lags behind our own last write.
            Err(conflict @ ClusterError::Conflict { .. }) => {
                let fresh = cluster.fresh_push_secret(&self.object).await?;
                if !wish::is_same(&self.object.metadata, &fresh.metadata) {
                    return Err(conflict);
                }
                Some(cluster.add_push_finalizer(&fresh).await?.unwrap_or(fresh))
            }
            other => other?,
        };
        if let Some(written) = written {
            self.before = written.status.clone().unwrap_or_default();
            self.object = Arc::new(written);
        }
        Ok(())
    }
}
