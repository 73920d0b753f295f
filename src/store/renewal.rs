//! Replaces clients whose credential or certificates changed in their Secrets.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::StoreError;
use super::connection::Connection;
use super::credentials::{self, Currency};
use super::pool::{ClientKey, Made, Pool};
use super::vault::connect::ClientCertificate;
use crate::cluster::Cluster;

impl Pool {
    /// Every Secret that a client uses, as namespace and name.
    pub fn secrets(&self) -> Vec<(String, String)> {
        self.secret_users.secrets()
    }

    /// Call this when a Secret was written or deleted. Clients that use it log in or connect again,
    /// and their dependants try again. A rotated credential is used at once, and the old session
    /// ends.
    pub fn secret_moved(self: &Arc<Self>, namespace: &str, name: &str) {
        let secret_users = self.secret_users.of(namespace, name);
        if secret_users.is_empty() {
            return;
        }
        let pool = self.clone();
        tokio::spawn(async move {
            for key in secret_users {
                pool.renew(&key).await;
            }
        });
    }

    /// Drops a client whose credential or certificates changed, and wakes those who waited for
    /// either.
    async fn renew(&self, key: &ClientKey) {
        let currency = match self.present(key).await {
            Some(made) => self.currency(&made).await,
            None => Ok(Currency::Missing),
        };
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
    pub async fn currency(&self, made: &Made) -> Result<Currency, StoreError> {
        let found = certificates(&self.cluster, &made.connection).await?;
        match found.digest(&made.connection.server) == made.certificates {
            true => made.credential.currency().await,
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
