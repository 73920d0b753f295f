//! Checks beyond the schema, by the controller's own parsers: specs, names, label selectors,
//! `metadata` of mappings, and our own annotations.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{convention_file, pull_spec, push_spec, store_spec, templates};
use crate::api::StoreKind;
use crate::api::cluster_external_secret::UNSERVED;
use crate::domain::push_options::PushOptions;
use crate::fanout::selection::Selection;
use crate::manifest::{Node, Object, Problem, earlier_versions, span_of};

/// Everything in one object's manifest that the controller would refuse.
pub fn check(object: &Object<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    match object.kind.name.as_str() {
        "ExternalSecret" => {
            problems.extend(pull_spec::check(object, "spec"));
            problems.extend(templates::of_pull(object, "spec"));
        }
        "ClusterExternalSecret" => {
            problems.extend(pull_spec::check(object, "spec.externalSecretSpec"));
            problems.extend(templates::of_pull(object, "spec.externalSecretSpec"));
            problems.push(Problem::error("unsupported", span_of(&object.node, "kind"), UNSERVED.to_owned(), None));
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
        "SecretStore" => problems.extend(store_spec::check(object, StoreKind::SecretStore)),
        "ClusterSecretStore" => problems.extend(store_spec::check(object, StoreKind::ClusterSecretStore)),
        "PathConvention" => problems.extend(convention_file::check(object)),
        _not_ours => {}
    }
    problems
}

/// Checks a push.
fn push(object: &Object<'_>, root: &str) -> Vec<Problem> {
    let mut problems = envelopes(object, root);
    problems.extend(push_spec::check(object, root));
    problems.extend(templates::of_push(object, root));
    problems
}

/// The `metadata` of each mapping.
fn envelopes(object: &Object<'_>, root: &str) -> Vec<Problem> {
    let list = |name| object.node.at(root).and_then(|spec| spec.get(name)).map(Node::items).unwrap_or_default();
    let envelopes = list("data").iter().chain(list("dataTo")).filter_map(|mapping| mapping.get("metadata"));
    let refused = envelopes.filter_map(|envelope| {
        let refused = PushOptions::parse(&envelope.admitted()).err()?;
        Some(Problem::error("envelope", envelope.span.clone(), format!("`metadata` of the mapping: {refused}"), None))
    });
    refused.collect()
}

/// The namespaces of a fan-out.
fn selectors(object: &Object<'_>) -> Option<Problem> {
    let node = object.node.at("spec.namespaceSelectors")?;
    // The schema reports a wrong shape.
    let selectors: Vec<LabelSelector> = serde_json::from_value(node.admitted()).ok()?;
    let refused = Selection::parse(&selectors).err()?;
    let span = node.items().get(refused.index).map_or(&node.span, |selector| &selector.span);
    Some(Problem::error("selector", span.clone(), refused.to_string(), None))
}
