//! ExternalSecret: what is read from a store, and the Secret that it is written to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::condition::Condition;
use super::duration::DurationText;
use super::generator_ref::GeneratorRef;
use super::path_status::PulledPath;
use super::selector::{DATA_KEY, StoreRef};
use super::template::SecretTemplate;

/// What the target Secret contains, and where it comes from.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[kube(
    group = "external-secrets.io",
    version = "v1",
    kind = "ExternalSecret",
    plural = "externalsecrets",
    shortname = "es",
    category = "external-secrets",
    namespaced,
    status = "ExternalSecretStatus",
    derive = "PartialEq",
    doc = "Reads values from a store and keeps a Secret of the same namespace equal to them.",
    label("external-secrets.io/component", "controller"),
    selectable = ".spec.secretStoreRef.name",
    selectable = ".spec.secretStoreRef.kind",
    selectable = ".spec.target.name",
    selectable = ".spec.refreshInterval",
    printcolumn(name = "StoreType", type_ = "string", json_path = ".spec.secretStoreRef.kind"),
    printcolumn(name = "Store", type_ = "string", json_path = ".spec.secretStoreRef.name"),
    printcolumn(name = "Refresh Interval", type_ = "string", json_path = ".spec.refreshInterval"),
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Last Sync", type_ = "date", json_path = ".status.refreshTime"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.data) && size(self.data) > 0) || (has(self.dataFrom) && size(self.dataFrom) > 0)")
        .message("nothing to read: list at least one entry in data or dataFrom")
)]
pub struct ExternalSecretSpec {
    /// The store of every entry without its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_store_ref: Option<StoreRef>,
    /// When the store is read again: Periodic (the default), OnChange of this resource, or once
    /// (CreatedOnce).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_policy: Option<RefreshPolicy>,
    /// How often the store is read if refreshPolicy is Periodic. Zero or less means once. What
    /// Waypost pushes arrives at once, whatever the interval.
    #[serde(default = "DurationText::one_hour")]
    pub refresh_interval: DurationText,
    /// When periodic refreshes may happen. The first sync, edits and repairs are not delayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub sync_windows: Option<SyncWindows>,
    /// The Secret that is created and kept up to date.
    #[serde(default)]
    #[validate(nested)]
    pub target: ExternalSecretTarget,
    /// Single values, and the keys that get them. They override dataFrom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 1000), nested)]
    pub data: Vec<ExternalSecretData>,
    /// Whole secrets, or all that are found. Later entries override earlier ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 100), nested)]
    pub data_from: Vec<DataFrom>,
}

impl Default for ExternalSecretSpec {
    fn default() -> Self {
        Self {
            secret_store_ref: None,
            refresh_policy: None,
            refresh_interval: DurationText::one_hour(),
            sync_windows: None,
            target: ExternalSecretTarget::default(),
            data: Vec::new(),
            data_from: Vec::new(),
        }
    }
}

impl ExternalSecretSpec {
    /// The name of the target: its own, or that of the ExternalSecret.
    pub fn target_name<'a>(&'a self, external_secret: &'a str) -> &'a str {
        match self.target.name.as_deref() {
            None | Some("") => external_secret,
            Some(name) => name,
        }
    }

    /// The refresh policy, or its default.
    pub fn refresh_policy(&self) -> RefreshPolicy {
        self.refresh_policy.unwrap_or_default()
    }
}

/// When the store is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum RefreshPolicy {
    /// Every refreshInterval, and when the resource changes.
    #[default]
    Periodic,
    /// When the resource changes.
    OnChange,
    /// Once.
    CreatedOnce,
}

/// Spans of time in which periodic refreshes are allowed or denied; all times are UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct SyncWindows {
    /// Whether the windows allow refreshes, so that none happens outside, or deny them.
    pub kind: SyncWindowKind,
    /// The windows.
    #[validate(length(min = 1, max = 64), nested)]
    pub windows: Vec<SyncWindow>,
}

/// What a sync window does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
#[serde(rename_all = "lowercase")]
pub enum SyncWindowKind {
    /// Refreshes happen only within a window.
    Allow,
    /// Refreshes happen only outside every window.
    Deny,
}

/// One window: it opens at each firing of the schedule and lasts for the duration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct SyncWindow {
    /// Five cron fields, a word such as @daily, or @every with a duration.
    #[validate(length(min = 1, max = 256))]
    #[schemars(regex(
        pattern = r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly)|@every [-+.0-9a-zµμ]+|[^\s@]\S*(\s+\S+){4})$"
    ))]
    pub schedule: String,
    /// How long the window stays open.
    pub duration: DurationText,
}

