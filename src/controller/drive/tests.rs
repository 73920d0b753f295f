//! What a reconcile leaves behind, by its report: in the metrics, in the back-off and in the lines.

use futures::FutureExt;
use kube::client::Body;
use serde_json::json;

use super::*;
use crate::api::SecretStore;
use crate::api::store_spec::SecretStoreStatus;
use crate::cluster::Cluster;
use crate::store::StoreObject;

/// Says what it is told to say.
struct Told {
    context: Arc<Context>,
    next: Mutex<Report<SecretStoreStatus>>,
    undecodable: Mutex<Vec<Name>>,
}

#[async_trait]
impl Reconciler for Told {
    type Object = SecretStore;
    type Status = SecretStoreStatus;

    const KIND: Kind = Kind::SecretStore;

    fn api(&self, namespace: &str) -> Api<Guarded<SecretStore>> {
        Api::namespaced(self.context.cluster.client(), namespace)
    }

    fn stores(&self, object: &SecretStore) -> Vec<StoreName> {
        vec![StoreObject::Namespaced(Arc::new(object.clone())).store_name()]
    }

    async fn reconcile(&self, _object: Arc<SecretStore>, _name: &Name) -> Report<SecretStoreStatus> {
        self.next.lock().clone()
    }

    fn seen_undecodable(&self, name: &Name) {
        self.undecodable.lock().push(name.clone());
    }

    fn forget(&self, _name: &Name) {}
}

struct Bench {
    told: Arc<Told>,
    driven: Arc<Driven<Told>>,
    object: Guarded<SecretStore>,
}

