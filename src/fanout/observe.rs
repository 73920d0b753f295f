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
use crate::api::condition::{self, Reason};
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

    /// Whether it says that what it writes belongs to another PushSecret.
    fn is_contested(&self) -> bool {
        let status = self.0.0.as_ref().ok().and_then(|push| push.status.as_ref());
        let ready = status.and_then(|status| condition::find(&status.conditions, condition::READY));
        ready.is_some_and(|ready| ready.reason.as_deref() == Some(Reason::PathConflict.as_str()))
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
        let is_contested = |presents: &Vec<Present>| {
            presents.iter().any(|child| desired.owns(child.metadata()) && child.is_contested())
        };
        let contested = children.iter().filter(|(_, presents)| is_contested(presents)).map(|(name, _)| name.clone());
        Observed { namespaces: namespaces.collect(), contested: contested.collect(), children, notes }
    }
}
