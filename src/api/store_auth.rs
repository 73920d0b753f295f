//! How to log in to Vault and OpenBao: one struct per method.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::selector::{SecretKeySelector, ServiceAccountSelector};

/// How to log in to Vault. If several methods are set, the first one in the order of these fields
/// is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct VaultAuth {
    /// Vault namespace of the login, if it differs from that of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub namespace: Option<String>,
    /// A token in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub token_secret_ref: Option<SecretKeySelector>,
    /// Login with a role id and a secret id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub app_role: Option<AppRoleAuth>,
    /// Login with the token of a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub kubernetes: Option<KubernetesAuth>,
    /// Login with a user of an LDAP directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub ldap: Option<LdapAuth>,
    /// Login with a user of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub user_pass: Option<UserPassAuth>,
    /// Login with a JSON Web Token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub jwt: Option<JwtAuth>,
    /// Login with a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub cert: Option<CertAuth>,
    /// Login with an identity of Amazon Web Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub iam: Option<IamAuth>,
    /// Login with an identity of Google Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub gcp: Option<GcpAuth>,
}

/// How to log in to OpenBao.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.tokenSecretRef), has(self.appRole), has(self.kubernetes), has(self.userPass)].filter(set, set).size() == 1")
        .message("set exactly one of tokenSecretRef, appRole, kubernetes and userPass")
)]
pub struct OpenBaoAuth {
    /// OpenBao namespace of the login, if it differs from that of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub namespace: Option<String>,
    /// A token in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub token_secret_ref: Option<SecretKeySelector>,
    /// Login with a role id and a secret id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub app_role: Option<AppRoleAuth>,
    /// Login with the token of a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub kubernetes: Option<KubernetesAuth>,
    /// Login with a user of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub user_pass: Option<UserPassAuth>,
}

/// Login with a role id and a secret id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.roleId) || has(self.roleRef)").message("set roleId, or roleRef to the key with it")
)]
pub struct AppRoleAuth {
    /// Mount of the auth method. Defaults to `approle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// The role id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub role_id: Option<String>,
    /// The key with the role id. Used if roleId is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub role_ref: Option<SecretKeySelector>,
    /// The key with the secret id.
    #[validate(nested)]
    pub secret_ref: SecretKeySelector,
}

impl AppRoleAuth {
    /// The mount of the auth method.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("approle")
    }
}

/// Login with the token of a ServiceAccount: a requested one, one from a Secret, or that of
/// Waypost's own pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesAuth {
    /// Mount of the auth method. Defaults to `kubernetes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub mount_path: Option<String>,
    /// Role to log in as.
    #[validate(length(min = 1, max = 1024))]
    pub role: String,
    /// The ServiceAccount for which a short-lived token is requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub service_account_ref: Option<ServiceAccountSelector>,
    /// The key with a token. Its `key` defaults to `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_ref: Option<SecretKeySelector>,
}

impl KubernetesAuth {
    /// The mount of the auth method.
    pub fn mount_path(&self) -> &str {
        self.mount_path.as_deref().unwrap_or("kubernetes")
    }
}

/// Login with a user of an LDAP directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct LdapAuth {
    /// Mount of the auth method. Defaults to `ldap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// The user.
    #[validate(length(min = 1, max = 1024))]
    pub username: String,
    /// The key with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_ref: Option<SecretKeySelector>,
}

impl LdapAuth {
    /// The mount of the auth method.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("ldap")
    }
}

/// Login with a user of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct UserPassAuth {
    /// Mount of the auth method. Defaults to `userpass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// The user.
    #[validate(length(min = 1, max = 1024))]
    pub username: String,
    /// The key with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_ref: Option<SecretKeySelector>,
}

impl UserPassAuth {
    /// The mount of the auth method.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("userpass")
    }
}

/// Login with a JSON Web Token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != has(self.kubernetesServiceAccountToken)")
        .message("set exactly one of secretRef and kubernetesServiceAccountToken")
)]
pub struct JwtAuth {
    /// Mount of the auth method. Defaults to `jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// Role to log in as. Defaults to the mount's default role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub role: Option<String>,
    /// The key with the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_ref: Option<SecretKeySelector>,
    /// A token that is requested for a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub kubernetes_service_account_token: Option<ServiceAccountToken>,
}