/// The target, and how it is kept up to date.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.deletionPolicy) || self.deletionPolicy != 'Delete' || !has(self.creationPolicy) || self.creationPolicy == 'Owner'")
        .message("deletionPolicy Delete needs creationPolicy Owner: only a Secret that belongs to this ExternalSecret can be deleted with it"),
    validation = Rule::new("!has(self.deletionPolicy) || self.deletionPolicy != 'Merge' || !has(self.creationPolicy) || self.creationPolicy != 'None'")
        .message("deletionPolicy Merge needs a target: choose another creationPolicy than None")
)]
pub struct ExternalSecretTarget {
    /// Name of the Secret. Defaults to the name of the ExternalSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 253))]
    #[schemars(regex(pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"))]
    pub name: Option<String>,
    /// Whether the target is created, and whose it is.
    #[serde(default)]
    pub creation_policy: CreationPolicy,
    /// What happens to the target when the value is gone from the store.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Makes the Secret immutable once it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
    /// A target of another kind than Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub manifest: Option<TargetManifest>,
    /// How the target is rendered from the fetched values. By default the values are unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub template: Option<SecretTemplate>,
}

/// Whether the target is created, and whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum CreationPolicy {
    /// Created, owned, and deleted with the ExternalSecret.
    #[default]
    Owner,
    /// Created without an owner.
    Orphan,
    /// Never created: keys are added to a Secret that exists.
    Merge,
    /// Nothing is written.
    None,
    /// Created without an owner, or keys are added to a Secret that exists.
    CreateOrMerge,
}

impl CreationPolicy {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "Owner",
            Self::Orphan => "Orphan",
            Self::Merge => "Merge",
            Self::None => "None",
            Self::CreateOrMerge => "CreateOrMerge",
        }
    }
}

/// What happens to the target when the value is gone from the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum DeletionPolicy {
    /// It is deleted once everything is gone.
    Delete,
    /// Its missing keys are removed.
    Merge,
    /// It stays, and the condition reports that the value is gone.
    #[default]
    Retain,
}

impl DeletionPolicy {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Merge => "Merge",
            Self::Retain => "Retain",
        }
    }
}

/// The kind of a target that is not a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TargetManifest {
    /// API version of the target.
    #[validate(length(min = 1, max = 253))]
    pub api_version: String,
    /// Kind of the target.
    #[validate(length(min = 1, max = 63))]
    pub kind: String,
}

/// One value, and the key that gets it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSecretData {
    /// Key in the target.
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DATA_KEY))]
    pub secret_key: String,
    /// The value in the store.
    #[validate(nested)]
    pub remote_ref: RemoteRef,
    /// A store other than that of the ExternalSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub source_ref: Option<SourceRef>,
}

/// A secret in a store, or one property of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct RemoteRef {
    /// Path in the store, for example `platform-data/postgres/temporal`.
    #[validate(length(min = 1, max = 1024))]
    pub key: String,
    /// One property of the secret. If not set, the whole secret as JSON. If no property has exactly
    /// that name, it is a path in gjson's syntax that selects from nested JSON: `a.b.0`, with `\\.`
    /// for a dot in a name, `list.#` for a length, `list.#.name`, `list.#(name=="x").value`, and
    /// `*` and `?` in names. Modifiers, multipaths and literals, such as `a|@reverse`, `{a,b}` or
    /// `!true`, are not supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub property: Option<String>,
    /// A version of the secret. Defaults to the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 64))]
    pub version: Option<String>,
    /// Whether the secret's metadata is read instead of its data (Fetch) or not (None, the default). It
    /// is custom metadata, `created_time`, `current_version` and `delete_version_after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_policy: Option<MetadataPolicy>,
    /// How to replace characters that a key must not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion_strategy: Option<ConversionStrategy>,
    /// How the value is decoded. Defaults to None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoding_strategy: Option<DecodingStrategy>,
    /// Whether a value with a zero byte is an error (Fail) or not (Ignore, the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_byte_policy: Option<NullBytePolicy>,
}

/// Whether custom metadata is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum MetadataPolicy {
    /// Data is read.
    #[default]
    None,
    /// Metadata is read.
    Fetch,
}

/// How to replace characters that a key must not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum ConversionStrategy {
    /// By an underscore.
    #[default]
    Default,
    /// By their code point, as `_U002f_`.
    Unicode,
}

/// How a value is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum DecodingStrategy {
    /// As base64, else as URL-safe base64, else not at all.
    Auto,
    /// As base64.
    Base64,
    /// As URL-safe base64.
    Base64URL,
    /// Not at all.
    #[default]
    None,
}

