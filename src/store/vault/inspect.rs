//! Inspects a store for its status, without a new login.

use reqwest::Method;
use zeroize::Zeroizing;

use super::VaultClient;
use super::answers::Certainty;
use super::reply::{self, Data, Health};
use super::transport::{MAX_REPLY, Outgoing, Payload};
use crate::domain::path::Mount;
use crate::store::StoreError;
use crate::store::meter::Call;

/// An unused path below the prefix of secrets, whose rights are asked for; nothing is read.
pub fn sample(secret_prefix: &str) -> String {
    format!("{secret_prefix}/waypost/check")
}

/// What the server reports about itself and about our login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Version of the server.
    pub version: Option<String>,
    /// The server's cluster.
    pub cluster_id: Option<String>,
    /// The rights of our login on paths of the convention; `None` if the server does not say, or
    /// the store names no mount.
    pub rights: Option<Rights>,
}

/// What policy allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Read a version.
    pub read: bool,
    /// Write a version. This needs reading too, because a write merges over the current version.
    pub write: bool,
    /// Create an entry, and read and patch its custom metadata. Claims need this.
    pub claim: bool,
}

impl VaultClient {
    /// Checks that the server answers, that we are logged in and that the mount is KV v2, and asks
    /// for our rights.
    pub async fn inspect(&self, secret_prefix: &str) -> Result<Inspection, StoreError> {
        let health_reply = self.transport.health().await?;
        let health: Option<Health> = reply::parse(&health_reply.body);
        self.check_health(&health_reply, health.as_ref())?;
        let health = health.unwrap_or_default();
        let rights = match &self.mount {
            Some(mount) => {
                let mount = Mount::parse(mount)
                    .map_err(|_checked_with_the_spec| StoreError::MountMissing { mount: mount.clone() })?;
                self.confirm(&mount, Certainty::Fresh).await?;
                self.rights(&mount, secret_prefix).await?
            }
            None => {
                self.session.token().await?;
                None
            }
        };
        Ok(Inspection { version: health.version, cluster_id: health.cluster_id, rights })
    }

    async fn rights(&self, mount: &Mount, secret_prefix: &str) -> Result<Option<Rights>, StoreError> {
        let sample = sample(secret_prefix);
        let (data, metadata) = (format!("{mount}/data/{sample}"), format!("{mount}/metadata/{sample}"));
        let body = serde_json::json!({ "paths": [data, metadata] }).to_string().into_bytes();
        let request = Outgoing {
            call: Call::Capabilities,
            method: Method::POST,
            path: "sys/capabilities-self".to_owned(),
            query: None,
            body: Some(Payload::json(Zeroizing::new(body))),
            token: None,
            namespace: None,
            largest: MAX_REPLY,
        };
        let reply = self.authed(request).await?;
        if reply.status.is_server_error() {
            return Err(self.judge(&reply, "ask for rights at", "sys/capabilities-self", mount, 0));
        }
        // A login that may not ask is still valid.
        let Some(answer) = reply::parse::<Data<std::collections::BTreeMap<String, Vec<String>>>>(&reply.body) else {
            return Ok(None);
        };
        let may = |path: &str, right: &str| {
            answer.data.get(path).is_some_and(|rights| rights.iter().any(|has| has == right || has == "root"))
        };
        Ok(Some(Rights {
            read: may(&data, "read"),
            write: may(&data, "create") && may(&data, "update"),
            claim: ["create", "read", "update", "patch"].iter().all(|right| may(&metadata, right)),
        }))
    }
}