impl JwtAuth {
    /// The mount of the auth method.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("jwt")
    }
}

/// A token that is requested for a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// The ServiceAccount.
    #[validate(nested)]
    pub service_account_ref: ServiceAccountSelector,
    /// More audiences of the token. Deprecated: use those of serviceAccountRef. The default is
    /// `vault` if neither is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[validate(length(max = 16))]
    #[schemars(inner(length(max = 1024)))]
    pub audiences: Vec<String>,
    /// How long the token is valid, in seconds. Defaults to 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 0))]
    pub expiration_seconds: Option<i64>,
}

/// Login with a client certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct CertAuth {
    /// Mount of the auth method. Defaults to `cert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// Role to log in as. By default, any role that accepts the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub vault_role: Option<String>,
    /// The certificate. Its `key` defaults to `tls.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub client_cert: Option<SecretKeySelector>,
    /// Its private key. Its `key` defaults to `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_ref: Option<SecretKeySelector>,
}

impl CertAuth {
    /// The mount of the auth method.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("cert")
    }
}

/// Login with an identity of Amazon Web Services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct IamAuth {
    /// Mount of the auth method. Defaults to `aws`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// Region of the signed request. Defaults to `us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 64))]
    pub region: Option<String>,
    /// An AWS role to assume first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 2048))]
    pub role: Option<String>,
    /// Role to log in as.
    #[validate(length(min = 1, max = 1024))]
    pub vault_role: String,
    /// The external id for assuming the AWS role.
    #[serde(default, rename = "externalID", skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 2048))]
    pub external_id: Option<String>,
    /// Value of the header that ties the signed request to one server.
    #[serde(default, rename = "vaultAwsIamServerID", skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 2048))]
    pub vault_aws_iam_server_id: Option<String>,
    /// Access keys in Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_ref: Option<AwsKeys>,
    /// A ServiceAccount that AWS trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub jwt: Option<AwsJwt>,
}

/// Access keys in Secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct AwsKeys {
    /// The key with the access key id.
    #[serde(default, rename = "accessKeyIDSecretRef", skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub access_key_id_secret_ref: Option<SecretKeySelector>,
    /// The key with the secret access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_access_key_secret_ref: Option<SecretKeySelector>,
    /// The key with the session token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub session_token_secret_ref: Option<SecretKeySelector>,
}

/// A ServiceAccount that AWS trusts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct AwsJwt {
    /// The ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub service_account_ref: Option<ServiceAccountSelector>,
}

/// Login with an identity of Google Cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct GcpAuth {
    /// Mount of the auth method. Defaults to `gcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 1024))]
    pub path: Option<String>,
    /// Role to log in as.
    #[validate(length(min = 1, max = 1024))]
    pub role: String,
    /// The project.
    #[serde(default, rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 256))]
    pub project_id: Option<String>,
    /// The region or zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 256))]
    pub location: Option<String>,
    /// The key of a Google service account, in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_ref: Option<GcpKey>,
    /// A ServiceAccount that is bound to a Google service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub workload_identity: Option<GcpWorkloadIdentity>,
    /// A ServiceAccount whose token is exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub service_account_ref: Option<ServiceAccountSelector>,
}

/// The key of a Google service account, in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct GcpKey {
    /// The key with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub secret_access_key_secret_ref: Option<SecretKeySelector>,
}

/// A ServiceAccount that is bound to a Google service account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct GcpWorkloadIdentity {
    /// The ServiceAccount.
    #[validate(nested)]
    pub service_account_ref: ServiceAccountSelector,
    /// Region or zone of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 256))]
    pub cluster_location: Option<String>,
    /// Name of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 256))]
    pub cluster_name: Option<String>,
    /// Project of the cluster.
    #[serde(default, rename = "clusterProjectID", skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 256))]
    pub cluster_project_id: Option<String>,
}
