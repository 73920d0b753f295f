//! The spec and status that SecretStore and ClusterSecretStore share: server, mount, retries, and
//! who may use it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::condition::Condition;
use super::duration::{DurationError, DurationText, GoDuration, MAX_TEXT};
use super::selector::{CaProvider, SecretKeySelector};
use super::store_auth::{OpenBaoAuth, VaultAuth};

/// A server, how to log in there, and who may use it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct StoreSpec {
    /// The class of the controller that serves this store. If not set, any controller may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 253))]
    pub controller: Option<String>,
    /// The server.
    #[validate(nested)]
    pub provider: Provider,
    /// How often a failed request is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub retry_settings: Option<RetrySettings>,
    /// How often the store is checked: a number of seconds, or a duration. Defaults to 5m, as does
    /// zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<StoreInterval>,
    /// Which namespaces may use a ClusterSecretStore: those that any condition matches. An empty
    /// list allows all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 64), nested)]
    pub conditions: Vec<StoreCondition>,
}

/// The server of a store.
///
/// Unknown providers pass the structural schema, so that the rule below can say what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[schemars(
    description = "The server of a store.",
    extend(
        "minProperties" = 1,
        "maxProperties" = 1,
        "x-kubernetes-preserve-unknown-fields" = true,
        "x-kubernetes-validations" = [{
            "rule": "has(self.vault) != has(self.openBao)",
            "message": "Waypost serves Vault and OpenBao: set exactly one of vault and openBao",
        }],
    )
)]
pub struct Provider {
    /// HashiCorp Vault, or a server with the same API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub vault: Option<VaultProvider>,
    /// OpenBao.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub open_bao: Option<OpenBaoProvider>,
    /// Providers that other controllers serve. Only their names are kept.
    #[serde(flatten, skip_serializing)]
    #[schemars(skip)]
    pub foreign: BTreeMap<String, Foreign>,
}

impl Provider {
    /// The server's address, as in the spec.
    pub fn server(&self) -> Option<&str> {
        let vault = self.vault.as_ref().map(|vault| vault.server.as_str());
        vault.or_else(|| self.open_bao.as_ref().map(|openbao| openbao.server.as_str()))
    }

    /// The fields that say where the store leads: server, Vault namespace and path, as the spec has
    /// them.
    pub fn location(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        let vault = self.vault.as_ref().map(|vault| (vault.namespace.as_deref(), vault.path.as_deref()));
        let openbao = || self.open_bao.as_ref().map(|openbao| (openbao.namespace.as_deref(), openbao.path.as_deref()));
        let (namespace, path) = vault.or_else(openbao).unwrap_or_default();
        (self.server(), namespace, path)
    }

    /// The names of the providers that Waypost does not serve, in order.
    pub fn foreign_names(&self) -> impl Iterator<Item = &str> {
        self.foreign.keys().map(String::as_str)
    }
}

/// The settings of a provider that another controller serves. They are not kept, because they may
/// contain anything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Foreign;

impl<'de> Deserialize<'de> for Foreign {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A Vault server and a KV mount on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || has(self.tls.certSecretRef) == has(self.tls.keySecretRef)")
        .message("a client certificate needs both tls.certSecretRef and tls.keySecretRef"),
    validation = Rule::new("!has(self.checkAndSet) || !has(self.checkAndSet.required) || !self.checkAndSet.required || !has(self.version) || self.version == 'v2'")
        .message("checkAndSet needs version v2: KV version 1 has no versions to check")
)]
pub struct VaultProvider {
    /// Address of the server, for example `https://vault.example:8200`.
    #[validate(length(min = 1, max = 2048))]
    pub server: String,
    /// Mount of the KV engine, for example `secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// Version of the KV engine. Defaults to v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<KvVersion>,
    /// Vault namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub namespace: Option<String>,
    /// Certificates (PEM) of the authorities that may vouch for the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_pem")]
    pub ca_bundle: Option<ByteString>,
    /// Where those certificates are read instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub ca_provider: Option<CaProvider>,
    /// The certificate that Waypost shows to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub tls: Option<ClientTls>,
    /// Makes Vault Enterprise return Waypost's own latest writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_your_writes: Option<bool>,
    /// Lets a lagging standby forward a request to the active node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_inconsistent: Option<bool>,
    /// Headers of every request. Waypost sets token, namespace and host itself.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Whether writes use check-and-set. Waypost's always do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_and_set: Option<CheckAndSet>,
    /// How to log in. If not set, Waypost sends no token, as with an agent that adds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub auth: Option<VaultAuth>,
}

impl VaultProvider {
    /// The version of the KV engine, or its default.
    pub fn version(&self) -> KvVersion {
        self.version.unwrap_or_default()
    }
}

