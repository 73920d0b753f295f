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
                    // A changed or deleted child, also of a former name, or somebody else's object of
                    // the present one.
                    Heard::One { name: child, owner } => self.wake(|parent| {
                        let is_named = parent.0.as_ref().is_ok_and(|parent| child_name(parent) == &*child.name);
                        is_named || owner.is_some() && parent.uid() == owner
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::api::ClusterPushSecret;

    /// A creation that is on its way while the parent is edited.
    #[tokio::test(start_paused = true)]
    async fn a_child_of_a_former_name_that_arrives_late_wakes_its_parent() {
        let (parents, mut writer) = reflector::store();
        let parent = json!({
            "apiVersion": "external-secrets.io/v1alpha1", "kind": "ClusterPushSecret",
            "metadata": { "name": "fan", "uid": "fan-uid" },
            "spec": { "pushSecretName": "new", "namespaceSelectors": [],
                "pushSecretSpec": { "secretStoreRefs": [], "selector": {} } },
        });
        let parent: Guarded<ClusterPushSecret> = serde_json::from_value(parent).unwrap();
        assert!(parent.0.is_ok());
        writer.apply_watcher_event(&Event::Apply(parent));
        let (wakeups, mut woken) = unbounded_channel();
        let ((_moved, namespaces), (heard, children)) = (unbounded_channel(), unbounded_channel());
        let following = Parents { parents, wakeups }.follow(namespaces, children, CancellationToken::new());
        let following = tokio::spawn(following);
        let child = |name: &str, owner: Option<&str>| Heard::One {
            name: Name::new("team", name),
            owner: owner.map(str::to_owned),
        };
        for strange in [child("old", None), child("old", Some("another"))] {
            heard.send(strange).unwrap();
        }
        for child in [child("new", None), child("old", Some("fan-uid"))] {
            heard.send(child).unwrap();
            let next = tokio::time::timeout(Duration::from_secs(1), woken.recv()).await;
            assert_eq!(next.ok().flatten(), Some(Name::new("", "fan")));
        }
        assert!(woken.try_recv().is_err(), "what is not its own wakes it");
        following.abort();
    }
}
