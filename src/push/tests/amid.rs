//! What a reconcile lacked when it began is back before it removes anything: a source, a key, a label.
//! Each read of the store takes two seconds here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, at, mapping, spec, texts};
use super::relabelled::{Held, by_labels, data_to, held, of_source};
use crate::cluster::in_memory::ApiServer;
use crate::domain::convention::{Convention, Mode};
use crate::domain::object_name::Name;
use crate::store::fake::{Counting, FakeStore, Operation};

const ORDERS: &str = "platform-data/postgres/orders";

struct Case {
    spec: Value,
    /// The sources; one of them is lost when the reconcile begins, and comes back.
    sources: Vec<Held>,
    /// What is left of that one.
    lost: Option<Held>,
}

fn cases() -> Vec<Case> {
    let by_name = [mapping("pass", "platform-data/postgres/{{ .metadata.name }}", "password")];
    let by_label = [mapping("pass", "platform-data/postgres/{{ .metadata.labels.path }}", "password")];
    let named = || of_source("orders", spec(&[mapping("pass", ORDERS, "password")]));
    let (team, none) = (|team: &str| json!({ "team": team }), || json!({}));
    let one = || held("one", json!({ "team": "a" }), &["pass"]);
    let orders = |keys: &'static [&'static str]| held("orders", none(), keys);
    let rewrite = json!([{ "regexp": { "source": "^(.*)$", "target": "platform-data/postgres/$1" } }]);
    let each = of_source("orders", data_to(json!({ "rewrite": rewrite })));
    let bundle = of_source("orders", data_to(json!({ "remoteKey": ORDERS })));
    let of_key = |spec| Case { spec, sources: vec![orders(&["orders", "pass"])], lost: Some(orders(&["pass"])) };
    vec![
        Case {
            spec: by_labels("a", &by_name),
            sources: vec![one(), held("orders", team("a"), &["pass"])],
            lost: Some(held("orders", none(), &["pass"])),
        },
        Case { spec: by_labels("a", &by_name), sources: vec![one(), held("orders", team("a"), &["pass"])], lost: None },
        Case { spec: by_labels("a", &by_name), sources: vec![held("orders", team("a"), &["pass"])], lost: None },
        Case {
            spec: by_labels("a", &by_label),
            sources: vec![held("orders", json!({ "team": "a", "path": "orders" }), &["pass"])],
            lost: Some(held("orders", json!({ "team": "a", "path": "sales" }), &["pass"])),
        },
        Case { spec: named(), sources: vec![orders(&["pass"])], lost: None },
        Case {
            spec: of_source("orders", spec(&by_label)),
            sources: vec![held("orders", json!({ "path": "orders" }), &["pass"])],
            lost: Some(held("orders", json!({ "path": "sales" }), &["pass"])),
        },
        of_key(each),
        of_key(bundle),
    ]
}

impl Bench {
    fn loses(&self, source: &'static str, left: Option<&Held>) {
        match left {
            Some(left) => self.holds(left),
            None => self.server.remove(&format!("/namespaces/db/secrets/{source}")),
        }
    }

    /// Does this after the first read of the store, once.
    fn amid(&self, act: impl FnOnce(&ApiServer) + Send + 'static) {
        let (server, mut act) = (self.server.clone(), Some(act));
        self.store.after_each(move |_, request| {
            if request.operation == Operation::Read
                && let Some(act) = act.take()
            {
                act(&server);
            }
        });
    }
}

/// A bench with what a case pushes, and its texts.
async fn pushed(case: &Case) -> (Bench, BTreeMap<String, String>) {
    let bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
    case.sources.iter().for_each(|source| bench.holds(source));
    bench.spec(1, case.spec.clone());
    bench.turn().await;
    assert!(bench.ready().0, "{:?}", bench.ready());
    bench.store.slow(Operation::Read, Duration::from_secs(2));
    let texts = bench.texts(ORDERS);
    assert!(!texts.is_empty(), "{}", case.spec);
    (bench, texts)
}

#[tokio::test(start_paused = true)]
async fn what_is_back_before_it_is_removed_or_released_stays() {
    for (mut case, policy) in
        ["Delete", "None"].into_iter().flat_map(|of| cases().into_iter().map(move |case| (case, of)))
    {
        case.spec["deletionPolicy"] = json!(policy);
        let (bench, before) = pushed(&case).await;
        let claims = || bench.store.peek(&at(ORDERS)).custom_metadata;
        let (listed, claimed) = (bench.ledger(), claims());
        let url = "/namespaces/db/secrets/orders";
        let orders: Value = bench.server.get(url).unwrap();
        bench.loses("orders", case.lost.as_ref());
        let back = orders.clone();
        bench.amid(move |server| server.put(url, back));
        bench.turn().await;
        assert!(before.iter().all(|(property, text)| bench.texts(ORDERS).get(property) == Some(text)), "{}", case.spec);
        assert!(listed.iter().all(|line| bench.ledger().contains(line)), "{}", case.spec);
        assert_eq!(claims(), claimed, "{}", case.spec);
        // A store that would lose nothing was not read.
        bench.server.put(url, orders);
        bench.turn().await;
        assert!(bench.ready().0 && bench.texts(ORDERS) == before, "{}: {:?}", case.spec, bench.ready());
    }
}

