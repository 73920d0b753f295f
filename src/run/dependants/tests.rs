//! Who is woken by what.

use std::num::NonZeroU32;

use axum::http::{Request, Response};
use kube::client::Body;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};

use super::*;
use crate::cluster::Cluster;
use crate::store::admit::{Class, Unclassified};
use crate::store::meter::NoMeter;
use crate::store::{RegistrySettings, StoreObject};

/// More changes than the channel holds.
const MANY: usize = 2000;

fn object<K: DeserializeOwned>(name: &str, spec: Value, status: Value) -> K {
    let metadata = json!({ "name": name, "namespace": "ns" });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
}

fn push_spec(refs: Value) -> Value {
    json!({ "secretStoreRefs": refs, "selector": { "secret": { "name": "source" } } })
}

fn labels() -> Value {
    json!({ "matchLabels": { "a": "b" } })
}

/// PushSecrets of the namespace `ns`, by what leads them to `ClusterSecretStore s`.
fn pushes() -> Vec<(&'static str, PushSecret)> {
    let cluster = |name: &str| json!({ "kind": "ClusterSecretStore", "name": name });
    let mut narrowed = push_spec(json!([cluster("other")]));
    narrowed["dataTo"] = json!([{ "storeRef": { "kind": "ClusterSecretStore", "labelSelector": labels() } }]);
    let selecting = |kind: &str| push_spec(json!([{ "kind": kind, "labelSelector": labels() }]));
    let specs = [
        ("by name", push_spec(json!([cluster("s")])), Value::Null),
        ("by labels", selecting("ClusterSecretStore"), Value::Null),
        ("by labels of a mapping", narrowed, Value::Null),
        ("by its ledger", push_spec(json!([])), json!({ "syncedPushSecrets": { "ClusterSecretStore/s": {} } })),
        ("another's name", push_spec(json!([cluster("other")])), Value::Null),
        ("another kind", selecting("SecretStore"), Value::Null),
        ("no store", push_spec(json!([])), Value::Null),
    ];
    specs.map(|(name, spec, status)| (name, object(name, spec, status))).into()
}

fn pull(name: &str, store: &str) -> ExternalSecret {
    object(name, json!({ "secretStoreRef": { "kind": "ClusterSecretStore", "name": store } }), Value::Null)
}

fn news(change: StoreChange) -> News {
    let mut news = News::default();
    news.add(change);
    news
}

#[test]
fn only_those_whom_a_change_of_a_store_concerns_are_woken() {
    let s = || StoreName::cluster("s");
    let pushes = pushes();
    let woken = |news: &News| -> Vec<&str> {
        let concerned = pushes.iter().filter(|(_, push)| news.concern_push(push, "ns"));
        concerned.map(|(name, _)| *name).collect()
    };
    let [by_name, by_labels, by_mapping, by_ledger] =
        ["by name", "by labels", "by labels of a mapping", "by its ledger"];
    assert_eq!(woken(&news(StoreChange::Use(s()))), [by_name, by_labels, by_mapping, by_ledger]);
    assert_eq!(woken(&news(StoreChange::Labels(s()))), [by_labels, by_mapping]);
    assert_eq!(woken(&news(StoreChange::Allowance(s()))), [""; 0]);
    let missed = News { missed: true, ..News::default() };
    let all = [by_name, by_labels, by_mapping, by_ledger, "another's name", "another kind"];
    assert_eq!(woken(&missed), all, "but who uses none");
    // A SecretStore is one of its namespace.
    let here = StoreName::referred("ns", StoreKind::SecretStore, "s");
    let elsewhere = StoreName::referred("elsewhere", StoreKind::SecretStore, "s");
    assert_eq!(woken(&news(StoreChange::Labels(here))), ["another kind"]);
    assert_eq!(woken(&news(StoreChange::Labels(elsewhere))), [""; 0]);

    let concerned = |news: &News| ["s", "other"].map(|store| news.concern_pull(&pull("pull", store), "ns"));
    assert_eq!(concerned(&news(StoreChange::Use(s()))), [true, false]);
    assert_eq!(concerned(&news(StoreChange::Labels(s()))), [false, false]);
    assert_eq!(concerned(&news(StoreChange::Allowance(s()))), [true, false]);
    assert_eq!(concerned(&missed), [true, true]);
}

/// A reflector's cache with these objects.
fn cache<K>(objects: Vec<K>) -> Store<Guarded<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (reader, mut writer) = store();
    for object in objects {
        writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(object))));
    }
    reader
}

fn names(mut woken: mpsc::UnboundedReceiver<Name>) -> Vec<String> {
    let mut names: Vec<String> =
        std::iter::from_fn(|| woken.try_recv().ok()).map(|name| name.name.to_string()).collect();
    names.sort_unstable();
    names
}