/// What a zero byte in a value means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum NullBytePolicy {
    /// Nothing.
    #[default]
    Ignore,
    /// An error.
    Fail,
}

/// A source other than the store of the ExternalSecret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storeRef) != has(self.generatorRef)")
        .message("set exactly one of storeRef and generatorRef")
)]
pub struct SourceRef {
    /// The store to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub store_ref: Option<StoreRef>,
    /// A generator. Waypost has none: it answers with reason Unsupported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub generator_ref: Option<GeneratorRef>,
}

/// Many values: all of one secret, or of all secrets that are found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.extract) ? 1 : 0) + (has(self.find) ? 1 : 0) + (has(self.sourceRef) && has(self.sourceRef.generatorRef) ? 1 : 0) == 1")
        .message("set exactly one of extract, find and sourceRef.generatorRef")
)]
pub struct DataFrom {
    /// All properties of one secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub extract: Option<RemoteRef>,
    /// All secrets that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub find: Option<Find>,
    /// Rewrites of the keys, applied in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 32), nested)]
    pub rewrite: Vec<Rewrite>,
    /// A source other than the store of the ExternalSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub source_ref: Option<SourceRef>,
}

/// Which secrets are found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Find {
    /// The folder to search. Defaults to the whole mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// Secrets whose path matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub name: Option<FindName>,
    /// Secrets whose custom metadata has all these pairs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub tags: BTreeMap<String, String>,
    /// How to replace characters that a key must not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion_strategy: Option<ConversionStrategy>,
    /// How the values are decoded. Defaults to None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoding_strategy: Option<DecodingStrategy>,
    /// Whether a value with a zero byte is an error (Fail) or not (Ignore, the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_byte_policy: Option<NullBytePolicy>,
}

/// Which paths match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct FindName {
    /// A regular expression (RE2) that must match somewhere in the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub regexp: Option<String>,
}

/// One change of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
#[x_kube(
    validation = Rule::new("(has(self.merge) ? 1 : 0) + (has(self.regexp) ? 1 : 0) + (has(self.transform) ? 1 : 0) == 1")
        .message("set exactly one of merge, regexp and transform")
)]
pub struct Rewrite {
    /// Merges values that are JSON objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub merge: Option<RewriteMerge>,
    /// Replaces what a regular expression matches in a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub regexp: Option<RewriteRegexp>,
    /// Renders a key from a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub transform: Option<RewriteTransform>,
}

/// A merge of values that are JSON objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct RewriteMerge {
    /// The key that the merged object is written to, for strategy JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 253))]
    pub into: Option<String>,
    /// Keys in rising priority: they are merged last and win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 256))]
    #[schemars(inner(length(max = 1024)))]
    pub priority: Vec<String>,
    /// Whether a priority key that does not exist is an error (Strict, the default) or not
    /// (IgnoreNotFound).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_policy: Option<MergePriorityPolicy>,
    /// Whether a key that two objects have is an error (Error, the default) or not (Ignore).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_policy: Option<MergeConflictPolicy>,
    /// Whether the merged keys are the result (Extract, the default) or the merged object is one
    /// more key (JSON).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<MergeStrategy>,
}

/// What a missing priority key means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum MergePriorityPolicy {
    /// An error.
    #[default]
    Strict,
    /// Nothing.
    IgnoreNotFound,
}

/// What a key that two objects have means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum MergeConflictPolicy {
    /// An error.
    #[default]
    Error,
    /// The later object wins.
    Ignore,
}

/// What a merge results in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum MergeStrategy {
    /// The keys of the merged object.
    #[default]
    Extract,
    /// The inputs, and the merged object as JSON under one more key.
    JSON,
}

/// A replacement in keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct RewriteRegexp {
    /// The regular expression (RE2).
    #[validate(length(max = 1024))]
    pub source: String,
    /// What replaces every match; `$1` and `${name}` are groups.
    #[validate(length(max = 1024))]
    pub target: String,
}

/// A template for keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
pub struct RewriteTransform {
    /// A Go template; `.value` is the key.
    #[validate(length(max = 4096))]
    pub template: String,
}

/// The state of the target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSecretStatus {
    /// When the target was last updated, or last found up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<Time>,
    /// The generation that was synced, and a digest of the resource's labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub synced_resource_version: Option<String>,
    /// The target Secret, as the Service Binding specification requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// The generation that this status describes. It is -1 until the controller has seen the
    /// object, which waiting tools treat as in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether the target is as the spec says, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The paths that were read, each with the version in the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub paths: Vec<PulledPath>,
}

/// The name of the target Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Binding {
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub name: String,
}
