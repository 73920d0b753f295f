//! What differs between cluster-wide kinds: their children, the fields of their spec and status,
//! and the words of messages. Everything else of a fan-out is the same for all.

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
use crate::controller::guarded::ApiObject;
use crate::store::StoreName;

/// The kind of the children: one object in each matching namespace.
pub trait Child: ApiObject + Resource<Scope = NamespaceResourceScope> {
    /// The spec, which the parent decides.
    type Spec: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync;

    /// An object without a status.
    fn new(metadata: ObjectMeta, spec: Self::Spec) -> Self;

    fn spec(&self) -> &Self::Spec;

    /// Whether its status says that another object owns what it writes.
    fn is_contested(&self) -> bool;
}

/// A cluster-wide kind.
pub trait Parent: ApiObject + Resource<Scope = ClusterResourceScope> {
    type Child: Child;
    type Status: Clone + Default + PartialEq + Debug + Serialize + Send + Sync;

    const KIND: Kind;
    const WORDS: Words;

    /// The parts of its spec, as written.
    fn parts(&self) -> Parts<'_, <Self::Child as Child>::Spec>;

    /// The namespaces that it selects.
    ///
    /// # Errors
    /// The first malformed selector: the others alone would select something else than was meant.
    fn selection(&self) -> Result<Selection, SelectorError>;

    /// Checks the bounds of the spec, which CRDs other than ours may not have.
    ///
    /// # Errors
    /// The fields that are out of bounds.
    fn check(&self) -> Result<(), OutOfBounds>;

    /// The stores that its children would use. A SecretStore has a different one in each namespace,
    /// and is not included.
    fn stores(&self) -> BTreeSet<StoreName>;

    fn status(&self) -> Option<&Self::Status>;

    /// The status fields that a fan-out sets.
    fn told(status: &mut Self::Status) -> Told<'_>;
}

/// The parts of a spec that define the children.
pub struct Parts<'a, S> {
    /// Defaults to the name of the parent.
    pub name: Option<&'a str>,
    pub metadata: Option<&'a ChildMetadata>,
    pub spec: &'a S,
    /// How often all namespaces are compared.
    pub refresh: Option<&'a DurationText>,
}

/// The status fields that a fan-out sets.
pub struct Told<'a> {
    pub observed_generation: &'a mut Option<i64>,
    pub conditions: &'a mut Vec<Condition>,
    /// The name of the children.
    pub name: &'a mut Option<String>,
    pub provisioned: &'a mut Vec<String>,
    pub failed: &'a mut Vec<FailedNamespace>,
}

/// The words of messages about a parent and its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// The kind of the parent.
    pub parent: &'static str,
    /// The kind of the children.
    pub child: &'static str,
    /// The kind of the children, with its article.
    pub a_child: &'static str,
    /// The CRD of the children.
    pub definition: &'static str,
    /// The field with the name of the children.
    pub name: &'static str,
    /// The fields that determine whether a child is valid.
    pub content: &'static str,
    /// What the status of children in conflict says, and what helps.
    pub contested: &'static str,
}
