//! When a namespace or a PushSecret moved, the ClusterPushSecrets that are concerned look again at once.

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::api::ClusterPushSecret;
use crate::controller::drive::Heard;
use crate::controller::guarded::Guarded;
use crate::controller::namespaces::NamespaceMoved;
use crate::controller::referrers::Name;

/// All ClusterPushSecrets, and where they are woken.
pub struct Parents {
    /// Their cache.
    pub parents: Store<Guarded<ClusterPushSecret>>,
    /// Their reconciler.
    pub wakeups: UnboundedSender<Name>,
}

impl Parents {
    /// Follows both until `stop` is cancelled.
    pub async fn follow(
        self,
        mut namespaces: UnboundedReceiver<NamespaceMoved>,
        mut pushes: UnboundedReceiver<Heard>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                Some(NamespaceMoved::One(_) | NamespaceMoved::All) = namespaces.recv() => self.wake(|_| true),
                Some(heard) = pushes.recv() => match heard {
                    Heard::All => self.wake(|_| true),
                    // Its own child that was changed or deleted, or one in its way that is gone.
                    Heard::One(push) => self.wake(|parent| child_name(parent) == Some(push.name.clone())),
                },
                () = stop.cancelled() => return,
                else => return,
            }
        }
    }

    /// A closed channel means that we are shutting down.
    fn wake(&self, is_concerned: impl Fn(&Guarded<ClusterPushSecret>) -> bool) {
        for parent in self.parents.state().into_iter().filter(|parent| is_concerned(parent)) {
            let _closed = self.wakeups.send(Name::new("", parent.name_any())).is_err();
        }
    }
}

fn child_name(parent: &Guarded<ClusterPushSecret>) -> Option<String> {
    let parent = parent.0.as_ref().ok()?;
    Some(parent.spec.push_secret_name.clone().unwrap_or_else(|| parent.name_any()))
}
