//! The children of one ClusterPushSecret: whether they would write one path from several namespaces (V4).

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::domain::convention::{Convention, Mode, RuleId, Severity};
use crate::domain::remote_key::{Placeholder, RemoteKey};
use crate::fanout::selection::Selection;
use crate::manifest::{Node, Object, Problem};

/// The label by which Kubernetes tells a namespace's name.
const NAME: &str = "kubernetes.io/metadata.name";

/// How many namespaces can have a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespaces {
    AtMostOne,
    Several,
}

/// A warning for each key that is the same in every namespace, where several namespaces can match.
pub fn check(object: &Object<'_>, convention: &Convention) -> Vec<Problem> {
    let is_judged = match convention.mode {
        Mode::Enforce | Mode::Warn => object.kind.name == "ClusterPushSecret",
        Mode::Off => false,
    };
    let Some(spec) = object.node.at("spec.pushSecretSpec").filter(|_| is_judged) else { return Vec::new() };
    match namespaces(object) {
        Namespaces::AtMostOne => Vec::new(),
        Namespaces::Several => keys(spec).filter(|key| is_shared(key, spec)).map(warning).collect(),
    }
}

/// The remote keys that take a property with an owner.
fn keys(spec: &Node) -> impl Iterator<Item = &Node> {
    let list = |name| spec.get(name).map(Node::items).unwrap_or_default().iter();
    let mapped = list("data").filter_map(|mapping| mapping.at("match.remoteRef.remoteKey"));
    mapped.chain(list("dataTo").filter_map(|many| many.get("remoteKey")))
}

/// Whether a key leads to one path from every namespace. Labels and annotations can differ; the name does only where labels select
/// the sources. What is no key, other rules say.
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
            "every namespace that matches writes `{}`: the first keeps it, and the others say PathConflict",
            key.text().unwrap_or_default()
        ),
        fix: Some(format!(
            "tell them apart in the key, as by `{{{{ .metadata.namespace }}}}`, or select one namespace by its label `{NAME}`"
        )),
    }
}

/// Only a selector that asks for a namespace's name is sure to match no more than those.
fn namespaces(object: &Object<'_>) -> Namespaces {
    let selectors = object.node.at("spec.namespaceSelectors").map(Node::items).unwrap_or_default();
    let selectors = selectors.iter().map(|selector| serde_json::from_value(selector.json()));
    // What is no selector, other rules say; it selects nothing.
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

/// The names that a selector asks for.
fn names(selector: LabelSelector) -> Option<Vec<String>> {
    if let Some(name) = selector.match_labels.and_then(|mut labels| labels.remove(NAME)) {
        return Some(vec![name]);
    }
    let mut expressions = selector.match_expressions.into_iter().flatten();
    expressions.find(|expression| expression.key == NAME && expression.operator == "In")?.values
}
