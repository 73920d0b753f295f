//! The mode of the convention for an object: that of its Namespace's label, if the Namespace is
//! among the files, else that of the installation, as in the controller and at admission.

use std::borrow::Cow;

use super::permitted::gets_child;
use crate::domain::convention::{Convention, LABEL_MODE, Mode};
use crate::manifest::{Namespace, Namespaces, Object};

/// What decides on the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeBy {
    /// The label of a namespace, else the convention.
    Label,
    /// The convention alone: its mode is that of a flag, which overrides labels.
    Flag,
}

/// The convention, in the mode of each namespace.
pub struct Modes<'a> {
    convention: &'a Convention,
    namespaces: &'a Namespaces,
    by: ModeBy,
}

impl<'a> Modes<'a> {
    pub fn new(convention: &'a Convention, namespaces: &'a Namespaces, by: ModeBy) -> Self {
        Modes { convention, namespaces, by }
    }

    /// The convention for an object. The installation's mode counts for a ClusterPushSecret, and if
    /// the object's Namespace is not among the files. A ClusterPushSecret has children, so the modes
    /// of their namespaces count as well. Of several modes the strictest counts: also of those that
    /// several manifests of one Namespace give it, as in overlays.
    pub fn of(&self, object: &Object<'_>) -> Cow<'a, Convention> {
        let installation = Cow::Borrowed(self.convention);
        let labelled = |namespace: &'a Namespace| {
            self.convention.in_namespace(namespace.labels.get(LABEL_MODE).map(String::as_str))
        };
        match (self.by, object.kind.name.as_str()) {
            (ModeBy::Flag, _) => installation,
            (ModeBy::Label, "ClusterPushSecret") => {
                let gets_child = gets_child(object);
                let children = self.namespaces.values().flatten().filter(|namespace| gets_child(namespace));
                children.map(labelled).fold(installation, stricter)
            }
            (ModeBy::Label, _namespaced) => {
                let own = self.namespaces.get(object.metadata("namespace")).into_iter().flatten();
                own.map(labelled).reduce(stricter).unwrap_or(installation)
            }
        }
    }
}

fn stricter<'a>(one: Cow<'a, Convention>, other: Cow<'a, Convention>) -> Cow<'a, Convention> {
    match (one.mode, other.mode) {
        (Mode::Enforce, _) | (Mode::Warn, Mode::Warn) | (_, Mode::Off) => one,
        (Mode::Warn | Mode::Off, Mode::Enforce) | (Mode::Off, Mode::Warn) => other,
    }
}
