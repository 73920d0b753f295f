//! The mode of the convention for an object: that of its Namespace's label, if the Namespace is
//! among the files, else that of the installation, as in the controller and at admission.

use std::borrow::Cow;

use crate::domain::convention::Convention;
use crate::manifest::{Labels, Object};

/// The convention, in the mode of each namespace.
pub struct Modes<'a> {
    convention: &'a Convention,
    labels: Labels,
}

impl<'a> Modes<'a> {
    /// Namespaces that are not in `labels` have no mode of their own.
    pub fn new(convention: &'a Convention, labels: Labels) -> Self {
        Modes { convention, labels }
    }

    /// The convention for an object. An object without a namespace is judged in the installation's
    /// mode.
    pub fn of(&self, object: &Object<'_>) -> Cow<'a, Convention> {
        self.convention.in_namespace(self.labels.get(object.metadata("namespace")).map(String::as_str))
    }
}
