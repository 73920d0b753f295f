//! When the path convention or a namespace's mode changes, the PushSecrets concerned try again at
//! once.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::api::PushSecret;
use crate::controller::conventions::ConventionChanged;
use crate::controller::guarded::Guarded;
use crate::controller::namespaces::NamespaceMoved;
use crate::domain::convention::LABEL_MODE;
use crate::domain::object_name::Name;

/// All PushSecrets, and the channel of their wake-ups.
pub struct Publishers {
    pushes: Store<Guarded<PushSecret>>,
    wakeups: UnboundedSender<Name>,
    namespaces: Store<PartialObjectMeta<Namespace>>,
    /// The last seen modes of namespaces' labels.
    modes: HashMap<String, String>,
}

impl Publishers {
    /// Creates it from the caches and the reconciler's channel.
    pub fn new(
        pushes: Store<Guarded<PushSecret>>,
        wakeups: UnboundedSender<Name>,
        namespaces: Store<PartialObjectMeta<Namespace>>,
    ) -> Self {
        Publishers { pushes, wakeups, namespaces, modes: HashMap::new() }
    }

    /// Follows both until `stop` is cancelled.
    pub async fn follow(
        mut self,
        mut conventions: UnboundedReceiver<ConventionChanged>,
        mut namespaces: UnboundedReceiver<NamespaceMoved>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                Some(ConventionChanged) = conventions.recv() => self.wake(|_| true),
                Some(moved) = namespaces.recv() => self.heard(moved),
                () = stop.cancelled() => return,
                else => return,
            }
        }
    }

    fn heard(&mut self, moved: NamespaceMoved) {
        let names: BTreeSet<String> = match moved {
            NamespaceMoved::One(name) => BTreeSet::from([name]),
            NamespaceMoved::All => {
                let present = self.namespaces.state().iter().map(|namespace| namespace.name_any()).collect::<Vec<_>>();
                // One that is gone has no mode.
                self.modes.keys().cloned().chain(present).collect()
            }
        };
        names.iter().for_each(|name| self.look(name));
    }

    /// Wakes the PushSecrets of a namespace if the mode in its label changed.
    fn look(&mut self, name: &str) {
        let namespace = self.namespaces.get(&ObjectRef::new(name));
        let mode = namespace.and_then(|namespace| namespace.labels().get(LABEL_MODE).cloned());
        let before = match &mode {
            Some(mode) => self.modes.insert(name.to_owned(), mode.clone()),
            None => self.modes.remove(name),
        };
        if before != mode {
            self.wake(|namespace| namespace == name);
        }
    }

    /// A closed channel means that the process is shutting down.
    fn wake(&self, is_concerned: impl Fn(&str) -> bool) {
        for push in self.pushes.state() {
            let namespace = push.namespace().unwrap_or_default();
            if is_concerned(&namespace) {
                let _closed = self.wakeups.send(Name::new(namespace, push.name_any())).is_err();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn nothing_is_kept_of_a_namespace_that_a_new_list_lacks() {
        let (namespaces, mut watch) = store();
        let mut publishers = Publishers::new(store().0, unbounded_channel().0, namespaces);
        let namespace = json!({ "metadata": { "name": "team", "labels": { (LABEL_MODE): "off" } } });
        watch.apply_watcher_event(&Event::Apply(serde_json::from_value(namespace).unwrap()));
        publishers.heard(NamespaceMoved::One("team".to_owned()));
        assert_eq!(publishers.modes.len(), 1);
        for event in [Event::Init, Event::InitDone] {
            watch.apply_watcher_event(&event);
        }
        publishers.heard(NamespaceMoved::All);
        assert!(publishers.modes.is_empty());
    }
}
