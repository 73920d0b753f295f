//! Reads an object as it stands there, whatever its shape.

use k8s_openapi::NamespaceResourceScope;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource};

use super::{Cluster, ClusterError};

impl Cluster {
    /// The object as the API server has it now; `None` when there is none of that name.
    pub async fn raw<K>(&self, namespace: &str, name: &str) -> Result<Option<DynamicObject>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), namespace, &ApiResource::erase::<K>(&()));
        let subject = format!("{} {namespace}/{name}", K::kind(&()));
        self.get(&subject, api.get(name)).await
    }
}
