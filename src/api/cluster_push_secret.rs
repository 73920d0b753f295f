//! ClusterPushSecret: one PushSecret in every namespace that matches.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::condition::Condition;
use super::duration::DurationText;
use super::push_secret::PushSecretSpec;
use super::selector::{ChildMetadata, DNS_SUBDOMAIN, FailedNamespace};

/// The PushSecret to create, and the namespaces that get it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[kube(
    group = "external-secrets.io",
    version = "v1alpha1",
    kind = "ClusterPushSecret",
    plural = "clusterpushsecrets",
    category = "external-secrets",
    status = "ClusterPushSecretStatus",
    derive = "PartialEq",
    doc = "Keeps a PushSecret in every namespace that matches.",
    label("external-secrets.io/component", "controller"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#)
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPushSecretSpec {
    /// Spec of each PushSecret.
    #[validate(nested)]
    pub push_secret_spec: PushSecretSpec,
    /// Name of each PushSecret. Defaults to the name of the ClusterPushSecret. After an edit, the
    /// new PushSecrets are created before the old ones are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub push_secret_name: Option<String>,
    /// Labels and annotations of each PushSecret. Others may add more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_secret_metadata: Option<ChildMetadata>,
    /// The namespaces that any of these selectors matches, except those that are being deleted or
    /// that opt out with the annotation `waypost.io/opt-out: "true"`. An empty list matches none,
    /// an empty selector all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 100))]
    pub namespace_selectors: Vec<LabelSelector>,
    /// How often all namespaces are compared with the spec. Defaults to 1h; zero means only when
    /// something changes. Changes take effect at once, whatever this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<DurationText>,
}

/// Which namespaces have the PushSecret, and which failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPushSecretStatus {
    /// Name of the created PushSecrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub push_secret_name: Option<String>,
    /// The generation that this status describes. It is -1 until the controller has seen the
    /// object, which waiting tools treat as in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The first 500 namespaces that failed, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000))]
    pub failed_namespaces: Vec<FailedNamespace>,
    /// The namespaces that have the PushSecret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000), inner(length(max = 63)))]
    pub provisioned_namespaces: Vec<String>,
    /// Whether every namespace has it, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
