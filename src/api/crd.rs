//! The CustomResourceDefinitions that we install, generated from the types in this module.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::Schema;
use serde_json::{Map, Value, json};

use super::{
    ClusterExternalSecret, ClusterPushSecret, ClusterSecretStore, ExternalSecret, PathConvention, PushSecret,
    SecretStore,
};

/// The CRDs of all six kinds as JSON, in the order of their names.
pub fn definitions() -> Vec<Value> {
    let mut definitions: Vec<Value> = [
        ClusterExternalSecret::crd(),
        ClusterPushSecret::crd(),
        ClusterSecretStore::crd(),
        ExternalSecret::crd(),
        PushSecret::crd(),
        SecretStore::crd(),
    ]
    .into_iter()
    .map(definition)
    .collect();
    definitions.sort_by_key(|definition| definition["metadata"]["name"].to_string());
    definitions
}

/// The CRD of our own kind.
pub fn path_convention() -> Value {
    definition(PathConvention::crd())
}

fn definition(crd: CustomResourceDefinition) -> Value {
    let mut crd = serde_json::to_value(crd).expect("a definition has string keys only");
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    if let Value::Object(root) = schema {
        root.remove("title");
    }
    each_schema(schema, forbid_null);
    each_schema(schema, bound);
    each_schema(schema, unwrap_description);
    if let Some(status) = schema["properties"].get_mut("status") {
        status["default"] = unobserved();
    }
    crd
}

/// The initial status of an object. Without any status, kstatus considers an object ready, and Flux
/// would continue before we have begun. An unobserved generation counts as in progress.
fn unobserved() -> Value {
    json!({ "observedGeneration": -1 })
}

/// Removes an enum's own description from its schema: it would replace that of an optional field
/// that has the type.
pub(super) fn leave_description_to_field(schema: &mut Schema) {
    schema.remove("description");
}

/// Calls `edit` with every schema in `value`, the innermost first.
fn each_schema(value: &mut Value, edit: fn(&mut Map<String, Value>)) {
    let Value::Object(schema) = value else { return };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(|property| each_schema(property, edit));
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            each_schema(below, edit);
        }
    }
    edit(schema);
}

/// Makes optional fields absent instead of null. The API server drops a null that a schema does not
/// allow, so GitOps tools never see one of ours.
fn forbid_null(schema: &mut Map<String, Value>) {
    schema.remove("nullable");
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// Bounds what the types leave open (label selectors, texts of templates), so that CEL rules have a
/// bounded cost and no object exceeds etcd's limit.
fn bound(schema: &mut Map<String, Value>) {
    let (limit, default) = match schema.get("type").and_then(Value::as_str) {
        Some("string") if !schema.contains_key("enum") && !schema.contains_key("format") => ("maxLength", 262_144),
        Some("array") => ("maxItems", 1_000),
        Some("object") if schema.contains_key("additionalProperties") => ("maxProperties", 10_000),
        Some(_) | None => return,
    };
    schema.entry(limit).or_insert(default.into());
}

/// Joins the lines of a description, which are broken where the source code is.
fn unwrap_description(schema: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text
            .split("\n\n")
            .map(|paragraph| paragraph.split('\n').collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join("\n\n");
    }
}
