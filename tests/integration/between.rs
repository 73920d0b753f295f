//! Somebody else's write at the worst moment: a proxy in front of OpenBao waits for the first
//! request of a kind, and lets another writer go first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use waypost_e2e::lab::{Lab, VaultAdmin};

/// What is waited for, and what is written then.
pub struct Between {
    /// The method of the request.
    pub method: Method,
    /// The path of the request, below `/v1/`.
    pub before: String,
    /// The entry of mount `secret` that the other one writes, without a condition.
    pub path: String,
    /// What it writes.
    pub data: Value,
}

struct Proxy {
    server: String,
    client: reqwest::Client,
    admin: VaultAdmin,
    between: Between,
    armed: Arc<AtomicBool>,
}

/// Until it is armed, the proxy only passes on.
pub struct Trigger(Arc<AtomicBool>);

impl Trigger {
    /// From now on the next such request is the one.
    pub fn arm(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Serves on the runtime of the test, for as long as that runs; gives the address.
pub async fn serve(lab: &Lab, between: Between) -> anyhow::Result<(String, Trigger)> {
    let ca = reqwest::Certificate::from_pem_bundle(lab.vault_ca_pem().unwrap_or_default().as_bytes())?;
    let client = reqwest::Client::builder().tls_certs_only(ca).no_proxy().build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let (server, admin, armed) = (lab.vault_addr().to_owned(), lab.vault_admin()?, Arc::<AtomicBool>::default());
    let trigger = Trigger(armed.clone());
    let router = axum::Router::new().fallback(pass_on);
    let router = router.with_state(Arc::new(Proxy { server, client, admin, between, armed }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, trigger))
}

async fn pass_on(
    State(proxy): State<Arc<Proxy>>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let between = &proxy.between;
    let meant = method == between.method && uri.path().strip_prefix("/v1/") == Some(between.before.as_str());
    if meant && proxy.armed.swap(false, Ordering::SeqCst) {
        let written = proxy.admin.write("secret", &between.path, &between.data).await;
        if written.is_err() {
            return StatusCode::BAD_GATEWAY.into_response();
        }
    }
    for hop in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
        headers.remove(hop);
    }
    let sent = proxy.client.request(method, format!("{}{uri}", proxy.server)).headers(headers).body(body).send().await;
    let Ok(reply) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = reply.status();
    match reply.bytes().await {
        Ok(body) => (status, body).into_response(),
        Err(_cut) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
