//! What a schema cannot say: durations, label selectors, expressions over names, legal target keys and names (K1), envelopes of mappings, and our own
//! annotations.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::convention_file;
use super::push_spec;
use crate::api::DurationText;
use crate::api::store_spec::StoreCondition;
use crate::domain::dns;
use crate::domain::push_options::PushOptions;
use crate::fanout::selection::Selection;
use crate::manifest::{Node, Object, Problem, Value, earlier_versions, span_of};
use crate::store::admit::{self, ConditionError};

/// The fields that are durations, by kind.
const DURATIONS: [(&str, &str); 7] = [
    ("ExternalSecret", "spec.refreshInterval"),
    ("ClusterExternalSecret", "spec.refreshTime"),
    ("ClusterExternalSecret", "spec.externalSecretSpec.refreshInterval"),
    ("PushSecret", "spec.refreshInterval"),
    ("ClusterPushSecret", "spec.refreshTime"),
    ("ClusterPushSecret", "spec.pushSecretSpec.refreshInterval"),
    ("ClusterSecretStore", "spec.refreshInterval"),
];

/// Durations and K1 of one object.
pub fn check(object: &Object<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (kind, field) in DURATIONS {
        let node = object.node.at(field).filter(|_| kind == object.kind.name);
        problems.extend(node.and_then(|node| duration(node, field)));
    }
    match object.kind.name.as_str() {
        "ExternalSecret" => problems.extend(target(object, "spec", object.metadata("name"))),
        "ClusterExternalSecret" => {
            let own = object.metadata("name");
            let name = object.node.at("spec.externalSecretName").and_then(Node::text);
            problems.extend(target(object, "spec.externalSecretSpec", name.unwrap_or(own)));
        }
        "PushSecret" => {
            problems.extend(earlier_versions(object, "metadata.annotations").err());
            problems.extend(push(object, "spec"));
        }
        "ClusterPushSecret" => {
            problems.extend(earlier_versions(object, "spec.pushSecretMetadata.annotations").err());
            problems.extend(push(object, "spec.pushSecretSpec"));
            problems.extend(selectors(object));
        }
        "ClusterSecretStore" => problems.extend(conditions(object)),
        "PathConvention" => problems.extend(convention_file::check(object)),
        _stores => {}
    }
    problems
}

fn duration(node: &Node, field: &str) -> Option<Problem> {
    let refused = DurationText::new(node.text()?).parse().err()?;
    Some(Problem::error("duration", node.span.clone(), format!("`{field}`: {refused}"), None))
}

/// The namespaces that a store serves.
fn conditions(object: &Object<'_>) -> Option<Problem> {
    // What is none by its shape, the schema says.
    let conditions = object.node.at("spec.conditions").map(Node::json);
    let refused = admit::check(&serde_json::from_value::<Vec<StoreCondition>>(conditions?).ok()?).err()?;
    let rule = match refused {
        ConditionError::Regex { .. } => "regexp",
        ConditionError::Selector { .. } => "selector",
    };
    Some(Problem::error(rule, span_of(&object.node, &refused.field()), refused.to_string(), None))
}

/// What a push asks for.
fn push(object: &Object<'_>, root: &str) -> Vec<Problem> {
    let mut problems = envelopes(object, root);
    problems.extend(push_spec::check(object, root));
    problems
}

/// The `metadata` of each mapping.
fn envelopes(object: &Object<'_>, root: &str) -> Vec<Problem> {
    let list = |name| object.node.at(root).and_then(|spec| spec.get(name)).map(Node::items).unwrap_or_default();
    let envelopes = list("data").iter().chain(list("dataTo")).filter_map(|mapping| mapping.get("metadata"));
    let refused = envelopes.filter_map(|envelope| {
        let refused = PushOptions::parse(&envelope.json()).err()?;
        Some(Problem::error("envelope", envelope.span.clone(), format!("`metadata` of the mapping: {refused}"), None))
    });
    refused.collect()
}

/// The namespaces of a fan-out.
fn selectors(object: &Object<'_>) -> Option<Problem> {
    let node = object.node.at("spec.namespaceSelectors")?;
    // What is none by its shape, the schema says.
    let selectors: Vec<LabelSelector> = serde_json::from_value(node.json()).ok()?;
    let refused = Selection::parse(&selectors).err()?;
    let span = node.items().get(refused.index).map_or(&node.span, |selector| &selector.span);
    Some(Problem::error("selector", span.clone(), refused.to_string(), None))
}

/// K1: what the target Secret and its keys are called.
fn target(object: &Object<'_>, root: &str, object_name: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(spec) = object.node.at(root) else {
        return problems;
    };
    let name = spec.at("target.name").and_then(Node::text).unwrap_or(object_name);
    if !name.is_empty() && !dns::is_subdomain(name) {
        problems.push(Problem::error(
            "K1",
            span_of(spec, "target.name"),
            format!("`{name}` is no name of a Secret"),
            Some("use lowercase letters, digits, hyphens and dots, at most 253, a letter or digit at both ends".into()),
        ));
    }
    let entries = spec.get("data").map(Node::items).unwrap_or_default();
    for key in entries.iter().filter_map(|entry| entry.get("secretKey")) {
        problems.extend(key.text().filter(|text| !is_data_key(text)).map(|text| {
            Problem::error(
                "K1",
                key.span.clone(),
                format!("`{text}` is no key of a Secret"),
                Some("use letters, digits, `-`, `_` and `.`, at most 253; not `.`, and not `..` at the start".into()),
            )
        }));
    }
    if let Some(Value::Map(rendered)) = spec.at("target.template.data").map(|node| &node.value) {
        for entry in rendered.iter().filter(|entry| !is_data_key(&entry.name)) {
            problems.push(Problem::error(
                "K1",
                entry.name_span.clone(),
                format!("`{}` is no key of a Secret", entry.name),
                None,
            ));
        }
    }
    problems
}

fn is_data_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}
