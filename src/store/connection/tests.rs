//! Parsing of specs, and what is refused.

use serde_json::{Value, json};

use super::*;
use crate::api::StoreKind;

fn cluster(vault: Value) -> Result<Connection, StoreRefusal> {
    judged(&StoreName::cluster("s"), json!({ "vault": vault }))
}

fn namespaced(vault: Value) -> Result<Connection, StoreRefusal> {
    judged(&StoreName::referred("team-a", StoreKind::SecretStore, "s"), json!({ "vault": vault }))
}

fn judged(store: &StoreName, provider: Value) -> Result<Connection, StoreRefusal> {
    let spec: StoreSpec = serde_json::from_value(json!({ "provider": provider })).unwrap();
    parse(store, &spec, "consumer")
}

fn key(namespace: &str, name: &str, key: &str) -> KeyRef {
    KeyRef { namespace: namespace.into(), name: name.into(), key: key.into() }
}

fn invalid(result: Result<Connection, StoreRefusal>, part: &str) {
    match result {
        Err(StoreRefusal::Invalid { what, .. }) => assert!(what.contains(part), "{what}"),
        other => panic!("{part}: {other:?}"),
    }
}

fn unsupported(result: Result<Connection, StoreRefusal>, part: &str) {
    match result {
        Err(StoreRefusal::Unsupported { what, .. }) => assert!(what.contains(part), "{what}"),
        other => panic!("{part}: {other:?}"),
    }
}

#[test]
fn a_secret_store_reads_in_its_own_namespace_only() {
    let token = |namespace: Value| json!({ "server": "https://v", "auth": { "tokenSecretRef": { "name": "t", "namespace": namespace } } });
    let own = namespaced(token(json!("team-a"))).unwrap();
    assert_eq!(own.auth.keys(), [&key("team-a", "t", "token")]);
    assert!(!own.referent);
    invalid(namespaced(token(json!("other"))), "another namespace");
    let ca =
        json!({ "server": "https://v", "caProvider": { "type": "ConfigMap", "name": "ca", "namespace": "other" } });
    invalid(namespaced(ca), "caProvider");
}

#[test]
fn a_cluster_store_without_a_namespace_reads_where_the_consumer_is() {
    let referent = cluster(json!({ "server": "https://v", "auth": { "tokenSecretRef": { "name": "t" } } })).unwrap();
    assert!(referent.referent);
    assert_eq!(referent.auth.keys(), [&key("consumer", "t", "token")]);
    let named = json!({ "server": "https://v", "auth": { "tokenSecretRef": { "name": "t", "namespace": "vault" } } });
    assert!(!cluster(named).unwrap().referent);
}

#[test]
fn the_first_method_counts() {
    let both = json!({ "server": "https://v", "auth": {
        "kubernetes": { "role": "r" },
        "appRole": { "roleId": "id", "secretRef": { "name": "s", "key": "k", "namespace": "n" } },
    } });
    assert_eq!(cluster(both).unwrap().auth.keys(), [&key("n", "s", "k")]);
    assert!(cluster(json!({ "server": "https://v" })).unwrap().auth.keys().is_empty());
    invalid(cluster(json!({ "server": "https://v", "auth": {} })), "names no method");
}

#[test]
fn what_is_not_built_is_named() {
    unsupported(cluster(json!({ "server": "https://v", "version": "v1" })), "KV version 1");
    let ldap = json!({ "server": "https://v", "auth": { "ldap": { "username": "u" } } });
    unsupported(cluster(ldap), "`ldap`");
    let other = json!({ "aws": { "region": "x" } });
    unsupported(judged(&StoreName::cluster("s"), other), "aws");
    invalid(judged(&StoreName::cluster("s"), json!({})), "exactly one");
    invalid(cluster(json!({ "server": "https://v", "path": "a//b" })), "`path`");
}

#[test]
fn what_is_longer_than_the_api_allows_is_named() {
    let server = |length: usize| json!({ "server": "s".repeat(length) });
    assert!(cluster(server(2048)).is_ok());
    invalid(cluster(server(2049)), "spec.provider.vault.server has 2049 characters: at most 2048");
}

#[test]
fn openbao_is_served_like_vault() {
    let openbao = json!({ "openBao": {
        "server": "https://b", "path": "secret", "namespace": "team-a",
        "auth": { "appRole": { "roleId": "id", "secretRef": { "name": "s", "key": "k", "namespace": "n" } } },
    } });
    let connection = judged(&StoreName::cluster("s"), openbao).unwrap();
    assert_eq!(connection.login_namespace.as_deref(), Some("team-a"));
    assert_eq!(connection.auth.keys(), [&key("n", "s", "k")]);
}

#[test]
fn r3_a_slash_before_the_mount_counts_for_nothing_and_what_is_wrong_is_said_of_the_path() {
    for path in ["/secret", "secret/", "/secret/"] {
        assert!(cluster(json!({ "server": "https://v", "path": path })).is_ok(), "{path}");
    }
    invalid(cluster(json!({ "server": "https://v", "path": "a//b" })), "`path`: mount \"a//b\"");
}

#[test]
fn of_two_fields_that_mean_the_same_the_one_without_effect_is_named() {
    let reference = json!({ "name": "n", "key": "k" });
    for (auth, field) in [
        (json!({ "appRole": { "roleId": "r", "roleRef": reference, "secretRef": reference } }), "auth.appRole.roleRef"),
        (
            json!({ "kubernetes": { "role": "r", "serviceAccountRef": { "name": "a" }, "secretRef": reference } }),
            "auth.kubernetes.secretRef",
        ),
        (
            json!({ "appRole": { "roleId": "r", "secretRef": reference }, "kubernetes": { "role": "r" } }),
            "auth.kubernetes",
        ),
    ] {
        let connection = cluster(json!({ "server": "https://v", "auth": auth })).unwrap();
        assert!(connection.ignored.len() == 1 && connection.ignored[0].contains(field), "{:?}", connection.ignored);
    }
    let one = cluster(json!({ "server": "https://v", "auth": { "kubernetes": { "role": "r" } } })).unwrap();
    assert_eq!(one.ignored, Vec::<String>::new());
}
