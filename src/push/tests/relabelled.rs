//! What passes from one PushSecret to another because of a source, or of the labels of a source or a
//! store, and not by an edit. Both were Ready before. The value is there at each request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::bench::{Bench, TEMPORAL, at, both, mapping, spec, texts};
use crate::api::PushSecret;
use crate::controller::guarded::Guarded;
use crate::domain::claim;
use crate::domain::convention::{Convention, Mode};
use crate::push::offers::{Offers, Others};
use crate::store::StoreError;
use crate::store::fake::{Counting, FakeStore, Fault};

/// A source by its name, with its labels and its keys.
pub(super) type Held = (&'static str, Value, &'static [&'static str]);

pub(super) fn held(name: &'static str, labels: Value, keys: &'static [&'static str]) -> Held {
    (name, labels, keys)
}

/// A property that changes hands.
struct Case {
    /// Who has it, and who gets it.
    specs: [Value; 2],
    before: Vec<Held>,
    after: Vec<Held>,
    path: &'static str,
    property: &'static str,
}

impl Bench {
    pub(super) fn holds(&self, (name, labels, keys): &Held) {
        let text = |key: &str| base64::engine::general_purpose::STANDARD.encode(format!("{key} of {name}"));
        let data: BTreeMap<&str, String> = keys.iter().map(|key| (*key, text(key))).collect();
        let metadata = json!({ "name": name, "namespace": "db", "uid": name, "labels": labels });
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data });
        self.server.put(&format!("/namespaces/db/secrets/{name}"), secret);
    }

    fn owns(&self, store: &FakeStore, path: &str, property: &str) -> Option<String> {
        claim::owner(&store.peek(&at(path)).custom_metadata, property).map(|owner| owner.name)
    }
}

/// Whether the property has a value after each request from now on.
fn guarded(store: &FakeStore, path: &'static str, property: &'static str) -> Arc<AtomicBool> {
    let stands = Arc::new(AtomicBool::new(true));
    let seen = stands.clone();
    store.after_each(move |store, _| {
        if !texts(store, path).contains_key(property) {
            seen.store(false, Ordering::Relaxed);
        }
    });
    stands
}

pub(super) fn by_labels(team: &str, data: &[Value]) -> Value {
    let mut spec = spec(data);
    spec["selector"] = json!({ "secret": { "selector": { "matchLabels": { "team": team } } } });
    spec
}

pub(super) fn of_source(name: &str, mut spec: Value) -> Value {
    spec["selector"] = json!({ "secret": { "name": name } });
    spec
}

pub(super) fn data_to(many: Value) -> Value {
    let mut spec = spec(&[]);
    spec["dataTo"] = json!([many]);
    spec
}

const ORDERS: &str = "platform-data/postgres/orders";

fn cases() -> Vec<Case> {
    let by_name = [mapping("pass", "platform-data/postgres/{{ .metadata.name }}", "password")];
    let by_label = [mapping("pass", "platform-data/postgres/{{ .metadata.labels.path }}", "password")];
    let (team, path) = (|team: &str| json!({ "team": team }), |path: &str| json!({ "path": path }));
    let bundle = || data_to(json!({ "remoteKey": ORDERS }));
    let rewrite = json!([{ "regexp": { "source": "^(.*)$", "target": "platform-data/postgres/$1" } }]);
    let each = || data_to(json!({ "rewrite": rewrite.clone() }));
    let whole = || spec(&[json!({ "match": { "remoteRef": { "remoteKey": ORDERS } } })]);
    let keys = |specs: [Value; 2], path, property| Case {
        specs,
        before: vec![held("one", json!({}), &["one", "orders"]), held("two", json!({}), &["two"])],
        after: vec![held("one", json!({}), &["one"]), held("two", json!({}), &["two", "orders"])],
        path,
        property,
    };
    vec![
        // A source gets the label of the other one.
        Case {
            specs: [by_labels("a", &by_name), by_labels("b", &by_name)],
            before: vec![
                held("one", team("a"), &["pass"]),
                held("two", team("b"), &["pass"]),
                held("orders", team("a"), &["pass"]),
            ],
            after: vec![held("orders", team("b"), &["pass"])],
            path: ORDERS,
            property: "password",
        },
        // The same, and the first one is left without a source.
        Case {
            specs: [by_labels("a", &by_name), by_labels("b", &by_name)],
            before: vec![held("two", team("b"), &["pass"]), held("orders", team("a"), &["pass"])],
            after: vec![held("orders", team("b"), &["pass"])],
            path: ORDERS,
            property: "password",
        },
        // The label is the path.
        Case {
            specs: [of_source("one", spec(&by_label)), of_source("two", spec(&by_label))],
            before: vec![held("one", path("orders"), &["pass"]), held("two", path("invoices"), &["pass"])],
            after: vec![held("one", path("sales"), &["pass"]), held("two", path("orders"), &["pass"])],
            path: ORDERS,
            property: "password",
        },
        // A key passes from one source to another.
        keys([of_source("one", bundle()), of_source("two", bundle())], ORDERS, "orders"),
        keys([of_source("one", whole()), of_source("two", whole())], ORDERS, "orders"),
        keys([of_source("one", each()), of_source("two", each())], ORDERS, "value"),
    ]
}

#[tokio::test]
async fn what_changes_hands_by_a_source_is_there_all_the_time() {
    for (number, case) in cases().into_iter().enumerate() {
        for (order, counting) in
            [(["a", "b"], Counting::Offered), (["b", "a"], Counting::Offered), (["a", "b"], Counting::Refused)]
        {
            let mut bench = Bench { convention: Convention::with_mode(Mode::Off), ..Bench::new() };
            bench.store = bench.store.with_counting(counting);
            bench.stores.clients.insert("vault", bench.store.clone());
            let place = format!("case {number}, first {}, {counting:?}", order[0]);
            case.before.iter().for_each(|source| bench.holds(source));
            for (name, spec) in ["a", "b"].into_iter().zip(&case.specs) {
                bench.apply(name, spec.clone());
                bench.one(name).await;
                assert!(bench.says(name).0, "{place}: {:?}", bench.says(name));
            }
            assert_eq!(bench.owner(case.path, case.property).as_deref(), Some("a"), "{place}");
            let stands = guarded(&bench.store, case.path, case.property);
            case.after.iter().for_each(|source| bench.holds(source));
            for name in order {
                bench.one(name).await;
            }
            bench.settle().await;
            assert!(stands.load(Ordering::Relaxed), "{place}: {:?} {:?}", bench.says("a"), bench.says("b"));
            assert_eq!(bench.owner(case.path, case.property).as_deref(), Some("b"), "{place}");
            assert!(
                bench.says("b").0
                    && !bench
                        .lists("a")
                        .iter()
                        .any(|line| line.starts_with(case.path) && line.ends_with(case.property)),
                "{place}"
            );
        }
    }
}

#[tokio::test]
async fn a_store_that_changes_hands_by_its_labels_keeps_its_values() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut bench = Bench::new();
        bench.stores.teams =
            Arc::new(parking_lot::Mutex::new(BTreeMap::from([("vault", "a"), ("spare", "a"), ("third", "b")])));
        bench.stores.clients.insert("spare", FakeStore::on("spare"));
        bench.stores.clients.insert("third", FakeStore::on("third"));
        for name in ["a", "b"] {
            let mut spec = both();
            spec["secretStoreRefs"] =
                json!([{ "kind": "ClusterSecretStore", "labelSelector": { "matchLabels": { "team": name } } }]);
            bench.apply(name, spec);
            bench.one(name).await;
            assert!(bench.says(name).0, "{:?}", bench.says(name));
        }
        let stands = guarded(&bench.store, TEMPORAL, "password");
        bench.stores.teams.lock().insert("vault", "b");
        for name in order {
            bench.one(name).await;
        }
        bench.settle().await;
        assert!(stands.load(Ordering::Relaxed), "{order:?}: {:?} {:?}", bench.says("a"), bench.says("b"));
        assert_eq!(bench.owns(&bench.store, TEMPORAL, "password").as_deref(), Some("b"), "{order:?}");
        assert!(bench.says("a").0 && bench.says("b").0, "{order:?}");
    }
}

