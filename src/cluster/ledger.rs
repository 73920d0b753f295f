//! Writes to PushSecrets before a push or after a clean-up: the ledger and the finalizer. Each has
//! the UID and the resourceVersion that it follows, so that only one of two controllers writes.

use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::status::difference;
use super::{Cluster, ClusterError};
use crate::api::PushSecret;
use crate::api::names::{FINALIZER_PUSH_SECRET, MANAGER_LEDGER, MANAGER_META};
use crate::api::push_ledger::PushLedger;
use crate::api::push_secret::PushSecretStatus;

impl Cluster {
    /// Makes the ledger exactly this, in one write. Returns the object as written.
    pub async fn write_ledger(&self, push: &PushSecret, ledger: &PushLedger) -> Result<PushSecret, ClusterError> {
        let fields = |ledger: &PushLedger| {
            let mut status = PushSecretStatus::default();
            status.set_ledger(ledger.clone());
            json!(status)
        };
        let present = push.status.as_ref().map(PushSecretStatus::ledger).unwrap_or_default();
        let change = difference(&fields(&present), &fields(ledger)).unwrap_or_else(|| json!({}));
        let patch = json!({ "metadata": precondition(push), "status": change });
        let params = PatchParams { field_manager: Some(MANAGER_LEDGER.to_owned()), ..PatchParams::default() };
        let (api, object) = self.push_secrets(push);
        self.request(
            "record the pushed paths of",
            &object,
            api.patch_status(&push.name_any(), &params, &Patch::Merge(patch)),
        )
        .await
    }

    /// Adds our finalizer. Returns the object as written, or `None` if it already had the
    /// finalizer.
    pub async fn add_push_finalizer(&self, push: &PushSecret) -> Result<Option<PushSecret>, ClusterError> {
        if push.finalizers().iter().any(|finalizer| finalizer == FINALIZER_PUSH_SECRET) {
            return Ok(None);
        }
        let mut finalizers = push.finalizers().to_vec();
        finalizers.push(FINALIZER_PUSH_SECRET.to_owned());
        let (params, patch) = finalizers_patch(push, finalizers);
        let (api, object) = self.push_secrets(push);
        self.request("add a finalizer to", &object, api.patch(&push.name_any(), &params, &patch)).await.map(Some)
    }

    /// Removes our finalizer if it exists; others stay. Returns the metadata as written, or `None`
    /// if there was nothing to remove.
    pub async fn remove_push_finalizer(&self, push: &PushSecret) -> Result<Option<ObjectMeta>, ClusterError> {
        let kept: Vec<String> =
            push.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER_PUSH_SECRET).cloned().collect();
        if kept.len() == push.finalizers().len() {
            return Ok(None);
        }
        let (params, patch) = finalizers_patch(push, kept);
        let (api, object) = self.push_secrets(push);
        // The reply has only metadata, because the rest may not decode.
        let name = push.name_any();
        match self.request("remove a finalizer from", &object, api.patch_metadata(&name, &params, &patch)).await {
            Ok(written) => Ok(Some(written.metadata)),
            // The object was deleted with its finalizer.
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The UID of a PushSecret read live from the API server; `None` if it does not exist.
    pub async fn push_secret_uid(&self, namespace: &str, name: &str) -> Result<Option<String>, ClusterError> {
        let api: Api<PushSecret> = Api::namespaced(self.client(), namespace);
        let object = format!("PushSecret {namespace}/{name}");
        let found = self.get(&object, api.get_metadata(name)).await?;
        Ok(found.and_then(|push| push.metadata.uid))
    }

    /// The ledger of the PushSecret with this UID, read live from the API server; an empty one if
    /// that PushSecret does not exist.
    pub async fn push_secret_ledger(&self, namespace: &str, name: &str, uid: &str) -> Result<PushLedger, ClusterError> {
        let found = self.raw::<PushSecret>(namespace, name).await?;
        let found = found.filter(|found| found.metadata.uid.as_deref() == Some(uid));
        Ok(found.map(|found| ledger_of(&found)).unwrap_or_default())
    }

    /// The PushSecret, read live from the API server. If it does not decode, only metadata and
    /// ledger are live; the rest is from the given object.
    pub async fn fresh_push_secret(&self, push: &PushSecret) -> Result<PushSecret, ClusterError> {
        let namespace = push.namespace().unwrap_or_default();
        let gone =
            || ClusterError::NotFound { verb: "get", object: format!("PushSecret {namespace}/{}", push.name_any()) };
        let found = self.raw::<PushSecret>(&namespace, &push.name_any()).await?.ok_or_else(gone)?;
        if let Ok(decoded) = found.clone().try_parse() {
            return Ok(decoded);
        }
        let mut status = push.status.clone().unwrap_or_default();
        status.set_ledger(ledger_of(&found));
        Ok(PushSecret { metadata: found.metadata, spec: push.spec.clone(), status: Some(status) })
    }

    fn push_secrets(&self, push: &PushSecret) -> (Api<PushSecret>, String) {
        let namespace = push.namespace().unwrap_or_default();
        (Api::namespaced(self.client(), &namespace), format!("PushSecret {namespace}/{}", push.name_any()))
    }
}

/// The ledger of a PushSecret of which the rest may not decode.
fn ledger_of(push: &DynamicObject) -> PushLedger {
    fn field<T: serde::de::DeserializeOwned + Default>(push: &DynamicObject, name: &str) -> T {
        serde_json::from_value(push.data["status"][name].clone()).unwrap_or_default()
    }
    PushLedger {
        synced: field(push, "syncedPushSecrets"),
        locations: field(push, "storeLocations"),
        former: field(push, "formerLocations"),
    }
}

fn finalizers_patch(push: &PushSecret, finalizers: Vec<String>) -> (PatchParams, Patch<Value>) {
    let mut metadata = precondition(push);
    metadata["finalizers"] = json!(finalizers);
    let params = PatchParams { field_manager: Some(MANAGER_META.to_owned()), ..PatchParams::default() };
    (params, Patch::Merge(json!({ "metadata": metadata })))
}

fn precondition(push: &PushSecret) -> Value {
    json!({ "uid": push.metadata.uid, "resourceVersion": push.metadata.resource_version })
}
