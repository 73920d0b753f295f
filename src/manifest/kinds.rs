//! The kinds of our API, each with the schema of its CRD.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};

use crate::api::crd;

/// One of our kinds, from its CRD.
pub struct Kind {
    group: String,
    pub name: String,
    /// The served version.
    pub version: String,
    pub schema: JSONSchemaProps,
    /// The served schema, with its rules (CEL).
    pub definition: serde_json::Value,
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let definitions = crd::definitions().into_iter().chain([crd::path_convention()]);
    definitions.filter_map(kind).collect()
});

fn kind(definition: serde_json::Value) -> Option<Kind> {
    let crd: CustomResourceDefinition = serde_json::from_value(definition).ok()?;
    let version = crd.spec.versions.into_iter().next()?;
    let mut schema = version.schema?.open_api_v3_schema?;
    let definition = serde_json::to_value(&schema).ok()?;
    // Fields of every object, which a CRD leaves to the API server.
    let of_type = |type_: &str| JSONSchemaProps { type_: Some(type_.to_owned()), ..JSONSchemaProps::default() };
    let properties = schema.properties.get_or_insert_default();
    properties.insert("apiVersion".into(), of_type("string"));
    properties.insert("kind".into(), of_type("string"));
    properties.insert("metadata".into(), of_type("object"));
    schema.required.get_or_insert_default().push("metadata".into());
    Some(Kind { group: crd.spec.group, name: crd.spec.names.kind, version: version.name, schema, definition })
}

/// The kind of this group and name, if it is one of ours.
pub fn kind_named(group: &str, name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.group == group && kind.name == name)
}
