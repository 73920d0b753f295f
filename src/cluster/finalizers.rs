//! Removes the finalizer that External Secrets Operator leaves on an ExternalSecret.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Cluster, ClusterError};
use crate::api::ExternalSecret;
use crate::api::names::{FINALIZER_EXTERNAL_SECRET, MANAGER_META};

impl Cluster {
    /// Removes that finalizer if it exists; others stay.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] if somebody changed the object meanwhile.
    pub async fn release_external_secret(&self, object: &ExternalSecret) -> Result<(), ClusterError> {
        let present = object.finalizers();
        let kept: Vec<&String> = present.iter().filter(|finalizer| *finalizer != FINALIZER_EXTERNAL_SECRET).collect();
        if kept.len() == present.len() {
            return Ok(());
        }
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<ExternalSecret> = Api::namespaced(self.client(), &namespace);
        let patch = json!({ "metadata": {
            "uid": object.metadata.uid, "resourceVersion": object.metadata.resource_version, "finalizers": kept,
        } });
        let params = PatchParams { field_manager: Some(MANAGER_META.to_owned()), ..PatchParams::default() };
        let subject = format!("ExternalSecret {namespace}/{name}");
        // The reply has only metadata, because the rest may not decode.
        match self.request("release", &subject, api.patch_metadata(&name, &params, &Patch::Merge(patch))).await {
            // The object was deleted with its finalizer.
            Ok(_) | Err(ClusterError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
