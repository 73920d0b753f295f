//! Inspects a store for its status, without a new login.

use reqwest::Method;
use zeroize::Zeroizing;

use super::VaultClient;
use super::answers::Certainty;
use super::reply::{self, Data};
use super::transport::{Outgoing, Payload, largest};
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
    /// What our login lacks under the paths of the convention; unknown where the server does not
    /// tell, or the store names no mount.
    pub lacking: Option<Lacking>,
}

/// Capabilities that policy does not give a login, of those that pushes and pulls need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Of [`DATA`], at `data/`: to read a version, and to write one.
    pub data: Vec<&'static str>,
    /// Of [`METADATA`], at `metadata/`: to create an entry, and to see and change its custom
    /// metadata, where claims are.
    pub metadata: Vec<&'static str>,
    /// Of [`DELETE`], at `delete/`: to delete the latest version once its last property was removed.
    pub delete: Vec<&'static str>,
}

/// What is needed at `data/`.
pub const DATA: [&str; 3] = ["create", "read", "update"];
/// What is needed at `metadata/`.
pub const METADATA: [&str; 4] = ["create", "read", "update", "patch"];
/// What is needed at `delete/`.
pub const DELETE: [&str; 1] = ["update"];

impl VaultClient {
    /// Checks that the server answers, that we are logged in and that the mount is KV v2, and asks
    /// for our rights.
    pub async fn inspect(&self, secret_prefix: &str) -> Result<Inspection, StoreError> {
        let health_reply = self.transport.health().await?;
        let health = self.health_of(&health_reply)?;
        self.check_health(&health_reply, health.as_ref())?;
        let health = health.unwrap_or_default();
        let lacking = match &self.mount {
            Some(mount) => {
                let mount = Mount::parse(mount)
                    .map_err(|_checked_with_the_spec| StoreError::MountMissing { mount: mount.clone() })?;
                self.confirm(&mount, Certainty::Fresh).await?;
                self.lacking(&mount, secret_prefix).await?
            }
            None => {
                self.session.token().await?;
                None
            }
        };
        Ok(Inspection { version: health.version, cluster_id: health.cluster_id, lacking })
    }

    async fn lacking(&self, mount: &Mount, secret_prefix: &str) -> Result<Option<Lacking>, StoreError> {
        let sample = sample(secret_prefix);
        let [data, metadata, delete] = ["data", "metadata", "delete"].map(|part| format!("{mount}/{part}/{sample}"));
        let body = serde_json::json!({ "paths": [data, metadata, delete] }).to_string().into_bytes();
        let request = Outgoing {
            call: Call::Capabilities,
            method: Method::POST,
            path: "sys/capabilities-self".to_owned(),
            query: None,
            body: Some(Payload::json(Zeroizing::new(body))),
            token: None,
            namespace: None,
            largest: largest(Call::Capabilities),
        };
        let reply = self.authed(request).await?;
        if reply.status.is_server_error() {
            return Err(self.judge(&reply, "ask for rights at", "sys/capabilities-self", mount, 0));
        }
        // A login that may not ask is still valid.
        let Some(answer) = reply::parse::<Data<std::collections::BTreeMap<String, Vec<String>>>>(&reply.body) else {
            return Ok(None);
        };
        let lacks = |path: &str, needed: &[&'static str]| {
            let has = |right: &str| {
                answer.data.get(path).is_some_and(|has| has.iter().any(|has| has == right || has == "root"))
            };
            needed.iter().copied().filter(|right| !has(right)).collect()
        };
        Ok(Some(Lacking {
            data: lacks(&data, &DATA),
            metadata: lacks(&metadata, &METADATA),
            delete: lacks(&delete, &DELETE),
        }))
    }
}