/// Certificates as base64 of PEM, at most 1 MiB of text.
fn base64_pem(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "byte", "maxLength": 1_048_576 })
}

/// The versions of the KV engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
#[serde(rename_all = "lowercase")]
pub enum KvVersion {
    /// One value per path, no versions.
    V1,
    /// Versions, metadata, check-and-set.
    #[default]
    V2,
}

impl KvVersion {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A client certificate and its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct ClientTls {
    /// The certificate. Its `key` defaults to `tls.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub cert_secret_ref: Option<SecretKeySelector>,
    /// The private key. Its `key` defaults to `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub key_secret_ref: Option<SecretKeySelector>,
}

/// Whether writes use check-and-set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct CheckAndSet {
    /// Whether a write must name the version that it replaces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

/// Headers of every request. Values may be credentials of a proxy: they are never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub BTreeMap<String, String>);

impl Headers {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl JsonSchema for Headers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 32,
            "additionalProperties": { "type": "string", "maxLength": 8192 },
            "x-kubernetes-validations": [{
                "rule": "self.all(name, !(name.lowerAscii() in ['x-vault-token', 'x-vault-namespace', 'host']))",
                "message": "Waypost sets X-Vault-Token, X-Vault-Namespace and Host: use auth, namespace and server",
            }],
        })
    }
}

/// An OpenBao server and a KV mount on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.caBundle) && has(self.caProvider))")
        .message("set at most one of caBundle and caProvider"),
    validation = Rule::new("!has(self.tls) || has(self.tls.certSecretRef) == has(self.tls.keySecretRef)")
        .message("a client certificate needs both tls.certSecretRef and tls.keySecretRef")
)]
pub struct OpenBaoProvider {
    /// Address of the server, for example `https://openbao.example:8200`.
    #[validate(length(min = 1, max = 2048))]
    pub server: String,
    /// Mount of the KV engine, for example `secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// Version of the KV engine. Defaults to v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<KvVersion>,
    /// OpenBao namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub namespace: Option<String>,
    /// Certificates (PEM) of the authorities that may vouch for the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_pem")]
    pub ca_bundle: Option<ByteString>,
    /// Where those certificates are read instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub ca_provider: Option<CaProvider>,
    /// The certificate that Waypost shows to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub tls: Option<ClientTls>,
    /// How to log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub auth: Option<OpenBaoAuth>,
}

impl OpenBaoProvider {
    /// The version of the KV engine, or its default.
    pub fn version(&self) -> KvVersion {
        self.version.unwrap_or_default()
    }
}

/// How often a failed request is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct RetrySettings {
    /// Maximum number of retries. Defaults to 0 if retrySettings is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 0, max = 100))]
    pub max_retries: Option<i32>,
    /// How long to wait before each retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<DurationText>,
}

/// An interval that is a number of seconds or a duration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoreInterval {
    /// Seconds.
    Seconds(i64),
    /// A duration.
    Text(DurationText),
}

impl StoreInterval {
    /// The interval as a duration.
    ///
    /// # Errors
    /// [`DurationError`] for a text that is not a duration.
    pub fn parse(&self) -> Result<GoDuration, DurationError> {
        match self {
            Self::Seconds(seconds) => Ok(GoDuration::from_secs(*seconds)),
            Self::Text(text) => text.parse(),
        }
    }
}

impl JsonSchema for StoreInterval {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StoreInterval".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": MAX_TEXT })
    }
}

/// Namespaces that may use a ClusterSecretStore: those that any of the fields matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct StoreCondition {
    /// Namespaces with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Namespaces with these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 1000))]
    #[schemars(inner(length(min = 1, max = 63), regex(pattern = super::selector::DNS_LABEL)))]
    pub namespaces: Vec<String>,
    /// Namespaces whose whole name matches one of these regular expressions (RE2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 100))]
    #[schemars(inner(length(max = 1024)))]
    pub namespace_regexes: Vec<String>,
}

/// The state of a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStoreStatus {
    /// Whether this store allows reading, writing or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The generation that this status describes. It is -1 until the controller has seen the
    /// object, which waiting tools treat as in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether the store can be used, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What the server reports about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultDetail>,
}

/// What a store allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crd::leave_description_to_field)]
pub enum Capabilities {
    /// Read.
    ReadOnly,
    /// Write.
    WriteOnly,
    /// Read and write.
    ReadWrite,
}

/// What a server reports about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultDetail {
    /// Version of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub version: Option<String>,
    /// The server's cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cluster_id: Option<String>,
    /// The mount that the store uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub mount: Option<String>,
    /// The version of the KV engine at the mount, as the server reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_version: Option<KvVersion>,
}
