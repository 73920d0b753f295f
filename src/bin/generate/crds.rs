//! `crds/`: one CustomResourceDefinition per file.

use std::path::PathBuf;

use serde_json::Value;
use waypost::api::crd;

use super::Output;

const HEADER: &str = "# Generated from src/api by waypost-generate: edit the types, then run `make generate`.\n";

/// Status fields that Waypost adds to those of the External Secrets API.
const ADDED_STATUS: [&str; 3] = ["observedGeneration", "paths", "vault"];

/// The CRDs that we install.
pub fn outputs() -> Vec<Output> {
    let mut definitions = crd::definitions();
    definitions.push(crd::path_convention());
    files("crds", definitions)
}

/// The CRDs as another installation of the API would declare them: without CEL rules, without the
/// status fields that we add, with conditions as a plain list.
pub fn stripped() -> Vec<Output> {
    let mut definitions = crd::definitions();
    definitions.iter_mut().for_each(strip);
    files("", definitions)
}

fn files(folder: &str, definitions: Vec<Value>) -> Vec<Output> {
    definitions
        .into_iter()
        .map(|definition| {
            let plural = definition["spec"]["names"]["plural"].as_str();
            let plural = plural.expect("a definition has a plural");
            let yaml = serde_saphyr::to_string(&definition).expect("a definition is plain data");
            let path = PathBuf::from(folder).join(format!("{plural}.yaml"));
            (path, format!("{HEADER}{yaml}"))
        })
        .collect()
}

fn strip(definition: &mut Value) {
    let version = &mut definition["spec"]["versions"][0];
    let schema = &mut version["schema"]["openAPIV3Schema"];
    remove_keys(schema, &["x-kubernetes-validations"]);
    let status = &mut schema["properties"]["status"];
    if let Value::Object(status) = status {
        status.remove("default");
    }
    let status = &mut status["properties"];
    if let Value::Object(fields) = status {
        for field in ADDED_STATUS {
            fields.remove(field);
        }
        if let Some(conditions) = fields.get_mut("conditions") {
            strip_conditions(conditions);
        }
    }
    if let Value::Array(columns) = &mut version["additionalPrinterColumns"] {
        columns.retain(|column| column["name"] != "Message");
    }
}

fn strip_conditions(conditions: &mut Value) {
    remove_keys(conditions, &["x-kubernetes-list-type", "x-kubernetes-list-map-keys"]);
    if let Some(fields) = conditions["items"]["properties"].as_object_mut() {
        fields.remove("observedGeneration");
        fields.insert("type".to_owned(), serde_json::json!({ "type": "string", "enum": ["Ready", "Deleted"] }));
    }
}

fn remove_keys(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !keys.contains(&key.as_str()));
            fields.values_mut().for_each(|field| remove_keys(field, keys));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove_keys(item, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
