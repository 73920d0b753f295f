//! What tells one cluster-wide kind from another: what its children are, where its spec has their parts, and how it says what became of
//! them. Everything else of a fan-out is the same for all.

use std::collections::BTreeSet;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::selection::{Selection, SelectorError};
use crate::api::bounds::OutOfBounds;
use crate::api::condition::Condition;
use crate::api::duration::DurationText;
use crate::api::kind::Kind;
use crate::api::selector::{ChildMetadata, FailedNamespace};
use crate::store::StoreName;

/// A kind that a cluster-wide kind makes, one object in each namespace that matches.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What a parent decides of it.
    type Spec: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync;

    /// An object without a status.
    fn new(metadata: ObjectMeta, spec: Self::Spec) -> Self;

    fn spec(&self) -> &Self::Spec;

    /// Whether it says that what it writes belongs to another object of its kind.
    fn is_contested(&self) -> bool;
}

/// A cluster-wide kind.
pub trait Parent:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    type Child: Child;
    type Status: Clone + Default + PartialEq + Debug + Serialize + Send + Sync;

    const KIND: Kind;
    const WORDS: Words;

    /// The parts of its spec, as they are written.
    fn parts(&self) -> Parts<'_, <Self::Child as Child>::Spec>;

    /// The namespaces that it asks for.
    ///
    /// # Errors
    /// The first selector that is malformed: without it the others would select something else than was meant.
    fn selection(&self) -> Result<Selection, SelectorError>;

    /// Whether the spec keeps to the bounds of the definitions, which other definitions than ours may not have.
    ///
    /// # Errors
    /// What is out of bounds.
    fn check(&self) -> Result<(), OutOfBounds>;

    /// The stores that its children would use. A SecretStore is one of each namespace, so it has none here.
    fn stores(&self) -> BTreeSet<StoreName>;

    fn status(&self) -> Option<&Self::Status>;

    /// The fields of a status that a fan-out sets.
    fn told(status: &mut Self::Status) -> Told<'_>;
}

/// The parts of a spec that make children.
pub struct Parts<'a, S> {
    /// Absent means the name of the parent.
    pub name: Option<&'a str>,
    pub metadata: Option<&'a ChildMetadata>,
    pub spec: &'a S,
    /// How often all namespaces are compared.
    pub refresh: Option<&'a DurationText>,
}

/// The fields of a status that a fan-out sets.
pub struct Told<'a> {
    pub observed_generation: &'a mut Option<i64>,
    pub conditions: &'a mut Vec<Condition>,
    /// The name of the children.
    pub name: &'a mut Option<String>,
    pub provisioned: &'a mut Vec<String>,
    pub failed: &'a mut Vec<FailedNamespace>,
}

/// How messages speak of a parent and its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// The kind of the parent.
    pub parent: &'static str,
    /// The kind of the children.
    pub child: &'static str,
    /// The same with its article.
    pub a_child: &'static str,
    /// The definition of the children.
    pub definition: &'static str,
    /// The field that names the children.
    pub name: &'static str,
    /// The fields that make a child valid or not.
    pub content: &'static str,
    /// What children in conflict say, and what helps.
    pub contested: &'static str,
}
