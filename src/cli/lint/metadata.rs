//! Checks names, labels and annotations of an object, which no CRD describes: the API server
//! validates them for every kind.

use std::collections::BTreeMap;

use crate::domain::dns;
use crate::domain::label_query::{LabelQuery, Selector};
use crate::manifest::{Node, Object, Problem, Value, span_of};

/// The rule of the problem.
const RULE: &str = "metadata";

/// Judges the metadata of an object.
pub fn check(object: &Object<'_>) -> Vec<Problem> {
    // The schema reports missing metadata.
    let Some(metadata) = object.node.get("metadata").filter(|node| matches!(node.value, Value::Map(_))) else {
        return Vec::new();
    };
    let mut problems: Vec<Problem> = name(object, metadata).into_iter().collect();
    problems.extend(metadata.get("namespace").and_then(|node| name_in("namespace", node)));
    for field in ["labels", "annotations"] {
        let texts = metadata.get(field).map(|node| texts(field, node));
        problems.extend(texts.unwrap_or_default());
    }
    problems.extend(metadata.get("labels").and_then(labels));
    problems
}

fn name(object: &Object<'_>, metadata: &Node) -> Option<Problem> {
    match metadata.get("name") {
        Some(node) => name_in("name", node),
        None if metadata.text_at("generateName").is_some_and(|prefix| !prefix.is_empty()) => None,
        None => {
            let fix = Some("add `name`".to_owned());
            Some(Problem::error(RULE, span_of(&object.node, "metadata"), "`metadata.name` is missing".into(), fix))
        }
    }
}

/// Checks a name by Kubernetes' rules.
fn name_in(field: &str, node: &Node) -> Option<Problem> {
    let wrong = |message: &str, fix: &str| {
        let message = format!("`metadata.{field}` {message}");
        Some(Problem::error(RULE, node.span.clone(), message, Some(fix.to_owned())))
    };
    let is_name = if field == "namespace" { dns::is_label } else { dns::is_subdomain };
    match &node.value {
        Value::Text(text) if is_name(text) => None,
        Value::Text(text) => wrong(
            &format!("{text:?} is not a valid Kubernetes name"),
            "use lowercase letters, digits, hyphens and dots, at most 253, a letter or digit at both ends",
        ),
        // `{{ .Release.Name }}` is a map in YAML.
        Value::Map(_) => wrong(
            "is a mapping, not a name",
            "if this is a template of Helm, render it first: helm template … | waypost lint -",
        ),
        Value::Number(text) => wrong("is a number, not a text", &format!("quote it: \"{text}\"")),
        Value::Bool(_) => wrong("is a boolean, not a text", "quote it"),
        Value::Null => wrong("is empty", "write a name"),
        Value::List(_) => wrong("is a list, not a name", "write a name"),
    }
}

/// Each value of a map of texts that is not a text.
fn texts(field: &str, node: &Node) -> Vec<Problem> {
    let entries = match &node.value {
        Value::Null => return Vec::new(),
        Value::Map(entries) => entries,
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            let message = format!("`metadata.{field}` is not a mapping of names to texts");
            return vec![Problem::error(RULE, node.span.clone(), message, None)];
        }
    };
    let others = entries.iter().filter(|entry| !matches!(entry.node.value, Value::Text(_) | Value::Null));
    let problem = |name: &str, value: &Node| {
        let message = format!("`metadata.{field}[{name}]` is not a text");
        Problem::error(RULE, value.span.clone(), message, Some("quote it".to_owned()))
    };
    others.map(|entry| problem(&entry.name, &entry.node)).collect()
}

/// Labels are checked by the rules of label selectors.
fn labels(node: &Node) -> Option<Problem> {
    let match_labels: BTreeMap<String, String> = serde_json::from_value(node.admitted()).ok()?;
    let malformed = LabelQuery::parse(&Selector { match_labels, ..Selector::default() }).err()?;
    let message = format!("`metadata.labels`: {}", malformed.to_string().trim_start_matches("matchLabels: "));
    Some(Problem::error(RULE, span_of(node, ""), message, None))
}
