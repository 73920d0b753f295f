//! Reads an object of any shape.

use k8s_openapi::NamespaceResourceScope;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource};

use super::{Cluster, ClusterError};

impl Cluster {
    /// The object read live from the API server; `None` if it does not exist.
    pub async fn raw<K>(&self, namespace: &str, name: &str) -> Result<Option<DynamicObject>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), namespace, &ApiResource::erase::<K>(&()));
        let subject = format!("{} {namespace}/{name}", K::kind(&()));
        self.get(&subject, api.get(name)).await
    }
}
