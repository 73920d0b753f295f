//! Sources that are chosen by their labels: each by itself, none at another's cost.

use base64::Engine;
use serde_json::{Value, json};

use super::lifecycle::{Bench, PUSH, TEMPORAL, at, expect, mapping};
use crate::controller::referrers::Referrer;
use crate::domain::object_name::Name;
use crate::domain::remote::EntryState;

const BY_NAME: &str = "platform-data/postgres/{{ .metadata.name }}";

fn path(name: &str) -> String {
    format!("platform-data/postgres/{name}")
}

fn spec(deletion: &str, remote_key: &str) -> Value {
    json!({
        "refreshInterval": "1h", "deletionPolicy": deletion,
        "secretStoreRefs": [{ "name": "vault", "kind": "ClusterSecretStore" }],
        "selector": { "secret": { "selector": { "matchLabels": { "publish": "yes" } } } },
        "data": [mapping("pass", remote_key, "password")],
    })
}

impl Bench {
    fn labelled(&self, name: &str, labels: Value) {
        let password = base64::engine::general_purpose::STANDARD.encode(format!("{name}-password"));
        let metadata = json!({ "name": name, "namespace": "db", "uid": name, "labels": labels });
        let secret =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": { "pass": password } });
        self.server.put(&format!("/namespaces/db/secrets/{name}"), secret);
    }

    fn has(&self, name: &str) -> bool {
        self.texts(&path(name)) == expect(&[("password", &format!("{name}-password"))])
    }
}

#[tokio::test]
async fn defect_a_a_source_that_loses_its_label_loses_its_entries_and_no_other_does() {
    let bench = Bench::new();
    for name in ["orders", "invoices"] {
        bench.labelled(name, json!({ "publish": "yes" }));
    }
    bench.labelled("private", json!({}));
    bench.spec(1, spec("Delete", BY_NAME));
    for _ in 0..2 {
        bench.turn().await;
        assert!(bench.ready().0, "{:?}", bench.ready());
        assert!(bench.has("orders") && bench.has("invoices") && !bench.has("private"));
    }
    assert_eq!(bench.ledger(), [path("invoices") + "/password", path("orders") + "/password"]);
    bench.labelled("orders", json!({}));
    bench.turn().await;
    assert!(bench.has("invoices"));
    assert!(matches!(bench.store.peek(&at(&path("orders"))).state, EntryState::Deleted { .. }));
    assert_eq!(bench.ledger(), [path("invoices") + "/password"]);
}

#[tokio::test]
async fn defect_n_with_no_source_left_nothing_is_forgotten() {
    for (deletion, reason, left) in [("None", "SourceGone", true), ("Delete", "SourceDeleted", false)] {
        let bench = Bench::new();
        bench.spec(1, spec(deletion, BY_NAME));
        bench.turn().await;
        let (_, found, message) = bench.ready();
        assert!(found == "SourceNotFound" && message.contains("publish=yes"), "{found} {message}");
        bench.labelled("orders", json!({ "publish": "yes" }));
        bench.turn().await;
        assert!(bench.has("orders"));
        bench.labelled("orders", json!({}));
        bench.turn().await;
        assert_eq!(
            (bench.ready().1.as_str(), bench.has("orders"), bench.ledger().len()),
            (reason, left, usize::from(left))
        );
    }
}

#[tokio::test]
async fn two_sources_of_one_property_are_refused_and_both_named() {
    let bench = Bench::new();
    for name in ["orders", "invoices"] {
        bench.labelled(name, json!({ "publish": "yes" }));
    }
    bench.spec(1, spec("Delete", TEMPORAL));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "SourceInvalid", "{reason}");
    assert!(message.contains("Secret db/orders") && message.contains("Secret db/invoices"), "{message}");
    assert_eq!(bench.store.mutations(), 0);
    bench.labelled("orders", json!({}));
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "invoices-password")]));
}

#[tokio::test]
async fn a_source_without_the_label_that_its_key_asks_for_is_named_and_nothing_goes_meanwhile() {
    let bench = Bench::new();
    let by_team = "platform-data/postgres/{{ .metadata.labels.team }}";
    bench.labelled("orders", json!({ "publish": "yes", "team": "orders" }));
    bench.labelled("invoices", json!({ "publish": "yes", "team": "invoices" }));
    bench.spec(1, spec("Delete", by_team));
    bench.turn().await;
    assert!(bench.has("orders") && bench.has("invoices"));
    bench.labelled("orders", json!({ "publish": "yes" }));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "SourceInvalid", "{reason}");
    assert!(message.contains("Secret db/orders") && message.contains("label \"team\""), "{message}");
    // Where it leads is not known, so what was there before is not known to be unwanted.
    assert!(bench.has("orders") && bench.has("invoices"));
    assert_eq!(bench.ledger().len(), 2);
    bench.labelled("orders", json!({ "publish": "yes", "team": "sales" }));
    bench.turn().await;
    assert_eq!(bench.texts(&path("sales")), expect(&[("password", "orders-password")]));
    assert!(bench.texts(&path("orders")).is_empty() && bench.has("invoices"));
}

