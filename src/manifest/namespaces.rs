//! The Namespaces among the files: their labels, and whether they want children.

use std::collections::BTreeMap;

use super::document::Node;
use super::problem::Problem;
use crate::api::names::{ANNOTATION_OPT_OUT, TRUE};
use crate::domain::convention::{LABEL_MODE, Mode, Severity};

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

/// The problem of a Namespace whose label is no mode of the path convention.
pub fn unknown_mode(node: &Node) -> Option<Problem> {
    let label = node.at("metadata.labels")?.get(LABEL_MODE)?;
    let unknown = label.text().unwrap_or_default().parse::<Mode>().err()?;
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
