//! Kubeconfig files for the lab's users and ServiceAccounts.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::{folder::write_private, pki::Identity};

/// Writes a kubeconfig with a client certificate.
pub(super) fn with_certificate(path: &Path, server: &str, ca_pem: &str, user: &Identity) -> anyhow::Result<()> {
    let credentials = json!({
        "client-certificate-data": BASE64.encode(&user.certificate_pem),
        "client-key-data": BASE64.encode(&user.key_pem),
    });
    write(path, server, ca_pem, &credentials)
}

/// Writes a kubeconfig with a bearer token.
pub(super) fn with_token(path: &Path, server: &str, ca_pem: &str, token: &str) -> anyhow::Result<()> {
    write(path, server, ca_pem, &json!({ "token": token }))
}

/// JSON is YAML, so every client reads it.
fn write(path: &Path, server: &str, ca_pem: &str, user: &Value) -> anyhow::Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "lab",
            "cluster": { "server": server, "certificate-authority-data": BASE64.encode(ca_pem) },
        }],
        "users": [{ "name": "lab", "user": user }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab" } }],
        "current-context": "lab",
    });
    write_private(path, &config.to_string())
}
