//! `auth.kubernetes`: a ServiceAccount's token.

use async_trait::async_trait;

use super::{Application, Login, Method, text};
use crate::api::selector::ServiceAccountSelector;
use crate::api::store_auth::KubernetesAuth;
use crate::cluster::Cluster;
use crate::domain::secret::SecretBytes;
use crate::store::fields::Fields;
use crate::store::keys::{self, KeyRef};
use crate::store::{StoreError, StoreRefusal};

/// The file with a pod's own ServiceAccount token; the kubelet renews it.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A ServiceAccount's token, for a role.
#[derive(Debug)]
pub struct Kubernetes {
    mount: String,
    role: String,
    jwt: JwtSource,
}

/// The origin of the token.
#[derive(Debug)]
enum JwtSource {
    /// One requested for this ServiceAccount.
    Requested { namespace: String, name: String, audiences: Vec<String> },
    /// One in a Secret.
    Secret(KeyRef),
    /// That of our own pod.
    Own,
}

impl Kubernetes {
    /// Parses `auth.kubernetes`.
    pub fn parse(auth: &KubernetesAuth, fields: &mut Fields<'_>) -> Result<Self, StoreRefusal> {
        let jwt = match (&auth.service_account_ref, &auth.secret_ref) {
            (Some(account), secret) => {
                let beside = "auth.kubernetes.serviceAccountRef";
                fields.ignore(secret.is_some(), "auth.kubernetes.secretRef", beside);
                JwtSource::requested(account, fields)?
            }
            (None, Some(secret)) => {
                JwtSource::Secret(fields.key(secret, "auth.kubernetes.secretRef", Some("token"))?)
            }
            // The author of a SecretStore chooses the server that gets the token, so it must not be
            // ours.
            (None, None) if fields.is_namespaced() => {
                return Err(fields.invalid(
                    "only a ClusterSecretStore may log in as Waypost's own ServiceAccount: set `auth.kubernetes.serviceAccountRef`",
                ));
            }
            (None, None) => JwtSource::Own,
        };
        Ok(Kubernetes { mount: fields.auth_mount(auth.mount_path())?, role: auth.role.clone(), jwt })
    }
}

#[async_trait]
impl Method for Kubernetes {
    fn keys(&self) -> Vec<&KeyRef> {
        match &self.jwt {
            JwtSource::Secret(key) => vec![key],
            JwtSource::Requested { .. } | JwtSource::Own => Vec::new(),
        }
    }

    async fn read(&self, cluster: &Cluster) -> Result<Login, StoreError> {
        let jwt = self.jwt.read(cluster).await?;
        Ok(Login::Application(Application {
            mount: self.mount.clone(),
            fields: vec![("role", SecretBytes::from(self.role.as_str())), ("jwt", text(&jwt, &self.jwt.described())?)],
            applicant: format!("role {:?}", self.role),
            advice: "check that the role exists, names this ServiceAccount and audience, and that the mount is right"
                .to_owned(),
        }))
    }
}

impl JwtSource {
    fn described(&self) -> String {
        match self {
            JwtSource::Secret(key) => format!("the ServiceAccount's token in {}", key.described()),
            JwtSource::Requested { namespace, name, .. } => format!("the token of ServiceAccount {namespace}/{name}"),
            JwtSource::Own => OWN_TOKEN.to_owned(),
        }
    }

    fn requested(account: &ServiceAccountSelector, fields: &mut Fields<'_>) -> Result<Self, StoreRefusal> {
        let namespace = fields.namespace(account.namespace.as_deref(), "auth.kubernetes.serviceAccountRef")?;
        Ok(JwtSource::Requested { namespace, name: account.name.clone(), audiences: account.audiences.clone() })
    }

    async fn read(&self, cluster: &Cluster) -> Result<SecretBytes, StoreError> {
        match self {
            JwtSource::Requested { namespace, name, audiences } => {
                cluster.service_account_token(namespace, name, audiences).await.map_err(keys::unusable)
            }
            JwtSource::Secret(key) => keys::read(cluster, key).await,
            JwtSource::Own => {
                let read = tokio::fs::read(OWN_TOKEN).await;
                read.map(SecretBytes::new).map_err(|_error| StoreError::Credential {
                    what: format!(
                        "{OWN_TOKEN} cannot be read: run in a pod that mounts its ServiceAccount's token, or set `auth.kubernetes.serviceAccountRef`"
                    ),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::StoreKind;
    use crate::store::StoreName;

    #[test]
    fn only_a_cluster_store_may_log_in_as_waypost_itself() {
        let own: KubernetesAuth = serde_json::from_value(serde_json::json!({ "role": "r" })).unwrap();
        let cluster = StoreName::cluster("s");
        let method = Kubernetes::parse(&own, &mut Fields::new(&cluster, "consumer")).unwrap();
        assert!(matches!(method.jwt, JwtSource::Own), "{method:?}");
        let namespaced = StoreName::referred("team-a", StoreKind::SecretStore, "s");
        let refusal = Kubernetes::parse(&own, &mut Fields::new(&namespaced, "consumer")).unwrap_err();
        assert!(refusal.to_string().contains("serviceAccountRef"), "{refusal}");
    }
}
