//! How often a store logs in: once for many users, again if a session is gone, and never because a
//! policy forbids a request.

use serde_json::json;
use waypost::store::StoreError;
use waypost_e2e::wait;

use crate::{Bench, DEADLINE, kubernetes_auth, path};

#[tokio::test]
async fn many_first_requests_log_in_once_and_shutdown_revokes() {
    let bench = Bench::on_extra().await;
    let client = bench.kubernetes("once", json!({})).await;
    let mark = bench.audit().mark().unwrap();
    let entry = path("platform-data/once/entry");
    futures::future::join_all((0..40).map(|_| client.read(&entry, None))).await.into_iter().for_each(|read| {
        read.unwrap();
    });
    assert_eq!(bench.logins(mark), 1);
    bench.registry.shutdown().await;
    let revoked = bench.audit().since_under(mark, "auth/token/revoke-self").unwrap();
    assert_eq!(revoked.len(), 1);
    let after = client.read(&entry, None).await.err().unwrap();
    assert!(matches!(after, StoreError::SessionClosed { .. }), "{after}");
    assert_eq!(bench.logins(mark), 1, "no login after shutdown");
}

#[tokio::test]
async fn a_revoked_token_costs_one_login_and_no_request_fails() {
    let bench = Bench::on_extra().await;
    let client = bench.kubernetes("revoked", json!({})).await;
    let entry = path("platform-data/revoked/entry");
    client.read(&entry, None).await.unwrap();
    let admin = bench.bao().admin().unwrap();
    admin.post("sys/leases/revoke-prefix/auth/kubernetes/login", &json!({})).await.unwrap();
    let mark = bench.audit().mark().unwrap();
    for read in futures::future::join_all((0..20).map(|_| client.read(&entry, None))).await {
        read.unwrap();
    }
    assert_eq!(bench.logins(mark), 1);
}

#[tokio::test]
async fn a_policys_403_causes_no_login() {
    let bench = Bench::on_extra().await;
    let client = bench.kubernetes("policy", json!({})).await;
    client.read(&path("platform-data/policy/entry"), None).await.unwrap();
    let mark = bench.audit().mark().unwrap();
    for _ in 0..10 {
        let error = client.read(&path("elsewhere/policy/entry"), None).await.err().unwrap();
        assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
    }
    assert_eq!(bench.logins(mark), 0);
    client.read(&path("platform-data/policy/entry"), None).await.unwrap();
}

#[tokio::test]
async fn a_short_lease_is_renewed_not_replaced() {
    let bench = Bench::on_extra().await;
    let admin = bench.bao().admin().unwrap();
    let role = admin.get("auth/kubernetes/role/external-secrets").await.unwrap().unwrap();
    let mut role = role.get("data").cloned().unwrap_or(role);
    role["token_ttl"] = json!(3);
    role["token_max_ttl"] = json!(600);
    admin.post("auth/kubernetes/role/external-secrets", &role).await.unwrap();
    let client = bench.kubernetes("short", json!({})).await;
    let mark = bench.audit().mark().unwrap();
    let entry = path("platform-data/short/entry");
    wait::until("two renewals", DEADLINE, async || {
        client.read(&entry, None).await?;
        Ok((bench.audit().since_under(mark, "auth/token/renew-self")?.len() >= 2).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(bench.logins(mark), 1);
}

#[tokio::test]
async fn a_wrong_role_is_refused_without_a_storm_of_logins() {
    let bench = Bench::on_extra().await;
    let client = bench.client("wrong-role", bench.provider(kubernetes_auth("nobody"), json!({}))).await;
    let mark = bench.audit().mark().unwrap();
    for read in
        futures::future::join_all((0..20).map(|_| async { client.read(&path("platform-data/role/entry"), None).await }))
            .await
    {
        let error = read.err().unwrap();
        assert!(matches!(error, StoreError::LoginRefused { .. }), "{error}");
        assert!(error.to_string().contains("nobody"), "{error}");
    }
    assert_eq!(bench.logins(mark), 1);
}

#[tokio::test]
async fn a_token_with_a_trailing_newline_works() {
    let bench = Bench::on_extra().await;
    let admin = bench.bao().admin().unwrap();
    let token = admin.create_token(&["waypost-combined"], "10m").await.unwrap();
    bench.secret("newline", "token", &format!("{token}\n")).await;
    let client = bench.client("newline", bench.provider(bench.token_auth("newline"), json!({}))).await;
    client.read(&path("platform-data/newline/entry"), None).await.unwrap();
    bench.secret("odd", "token", "s.two words").await;
    let odd = bench.client("odd", bench.provider(bench.token_auth("odd"), json!({}))).await;
    let error = odd.read(&path("platform-data/newline/entry"), None).await.err().unwrap();
    assert!(matches!(error, StoreError::Credential { .. }) && !error.to_string().contains("s.two"), "{error}");
}
