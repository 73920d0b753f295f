//! In which mode the convention is applied to an object: that of its namespace's label counts, where the Namespace is among the
//! files, before that of the installation, as in the controller and at admission.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::document::Node;
use super::judge::Object;
use super::problem::Problem;
use crate::domain::convention::{Convention, LABEL_MODE, Mode, Severity};

/// The label of each Namespace that has one.
pub type Labels = BTreeMap<String, String>;

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

/// Notes what a Namespace asks for; a word that is no mode counts for nothing, and is told.
pub fn note(node: &Node, labels: &mut Labels) -> Option<Problem> {
    let metadata = node.get("metadata")?;
    let label = metadata.get("labels")?.get(LABEL_MODE)?;
    let unknown = match label.text().unwrap_or_default().parse::<Mode>() {
        Ok(mode) => {
            labels.insert(metadata.text_at("name")?.to_owned(), mode.to_string());
            return None;
        }
        Err(unknown) => unknown,
    };
    Some(Problem {
        rule: "path-convention".to_owned(),
        severity: Severity::Warning,
        span: label.span.clone(),
        message: format!("the label `{LABEL_MODE}` counts for nothing: {unknown}"),
        fix: None,
    })
}

/// Whether a document is a Namespace.
pub fn is_namespace(node: &Node) -> bool {
    node.text_at("apiVersion") == Some("v1") && node.text_at("kind") == Some("Namespace")
}
