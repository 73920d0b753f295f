//! PushSecret: which keys of a source Secret are pushed to which properties of which paths.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::condition::Condition;
use super::duration::DurationText;
use super::external_secret::{RewriteRegexp, RewriteTransform};
use super::generator_ref::GeneratorRef;
use super::path_status::PushedPath;
use super::selector::{DNS_SUBDOMAIN, StoreKind};
use super::store_location::StoreLocation;
use super::template::SecretTemplate;

/// What to publish, from which source, to which stores.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[kube(
    group = "external-secrets.io",
    version = "v1alpha1",
    kind = "PushSecret",
    plural = "pushsecrets",
    shortname = "ps",
    category = "external-secrets",
    namespaced,
    status = "PushSecretStatus",
    derive = "PartialEq",
    doc = "Publishes keys of a Secret of the same namespace to paths of a store, at once when the Secret changes.",
    label("external-secrets.io/component", "controller"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Last Sync", type_ = "date", json_path = ".status.refreshTime"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(
        name = "Propagated",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Propagated")].status"#
    ),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#)
)]
#[serde(rename_all = "camelCase")]
pub struct PushSecretSpec {
    /// How often the store is compared with the source. Zero or less means only when something
    /// changes. A change of the source is pushed at once, whatever the interval.
    #[serde(default = "DurationText::one_hour")]
    pub refresh_interval: DurationText,
    /// The stores to publish to. The path convention requires a ClusterSecretStore (rule P1).
    #[validate(length(max = 32), nested)]
    pub secret_store_refs: Vec<PushStoreRef>,
    /// Whether a property that already exists is replaced (Replace, the default) or kept
    /// (IfNotExists).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,
    /// Whether what was pushed is deleted together with its mapping, the source or the PushSecret
    /// (Delete) or stays (None, the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<PushDeletionPolicy>,
    /// The source.
    #[validate(nested)]
    pub selector: PushSelector,
    /// The mappings: which key of each source is pushed to which property of which path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 1000), nested)]
    pub data: Vec<PushSecretData>,
    /// Mappings of many keys at once. The path convention requires explicit mappings instead (rule
    /// P2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 100), nested)]
    pub data_to: Vec<DataTo>,
    /// Renders other keys from those of each source before they are mapped. Type, labels, annotations
    /// and finalizers have no effect, and functions whose result changes by itself are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub template: Option<SecretTemplate>,
}

impl PushSecretSpec {
    /// The update policy, or its default.
    pub fn update_policy(&self) -> UpdatePolicy {
        self.update_policy.unwrap_or_default()
    }

    /// The deletion policy, or its default.
    pub fn deletion_policy(&self) -> PushDeletionPolicy {
        self.deletion_policy.unwrap_or_default()
    }
}

impl Default for PushSecretSpec {
    fn default() -> Self {
        Self {
            refresh_interval: DurationText::one_hour(),
            secret_store_refs: Vec::new(),
            update_policy: None,
            deletion_policy: None,
            selector: PushSelector::default(),
            data: Vec::new(),
            data_to: Vec::new(),
            template: None,
        }
    }
}

/// What happens to a property that already exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum UpdatePolicy {
    /// It is replaced.
    #[default]
    Replace,
    /// It stays.
    IfNotExists,
}

/// What happens to a property that is no longer pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum PushDeletionPolicy {
    /// It is deleted.
    Delete,
    /// It stays.
    #[default]
    None,
}

impl PushDeletionPolicy {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::None => "None",
        }
    }
}

/// A store, or all stores with certain labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct PushStoreRef {
    /// Name of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: Option<String>,
    /// The stores with these labels. Used if name is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Kind of the store. Defaults to SecretStore, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StoreKind>,
}

impl PushStoreRef {
    /// The kind, or its default.
    pub fn kind(&self) -> StoreKind {
        self.kind.unwrap_or_default()
    }
}

/// The source of a PushSecret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.secret), has(self.configMap), has(self.generatorRef)].exists_one(set, set)")
        .message("set exactly one of secret, configMap and generatorRef")
)]
pub struct PushSelector {
    /// A Secret of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret: Option<PushSourceSecret>,
    /// A ConfigMap of the same namespace, for example with an endpoint. The CRDs of External
    /// Secrets Operator do not have this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub config_map: Option<PushSourceConfigMap>,
    /// A generator. Waypost has none: it answers with reason Unsupported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub generator_ref: Option<GeneratorRef>,
}

/// One source Secret by name, or several by their labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct PushSourceSecret {
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: Option<String>,
    /// The Secrets with these labels: at most 100, with at most 16 MiB of data together. Used if
    /// name is not set. Each mapping applies to each Secret, so the remote keys need a placeholder
    /// that distinguishes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// One source ConfigMap, with the keys of its data and of its binaryData.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct PushSourceConfigMap {
    /// Name of the ConfigMap.
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
}

