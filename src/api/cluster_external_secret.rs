//! ClusterExternalSecret: one ExternalSecret in every namespace that matches.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::condition::Condition;
use super::duration::DurationText;
use super::external_secret::ExternalSecretSpec;
use super::selector::{ChildMetadata, DNS_LABEL, DNS_SUBDOMAIN, FailedNamespace};

/// What the controller and lint answer to this kind.
pub const UNSERVED: &str =
    "this version of Waypost does not serve ClusterExternalSecret: create an ExternalSecret in each namespace instead";

/// The ExternalSecret to create, and the namespaces that get it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[kube(
    group = "external-secrets.io",
    version = "v1",
    kind = "ClusterExternalSecret",
    plural = "clusterexternalsecrets",
    shortname = "ces",
    category = "external-secrets",
    status = "ClusterExternalSecretStatus",
    derive = "PartialEq",
    doc = "Keeps an ExternalSecret in every namespace that matches.",
    label("external-secrets.io/component", "controller"),
    printcolumn(name = "Store", type_ = "string", json_path = ".spec.externalSecretSpec.secretStoreRef.name"),
    printcolumn(name = "Refresh Interval", type_ = "string", json_path = ".spec.refreshTime"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#)
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterExternalSecretSpec {
    /// Spec of each ExternalSecret.
    #[validate(nested)]
    pub external_secret_spec: ExternalSecretSpec,
    /// Name of each ExternalSecret. Defaults to the name of the ClusterExternalSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub external_secret_name: Option<String>,
    /// Labels and annotations of each ExternalSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_secret_metadata: Option<ChildMetadata>,
    /// The namespaces that any of these selectors matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 100))]
    pub namespace_selectors: Vec<LabelSelector>,
    /// One more selector. Deprecated: use namespaceSelectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Namespaces by name. Deprecated: use namespaceSelectors on the label
    /// kubernetes.io/metadata.name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 1000))]
    #[schemars(inner(length(min = 1, max = 63), regex(pattern = DNS_LABEL)))]
    pub namespaces: Vec<String>,
    /// How often all namespaces are compared with the spec. Defaults to 1h. Changes take effect at
    /// once, whatever this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<DurationText>,
}

/// Which namespaces have the ExternalSecret, and which failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterExternalSecretStatus {
    /// Name of the created ExternalSecrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub external_secret_name: Option<String>,
    /// The generation that this status describes. It is -1 until the controller has seen the
    /// object, which waiting tools treat as in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The namespaces that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000))]
    pub failed_namespaces: Vec<FailedNamespace>,
    /// The namespaces that have the ExternalSecret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000), inner(length(max = 63)))]
    pub provisioned_namespaces: Vec<String>,
    /// Whether every namespace has it, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
