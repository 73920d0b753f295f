//! A proxy that makes OpenBao answer like Vault: without check-and-set on metadata and without
//! detailed listings.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use waypost_e2e::lab::Lab;

/// What of a metadata reply and of a metadata request Vault does not know.
const UNKNOWN: [&str; 3] = ["current_metadata_version", "metadata_cas_required", "metadata_cas"];

/// Where requests are passed on to.
struct AsVault {
    server: String,
    client: reqwest::Client,
}

/// Serves on the runtime of the test, for as long as that runs; gives the address.
pub async fn serve(lab: &Lab) -> anyhow::Result<String> {
    let ca = reqwest::Certificate::from_pem_bundle(lab.vault_ca_pem().unwrap_or_default().as_bytes())?;
    let client = reqwest::Client::builder().tls_certs_only(ca).no_proxy().build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let state = Arc::new(AsVault { server: lab.vault_addr().to_owned(), client });
    let router = axum::Router::new().fallback(pass_on).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn pass_on(
    State(vault): State<Arc<AsVault>>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method.as_str() == "SCAN" {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    for hop in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
        headers.remove(hop);
    }
    let about_metadata = uri.path().contains("/metadata/");
    let body = if about_metadata { without_unknown(&body) } else { body.to_vec() };
    let sent = vault.client.request(method, format!("{}{uri}", vault.server)).headers(headers).body(body).send().await;
    let Ok(reply) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = reply.status();
    match reply.bytes().await {
        Ok(body) if about_metadata => (status, without_unknown(&body)).into_response(),
        Ok(body) => (status, body.to_vec()).into_response(),
        Err(_cut) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn without_unknown(body: &[u8]) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    for field in UNKNOWN {
        json.as_object_mut().and_then(|fields| fields.remove(field));
        json.get_mut("data").and_then(Value::as_object_mut).and_then(|fields| fields.remove(field));
    }
    json.to_string().into_bytes()
}