#[tokio::test]
async fn a_resolved_key_is_judged_by_the_convention_and_stops_no_other() {
    let bench = Bench::new();
    bench.labelled("orders", json!({ "publish": "yes" }));
    bench.labelled("orders-prod", json!({ "publish": "yes" }));
    bench.spec(1, spec("Delete", BY_NAME));
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "ConventionViolated" && message.contains("V5"), "{reason} {message}");
    assert!(bench.has("orders") && bench.texts(&path("orders-prod")).is_empty());
}

#[tokio::test]
async fn what_matched_is_listened_to_by_name_and_what_will_match_by_its_labels() {
    let bench = Bench::new();
    bench.labelled("orders", json!({ "publish": "yes" }));
    bench.spec(1, spec("Delete", BY_NAME));
    bench.turn().await;
    let push = [Referrer::PushSecret(Name::new("db", "push"))];
    let labels = [("publish".to_owned(), "yes".to_owned())].into();
    assert_eq!(bench.referrers.concerned(&Name::new("db", "orders"), &Default::default()), push);
    assert_eq!(bench.referrers.concerned(&Name::new("db", "new"), &labels), push);
    assert!(bench.referrers.concerned(&Name::new("db", "new"), &Default::default()).is_empty());
}

#[tokio::test]
async fn more_sources_than_the_bound_are_refused_by_their_count_and_what_is_there_stays() {
    let bench = Bench::new();
    bench.labelled("orders", json!({ "publish": "yes" }));
    bench.spec(1, spec("Delete", BY_NAME));
    bench.turn().await;
    let mutations = bench.store.mutations();
    bench.labelled("orders", json!({}));
    for number in 0..101 {
        bench.labelled(&format!("tenant-{number}"), json!({ "publish": "yes" }));
    }
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "TooLarge", "{reason}: {message}");
    assert!(message.contains("101 Secrets of db match publish=yes") && message.contains("takes 100"), "{message}");
    assert_eq!(bench.store.mutations(), mutations);
    assert!(bench.has("orders"));
    assert_eq!(bench.ledger(), [path("orders") + "/password"]);
    // A name of any of them wakes it.
    let push = [Referrer::PushSecret(Name::new("db", "push"))];
    assert_eq!(bench.referrers.concerned(&Name::new("db", "tenant-100"), &Default::default()), push);
    bench.labelled("tenant-100", json!({}));
    bench.turn().await;
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert!(bench.has("tenant-0") && bench.has("tenant-99") && bench.texts(&path("orders")).is_empty());
}

#[tokio::test]
async fn more_data_than_the_bound_is_refused_and_nothing_is_pushed() {
    let bench = Bench::new();
    bench.spec(1, spec("Delete", BY_NAME));
    for number in 0..17 {
        let name = format!("tenant-{number}");
        let data = base64::engine::general_purpose::STANDARD.encode(vec![b'x'; 1024 * 1024]);
        let metadata = json!({ "name": name, "namespace": "db", "uid": name, "labels": { "publish": "yes" } });
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": { "pass": data } });
        bench.server.put(&format!("/namespaces/db/secrets/{name}"), secret);
    }
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "TooLarge" && message.contains("takes 16777216"), "{reason}: {message}");
    assert_eq!(bench.store.mutations(), 0);
}

#[tokio::test]
async fn a_malformed_selector_is_told_and_nothing_happens() {
    let bench = Bench::new();
    let mut spec = spec("Delete", BY_NAME);
    spec["selector"]["secret"]["selector"] = json!({ "matchExpressions": [{ "key": "publish", "operator": "Like" }] });
    bench.spec(1, spec);
    bench.turn().await;
    let (_, reason, message) = bench.ready();
    assert!(reason == "InvalidSpec" && message.contains("spec.selector.secret.selector"), "{reason} {message}");
    assert!(bench.server.push_secret(PUSH).unwrap().metadata.finalizers.is_none());
}
