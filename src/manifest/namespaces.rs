//! The modes of the path convention in the labels of Namespaces among the files.

use std::collections::BTreeMap;

use super::document::Node;
use super::problem::Problem;
use crate::domain::convention::{LABEL_MODE, Mode, Severity};

/// The label of each Namespace that has one.
pub type Labels = BTreeMap<String, String>;

/// Records a Namespace's mode; an unknown mode is ignored, with a problem.
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
        message: format!("the label `{LABEL_MODE}` has no effect: {unknown}"),
        fix: None,
    })
}

/// Whether a document is a Namespace.
pub fn is_namespace(node: &Node) -> bool {
    node.text_at("apiVersion") == Some("v1") && node.text_at("kind") == Some("Namespace")
}
