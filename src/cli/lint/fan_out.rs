//! Checks whether the children of one ClusterPushSecret would write one path from several
//! namespaces (V4).

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::domain::convention::{RuleId, Severity};
use crate::domain::remote_key::{Placeholder, RemoteKey};
use crate::fanout::selection::Selection;
use crate::manifest::{LABEL_NAME, Node, Object, Problem};

/// How many namespaces can have a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespaces {
    AtMostOne,
    Several,
}

/// Warns of each key that is the same in every namespace, if several namespaces can match, in every
/// mode: the claims in the store know none.
pub fn check(object: &Object<'_>) -> Vec<Problem> {
    let is_judged = object.kind.name == "ClusterPushSecret";
    let Some(spec) = object.node.at("spec.pushSecretSpec").filter(|_| is_judged) else { return Vec::new() };
    match namespaces(object) {
        Namespaces::AtMostOne => Vec::new(),
        Namespaces::Several => keys(spec).filter(|key| is_shared(key, spec)).map(warning).collect(),
    }
}

/// The remote keys of the spec.
fn keys(spec: &Node) -> impl Iterator<Item = &Node> {
    let list = |name| spec.get(name).map(Node::items).unwrap_or_default().iter();
    let mapped = list("data").filter_map(|mapping| mapping.at("match.remoteRef.remoteKey"));
    mapped.chain(list("dataTo").filter_map(|many| many.get("remoteKey")))
}

/// Whether a key leads to the same path from every namespace. Labels and annotations can differ;
/// the name only if labels select the sources. Other rules report an invalid key.
fn is_shared(key: &Node, spec: &Node) -> bool {
    let is_named = spec.at("selector.secret.name").or(spec.at("selector.configMap.name")).is_some();
    let Some(Ok(key)) = key.text().filter(|key| !key.is_empty()).map(RemoteKey::parse) else { return false };
    key.placeholders().all(|placeholder| match placeholder {
        Placeholder::Namespace | Placeholder::Label(_) | Placeholder::Annotation(_) => false,
        Placeholder::Name => is_named,
    })
}

fn warning(key: &Node) -> Problem {
    Problem {
        rule: RuleId::V4.to_string(),
        severity: Severity::Warning,
        span: key.span.clone(),
        message: format!(
            "every matching namespace writes `{}`: the first keeps it, and the others get PathConflict",
            key.text().unwrap_or_default()
        ),
        fix: Some(format!(
            "distinguish them in the key, such as by `{{{{ .metadata.namespace }}}}`, or select one namespace by its label `{LABEL_NAME}`"
        )),
    }
}

/// Only a selector for names of namespaces is certain to match only these.
fn namespaces(object: &Object<'_>) -> Namespaces {
    let selectors = object.node.at("spec.namespaceSelectors").map(Node::items).unwrap_or_default();
    let selectors = selectors.iter().map(|selector| serde_json::from_value(selector.json()));
    // Other rules report an invalid selector; it selects nothing.
    let Ok(selectors) = selectors.collect::<Result<Vec<LabelSelector>, _>>() else { return Namespaces::AtMostOne };
    if Selection::parse(&selectors).is_err() {
        return Namespaces::AtMostOne;
    }
    let mut named = BTreeSet::new();
    for selector in selectors {
        match names(selector) {
            Some(names) => named.extend(names),
            None => return Namespaces::Several,
        }
    }
    if named.len() > 1 { Namespaces::Several } else { Namespaces::AtMostOne }
}

/// The names that a selector selects.
fn names(selector: LabelSelector) -> Option<Vec<String>> {
    if let Some(name) = selector.match_labels.and_then(|mut labels| labels.remove(LABEL_NAME)) {
        return Some(vec![name]);
    }
    let mut expressions = selector.match_expressions.into_iter().flatten();
    expressions.find(|expression| expression.key == LABEL_NAME && expression.operator == "In")?.values
}