/// The second look costs nothing that is due: what is still lacking goes, whatever else changes.
#[tokio::test(start_paused = true)]
async fn what_is_still_lacking_is_removed() {
    for case in cases() {
        let (bench, before) = pushed(&case).await;
        bench.loses("orders", case.lost.as_ref());
        let url = "/namespaces/db/secrets/one";
        bench.amid(move |server| {
            if let Some(mut one) = server.get::<Value>(url) {
                one["metadata"]["annotations"] = json!({ "seen": "again" });
                server.put(url, one);
            }
        });
        bench.turn().await;
        let lost: Vec<&String> =
            before.keys().filter(|property| !bench.texts(ORDERS).contains_key(*property)).collect();
        assert_eq!(lost.len(), 1, "{}: {:?}", case.spec, bench.ready());
    }
}

/// What the plan publishes goes on to wake the PushSecret, also if the second look does not find it.
#[tokio::test(start_paused = true)]
async fn what_is_lost_while_something_else_is_removed_wakes() {
    let (bench, _) = pushed(&cases()[1]).await;
    bench.loses("orders", None);
    let url = "/namespaces/db/secrets/one";
    bench.amid(move |server| {
        let mut one: Value = server.get(url).unwrap();
        one["metadata"]["labels"] = json!({ "team": "b" });
        server.put(url, one);
    });
    bench.turn().await;
    assert!(bench.texts(ORDERS).is_empty(), "{:?}", bench.ready());
    assert!(!bench.referrers.of(&Name::new("db", "one")).is_empty());
}

/// A deleted PushSecret removes what it pushed, whatever its sources have.
#[tokio::test(start_paused = true)]
async fn a_deletion_rests_on_no_source() {
    for case in cases() {
        let (bench, _) = pushed(&case).await;
        bench.delete();
        bench.turn().await;
        assert!(bench.store.peek(&at(ORDERS)).data().is_none(), "{}", case.spec);
    }
}

#[tokio::test(start_paused = true)]
async fn a_config_map_that_is_back_before_its_properties_are_removed_keeps_them() {
    let bench = Bench::new();
    let url = "/namespaces/db/configmaps/endpoint";
    let map =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "endpoint" }, "data": { "pass": "p" } });
    bench.server.put(url, map.clone());
    let mut spec = spec(&[mapping("pass", ORDERS, "password")]);
    spec["selector"] = json!({ "configMap": { "name": "endpoint" } });
    bench.spec(1, spec);
    bench.turn().await;
    let before = bench.texts(ORDERS);
    bench.store.slow(Operation::Read, Duration::from_secs(2));
    bench.server.remove(url);
    bench.amid(move |server| server.put(url, map));
    bench.turn().await;
    assert!(!before.is_empty() && bench.texts(ORDERS) == before, "{:?}", bench.ready());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_has_its_label_back_before_it_loses_anything_keeps_it() {
    let selector = json!({ "kind": "ClusterSecretStore", "labelSelector": { "matchLabels": { "team": "a" } } });
    let mut selected = spec(&[mapping("pass", ORDERS, "password")]);
    selected["secretStoreRefs"] = json!([selector.clone()]);
    let mut narrowed = data_to(json!({ "remoteKey": ORDERS, "storeRef": selector }));
    narrowed["secretStoreRefs"] =
        json!([{ "name": "vault", "kind": "ClusterSecretStore" }, { "name": "spare", "kind": "ClusterSecretStore" }]);
    for (spec, is_back) in [(&selected, true), (&narrowed, true), (&selected, false), (&narrowed, false)] {
        let mut bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
        let spare = FakeStore::on("spare");
        bench.stores.clients.insert("spare", spare.clone());
        bench.stores.teams = Arc::new(parking_lot::Mutex::new(BTreeMap::from([("vault", "a"), ("spare", "a")])));
        bench.spec(1, spec.clone());
        bench.turn().await;
        let before = bench.texts(ORDERS);
        assert!(bench.ready().0 && !before.is_empty() && texts(&spare, ORDERS) == before, "{:?}", bench.ready());
        bench.store.slow(Operation::Read, Duration::from_secs(2));
        bench.stores.teams.lock().remove("vault");
        let teams = bench.stores.teams.clone();
        if is_back {
            bench.amid(move |_| teams.lock().extend([("vault", "a")]));
        }
        bench.turn().await;
        assert_eq!(bench.texts(ORDERS) == before, is_back, "{spec}: {:?}", bench.ready());
        assert_eq!(texts(&spare, ORDERS), before, "{spec}");
    }
}

/// Somebody removes the entry between a write and the claims that follow it.
#[tokio::test]
async fn an_entry_that_is_removed_after_its_write_is_written_again() {
    let mut bench = Bench::new();
    bench.stores.clients.insert("vault", bench.store.with_counting(Counting::Refused));
    let mut removes = true;
    bench.store.after_each(move |store, request| {
        if request.operation == Operation::Write && std::mem::take(&mut removes) {
            store.purge(&at(ORDERS));
        }
    });
    bench.spec(1, spec(&[mapping("pass", ORDERS, "password")]));
    bench.turn().await;
    assert!(bench.ready().0 && bench.texts(ORDERS).contains_key("password"), "{:?}", bench.ready());
}
