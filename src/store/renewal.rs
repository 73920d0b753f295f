//! Replaces clients whose credential or certificates changed in their Secrets or ConfigMaps.

use std::sync::Arc;

use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::connection::Connection;
use super::credentials::{self, Currency};
use super::pool::{ClientKey, Origin, Pool};
use super::vault::connect::ClientCertificate;
use super::{StoreError, StoreName};
use crate::cluster::Cluster;
use crate::domain::source::SourceKind;

/// How many clients of a store are compared with their Secrets at once.
const CONCURRENT_READS: usize = 8;

impl Pool {
    /// Every object of this kind that a client uses, as namespace and name.
    pub fn read_by_clients(&self, kind: SourceKind) -> Vec<(String, String)> {
        self.readers.objects(kind)
    }

    /// Call this when a Secret or ConfigMap was written or deleted. Clients that use it log in or
    /// connect again, and their dependants try again. A rotated credential is used at once, and the
    /// old session ends.
    pub fn moved(self: &Arc<Self>, kind: SourceKind, namespace: &str, name: &str) {
        let readers = self.readers.of(kind, namespace, name);
        if readers.is_empty() {
            return;
        }
        let pool = self.clone();
        // Nobody watches this task. If it dies, the store's next check compares its clients again.
        tokio::spawn(async move {
            for key in readers {
                pool.renew(&key).await;
            }
        });
    }

    /// Replaces each client of a store whose credential or certificates changed. An event may have
    /// been missed, or its read may have failed.
    pub async fn renew_all(&self, store: &StoreName) {
        let clients = stream::iter(self.origins(store));
        clients
            .for_each_concurrent(CONCURRENT_READS, |(key, origin)| async move {
                match self.currency(&origin).await {
                    // The next login reads the credential anew.
                    Ok(Currency::Missing) => {}
                    currency => self.apply(&key, currency).await,
                }
            })
            .await;
    }

    async fn renew(&self, key: &ClientKey) {
        let currency = match self.present(key).await {
            Some(made) => self.currency(&made.origin).await,
            None => Ok(Currency::Missing),
        };
        self.apply(key, currency).await;
    }

    /// Drops a client whose credential or certificates changed, and wakes those who waited for
    /// either.
    async fn apply(&self, key: &ClientKey, currency: Result<Currency, StoreError>) {
        match currency {
            Ok(Currency::Current) => {}
            // The API server did not answer: the store's next check tries again.
            Err(StoreError::CredentialUnread { .. }) => {}
            // There is no session to end.
            Ok(Currency::Missing) => self.announcements.changed(&key.store),
            Ok(Currency::Outdated) | Err(_) => {
                self.retire(|retired| retired == key).await;
                self.announcements.changed(&key.store);
            }
        }
    }

    /// Whether the client's next login or connection would be different.
    pub async fn currency(&self, origin: &Origin) -> Result<Currency, StoreError> {
        let found = certificates(&self.cluster, &origin.connection).await?;
        match found.digest(&origin.connection.server) == origin.certificates {
            true => origin.credential.currency().await,
            false => Ok(Currency::Outdated),
        }
    }
}

/// The certificates of a connection.
pub struct Certificates {
    /// The CA bundle with the name of its source; `None` for the system's.
    pub ca: Option<(String, Vec<u8>)>,
    /// Our client certificate.
    pub client: Option<ClientCertificate>,
}

/// Reads the certificates of the store.
pub async fn certificates(cluster: &Cluster, connection: &Connection) -> Result<Certificates, StoreError> {
    let ca = credentials::ca(cluster, &connection.ca).await?;
    let client = credentials::client_certificate(cluster, connection).await?;
    Ok(Certificates { ca, client })
}

impl Certificates {
    /// A digest of the server's address and these certificates.
    pub fn digest(&self, server: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        let none: &[u8] = &[];
        let parts = [
            server.as_bytes(),
            self.ca.as_ref().map_or(none, |(_, pem)| pem),
            self.client.as_ref().map_or(none, |pair| pair.certificate.expose()),
            self.client.as_ref().map_or(none, |pair| pair.key.expose()),
        ];
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}
