//! The reference to a generator. It is parsed so that a condition can say that generators are out
//! of scope.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::selector::DNS_SUBDOMAIN;

/// The API version of generators when a reference names none.
pub const GENERATOR_API_VERSION: &str = "generators.external-secrets.io/v1alpha1";

/// A generator of values. Waypost distributes values that operators generate; it has no generators,
/// and says so in the resource's condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorRef {
    /// API version of the generator. Defaults to `generators.external-secrets.io/v1alpha1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 253))]
    pub api_version: Option<String>,
    /// Kind of the generator.
    #[validate(length(max = 63))]
    #[schemars(extend("enum" = [
        "ACRAccessToken", "BeyondtrustWorkloadCredentialsDynamicSecret", "ClusterGenerator", "CloudsmithAccessToken",
        "ECRAuthorizationToken", "Fake", "GCRAccessToken", "GithubAccessToken", "GitlabDeployToken",
        "QuayAccessToken", "Password", "SSHKey", "STSSessionToken", "UUID", "VaultDynamicSecret", "Webhook",
        "Grafana", "MFA",
    ]))]
    pub kind: String,
    /// Name of the generator.
    #[validate(length(min = 1, max = 253))]
    #[schemars(regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
}
