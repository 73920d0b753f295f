//! In which mode the convention is applied to an object: that of its namespace's label counts, where the Namespace is among the
//! files, before that of the installation, as in the controller and at admission.

use std::borrow::Cow;

use crate::domain::convention::Convention;
use crate::manifest::{Labels, Object};

/// The convention, in the mode of each namespace.
pub struct Modes<'a> {
    convention: &'a Convention,
    labels: Labels,
}

impl<'a> Modes<'a> {
    /// Other namespaces than those of `labels` ask for nothing.
    pub fn new(convention: &'a Convention, labels: Labels) -> Self {
        Modes { convention, labels }
    }

    /// The convention for an object. What belongs to no namespace is judged in the installation's mode.
    pub fn of(&self, object: &Object<'_>) -> Cow<'a, Convention> {
        self.convention.in_namespace(self.labels.get(object.metadata("namespace")).map(String::as_str))
    }
}