impl Bench {
    fn new() -> Self {
        let (service, _server) = tower_test::mock::pair::<axum::http::Request<Body>, axum::http::Response<Body>>();
        let context = Context::on(Cluster::new(kube::Client::new(service, "ns")));
        let next = Mutex::new(Report::Undecided { requeue: Requeue::AwaitChange });
        let told = Arc::new(Told { context: context.clone(), next, undecodable: Mutex::default() });
        let driven = Driven::new(told.clone(), context, Cache::default().reader, 1);
        let object = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "SecretStore",
            "metadata": { "name": "vault", "namespace": "team", "uid": "u", "resourceVersion": "1" },
            "spec": { "provider": {} },
        });
        let object: Guarded<SecretStore> = serde_json::from_value(object).unwrap();
        assert!(object.0.is_ok());
        driven.on_event(&Ok(Event::Apply(object.clone())));
        Bench { told, driven, object }
    }

    /// The series of the object after a reconcile that ends so.
    async fn series_after(&self, report: Report<SecretStoreStatus>) -> String {
        *self.told.next.lock() = report;
        self.driven.clone().reconcile(Arc::new(self.object.clone())).await.unwrap();
        let page = self.told.context.metrics.encode();
        let ours = page.lines().filter(|line| line.contains(r#"name="vault""#));
        ours.collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test]
async fn what_is_found_as_it_was_has_its_series_after_a_restart_and_is_seen_to_be_in_order_each_time() {
    let (bench, requeue) = (Bench::new(), Requeue::AwaitChange);
    let undecided = bench.series_after(Report::Undecided { requeue }).await;
    assert!(!undecided.contains("status_condition") && !undecided.contains("last_ready"), "{undecided}");

    let found = bench.series_after(Report::Unchanged { ready: true, requeue }).await;
    assert!(found.contains(r#"condition="Ready",status="True"} 1"#), "{found}");
    let last_ready = |series: &str| {
        let line = series.lines().find(|line| line.contains("last_ready_timestamp_seconds"))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let first = last_ready(&found).unwrap();
    let again = bench.series_after(Report::Unchanged { ready: true, requeue }).await;
    let second = last_ready(&again).unwrap();
    assert!(second > first, "{second} is no later than {first}");

    let failing = bench.series_after(Report::Unchanged { ready: false, requeue }).await;
    assert!(failing.contains(r#"condition="Ready",status="False"} 1"#), "{failing}");
    assert_eq!(last_ready(&failing), Some(second), "it was not in order");
}

#[tokio::test]
async fn what_is_not_ours_or_was_let_go_leaves_no_series() {
    let (bench, requeue) = (Bench::new(), Requeue::AwaitChange);
    for left in [Report::NotOurs, Report::Gone] {
        assert!(!bench.series_after(Report::Unchanged { ready: true, requeue }).await.is_empty());
        assert_eq!(bench.series_after(left).await, "");
    }
}

#[tokio::test]
async fn an_object_that_decodes_no_longer_is_told_to_its_reconciler() {
    let bench = Bench::new();
    assert_eq!(*bench.told.undecodable.lock(), []);
    let broken = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "SecretStore",
        "metadata": { "name": "vault", "namespace": "team", "uid": "u", "resourceVersion": "2" },
        "spec": { "provider": 5 },
    });
    let broken: Guarded<SecretStore> = serde_json::from_value(broken).unwrap();
    bench.driven.on_event(&Ok(Event::Apply(broken)));
    assert_eq!(*bench.told.undecodable.lock(), [Name::new("team", "vault")]);
}

#[tokio::test]
async fn what_asks_again_has_not_failed_and_asks_less_and_less_often() {
    let bench = Bench::new();
    for (requeue, result) in [(Requeue::AskAgain, "success"), (Requeue::BackOff, "error")] {
        bench.series_after(Report::Unchanged { ready: true, requeue }).await;
        let page = bench.told.context.metrics.encode();
        let is_counted =
            page.lines().any(|line| line.contains(&format!("result=\"{result}\"")) && line.ends_with(" 1"));
        assert!(is_counted, "{requeue:?} {page}");
    }
    let name = Name::new("team", "vault");
    let tried = bench.driven.tried(&bench.object, &[]);
    for _ in 0..3 {
        bench.driven.action(&name, tried, Requeue::AskAgain);
    }
    assert!(bench.driven.backoff.failed(&name, tried) > Duration::from_secs(6), "the fourth pause in a row");
}

#[tokio::test]
async fn failures_with_a_store_as_it_was_do_not_delay_what_fails_with_it_once_it_is_edited() {
    let bench = Bench::new();
    let store = bench.object.0.clone().unwrap();
    let name = StoreObject::Namespaced(Arc::new(store.clone())).store_name();
    let edited = |generation| {
        let mut store = store.clone();
        store.metadata.generation = Some(generation);
        bench.told.context.stores.upsert(name.clone(), StoreObject::Namespaced(Arc::new(store)));
    };
    let next_pause = async || {
        bench.series_after(Report::Undecided { requeue: Requeue::BackOff }).await;
        let tried = bench.driven.tried(&bench.object, std::slice::from_ref(&name));
        bench.driven.backoff.failed(&Name::new("team", "vault"), tried)
    };
    edited(1);
    next_pause().await;
    assert!(next_pause().await > Duration::from_secs(6), "the fourth failure with one state of the store");
    edited(2);
    assert!(next_pause().await <= Duration::from_secs(2), "the second failure with another");
}

#[tokio::test]
async fn who_is_deleted_before_it_has_a_turn_does_not_wait_for_one() {
    let bench = Bench::new();
    let loads = bench.told.context.stores.loads(bench.told.stores(bench.object.0.as_ref().unwrap()));
    let turn = bench.driven.turns.take(&Name::new("team", "other"), &loads).unwrap();
    bench.driven.on_event(&Ok(Event::Delete(bench.object.clone())));
    bench.driven.clone().reconcile(Arc::new(bench.object.clone())).await.unwrap();
    drop(turn);
    let mut woken = std::pin::pin!(bench.driven.turns.woken());
    assert_eq!(woken.next().now_or_never(), None);
}
