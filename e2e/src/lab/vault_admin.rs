//! The lab's own requests to OpenBao or Vault, with the root token.

use anyhow::{Context, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::http;

/// A client with a token that may do everything. It belongs to the runtime that made it.
pub struct VaultAdmin {
    http: Client,
    address: String,
    token: String,
    namespace: Option<String>,
}

/// One version of a KV v2 entry as `data/` answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The properties; `None` if the version is deleted or destroyed.
    pub data: Option<Value>,
    /// `version`, `created_time`, `custom_metadata`, …
    pub metadata: Value,
}

impl Entry {
    /// The number of this version.
    pub fn version(&self) -> u64 {
        self.metadata["version"].as_u64().unwrap_or_default()
    }
}

impl VaultAdmin {
    pub(super) fn new(
        address: &str,
        ca_pem: Option<&str>,
        identity_pem: Option<&str>,
        token: &str,
    ) -> anyhow::Result<Self> {
        let http = http::client(ca_pem, identity_pem)?;
        Ok(VaultAdmin { http, address: address.to_owned(), token: token.to_owned(), namespace: None })
    }

    /// The same client in a Vault namespace.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// The same client with another token; an empty one sends none.
    pub fn with_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    /// Any request to `/v1/PATH`: status and body (null if it has none). Only a failed connection
    /// is an error.
    ///
    /// # Errors
    /// When there is no answer, or none in JSON.
    pub async fn request(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let method = Method::from_bytes(method.as_bytes()).context("an HTTP method")?;
        let mut request = self.http.request(method.clone(), format!("{}/v1/{path}", self.address));
        if !self.token.is_empty() {
            request = request.header("X-Vault-Token", &self.token);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = body {
            request = match method {
                Method::PATCH => request.header("Content-Type", "application/merge-patch+json").body(body.to_string()),
                _ => request.json(body),
            };
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.with_context(|| format!("{method} {path}: read the answer"))?;
        if text.is_empty() {
            return Ok((status, Value::Null));
        }
        let body =
            serde_json::from_str(&text).ok().with_context(|| format!("{method} {path}: {status} without JSON"))?;
        Ok((status, body))
    }

    /// GET; `None` on 404.
    ///
    /// # Errors
    /// Any other refusal.
    pub async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let (status, body) = self.request("GET", path, None).await?;
        match status {
            404 => Ok(None),
            _ => accepted("GET", path, status, body).map(Some),
        }
    }

    /// POST, which both creates and replaces.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.request("POST", path, Some(body)).await?;
        accepted("POST", path, status, answer)
    }

