//! The template of a target, shared by ExternalSecret and PushSecret.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::selector::{DATA_KEY, DNS_SUBDOMAIN};

/// How a Secret is rendered from the fetched values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.type) || !(self.type in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])")
        .message("a template cannot create service account tokens or bootstrap tokens: they grant access to the cluster")
)]
pub struct SecretTemplate {
    /// Type of the Secret. Defaults to Opaque.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 253))]
    pub type_: Option<String>,
    /// Version of the template language. The only one is v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<EngineVersion>,
    /// Whether the target also has the fetched values (Merge) or only what the template renders
    /// (Replace, the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_policy: Option<TemplateMergePolicy>,
    /// Labels, annotations and finalizers of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub metadata: Option<TemplateMetadata>,
    /// Data keys, each with the template of its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub data: BTreeMap<String, String>,
    /// Templates from ConfigMaps, from Secrets or inline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 100), nested)]
    pub template_from: Vec<TemplateFrom>,
}

/// The template language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum EngineVersion {
    /// Go templates with Sprig's functions.
    #[default]
    #[serde(rename = "v2")]
    V2,
}

/// What happens to the fetched values if there is a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum TemplateMergePolicy {
    /// Only what the template renders.
    #[default]
    Replace,
    /// The fetched values, merged with what the template renders, which wins.
    Merge,
}

impl SecretTemplate {
    /// The merge policy, or its default.
    pub fn merge_policy(&self) -> TemplateMergePolicy {
        self.merge_policy.unwrap_or_default()
    }
}

/// Metadata of the target; every value is itself a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct TemplateMetadata {
    /// Annotations of the target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub labels: BTreeMap<String, String>,
    /// Finalizers of the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 32))]
    #[schemars(inner(length(max = 316)))]
    pub finalizers: Vec<String>,
}

/// A source of templates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TemplateFrom {
    /// Templates in a ConfigMap of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub config_map: Option<TemplateSource>,
    /// Templates in a Secret of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret: Option<TemplateSource>,
    /// A template that renders to a YAML map of keys and values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 262_144))]
    pub literal: Option<String>,
    /// The part of the target that gets the result: Data (the default), Annotations or Labels of a
    /// Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub target: Option<String>,
    /// How rendered values are decoded before they are written to the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values_decoding_strategy: Option<super::external_secret::DecodingStrategy>,
}

/// A ConfigMap or Secret with templates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct TemplateSource {
    /// Name of the object.
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// The keys to use.
    #[validate(length(max = 256), nested)]
    pub items: Vec<TemplateSourceItem>,
}

/// One key of a template source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSourceItem {
    /// The key in the object's data.
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DATA_KEY))]
    pub key: String,
    /// Whether the template renders to the value of that key (Values, the default) or to a map of
    /// keys and values (KeysAndValues).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_as: Option<TemplateAs>,
}

/// What a template renders to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum TemplateAs {
    /// The value of the key of the same name.
    #[default]
    Values,
    /// A YAML map of keys and values.
    KeysAndValues,
}