/// One mapping. The status records what was pushed in the same form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct PushSecretData {
    /// The key, and the property that it is pushed to.
    #[serde(rename = "match")]
    #[validate(nested)]
    pub match_: PushMatch,
    /// An object with apiVersion kubernetes.external-secrets.io/v1alpha1, kind PushSecretMetadata
    /// and a spec with encoding (None, or Base64 for bytes that are not UTF-8), customMetadata
    /// (Vault custom metadata to set on the path), mergePolicy (Merge keeps other custom metadata
    /// of the path, Replace removes it; claims always stay) and consumers (the namespaces that may
    /// read the property).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_json")]
    pub metadata: Option<serde_json::Value>,
    /// How the key is converted before it is pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion_strategy: Option<PushConversionStrategy>,
}

/// Any JSON value, kept as it is.
fn any_json(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// A key, and the property that it is pushed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct PushMatch {
    /// Key in the source. If not set, all keys are pushed, each as a property of the same name, or
    /// as one JSON text if property is set. The path convention does not allow that (rule P2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 253))]
    pub secret_key: Option<String>,
    /// The property that the value is pushed to.
    #[validate(nested)]
    pub remote_ref: PushRemoteRef,
}

/// A property of a path in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct PushRemoteRef {
    /// Path in the store, for example `platform-data/postgres/temporal`. It may contain
    /// placeholders for metadata of the source: `{{ .metadata.name }}`,
    /// `{{ .metadata.namespace }}`, `{{ .metadata.labels.team }}`,
    /// `{{ index .metadata.labels "app.kubernetes.io/name" }}` and the same with annotations. Each
    /// stands for a part of one segment.
    #[validate(length(min = 1, max = 1024))]
    pub remote_key: String,
    /// Property of the path. If not set, the value must be a JSON object whose fields are the
    /// properties. The path convention does not allow that (rule P2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub property: Option<String>,
}

/// How keys are converted before they are pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum PushConversionStrategy {
    /// Not at all.
    #[default]
    None,
    /// Code points such as `_U002f_` become the characters that they encode.
    ReverseUnicode,
}

/// A mapping of many keys at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.storeRef) || has(self.storeRef.name) || has(self.storeRef.labelSelector)")
        .message("storeRef needs a name or a labelSelector"),
    validation = Rule::new("!has(self.remoteKey) || self.remoteKey == '' || !has(self.rewrite) || size(self.rewrite) == 0")
        .message("remoteKey puts all keys into one secret and cannot be combined with rewrite: remove one of them")
)]
pub struct DataTo {
    /// The store of these mappings: one of secretStoreRefs by name, or some of them by
    /// labelSelector. Defaults to all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub store_ref: Option<PushStoreRef>,
    /// One path for all matching keys, each as a property of the same name. If not set, each key
    /// gets its own path, with the property `value` or the fields of a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub remote_key: Option<String>,
    /// Which keys of the source.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub match_: Option<DataToMatch>,
    /// Rewrites of the keys, applied in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 32), nested)]
    pub rewrite: Vec<PushRewrite>,
    /// As `metadata` of a mapping, for each of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_json")]
    pub metadata: Option<serde_json::Value>,
    /// How the keys are converted before they are pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion_strategy: Option<PushConversionStrategy>,
}

/// Which keys of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct DataToMatch {
    /// A regular expression (RE2) that must match somewhere in the key. Defaults to all keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub regexp: Option<String>,
}

/// One rewrite of keys before they are pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
#[x_kube(
    validation = Rule::new("has(self.regexp) != has(self.transform)")
        .message("set exactly one of regexp and transform")
)]
pub struct PushRewrite {
    /// Replaces what a regular expression matches in a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub regexp: Option<RewriteRegexp>,
    /// Renders a key from a template, in which `{{ .value }}` is the key. Waypost answers anything
    /// else between braces with reason Unsupported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub transform: Option<RewriteTransform>,
}

/// What was pushed, by store (`<kind>/<name>`) and then by path or `<path>/<property>`.
pub type SyncedPushSecrets = BTreeMap<String, BTreeMap<String, PushSecretData>>;

/// What was pushed to where a store led before it was edited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormerLocation {
    /// The store, as `<kind>/<name>`.
    #[schemars(length(max = 512))]
    pub store: String,
    /// Where it led.
    pub location: StoreLocation,
    /// What is still there, as the ledger lists it.
    pub pushed: BTreeMap<String, PushSecretData>,
}

/// What was pushed, and whether it is up to date.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PushSecretStatus {
    /// When the store was last updated, or last found up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<Time>,
    /// The generation that was synced, and a digest of the resource's labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub synced_resource_version: Option<String>,
    /// The generation that this status describes. It is -1 until the controller has seen the
    /// object, which waiting tools treat as in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The ledger: what was pushed, by store (kind and name) and then by path and property.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub synced_push_secrets: SyncedPushSecrets,
    /// Where the stores of the ledger led when it was written, by the same keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub store_locations: BTreeMap<String, StoreLocation>,
    /// What was pushed to where a store led before its server, path or namespace was edited, and is
    /// not removed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub former_locations: Vec<FormerLocation>,
    /// Whether everything is pushed (Ready) and whether its consumers have it (Propagated), and if
    /// not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The paths that this PushSecret writes, each with its version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub paths: Vec<PushedPath>,
}
