//! A version that appears between the two requests of a read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use serde_json::json;
use tokio::net::TcpListener;
use waypost::store::StoreError;
use waypost_e2e::lab::VaultAdmin;

use super::{Bench, live, path};

#[tokio::test]
async fn a_version_written_between_the_two_requests_of_a_read_is_no_deleted_one() {
    let bench = Bench::on_extra().await;
    let admin = bench.bao().admin().unwrap();
    let token = admin.create_token(&["waypost-combined"], "10m").await.unwrap();
    bench.secret("veiled", "token", &token).await;
    let entry = path("platform-data/veiled/entry");
    admin.write("secret", "platform-data/veiled/entry", &json!({ "theirs": "x" })).await.unwrap();
    let (server, veil) = Veil::over(admin.with_token(&token)).await;
    let provider = json!({ "server": server, "path": "secret", "auth": bench.token_auth("veiled") });
    let client = bench.client("veiled", provider).await;
    // The first request came before the write, the second after it.
    veil.hidden.store(1, Ordering::Relaxed);
    let read = client.read(&entry, None).await.unwrap();
    assert!(live(&read).0 == 1 && live(&read).1.contains_key("theirs"));
    // Data that is listed and never shown is no reason to write over it either.
    veil.hidden.store(usize::MAX, Ordering::Relaxed);
    let error = client.read(&entry, None).await.err().unwrap();
    assert!(matches!(error, StoreError::Stale { .. }), "{error}");
}

/// Passes requests on to OpenBao, and answers some that ask for data as if no version had been
/// written yet.
struct Veil {
    server: VaultAdmin,
    /// How many it still answers so.
    hidden: AtomicUsize,
}

impl Veil {
    async fn over(server: VaultAdmin) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let veil = Arc::new(Veil { server, hidden: AtomicUsize::new(0) });
        let router = axum::Router::new().fallback(pass_on).with_state(veil.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, veil)
    }
}

async fn pass_on(State(veil): State<Arc<Veil>>, method: Method, uri: Uri, body: String) -> (StatusCode, String) {
    let path = uri.path_and_query().unwrap().as_str().trim_start_matches("/v1/");
    let asks_for_data = method == Method::GET && path.starts_with("secret/data/");
    let less = |hidden: usize| hidden.checked_sub(1);
    if asks_for_data && veil.hidden.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
        return (StatusCode::NOT_FOUND, json!({ "errors": [] }).to_string());
    }
    let body = serde_json::from_str(&body).ok();
    let (status, reply) = veil.server.request(method.as_str(), path, body.as_ref()).await.unwrap();
    (StatusCode::from_u16(status).unwrap(), reply.to_string())
}
