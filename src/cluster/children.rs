//! The children of a fan-out: read live, created by POST, changed by merge patch, and deleted with
//! the UID and resourceVersion that were read.

use std::collections::BTreeSet;
use std::fmt::Debug;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, ClusterResourceScope, DynamicObject, NamespaceResourceScope};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::target::managed;
use super::{Cluster, ClusterError};
use crate::api::names::MANAGER_FAN_OUT;

/// A child, read live from the API server.
#[derive(Clone, Debug)]
pub struct LiveChild {
    pub metadata: ObjectMeta,
    /// Its spec, whether it decodes or not.
    pub spec: Value,
    /// Keys of the labels that we set.
    pub our_labels: BTreeSet<String>,
    /// Keys of the annotations that we set.
    pub our_annotations: BTreeSet<String>,
}

impl Cluster {
    /// The object of that name; `None` when there is none.
    pub async fn child<K>(&self, namespace: &str, name: &str) -> Result<Option<LiveChild>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Ok(self.raw::<K>(namespace, name).await?.map(live))
    }

    /// Creates a child. An existing object is an error: it may belong to somebody else.
    pub async fn create_child<K>(&self, namespace: &str, child: &K) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client(), namespace);
        let params = PostParams { field_manager: Some(MANAGER_FAN_OUT.to_owned()), ..PostParams::default() };
        let name = child.meta().name.as_deref().unwrap_or_default();
        self.request("create", &object::<K>(namespace, name), api.create(&params, child)).await.map(drop)
    }

    /// Changes a child by a patch with UID and resourceVersion. Returns it as the API server stored
    /// it.
    pub async fn patch_child<K>(&self, namespace: &str, name: &str, patch: Value) -> Result<LiveChild, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), namespace, &resource);
        let params = PatchParams { field_manager: Some(MANAGER_FAN_OUT.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        self.request("update", &object::<K>(namespace, name), api.patch(name, &params, &patch)).await.map(live)
    }

    /// Deletes exactly this child in exactly this state.
    pub async fn delete_child<K>(&self, namespace: &str, name: &str, seen: &ObjectMeta) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client(), namespace);
        let preconditions = Preconditions { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.request("delete", &object::<K>(namespace, name), api.delete(name, &params)).await.map(drop)
    }

    /// The metadata of a namespace, read live; `None` if it does not exist.
    pub async fn namespace(&self, name: &str) -> Result<Option<ObjectMeta>, ClusterError> {
        let api: Api<Namespace> = Api::all(self.client());
        let found = self.get(&format!("Namespace {name}"), api.get_metadata(name)).await?;
        Ok(found.map(|namespace| namespace.metadata))
    }

    /// The metadata of a cluster-wide object, read live; `None` if it does not exist.
    pub async fn parent<K>(&self, name: &str) -> Result<Option<ObjectMeta>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client());
        let found = self.get(&format!("{} {name}", K::kind(&())), api.get_metadata(name)).await?;
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

fn object<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> String {
    format!("{} {namespace}/{name}", K::kind(&()))
}
