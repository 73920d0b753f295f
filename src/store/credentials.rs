//! Reads a store's credential and certificates in the cluster when they are needed, and detects
//! their changes.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::{Mutex, MutexGuard};

use super::auth::{Login, LoginSource, Method};
use super::connection::{CaSource, Connection};
use super::vault::connect::ClientCertificate;
use super::{StoreError, keys};
use crate::cluster::Cluster;

/// The credential of one store identity.
pub struct ClusterCredential {
    cluster: Cluster,
    method: Arc<dyn Method>,
    last_read: Mutex<LastRead>,
    /// A random key, so that a fingerprint reveals nothing about the credential.
    key: RandomState,
}

/// The current content of the Secrets, compared with what the last login used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Currency {
    /// The same; or there was no login yet, or each login gets a new credential.
    Current,
    /// Another server.
    Outdated,
    /// The last login found no credential.
    Missing,
}

/// The result of the last read of the credential for a login.
#[derive(Clone, Copy, Debug, Default)]
enum LastRead {
    /// There was no login yet.
    #[default]
    Never,
    /// It could not be read.
    Failed,
    /// Its fingerprint.
    Found(u64),
}

impl ClusterCredential {
    /// A credential that has not been read yet.
    pub fn new(cluster: Cluster, method: Arc<dyn Method>) -> Self {
        ClusterCredential { cluster, method, last_read: Mutex::default(), key: RandomState::new() }
    }

    /// Whether the next login would use another credential.
    pub async fn currency(&self) -> Result<Currency, StoreError> {
        let last_read = *self.last_read();
        match last_read {
            LastRead::Never => Ok(Currency::Current),
            LastRead::Failed => Ok(Currency::Missing),
            LastRead::Found(_) if self.method.keys().is_empty() => Ok(Currency::Current),
            LastRead::Found(used) if self.fingerprint(&self.method.read(&self.cluster).await?) == used => {
                Ok(Currency::Current)
            }
            LastRead::Found(_) => Ok(Currency::Outdated),
        }
    }

    fn fingerprint(&self, login: &Login) -> u64 {
        let mut hasher = self.key.build_hasher();
        login.secrets().iter().for_each(|secret| secret.expose().hash(&mut hasher));
        hasher.finish()
    }

    fn last_read(&self) -> MutexGuard<'_, LastRead> {
        self.last_read.lock()
    }
}

#[async_trait]
impl LoginSource for ClusterCredential {
    async fn credential(&self) -> Result<Login, StoreError> {
        let read = self.method.read(&self.cluster).await;
        *self.last_read() = match &read {
            Ok(login) => LastRead::Found(self.fingerprint(login)),
            Err(_) => LastRead::Failed,
        };
        read
    }
}

/// The CA bundle as PEM, with its source's name for errors; `None` for the system's.
pub async fn ca(cluster: &Cluster, source: &CaSource) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    let (name, bytes) = match source {
        CaSource::System => return Ok(None),
        CaSource::Bundle(bytes) => return Ok(Some(ca_bundle(bytes))),
        CaSource::Secret(key) => {
            (format!("caProvider, {}", key.secret_name()), keys::read(cluster, key).await?.expose().to_vec())
        }
        CaSource::ConfigMap(key) => {
            let name = format!("ConfigMap {}/{}", key.namespace, key.name);
            let read = cluster.config_map_key(&key.namespace, &key.name, &key.key).await.map_err(keys::unusable)?;
            (format!("caProvider, {name}"), read.ok_or_else(|| keys::missing(&name, &key.key))?)
        }
    };
    Ok(Some((name, unwrapped(bytes))))
}

/// The CA bundle of a spec as PEM, with its source's name for errors.
pub fn ca_bundle(bytes: &[u8]) -> (String, Vec<u8>) {
    ("caBundle".to_owned(), unwrapped(bytes.to_vec()))
}

/// The client certificate of the store.
pub async fn client_certificate(
    cluster: &Cluster,
    connection: &Connection,
) -> Result<Option<ClientCertificate>, StoreError> {
    let Some((certificate, key)) = &connection.client_certificate else { return Ok(None) };
    let (certificate, key) = (keys::read(cluster, certificate).await?, keys::read(cluster, key).await?);
    Ok(Some(ClientCertificate { certificate, key }))
}

/// Decodes a bundle that was base64-encoded twice.
fn unwrapped(bytes: Vec<u8>) -> Vec<u8> {
    const BEGIN: &[u8] = b"-----BEGIN";
    if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return bytes;
    }
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).unwrap_or(bytes)
}