/// PushSecrets as a cache shows them that stands still.
struct Still(Vec<PushSecret>);

impl Others for Still {
    fn find(&self, is_meant: &dyn Fn(&PushSecret) -> bool) -> Vec<Arc<Guarded<PushSecret>>> {
        self.0.iter().filter(|push| is_meant(push)).map(|push| Arc::new(DeserializeGuard(Ok(push.clone())))).collect()
    }
}

/// Its store was edited to lead here. It was refused, and the cache does not show that yet.
#[tokio::test]
async fn who_was_refused_is_asked_although_the_cache_shows_it_as_ready() {
    let mut bench = Bench::new();
    bench.stores.clients.insert("other", FakeStore::on("other"));
    let mut elsewhere = both();
    elsewhere["secretStoreRefs"][0]["name"] = json!("other");
    bench.apply("old", both());
    bench.apply("new", elsewhere);
    for name in ["old", "new"] {
        bench.one(name).await;
        assert!(bench.says(name).0, "{:?}", bench.says(name));
    }
    let shown = ["old", "new"].map(|name| bench.get(name).unwrap());
    let woken = bench.woken.clone();
    bench.offers = Offers::new(Box::new(Still(shown.to_vec())), Box::new(move |name| woken.lock().push(name)));
    bench.stores.clients.insert("other", bench.store.with_identity("other"));
    bench.one("new").await;
    assert_eq!(bench.says("new").1, "PathConflict");
    let stands = guarded(&bench.store, TEMPORAL, "password");
    bench.drop("old");
    bench.one("old").await;
    bench.settle().await;
    assert!(stands.load(Ordering::Relaxed), "{:?}", bench.says("new"));
    assert!(bench.get("old").is_none() && bench.says("new").0, "{:?}", bench.says("new"));
    assert_eq!(bench.owner(TEMPORAL, "password").as_deref(), Some("new"));
}

