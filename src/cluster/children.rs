//! PushSecrets that a ClusterPushSecret makes: looked at live, created by POST, changed by merge patch, deleted only as the object and
//! in the state that was looked at.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use super::target::managed;
use super::{Cluster, ClusterError};
use crate::api::names::MANAGER_FAN_OUT;
use crate::api::{ClusterPushSecret, PushSecret};

/// A PushSecret as the API server has it now.
#[derive(Clone, Debug)]
pub struct LiveChild {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its spec, whether it decodes or not.
    pub spec: Value,
    /// Keys of the labels that we set.
    pub our_labels: BTreeSet<String>,
    /// Keys of the annotations that we set.
    pub our_annotations: BTreeSet<String>,
}

impl Cluster {
    /// The PushSecret as it stands; `None` when there is none of that name.
    pub async fn child(&self, namespace: &str, name: &str) -> Result<Option<LiveChild>, ClusterError> {
        Ok(self.raw::<PushSecret>(namespace, name).await?.map(live))
    }

    /// Creates a PushSecret. One that is there already is an error: it may be somebody's.
    pub async fn create_child(&self, namespace: &str, child: &PushSecret) -> Result<(), ClusterError> {
        let api: Api<PushSecret> = Api::namespaced(self.client(), namespace);
        let params = PostParams { field_manager: Some(MANAGER_FAN_OUT.to_owned()), ..PostParams::default() };
        let name = child.metadata.name.as_deref().unwrap_or_default();
        self.request("create", &object(namespace, name), api.create(&params, child)).await.map(drop)
    }

    /// Changes a PushSecret by a patch that names uid and resourceVersion; as it came to stand there.
    pub async fn patch_child(&self, namespace: &str, name: &str, patch: Value) -> Result<LiveChild, ClusterError> {
        let resource = ApiResource::erase::<PushSecret>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), namespace, &resource);
        let params = PatchParams { field_manager: Some(MANAGER_FAN_OUT.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        self.request("update", &object(namespace, name), api.patch(name, &params, &patch)).await.map(live)
    }

    /// Deletes exactly this PushSecret in exactly this state.
    pub async fn delete_child(&self, namespace: &str, name: &str, seen: &ObjectMeta) -> Result<(), ClusterError> {
        let api: Api<PushSecret> = Api::namespaced(self.client(), namespace);
        let preconditions = Preconditions { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.request("delete", &object(namespace, name), api.delete(name, &params)).await.map(drop)
    }

    /// The metadata of a namespace as the API server has it now; `None` when it is gone.
    pub async fn namespace(&self, name: &str) -> Result<Option<ObjectMeta>, ClusterError> {
        let api: Api<Namespace> = Api::all(self.client());
        let found = self.request("get", &format!("Namespace {name}"), api.get_metadata_opt(name)).await?;
        Ok(found.map(|namespace| namespace.metadata))
    }

    /// The metadata of a ClusterPushSecret as the API server has it now; `None` when it is gone.
    pub async fn cluster_push_secret(&self, name: &str) -> Result<Option<ObjectMeta>, ClusterError> {
        let api: Api<ClusterPushSecret> = Api::all(self.client());
        let found = self.request("get", &format!("ClusterPushSecret {name}"), api.get_metadata_opt(name)).await?;
        Ok(found.map(|found| found.metadata))
    }
}

fn live(object: DynamicObject) -> LiveChild {
    LiveChild {
        spec: object.data.get("spec").cloned().unwrap_or_default(),
        our_labels: managed(&object.metadata, MANAGER_FAN_OUT, "f:labels"),
        our_annotations: managed(&object.metadata, MANAGER_FAN_OUT, "f:annotations"),
        metadata: object.metadata,
    }
}

fn object(namespace: &str, name: &str) -> String {
    format!("PushSecret {namespace}/{name}")
}