    /// DELETE; what is not there is deleted already.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let (status, answer) = self.request("DELETE", path, None).await?;
        match status {
            404 => Ok(()),
            _ => accepted("DELETE", path, status, answer).map(drop),
        }
    }

    /// The status of `sys/health`: 200 active, 429 standby, 501 not initialised, 503 sealed.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn health(&self) -> anyhow::Result<u16> {
        self.request("GET", "sys/health", None).await.map(|(status, _)| status)
    }

    /// The latest version of a KV v2 entry; `None` if it has no version.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn read(&self, mount: &str, path: &str) -> anyhow::Result<Option<Entry>> {
        self.entry(&format!("{mount}/data/{path}")).await
    }

    /// One version of a KV v2 entry.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn read_version(&self, mount: &str, path: &str, version: u64) -> anyhow::Result<Option<Entry>> {
        self.entry(&format!("{mount}/data/{path}?version={version}")).await
    }

    /// Writes a version with these properties, and returns its number.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn write(&self, mount: &str, path: &str, data: &Value) -> anyhow::Result<u64> {
        let answer = self.post(&format!("{mount}/data/{path}"), &json!({ "data": data })).await?;
        answer["data"]["version"].as_u64().context("the write's answer has no version")
    }

    /// The `data` of `metadata/PATH` (current_version, custom_metadata, versions, …); `None` if
    /// there is no such entry.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn metadata(&self, mount: &str, path: &str) -> anyhow::Result<Option<Value>> {
        Ok(self.get(&format!("{mount}/metadata/{path}")).await?.map(|mut answer| answer["data"].take()))
    }

    /// Replaces the `custom_metadata` of an entry.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn write_custom_metadata(&self, mount: &str, path: &str, metadata: &Value) -> anyhow::Result<()> {
        self.post(&format!("{mount}/metadata/{path}"), &json!({ "custom_metadata": metadata })).await.map(drop)
    }

    /// The names one level below `path`, folders with a trailing slash; none if there is nothing.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn list(&self, mount: &str, path: &str) -> anyhow::Result<Vec<String>> {
        let answer = self.get(&format!("{mount}/metadata/{path}?list=true")).await?;
        let keys = answer.as_ref().and_then(|answer| answer["data"]["keys"].as_array()).map(Vec::as_slice);
        Ok(keys.unwrap_or_default().iter().filter_map(|key| key.as_str().map(str::to_owned)).collect())
    }

    /// Deletes the latest version softly.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete_latest(&self, mount: &str, path: &str) -> anyhow::Result<()> {
        self.delete(&format!("{mount}/data/{path}")).await
    }

    /// Destroys named versions.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn destroy(&self, mount: &str, path: &str, versions: &[u64]) -> anyhow::Result<()> {
        self.post(&format!("{mount}/destroy/{path}"), &json!({ "versions": versions })).await.map(drop)
    }

    /// Removes an entry with all its versions and its metadata.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete_metadata(&self, mount: &str, path: &str) -> anyhow::Result<()> {
        self.delete(&format!("{mount}/metadata/{path}")).await
    }

    /// Creates or replaces an ACL policy.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn put_policy(&self, name: &str, hcl: &str) -> anyhow::Result<()> {
        self.post(&format!("sys/policies/acl/{name}"), &json!({ "policy": hcl })).await.map(drop)
    }

    /// Mounts a secrets engine, for instance `kv` with options `{"version": "2"}`, and waits until
    /// a KV v2 mount serves.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enable_mount(&self, path: &str, engine: &str, options: &Value) -> anyhow::Result<()> {
        let (mount, body) = (format!("sys/mounts/{path}"), json!({ "type": engine, "options": options }));
        if let Err(error) = self.post(&mount, &body).await {
            // A connection may break off while a server starts, before or after it has mounted the
            // engine.
            let broke_off = error.chain().any(|cause| cause.is::<reqwest::Error>());
            if !broke_off {
                return Err(error);
            }
            if self.get(&mount).await.is_err() {
                self.post(&mount, &body).await?;
            }
        }
        if options["version"] != "2" {
            return Ok(());
        }
        // A new KV v2 mount answers 400 until its own upgrade has run.
        crate::wait::until(&format!("mount {path} to serve"), std::time::Duration::from_secs(30), async || {
            self.get(&format!("{path}/config")).await
        })
        .await
        .map(drop)
    }

    /// Enables an auth method at a path.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enable_auth(&self, path: &str, method: &str) -> anyhow::Result<()> {
        self.post(&format!("sys/auth/{path}"), &json!({ "type": method })).await.map(drop)
    }

    /// A token with these policies and no others, for stores with token authentication and for
    /// tests of a policy.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_token(&self, policies: &[&str], ttl: &str) -> anyhow::Result<String> {
        let body = json!({ "policies": policies, "ttl": ttl, "no_default_policy": true });
        let answer = self.post("auth/token/create", &body).await?;
        answer["auth"]["client_token"].as_str().map(str::to_owned).context("the answer has no token")
    }

    /// Logs a ServiceAccount's token in by Kubernetes auth, and returns the token it was given.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn login_kubernetes(&self, role: &str, jwt: &str) -> anyhow::Result<String> {
        let answer = self.post("auth/kubernetes/login", &json!({ "role": role, "jwt": jwt })).await?;
        answer["auth"]["client_token"].as_str().map(str::to_owned).context("the answer has no token")
    }

    /// A snapshot of all data (raft).
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn snapshot(&self) -> anyhow::Result<Vec<u8>> {
        let request = self.http.get(format!("{}/v1/sys/storage/raft/snapshot", self.address));
        let answer = request.header("X-Vault-Token", &self.token).send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    }

    /// Replaces all data by that of a snapshot of the same server.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn restore(&self, snapshot: Vec<u8>) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}/v1/sys/storage/raft/snapshot", self.address));
        request.header("X-Vault-Token", &self.token).body(snapshot).send().await?.error_for_status()?;
        Ok(())
    }

    /// A deleted version answers 404 with its metadata; a bare 404 means that there is no version.
    async fn entry(&self, path: &str) -> anyhow::Result<Option<Entry>> {
        let (status, mut body) = self.request("GET", path, None).await?;
        let metadata = body["data"]["metadata"].take();
        match status {
            404 if metadata.is_null() => Ok(None),
            404 => Ok(Some(Entry { data: None, metadata })),
            _ => {
                let mut body = accepted("GET", path, status, body)?;
                let data = Some(body["data"]["data"].take()).filter(|data| !data.is_null());
                Ok(Some(Entry { data, metadata }))
            }
        }
    }
}

/// The server's own error texts are shown: they name paths and rights, and this client only meets
/// the lab's own values.
fn accepted(method: &str, path: &str, status: u16, body: Value) -> anyhow::Result<Value> {
    if StatusCode::from_u16(status).is_ok_and(|status| status.is_success()) {
        return Ok(body);
    }
    bail!("{method} {path}: {status} {}", body["errors"])
}