/// It declined what it did not want then. While the removal fails, its source comes to it.
#[tokio::test]
async fn who_declined_and_is_refused_since_is_asked_again() {
    let bench = Bench::new();
    let by_name = [mapping("pass", "platform-data/postgres/{{ .metadata.name }}", "password")];
    let team = |team: &str| json!({ "team": team });
    let sources: [Held; 3] =
        [held("one", team("a"), &["pass"]), held("two", team("b"), &["pass"]), held("orders", team("a"), &["pass"])];
    sources.iter().for_each(|source| bench.holds(source));
    for name in ["a", "b"] {
        bench.apply(name, by_labels(name, &by_name));
        bench.one(name).await;
        assert!(bench.says(name).0, "{:?}", bench.says(name));
    }
    let is_sealed = Arc::new(AtomicBool::new(true));
    let sealed = is_sealed.clone();
    bench.store.before_each(move |_, request| {
        let is_refused = request.operation.mutates() && sealed.load(Ordering::Relaxed);
        is_refused.then(|| Fault::Refuse(StoreError::Sealed { server: "fake".into() }))
    });
    bench.holds(&held("orders", team("nobody"), &["pass"]));
    bench.one("a").await;
    bench.settle().await;
    assert!(!bench.says("a").0, "b has declined, and the removal fails: {:?}", bench.says("a"));
    bench.holds(&held("orders", team("b"), &["pass"]));
    bench.one("b").await;
    assert_eq!(bench.says("b").1, "PathConflict");
    is_sealed.store(false, Ordering::Relaxed);
    let stands = guarded(&bench.store, ORDERS, "password");
    bench.one("a").await;
    bench.settle().await;
    assert!(stands.load(Ordering::Relaxed));
    assert_eq!(bench.owner(ORDERS, "password").as_deref(), Some("b"));
    let ready: BTreeSet<bool> = ["a", "b"].map(|name| bench.says(name).0).into();
    assert_eq!(ready, BTreeSet::from([true]));
}
