//! Shared clients, clients that cannot be created, and unused clients.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::json;

use super::*;
use crate::api::ClusterSecretStore;
use crate::api::store_location::StoreLocation;
use crate::domain::source::SourceKind;
use crate::store::StoreError;
use crate::store::meter::NoMeter;

const DEADLINE: Duration = Duration::from_secs(30);

/// A pool whose API server fails every request, and their count.
fn pool(idle: Duration) -> (Arc<Pool>, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let router = axum::Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            StatusCode::INTERNAL_SERVER_ERROR
        }
    });
    let cluster = Cluster::new(kube::Client::new(router, "default"));
    let pool = Pool::new(cluster, NonZeroU32::MAX, Arc::new(NoMeter), Arc::default(), idle);
    (pool, requests)
}

/// A store whose credential is read in each consumer's namespace.
fn store(generation: i64, ca: serde_json::Value) -> (StoreName, StoreObject) {
    let vault =
        json!({ "server": "http://127.0.0.1:9", "auth": { "tokenSecretRef": { "name": "t" } }, "caProvider": ca });
    let object: ClusterSecretStore = serde_json::from_value(json!({
        "metadata": { "name": "s", "uid": "u", "generation": generation }, "spec": { "provider": { "vault": vault } },
    }))
    .unwrap();
    (StoreName::cluster("s"), StoreObject::Cluster(Arc::new(object)))
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_share_the_failure_to_make_a_client() {
    let (pool, requests) = pool(IDLE);
    let (name, object) = store(1, json!({ "type": "Secret", "name": "ca", "namespace": "n", "key": "ca.crt" }));
    let all = join_all((0..50).map(|_| pool.made("team-a", &name, &object))).await;
    assert!(
        all.iter().all(|made| matches!(made, Err(StoreRefusal::Failed(_)))),
        "{:?}",
        all.first().map(Result::is_ok)
    );
    assert_eq!(requests.load(Ordering::Relaxed), 1);
    assert!(pool.made("team-a", &name, &object).await.is_err());
    assert_eq!(requests.load(Ordering::Relaxed), 2, "a failure is not kept");
}

#[tokio::test]
async fn a_client_that_nobody_uses_or_holds_goes_and_its_session_ends() {
    // Long enough for a sweep to come in time on a slow machine: what is held counts as used by that.
    let (pool, _) = pool(Duration::from_secs(3));
    let (name, object) = store(1, json!(null));
    let held = pool.made("held", &name, &object).await.unwrap();
    for number in 0..20 {
        pool.made(&format!("gone-{number}"), &name, &object).await.unwrap();
    }
    let began = std::time::Instant::now();
    let left = loop {
        pool.sweep().await;
        let (left, seen_off) = (pool.keys(|_| true), pool.farewells.len());
        if left.len() == 1 && seen_off == 20 {
            break left;
        }
        assert!(began.elapsed() < DEADLINE, "{} are left, {seen_off} are seen off", left.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(left[0].consumer.as_deref(), Some("held"));
    assert!(
        pool.readers.of(SourceKind::Secret, "gone-1", "t").is_empty()
            && !pool.readers.of(SourceKind::Secret, "held", "t").is_empty()
    );
    let again = pool.made("held", &name, &object).await.unwrap();
    assert!(Arc::ptr_eq(&held.client, &again.client), "who holds a client has no second login");
}

#[tokio::test]
async fn clients_of_another_generation_are_of_another_store() {
    let (pool, _) = pool(IDLE);
    let (name, old) = store(1, json!(null));
    let (_, new) = store(2, json!(null));
    let made = pool.made("a", &name, &old).await.unwrap();
    let anew = pool.made("a", &name, &new).await.unwrap();
    assert!(!Arc::ptr_eq(&made.client, &anew.client));
    pool.retire(|key| !key.is_of(&new)).await;
    assert_eq!(pool.keys(|_| true).len(), 1);
    assert_eq!(pool.farewells.len(), 1);
}

/// A pool on an API server that has a Secret with a token for whoever asks, after this.
fn with_a_token<F>(before: impl Fn() -> F + Clone + Send + Sync + 'static) -> Arc<Pool>
where
    F: Future<Output = ()> + Send + 'static,
{
    let router = axum::Router::new().fallback(move || {
        let before = before();
        async {
            before.await;
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "t" }, "data": { "token": "cw==" } })
                .to_string()
        }
    });
    let cluster = Cluster::new(kube::Client::new(router, "default"));
    Pool::new(cluster, NonZeroU32::MAX, Arc::new(NoMeter), Arc::default(), IDLE)
}

#[tokio::test(start_paused = true)]
async fn the_session_of_a_store_that_leads_elsewhere_now_lives_on_for_a_while_and_logs_in_no_more() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let pool = with_a_token(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    });
    let (name, object) = store(1, json!(null));
    let path = crate::domain::path::RemotePath::parse(Some("secret"), "a/b").unwrap();
    let is_shut = |read: Result<_, StoreError>| matches!(read, Err(StoreError::SessionClosed { .. }));
    let used = pool.made("used", &name, &object).await.unwrap().client;
    let unused = pool.made("unused", &name, &object).await.unwrap().client;
    assert!(!is_shut(used.read(&path, None).await), "it has logged in, and nobody listens there");
    let at = used.location();
    let elsewhere = StoreLocation { server: "http://127.0.0.2:9".into(), ..at.clone() };
    assert!(used.elsewhere(&elsewhere).is_none(), "its token goes to no other server");
    let beside = StoreLocation { namespace: Some("team".into()), path: Some("kv".into()), ..at.clone() };
    assert_eq!(used.elsewhere(&beside).map(|client| client.location()), Some(beside));

    pool.see_off_edited(&name);
    pool.retire(|_| true).await;
    let logins = asked.load(Ordering::Relaxed);
    assert!(is_shut(unused.read(&path, None).await));
    let former = |consumer: &str, at: &StoreLocation| pool.former(consumer, &name, at);
    assert!(former("unused", &at).is_none() && former("used", &elsewhere).is_none());
    assert!(pool.former("used", &StoreName::cluster("other"), &at).is_none());
    tokio::time::sleep(GRACE * 2).await;
    let kept = former("used", &at).expect("the session is kept");
    assert!(!is_shut(kept.read(&path, None).await), "the session was ended");
    assert_eq!(asked.load(Ordering::Relaxed), logins);
    tokio::time::sleep(crate::store::former::LINGER).await;
    assert!(former("used", &at).is_none() && is_shut(kept.read(&path, None).await));
}

/// The credential is read while the store is edited: what the Secret has now may be meant for the
/// other server.
#[tokio::test(start_paused = true)]
async fn a_login_that_waits_for_its_credential_while_the_store_is_edited_sends_it_to_nobody() {
    let pool = with_a_token(|| tokio::time::sleep(Duration::from_secs(10)));
    let (name, object) = store(1, json!(null));
    let path = crate::domain::path::RemotePath::parse(Some("secret"), "a/b").unwrap();
    let client = pool.made("used", &name, &object).await.unwrap().client;
    let edit = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        pool.see_off_edited(&name);
    };
    let (read, ()) = futures::join!(client.read(&path, None), edit);
    let error = read.err();
    assert!(matches!(error, Some(StoreError::SessionClosed { .. })), "{error:?}");
}
