//! Clients of servers that answer what no server should: a tenant may run any.

use axum::Router;
use axum::http::Uri;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::access::Access;
use super::*;
use crate::domain::secret::SecretBytes;

/// A client of a server with these answers, by path.
async fn client<A: IntoResponse + Send + 'static>(
    answer: impl Fn(&str) -> A + Clone + Send + Sync + 'static,
) -> VaultClient {
    let app = Router::new().fallback(move |uri: Uri| std::future::ready(answer(uri.path())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, app).into_future());
    let token = SecretBytes::from("t");
    Access { address, ca: None, namespace: None, token, token_in: "a test" }.client().unwrap()
}

/// What a server answers about itself and about the mount, with another text in one place.
fn described(path: &str, pointer: &str, text: &str) -> String {
    let mut answers = json!({
        "health": { "initialized": true, "cluster_id": "c", "version": "2" },
        "mount": { "data": { "accessor": "kv_1", "path": "secret/", "type": "kv", "options": { "version": "2" } } },
        "entry": { "data": { "data": { "a": "1" }, "metadata": { "version": 1 } } },
    });
    if let Some(place) = answers.pointer_mut(pointer) {
        *place = Value::from(text);
    }
    let about = match path {
        "/v1/sys/health" => "health",
        "/v1/sys/internal/ui/mounts/secret" => "mount",
        _ => "entry",
    };
    answers[about].to_string()
}

fn entry() -> RemotePath {
    RemotePath::parse(Some("secret"), "platform-data/redis/a").unwrap()
}

#[tokio::test]
async fn no_name_is_kept_that_is_longer_than_any_that_a_server_draws() {
    let names = ["/health/cluster_id", "/health/version", "/mount/data/accessor"];
    for pointer in names.into_iter().chain(["/mount/data/type", "/mount/data/options/version"]) {
        let long = client(move |path| described(path, pointer, &"x".repeat(257))).await;
        let error = long.path_key(&entry()).await.err();
        assert!(matches!(error, Some(StoreError::BadReply { what: TOO_LONG, .. })), "{pointer}: {error:?}");
    }
    for pointer in names {
        let usual = client(move |path| described(path, pointer, &"x".repeat(256))).await;
        usual.path_key(&entry()).await.unwrap();
    }
    let long = client(move |path| described(path, names[0], &"x".repeat(257))).await;
    assert!(long.inspect("platform-data").await.is_err(), "nor is it told in a status");
}

#[tokio::test]
async fn what_is_about_no_entry_is_not_read_beyond_a_short_reply() {
    for pointer in ["/health/initialized", "/mount/data/path"] {
        let large = client(move |path| described(path, pointer, &"x".repeat(1024 * 1024))).await;
        let error = large.path_key(&entry()).await.err();
        assert!(matches!(error, Some(StoreError::ReplyTooLarge { .. })), "{pointer}: {error:?}");
    }
    let large = client(|path| described(path, "/entry/data/data/a", &"x".repeat(1024 * 1024))).await;
    assert!(large.read(&entry(), None).await.unwrap().data().is_some(), "an entry may be as large");
}

/// Whatever is computed from them.
#[tokio::test]
async fn the_largest_numbers_that_a_server_can_answer_end_nothing() {
    let client = client(|path| {
        let most = u64::MAX;
        let body = json!({
            "auth": { "client_token": "t", "lease_duration": most },
            "data": {
                "data": { "a": "1" },
                "metadata": { "version": most, "created_time": "9999-12-31T23:59:59.999999999Z" },
                "current_version": most,
                "versions": { most.to_string(): { "created_time": "9999-12-31T23:59:59.999999999Z" } },
            },
        });
        match path {
            "/v1/secret/metadata/limited" => {
                (StatusCode::TOO_MANY_REQUESTS, [("retry-after", most.to_string())], String::new()).into_response()
            }
            "/v1/secret/metadata/platform-data/redis/a" | "/v1/secret/data/platform-data/redis/a" => {
                body.to_string().into_response()
            }
            _ => described(path, "/none", "").into_response(),
        }
    })
    .await;
    let (read, head) = (client.read(&entry(), None).await.unwrap(), client.head(&entry()).await.unwrap());
    assert_eq!((read.cas(), head.version, head.live), (u64::MAX, u64::MAX, true));
    assert_eq!(client.metadata(&entry()).await.unwrap().unwrap().kept, [u64::MAX]);
    let limited = RemotePath::parse(Some("secret"), "limited").unwrap();
    assert!(matches!(client.head(&limited).await, Err(StoreError::RateLimited { .. })));
}
