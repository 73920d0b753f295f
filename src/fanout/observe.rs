//! What the caches of the watches show: the namespaces, and the PushSecrets that are children or stand in the way of one.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};

use super::desired::Desired;
use super::known::Known;
use super::plan::{Children, Observed};
use crate::api::PushSecret;
use crate::api::push_secret::PushSecretSpec;
use crate::controller::guarded::Guarded;

/// The caches.
pub struct Caches {
    /// All namespaces.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// All PushSecrets.
    pub pushes: Store<Guarded<PushSecret>>,
}

/// A PushSecret that is there.
#[derive(Clone)]
pub struct Present(Arc<Guarded<PushSecret>>);

impl Present {
    /// A PushSecret of a cache.
    pub fn new(object: Arc<Guarded<PushSecret>>) -> Self {
        Present(object)
    }

    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        self.0.meta()
    }

    /// Its spec; `None` where it does not decode.
    pub fn spec(&self) -> Option<&PushSecretSpec> {
        self.0.0.as_ref().ok().map(|push| &push.spec)
    }
}

impl Caches {
    /// Looks at both.
    pub fn observe(&self, desired: &Desired, known: &Known) -> Observed {
        let namespaces = self.namespaces.state();
        let namespaces = namespaces.iter().map(|namespace| (namespace.name_any(), namespace.metadata.clone()));
        let mut children = Children::new();
        let is_concerned = |push: &Guarded<PushSecret>| {
            push.meta().name.as_deref() == Some(&desired.child.name) || desired.owns(push.meta())
        };
        for push in self.pushes.state_filter(is_concerned) {
            children.entry(push.namespace().unwrap_or_default()).or_default().push(Present::new(push));
        }
        let notes = known.of(desired, &children);
        Observed { namespaces: namespaces.collect(), children, notes }
    }
}
