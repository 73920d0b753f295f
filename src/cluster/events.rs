//! Events: one when an object's state changes, never one a refresh.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Resource, ResourceExt};
use tracing::debug;

use super::Cluster;

/// Who publishes our Events.
const CONTROLLER: &str = "waypost";
/// The API server takes notes of fewer than this many bytes.
const MAX_NOTE: usize = 1024;

/// Publishes Events on behalf of the controller.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// A recorder with the controller's name.
    pub fn new(cluster: &Cluster) -> Self {
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: None };
        Events { recorder: Recorder::new(cluster.client(), reporter) }
    }

    /// Says that an object's state changed. An Event that cannot be published is no reason to do anything else.
    pub async fn state_changed<K>(&self, object: &K, type_: EventType, reason: &str, message: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(message[..message.floor_char_boundary(MAX_NOTE - 1)].to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference: ObjectReference = object.object_ref(&());
        if self.recorder.publish(&event, &reference).await.is_err() {
            debug!(object = %object.name_any(), reason = event.reason, "an Event was not published");
        }
    }
}
