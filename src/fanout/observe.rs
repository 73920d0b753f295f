//! Observes, from the caches of the watches, the namespaces and the objects that are children or
//! have the name of one.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};

use super::desired::Desired;
use super::kind::Child;
use super::known::Known;
use super::plan::{Children, Observed};
use crate::controller::guarded::Guarded;

/// The caches.
pub struct Caches<C: Child> {
    /// All namespaces.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// All objects of the children's kind.
    pub children: Store<Guarded<C>>,
}

/// An object that exists.
#[derive(Clone)]
pub struct Present<C>(Arc<Guarded<C>>);

impl<C: Child> Present<C> {
    /// An object of a cache.
    pub fn new(object: Arc<Guarded<C>>) -> Self {
        Present(object)
    }

    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        self.0.meta()
    }

    /// Whether its status says that another object owns what it writes.
    fn is_contested(&self) -> bool {
        self.0.0.as_ref().is_ok_and(Child::is_contested)
    }

    /// Its spec; `None` if it does not decode.
    pub fn spec(&self) -> Option<&C::Spec> {
        self.0.0.as_ref().ok().map(Child::spec)
    }
}

impl<C: Child> Caches<C> {
    /// Reads both caches.
    pub fn observe(&self, desired: &Desired<C::Spec>, known: &Known) -> Observed<C> {
        let namespaces = self.namespaces.state();
        let namespaces = namespaces.iter().map(|namespace| (namespace.name_any(), namespace.metadata.clone()));
        let mut children = Children::new();
        let is_concerned = |object: &Guarded<C>| {
            object.meta().name.as_deref() == Some(&desired.child.name) || desired.owns(object.meta())
        };
        for object in self.children.state_filter(is_concerned) {
            children.entry(object.namespace().unwrap_or_default()).or_default().push(Present::new(object));
        }
        let notes = known.of(desired, &children);
        let is_contested = |presents: &Vec<Present<C>>| {
            presents.iter().any(|child| desired.owns(child.metadata()) && child.is_contested())
        };
        let contested = children.iter().filter(|(_, presents)| is_contested(presents)).map(|(name, _)| name.clone());
        Observed { namespaces: namespaces.collect(), contested: contested.collect(), children, notes }
    }
}
