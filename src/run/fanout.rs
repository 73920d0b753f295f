//! Wakes the cluster-wide objects that a change of a namespace or a child concerns.

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::controller::drive::Heard;
use crate::controller::guarded::Guarded;
use crate::controller::namespaces::NamespaceMoved;
use crate::domain::object_name::Name;
use crate::fanout::desired::child_name;
use crate::fanout::kind::Parent;

/// All objects of a cluster-wide kind, and how they are woken.
pub struct Parents<P: Parent> {
    /// Their cache.
    pub parents: Store<Guarded<P>>,
    /// Their reconciler.
    pub wakeups: UnboundedSender<Name>,
}

impl<P: Parent> Parents<P> {
    /// Follows both until `stop` is cancelled.
    pub async fn follow(
        self,
        mut namespaces: UnboundedReceiver<NamespaceMoved>,
        mut children: UnboundedReceiver<Heard>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                Some(NamespaceMoved::One(_) | NamespaceMoved::All) = namespaces.recv() => self.wake(|_| true),
                Some(heard) = children.recv() => match heard {
                    Heard::All => self.wake(|_| true),
                    // A changed or deleted child, or somebody else's object of that name.
                    Heard::One(child) => self.wake(|parent| {
                        parent.0.as_ref().is_ok_and(|parent| child_name(parent) == child.name)
                    }),
                },
                () = stop.cancelled() => return,
                else => return,
            }
        }
    }

    /// A closed channel means that the process is shutting down.
    fn wake(&self, is_concerned: impl Fn(&Guarded<P>) -> bool) {
        for parent in self.parents.state().into_iter().filter(|parent| is_concerned(parent)) {
            let _closed = self.wakeups.send(Name::new("", parent.name_any())).is_err();
        }
    }
}
