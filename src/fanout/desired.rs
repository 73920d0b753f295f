//! The spec of a cluster-wide object, parsed once.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use thiserror::Error;

use super::kind::{Child, Parent, Words};
use super::selection::{Selection, SelectorError};
use crate::api::DurationError;
use crate::api::bounds::OutOfBounds;
use crate::api::condition::Reason;
use crate::api::names::{ANNOTATION_OPT_OUT, TRUE};

/// The default of `refreshTime`.
const DEFAULT_RESYNC: Duration = Duration::from_secs(3600);

/// The parsed spec of a cluster-wide object.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired<S> {
    /// The words of messages about it.
    pub words: Words,
    /// Name of the parent.
    pub name: String,
    /// UID of the parent; children have it in their owner reference.
    pub uid: String,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// The namespaces that get a child.
    pub namespaces: Selection,
    pub child: Template<S>,
    /// How often all namespaces are compared; `None` means only when something changes.
    pub resync: Option<Duration>,
}

/// The child that each namespace gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Template<S> {
    pub name: String,
    /// Others may add more.
    pub labels: BTreeMap<String, String>,
    /// Others may add more.
    pub annotations: BTreeMap<String, String>,
    pub spec: S,
}

/// Why a spec cannot be carried out. Nothing is created or deleted until it is edited.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// A selector is malformed.
    #[error("{0}; nothing is created or deleted until then")]
    Selector(SelectorError),
    /// The interval is not a duration.
    #[error("spec.refreshTime: {0}")]
    Resync(DurationError),
    /// A field is out of its bounds.
    #[error("{0}")]
    Bounds(OutOfBounds),
}

impl SpecError {
    /// The condition's reason.
    pub fn reason(&self) -> Reason {
        match self {
            SpecError::Selector(_) | SpecError::Resync(_) | SpecError::Bounds(_) => Reason::InvalidSpec,
        }
    }
}

/// Parses the spec.
///
/// # Errors
/// The first error, in the order of [`SpecError`].
pub fn parse<P: Parent>(object: &P) -> Result<Desired<<P::Child as Child>::Spec>, SpecError> {
    let parts = object.parts();
    let namespaces = object.selection().map_err(SpecError::Selector)?;
    let resync = match parts.refresh {
        Some(text) => text.parse().map_err(SpecError::Resync)?.positive(),
        None => Some(DEFAULT_RESYNC),
    };
    object.check().map_err(SpecError::Bounds)?;
    let metadata = object.meta();
    let name = metadata.name.clone().unwrap_or_default();
    let of_child = parts.metadata.cloned().unwrap_or_default();
    Ok(Desired {
        words: P::WORDS,
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation,
        namespaces,
        child: Template {
            name: child_name(object).to_owned(),
            labels: of_child.labels,
            annotations: of_child.annotations,
            spec: parts.spec.clone(),
        },
        resync,
        name,
    })
}

/// The name of the children: by default their parent's.
pub fn child_name<P: Parent>(object: &P) -> &str {
    let named = object.parts().name.filter(|name| !name.is_empty());
    named.or(object.meta().name.as_deref()).unwrap_or_default()
}

impl<S> Desired<S> {
    /// Whether this namespace gets a child. One that opts out counts as not matching.
    pub fn wants(&self, namespace: &ObjectMeta) -> bool {
        let no_labels = BTreeMap::new();
        let opted_out = namespace.annotations.as_ref().and_then(|all| all.get(ANNOTATION_OPT_OUT));
        opted_out.is_none_or(|value| value != TRUE)
            && self.namespaces.matches(namespace.labels.as_ref().unwrap_or(&no_labels))
    }

    /// Whether an object is a child of this parent. The UID of its controller reference decides,
    /// never a name or a label.
    pub fn owns(&self, object: &ObjectMeta) -> bool {
        controller(object).is_some_and(|owner| owner.uid == self.uid)
    }
}

/// The controller reference of an object.
pub fn controller(object: &ObjectMeta) -> Option<&OwnerReference> {
    object.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}
