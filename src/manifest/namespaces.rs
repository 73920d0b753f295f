//! The Namespaces among the files: their labels, and the mode of the path convention in them.

use std::collections::BTreeMap;

use super::document::Node;
use super::problem::Problem;
use crate::api::names::{ANNOTATION_OPT_OUT, TRUE};
use crate::domain::convention::{LABEL_MODE, Mode, Severity};

/// The label of each Namespace that has one.
pub type Labels = BTreeMap<String, String>;

/// What the files say of each Namespace. One that is in several files, as in overlays, is here once
/// for each.
pub type Namespaces = BTreeMap<String, Vec<Namespace>>;

/// What one file says of a Namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub labels: BTreeMap<String, String>,
    /// Whether it wants no child of a fan-out.
    pub opts_out: bool,
}

/// The label with a namespace's name, set by Kubernetes.
pub const LABEL_NAME: &str = "kubernetes.io/metadata.name";

/// Records a Namespace. One with labels that the API server would reject is left out.
pub fn record(node: &Node, namespaces: &mut Namespaces) {
    let Some(name) = node.at("metadata.name").and_then(Node::text) else { return };
    let annotations = node.at("metadata.annotations");
    let opts_out = annotations.and_then(|all| all.text_at(ANNOTATION_OPT_OUT)) == Some(TRUE);
    let written = node.at("metadata.labels").map(Node::admitted);
    if let Ok(written) = written.map(serde_json::from_value::<Option<BTreeMap<_, _>>>).transpose() {
        let mut labels = written.flatten().unwrap_or_default();
        labels.insert(LABEL_NAME.to_owned(), name.to_owned());
        namespaces.entry(name.to_owned()).or_default().push(Namespace { labels, opts_out });
    }
}

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
