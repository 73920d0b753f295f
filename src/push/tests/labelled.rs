//! Sources that are chosen by their labels: each by itself, none at another's cost.

use base64::Engine;
use serde_json::{Value, json};

use super::lifecycle::{Bench, PUSH, TEMPORAL, at, expect, mapping};
use crate::controller::referrers::{Name, Referrer};
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
