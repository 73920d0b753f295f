//! Reads a store's credential and certificates in the cluster, at the moment they are needed, and tells when they changed.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::StoreError;
use super::connection::{AuthMethod, CaSource, Connection, JwtSource, KeyRef, RoleId};
use super::vault::auth::{Login, LoginSource};
use super::vault::connect::ClientCertificate;
use crate::cluster::{Cluster, ClusterError};
use crate::domain::secret::SecretBytes;

/// Where a pod finds its own ServiceAccount's token; the kubelet renews it.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The credential of one store identity.
pub struct ClusterCredential {
    cluster: Cluster,
    method: AuthMethod,
    last_read: Mutex<LastRead>,
    /// A random key of our own, so that a fingerprint tells nobody anything about the credential.
    key: RandomState,
}

/// What the Secrets hold, compared with what was read for the last login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Currency {
    /// The same; or there was no login yet, or each gets another credential anyway.
    Current,
    /// Something else.
    Outdated,
    /// There was nothing to log in with.
    Missing,
}

/// How the credential was found when it was read for a login.
#[derive(Clone, Copy, Debug, Default)]
enum LastRead {
    /// Nobody logged in yet.
    #[default]
    Never,
    /// It could not be read.
    Failed,
    /// Its fingerprint.
    Found(u64),
}

impl ClusterCredential {
    /// A credential that was not read yet.
    pub fn new(cluster: Cluster, method: AuthMethod) -> Self {
        ClusterCredential { cluster, method, last_read: Mutex::default(), key: RandomState::new() }
    }

    /// Whether the next login would be another one.
    pub async fn currency(&self) -> Result<Currency, StoreError> {
        let last_read = *self.last_read();
        match last_read {
            LastRead::Never => Ok(Currency::Current),
            LastRead::Failed => Ok(Currency::Missing),
            LastRead::Found(_) if self.method.secrets().is_empty() => Ok(Currency::Current),
            LastRead::Found(used) if self.fingerprint(&self.read().await?) == used => Ok(Currency::Current),
            LastRead::Found(_) => Ok(Currency::Outdated),
        }
    }

    async fn read(&self) -> Result<Login, StoreError> {
        match &self.method {
            AuthMethod::Nothing => Ok(Login::Nothing),
            AuthMethod::Token(key) => {
                Ok(Login::Token { token: secret_key(&self.cluster, key).await?, source_name: secret_name(key) })
            }
            AuthMethod::AppRole { mount, role_id, secret_id: key } => {
                let role_id = match role_id {
                    RoleId::Literal(literal) => SecretBytes::from(literal.as_str()),
                    RoleId::Secret(key) => secret_key(&self.cluster, key).await?,
                };
                let secret_id = secret_key(&self.cluster, key).await?;
                Ok(Login::AppRole { mount: mount.clone(), role_id, secret_id, source_name: secret_name(key) })
            }
            AuthMethod::Kubernetes { mount, role, jwt } => {
                let jwt = service_account_token(&self.cluster, jwt).await?;
                Ok(Login::Kubernetes { mount: mount.clone(), role: role.clone(), jwt })
            }
        }
    }

    fn fingerprint(&self, login: &Login) -> u64 {
        let mut hasher = self.key.build_hasher();
        login.secrets().iter().for_each(|secret| secret.expose().hash(&mut hasher));
        hasher.finish()
    }

    fn last_read(&self) -> MutexGuard<'_, LastRead> {
        self.last_read.lock().expect("no code panics while it holds the fingerprint")
    }
}

#[async_trait]
impl LoginSource for ClusterCredential {
    async fn credential(&self) -> Result<Login, StoreError> {
        let read = self.read().await;
        *self.last_read() = match &read {
            Ok(login) => LastRead::Found(self.fingerprint(login)),
            Err(_) => LastRead::Failed,
        };
        read
    }
}

/// The CA bundle as PEM, with its source's name for errors; none for the system's.
pub async fn ca(cluster: &Cluster, source: &CaSource) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    let (name, bytes) = match source {
        CaSource::System => return Ok(None),
        CaSource::Bundle(bytes) => ("caBundle".to_owned(), bytes.clone()),
        CaSource::Secret(key) => {
            (format!("caProvider, {}", secret_name(key)), secret_key(cluster, key).await?.expose().to_vec())
        }
        CaSource::ConfigMap(key) => {
            let name = format!("ConfigMap {}/{}", key.namespace, key.name);
            let read = cluster.config_map_key(&key.namespace, &key.name, &key.key).await.map_err(unusable)?;
            (format!("caProvider, {name}"), read.ok_or_else(|| missing(&name, &key.key))?)
        }
    };
    Ok(Some((name, unwrapped(bytes))))
}

/// The client certificate that the store asks to show.
pub async fn client_certificate(
    cluster: &Cluster,
    connection: &Connection,
) -> Result<Option<ClientCertificate>, StoreError> {
    let Some((certificate, key)) = &connection.client_certificate else { return Ok(None) };
    let (certificate, key) = (secret_key(cluster, certificate).await?, secret_key(cluster, key).await?);
    Ok(Some(ClientCertificate { certificate, key }))
}

async fn service_account_token(cluster: &Cluster, source: &JwtSource) -> Result<SecretBytes, StoreError> {
    match source {
        JwtSource::Requested { namespace, name, audiences } => {
            cluster.service_account_token(namespace, name, audiences).await.map_err(unusable)
        }
        JwtSource::Secret(key) => secret_key(cluster, key).await,
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

async fn secret_key(cluster: &Cluster, key: &KeyRef) -> Result<SecretBytes, StoreError> {
    let found = cluster.secret_key(&key.namespace, &key.name, &key.key).await.map_err(unusable)?;
    found.ok_or_else(|| missing(&secret_name(key), &key.key))
}

fn secret_name(key: &KeyRef) -> String {
    format!("Secret {}/{}", key.namespace, key.name)
}

fn missing(object: &str, key: &str) -> StoreError {
    StoreError::Credential { what: format!("{object} has no key {key:?}") }
}

fn unusable(error: ClusterError) -> StoreError {
    match error {
        ClusterError::Timeout { .. } | ClusterError::Transport { .. } | ClusterError::Api { .. } => {
            StoreError::CredentialUnread { what: error.to_string() }
        }
        ClusterError::NotFound { .. }
        | ClusterError::AlreadyExists { .. }
        | ClusterError::Conflict { .. }
        | ClusterError::Forbidden { .. }
        | ClusterError::Invalid { .. }
        | ClusterError::NamespaceTerminating { .. } => StoreError::Credential { what: error.to_string() },
    }
}

/// A bundle that was base64-encoded once more than YAML asks for is taken as meant.
fn unwrapped(bytes: Vec<u8>) -> Vec<u8> {
    const BEGIN: &[u8] = b"-----BEGIN";
    if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return bytes;
    }
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).unwrap_or(bytes)
}