/// Who is woken by a change of a registry or of namespaces that was made before anybody listened:
/// PushSecrets, ExternalSecrets, and the checks of stores. The stores in `known` are there before.
async fn woken_by(
    known: &[(StoreName, StoreObject)],
    change: impl FnOnce(&Arc<Registry>, &UnboundedSender<NamespaceMoved>),
) -> [Vec<String>; 3] {
    let (service, _api) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let cluster = Cluster::new(kube::Client::new(service, "ns"));
    let class = Class { name: "waypost".into(), unclassified: Unclassified::Serve };
    let settings = RegistrySettings { class, rate: NonZeroU32::MAX };
    let registry = Registry::new(cluster, settings, Arc::new(NoMeter));
    let [(to_cluster, checks), (to_namespaced, _), (push, pushes_woken), (pull_wakeups, pulls_woken)] =
        [(); 4].map(|()| mpsc::unbounded_channel());
    let dependants = Dependants {
        pushes: cache(pushes().into_iter().map(|(_, push)| push).collect()),
        pulls: cache(vec![pull("uses s", "s"), pull("uses another", "other")]),
        registry: registry.clone(),
        stores: StoreWakeups { cluster: to_cluster, namespaced: to_namespaced },
        wakeups: Wakeups { push, pull: pull_wakeups },
    };
    known.iter().for_each(|(name, object)| registry.upsert(name.clone(), object.clone()));
    let changes = registry.changes();
    // Their senders are kept: a closed channel ends what follows them.
    let (_troubles, troubles) = broadcast::channel(1);
    let (moved, namespaces) = mpsc::unbounded_channel();
    change(&registry, &moved);
    let stop = CancellationToken::new();
    let following = dependants.follow(changes, troubles, namespaces, stop.clone());
    let first_look = async {
        // What was announced is heard in one look, before the task gives way.
        tokio::task::yield_now().await;
        stop.cancel();
    };
    tokio::join!(following, first_look);
    [names(pushes_woken), names(pulls_woken), names(checks)]
}

fn cluster_store(name: &str, labels: Value, conditions: Value) -> (StoreName, StoreObject) {
    let metadata = json!({ "name": name, "uid": name, "generation": 1, "labels": labels });
    let spec = json!({ "provider": { "vault": { "server": "https://127.0.0.1:9" } }, "conditions": conditions });
    let object = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
    (StoreName::cluster(name), StoreObject::Cluster(Arc::new(object)))
}

#[tokio::test]
async fn after_changes_that_nobody_could_hear_everybody_is_woken_and_every_store_checked() {
    let all: Vec<String> = (0..MANY).map(|number| format!("store-{number:04}")).collect();
    let [pushes, pulls, checks] = woken_by(&[], |registry, _| {
        for name in &all {
            let (name, object) = cluster_store(name, json!({}), json!([]));
            registry.upsert(name, object);
        }
    })
    .await;
    let using = ["another kind", "another's name", "by its ledger", "by labels", "by labels of a mapping", "by name"];
    assert_eq!(pushes, using);
    assert_eq!(pulls, ["uses another", "uses s"]);
    assert_eq!(checks, all);
}

#[tokio::test]
async fn many_changes_of_a_store_wake_each_dependant_once() {
    let [pushes, pulls, checks] = woken_by(&[], |registry, _| {
        for turn in 0..100 {
            let (name, object) = cluster_store("s", json!({ "turn": turn.to_string() }), json!([]));
            registry.upsert(name, object);
            registry.recovered(&StoreName::cluster("s"));
        }
    })
    .await;
    assert_eq!(pushes, ["by its ledger", "by labels", "by labels of a mapping", "by name"]);
    assert_eq!((pulls, checks), (vec!["uses s".to_owned()], vec!["s".to_owned()]));
}

#[tokio::test]
async fn r9_labels_of_a_namespace_wake_who_uses_a_store_that_admits_by_them() {
    let by_labels = json!([{ "namespaceSelector": { "matchLabels": { "team": "shop" } } }]);
    let stores = [("s", by_labels), ("other", json!([{ "namespaces": ["ns"] }]))]
        .map(|(name, conditions)| cluster_store(name, json!({ "a": "b" }), conditions));
    let woken = async |moved| woken_by(&stores, |_, namespaces| namespaces.send(moved).unwrap()).await;
    for moved in [NamespaceMoved::One("ns".into()), NamespaceMoved::All] {
        let [pushes, pulls, checks] = woken(moved).await;
        assert_eq!(pushes, ["by its ledger", "by labels", "by name"]);
        assert_eq!((pulls, checks), (vec!["uses s".to_owned()], vec![]));
    }
    assert_eq!(woken(NamespaceMoved::One("elsewhere".into())).await, [const { Vec::<String>::new() }; 3]);
}
