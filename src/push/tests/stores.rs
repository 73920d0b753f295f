//! Several stores: each stands for itself, and those that labels select come and go.

use std::time::Duration;

use serde_json::{Value, json};

use super::lifecycle::{Bench, TEMPORAL, at, expect, mapping, texts};
use crate::domain::convention::{Convention, Mode};
use crate::store::StoreError;
use crate::store::fake::FakeStore;

fn spec(stores: Value) -> Value {
    json!({
        "refreshInterval": "1h", "deletionPolicy": "Delete", "secretStoreRefs": stores,
        "selector": { "secret": { "name": "source" } },
        "data": [mapping("pass", TEMPORAL, "password")],
    })
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "name": name, "kind": "ClusterSecretStore" })).collect()
}

/// A second store, which is another server.
fn second(bench: &mut Bench) -> FakeStore {
    let second = FakeStore::on("second");
    bench.stores.0.insert("second", second.clone());
    second
}

#[tokio::test]
async fn one_failing_store_delays_no_other_and_both_are_told() {
    let mut bench = Bench::new();
    let second = second(&mut bench);
    bench.store.fail_next(100, StoreError::Sealed { server: "fake".into() });
    bench.spec(1, spec(named(&["vault", "second"])));
    bench.turn().await;
    assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "p")]));
    let (ready, _, message) = bench.ready();
    assert!(!ready && message.contains("in ClusterSecretStore/vault: fake is sealed"), "{message}");
    assert!(message.ends_with("all is in place in ClusterSecretStore/second"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn one_hanging_store_holds_no_other_up() {
    let mut bench = Bench::new();
    let second = second(&mut bench);
    bench.spec(1, spec(named(&["vault", "second"])));
    bench.store.hang();
    let began = tokio::time::Instant::now();
    bench.turn().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "p")]));
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "StoreNotReady" && message.contains("ClusterSecretStore/vault"), "{reason} {message}");
}

#[tokio::test]
async fn a_malformed_selector_of_stores_is_told_and_removes_nothing() {
    let bench = Bench::new();
    bench.spec(1, spec(named(&["vault"])));
    bench.turn().await;
    let near = json!([{ "kind": "ClusterSecretStore", "labelSelector": { "matchExpressions": [{ "key": "store", "operator": "Near" }] } }]);
    bench.spec(2, spec(near));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "InvalidSpec", "{reason} {message}");
    assert!(message.contains("spec.secretStoreRefs[0].labelSelector"), "{message}");
    assert_eq!((bench.texts(TEMPORAL), bench.ledger().len()), (expect(&[("password", "p")]), 1));
}

#[tokio::test]
async fn data_to_goes_to_the_stores_that_its_labels_select_and_to_no_other() {
    let mut bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
    let second = second(&mut bench);
    let to = |name: &str| {
        let mut spec = spec(named(&["vault", "second"]));
        spec["data"] = json!([]);
        let selector = json!({ "kind": "ClusterSecretStore", "labelSelector": { "matchLabels": { "store": name } } });
        spec["dataTo"] = json!([{ "remoteKey": TEMPORAL, "storeRef": selector }]);
        spec
    };
    let all = expect(&[("user", "u"), ("pass", "p")]);
    bench.spec(1, to("second"));
    bench.turn().await;
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert_eq!((bench.texts(TEMPORAL), texts(&second, TEMPORAL)), (expect(&[]), all.clone()));
    // A selector that means none of the stores says so, and takes nothing along.
    bench.spec(2, to("elsewhere"));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "StoreNotFound" && message.contains("spec.dataTo[0].storeRef"), "{reason} {message}");
    assert_eq!(texts(&second, TEMPORAL), all);
    bench.spec(3, to("vault"));
    bench.turn().await;
    assert_eq!((bench.texts(TEMPORAL), texts(&second, TEMPORAL)), (all, expect(&[])));
}

#[tokio::test]
async fn stores_are_selected_by_their_labels_and_none_is_an_error_that_removes_nothing() {
    let mut bench = Bench::new();
    let by_label = |name: &str| {
        json!([{ "kind": "ClusterSecretStore", "labelSelector": { "matchExpressions": [
            { "key": "store", "operator": "In", "values": [name, "second"] }] } }])
    };
    bench.spec(1, spec(by_label("vault")));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "p")]));
    // Nothing matches any more, and nobody knows where it should be.
    bench.spec(2, spec(by_label("elsewhere")));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "StoreNotFound" && message.contains("store in (elsewhere,second)"), "{message}");
    assert_eq!((bench.texts(TEMPORAL), bench.ledger().len()), (expect(&[("password", "p")]), 1));
    // Another one matches: it gets the value, and the first loses it.
    let second = second(&mut bench);
    bench.turn().await;
    assert_eq!(texts(&second, TEMPORAL), expect(&[("password", "p")]));
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert!(bench.store.peek(&at(TEMPORAL)).data().is_none());
}
