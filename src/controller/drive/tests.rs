//! What a reconcile leaves behind, by its report: in the metrics, in the back-off and in the lines.

use futures::FutureExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::api::SecretStore;
use crate::api::condition::Reason;
use crate::api::store_spec::SecretStoreStatus;
use crate::cluster::Cluster;
use crate::cluster::in_memory::{ApiServer, Fault};
use crate::controller::pruned::Writer;
use crate::controller::report::{StatusChange, Verdict};
use crate::metrics::LetGo;
use crate::store::StoreObject;

/// Says what it is told to say.
struct Told {
    context: Arc<Context>,
    next: Mutex<Report<SecretStoreStatus>>,
    undecodable: Mutex<Vec<Name>>,
    forgotten: Mutex<Vec<Name>>,
    gate: Option<Gate>,
}

/// Stops a reconcile until it may go on.
#[derive(Default)]
struct Gate {
    reached: Notify,
    open: Notify,
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
        if let Some(gate) = &self.gate {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
        self.next.lock().clone()
    }

    fn seen_undecodable(&self, name: &Name) {
        self.undecodable.lock().push(name.clone());
    }

    fn forget(&self, name: &Name) {
        self.forgotten.lock().push(name.clone());
    }
}

fn vault() -> Value {
    json!({
        "apiVersion": "external-secrets.io/v1", "kind": "SecretStore",
        "metadata": { "name": "vault", "namespace": "team", "uid": "u", "resourceVersion": "1" },
        "spec": { "provider": {} },
    })
}

struct Bench {
    told: Arc<Told>,
    driven: Arc<Driven<Told>>,
    object: Guarded<SecretStore>,
}

impl Bench {
    fn new() -> Self {
        Bench::with_gate(None)
    }

    fn with_gate(gate: Option<Gate>) -> Self {
        let (service, _server) = tower_test::mock::pair::<axum::http::Request<Body>, axum::http::Response<Body>>();
        Bench::on(Cluster::new(kube::Client::new(service, "ns")), gate)
    }

    fn on(cluster: Cluster, gate: Option<Gate>) -> Self {
        let context = Context::on(cluster);
        let next = Mutex::new(Report::Undecided { requeue: Requeue::AwaitChange });
        let told = Arc::new(Told {
            context: context.clone(),
            next,
            undecodable: Mutex::default(),
            forgotten: Mutex::default(),
            gate,
        });
        let driven = Driven::new(told.clone(), context, 1);
        let object: Guarded<SecretStore> = serde_json::from_value(vault()).unwrap();
        assert!(object.0.is_ok());
        driven.on_event(&Ok(Event::Apply(object.clone())));
        Bench { told, driven, object }
    }

    /// The series of the object after a reconcile that ends so.
    async fn series_after(&self, report: Report<SecretStoreStatus>) -> String {
        *self.told.next.lock() = report;
        self.driven.clone().reconcile(Arc::new(self.object.clone())).await.unwrap();
        self.series()
    }

    fn series(&self) -> String {
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

/// What it leaves outlives it, so it goes only once that is published.
#[tokio::test]
async fn what_is_about_to_be_released_is_counted_and_comes_again_at_once() {
    let bench = Bench::new();
    let rest = Box::new(Report::Undecided { requeue: Requeue::After(Duration::ZERO) });
    *bench.told.next.lock() = Report::LetGo { why: LetGo::StoreGone, left: "p/a".to_owned(), rest };
    assert_eq!(bench.driven.run_once(&bench.object).await, Some(Duration::from_millis(1)));
    let page = bench.told.context.metrics.encode();
    assert!(page.contains("waypost_push_let_go_total{reason=\"StoreGone\"} 1\n"), "{page}");
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
        bench.driven.pause(&name, tried, Requeue::AskAgain);
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

/// A report whose status differs from the one found.
fn writing(requeue: Requeue) -> Report<SecretStoreStatus> {
    let verdict = Verdict { ready: true, reason: Reason::Valid, message: String::new() };
    let after = SecretStoreStatus { observed_generation: Some(2), ..SecretStoreStatus::default() };
    Report::Verdict { verdict, status: Box::new(StatusChange { before: None, after, resource_version: None }), requeue }
}

/// A write whose reply was lost arrives while its object is reconciled anew, as it was before.
#[tokio::test]
async fn a_status_that_is_owed_is_written_over_what_was_found_and_nothing_later() {
    const URL: &str = "/namespaces/team/secretstores/vault";
    let server = ApiServer::default();
    server.put(URL, vault());
    let bench = Bench::on(server.cluster(), Some(Gate::default()));
    let (context, gate) = (&bench.told.context, bench.told.gate.as_ref().unwrap());
    *bench.told.next.lock() = writing(Requeue::AwaitChange);
    context.written.owe("u");
    let status = || server.get::<Value>(URL).unwrap()["status"].clone();
    let late = json!({ "observedGeneration": 1 });
    for (arrives, stays) in [(Some(&late), &late), (None, &json!({ "observedGeneration": 2 }))] {
        let running = tokio::spawn(bench.driven.clone().reconcile(Arc::new(bench.object.clone())));
        gate.reached.notified().await;
        arrives.into_iter().for_each(|late| server.edit(URL, &json!({ "status": late })));
        gate.open.notify_one();
        running.await.unwrap().unwrap();
        assert_eq!((&status(), context.written.is_owed("u")), (stays, arrives.is_some()));
    }
}

/// A report that says so, of an object whose status said that before.
fn saying(before: i64, after: i64) -> Report<SecretStoreStatus> {
    let status = |seen| SecretStoreStatus { observed_generation: Some(seen), ..SecretStoreStatus::default() };
    let verdict = Verdict { ready: true, reason: Reason::Valid, message: String::new() };
    let status = StatusChange { before: Some(status(before)), after: status(after), resource_version: None };
    Report::Verdict { verdict, status: Box::new(status), requeue: Requeue::AwaitChange }
}

const VAULT: &str = "/namespaces/team/secretstores/vault";

/// A store whose status is right. A write of another one is on its way, although the store was found
/// in order since.
async fn delayed() -> (ApiServer, Bench) {
    let server = ApiServer::default();
    server.put(VAULT, vault());
    server.edit(VAULT, &json!({ "status": { "observedGeneration": 2 } }));
    let bench = Bench::on(server.cluster(), None);
    server.fail_next_write("/status", Fault::Delay);
    assert!(bench.run(&server, saying(2, 1)).await.is_some(), "it is tried again");
    assert_eq!(bench.run(&server, saying(2, 2)).await, None, "what was found is right");
    assert!(!bench.told.context.written.is_owed("u"));
    (server, bench)
}

fn seen(server: &ApiServer) -> Value {
    server.get::<Value>(VAULT).unwrap()["status"]["observedGeneration"].clone()
}

impl Bench {
    /// One reconcile of the object as it is now, which ends so.
    async fn run(&self, server: &ApiServer, report: Report<SecretStoreStatus>) -> Option<Duration> {
        *self.told.next.lock() = report;
        self.driven.run_once(&server.get(VAULT).unwrap()).await
    }
}

/// Nothing was written over the write that is on its way.
#[tokio::test]
async fn a_status_that_arrives_after_its_object_was_found_in_order_is_written_anew() {
    let (server, bench) = delayed().await;
    let (cache, (watch, events)) = (Cache::<SecretStore>::default(), futures::channel::mpsc::unbounded());
    let mut edits = cache.edits(bench.told.context.clone(), events.map(Ok)).boxed();
    let mut is_woken = |server: &ApiServer| {
        watch.unbounded_send(Event::Apply(server.get(VAULT).unwrap())).unwrap();
        edits.next().now_or_never().is_some()
    };
    assert!(is_woken(&server) && !is_woken(&server), "it is new");
    let writes = server.writes().len();
    server.arrive();
    assert_eq!(seen(&server), 1);
    assert!(is_woken(&server), "nobody looks at what has arrived");
    bench.run(&server, saying(1, 2)).await;
    assert_eq!((seen(&server), server.writes().len()), (json!(2), writes + 1));
    assert!(!is_woken(&server), "its own write wakes it");
}

/// The watch does not show yet what has arrived.
#[tokio::test]
async fn nothing_is_mixed_with_a_status_that_may_arrive() {
    let (server, bench) = delayed().await;
    let before = server.get(VAULT).unwrap();
    server.arrive();
    *bench.told.next.lock() = saying(2, 3);
    bench.driven.run_once(&before).await;
    assert_eq!((seen(&server), bench.told.context.written.is_owed("u")), (json!(1), true));
    bench.run(&server, saying(1, 3)).await;
    assert_eq!((seen(&server), bench.told.context.written.is_owed("u")), (json!(3), false));
}

/// The annotations of an object decide whether it was edited.
#[tokio::test]
async fn what_is_kept_of_a_reply_is_trimmed_like_what_a_watch_shows() {
    const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let server = ApiServer::default();
    server.put("/namespaces/team/secretstores/vault", vault());
    server.edit("/namespaces/team/secretstores/vault", &json!({ "metadata": { "annotations": { APPLIED: "{}" } } }));
    let bench = Bench::on(server.cluster(), None);
    *bench.told.next.lock() = writing(Requeue::AwaitChange);
    bench.driven.clone().reconcile(Arc::new(bench.object.clone())).await.unwrap();
    let newer = bench.told.context.written.newer(bench.object.0.as_ref().unwrap()).expect("the cache lags");
    assert!(!newer.annotations().contains_key(APPLIED));
}

#[tokio::test]
async fn a_status_that_was_written_after_all_is_owed_no_longer() {
    let server = ApiServer::default();
    server.put("/namespaces/team/secretstores/vault", vault());
    let bench = Bench::on(server.cluster(), None);
    bench.told.context.written.owe("u");
    bench.series_after(Report::Unchanged { ready: true, requeue: Requeue::AwaitChange }).await;
    assert!(!bench.told.context.written.is_owed("u"));
    assert_eq!(server.writes(), [] as [&str; 0]);
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

#[tokio::test]
async fn who_is_deleted_while_it_is_reconciled_is_forgotten_when_that_ends() {
    for is_listed_anew in [false, true] {
        let bench = Bench::with_gate(Some(Gate::default()));
        *bench.told.next.lock() = Report::Unchanged { ready: true, requeue: Requeue::AwaitChange };
        let running = tokio::spawn(bench.driven.clone().reconcile(Arc::new(bench.object.clone())));
        let gate = bench.told.gate.as_ref().unwrap();
        gate.reached.notified().await;
        let gone = match is_listed_anew {
            false => vec![Event::Delete(bench.object.clone())],
            true => vec![Event::Init, Event::InitDone],
        };
        gone.into_iter().for_each(|event| bench.driven.on_event(&Ok(event)));
        let name = Name::new("team", "vault");
        assert_eq!(*bench.told.forgotten.lock(), std::slice::from_ref(&name));
        gate.open.notify_one();
        running.await.unwrap().unwrap();
        // What the reconcile recorded at its end is forgotten too.
        assert_eq!(*bench.told.forgotten.lock(), [name.clone(), name]);
        assert_eq!(bench.series(), "");
    }
}

/// The ways in which an object goes.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// The watch says so.
    Deleted,
    /// A new list lacks it: it was deleted while nobody watched.
    Unlisted,
    /// A new list has another object of its name.
    Replaced,
    /// The write of its status shows it, before the watch does.
    Found,
    /// The watch says so, while it is reconciled.
    WhileReconciled,
}

impl Bench {
    /// Records everything that there may be of the object.
    async fn fill(&self) {
        let (name, context) = (Name::new("team", "vault"), &self.told.context);
        self.series_after(Report::Unchanged { ready: true, requeue: Requeue::AwaitChange }).await;
        self.record(context);
        self.driven.backoff.failed(&name, 1);
        let loads = context.stores.loads(self.told.stores(self.object.0.as_ref().unwrap()));
        let turn = self.driven.turns.take(&Name::new("team", "other"), &loads).unwrap();
        assert!(self.driven.turns.take(&name, &loads).is_none());
        drop(turn);
        assert_eq!(self.kept(), ["series", "a status", "a pruned status", "a pause", "a turn"]);
    }

    /// What a write of the status records.
    fn record(&self, context: &Context) {
        let stored = self.object.0.clone().unwrap();
        context.written.begin("u", &Value::Null);
        if context.written.note("u", &stored) {
            for writer in [Writer::Reconcile, Writer::Count] {
                context.pruned.note("u", writer, &json!({ "a": 1 }), &json!({}));
            }
        }
    }

    /// What is kept of objects, in words. A new field must be thought of here.
    fn kept(&self) -> Vec<&'static str> {
        let Driven { context, backoff, turns, reconciler: _, known: _ } = &*self.driven;
        let Context {
            metrics,
            written,
            pruned,
            // The registry's and the feed's are tested where they are, and the reconciler's own
            // with it.
            stores: _,
            feed: _,
            referrers: _,
            config_maps: _,
            moves: _,
            template_moves: _,
            // These have nothing by object.
            cluster: _,
            settings: _,
            conventions: _,
            events: _,
        } = &**context;
        let kept = [
            ("series", metrics.encode().contains(r#"name="vault""#)),
            ("a status", !written.is_empty()),
            ("a pruned status", !pruned.is_empty()),
            ("a pause", !backoff.is_empty()),
            ("a turn", !turns.nobody_waits()),
        ];
        kept.into_iter().filter(|(_, is_kept)| *is_kept).map(|(what, _)| what).collect()
    }

    async fn goes(&self, how: Gone) {
        let listed = |objects: Vec<Guarded<SecretStore>>| {
            let objects = objects.into_iter().map(Event::InitApply);
            let events = [Event::Init].into_iter().chain(objects).chain([Event::InitDone]);
            events.for_each(|event| self.driven.on_event(&Ok(event)));
        };
        match how {
            Gone::Deleted => self.driven.on_event(&Ok(Event::Delete(self.object.clone()))),
            Gone::Unlisted => listed(Vec::new()),
            Gone::Replaced => {
                let mut other = self.object.clone();
                other.0.as_mut().unwrap().metadata.uid = Some("another".to_owned());
                listed(vec![other]);
            }
            Gone::Found => self.driven.drop_remains(&Name::new("team", "vault"), "u", Published::Gone),
            Gone::WhileReconciled => {
                self.driven.on_event(&Ok(Event::Delete(self.object.clone())));
                self.record(&self.told.context);
                self.series_after(Report::Unchanged { ready: true, requeue: Requeue::AwaitChange }).await;
            }
        }
    }
}

#[tokio::test]
async fn nothing_of_an_object_that_is_gone_is_kept_however_that_shows() {
    for how in [Gone::Deleted, Gone::Unlisted, Gone::Replaced, Gone::Found, Gone::WhileReconciled] {
        let bench = Bench::new();
        bench.fill().await;
        bench.goes(how).await;
        assert_eq!(bench.kept(), [] as [&str; 0], "{how:?}");
    }
}

/// The watch may show it much later, and until then it would be tried again and again.
#[tokio::test]
async fn an_object_that_is_gone_when_its_status_is_written_is_not_tried_again() {
    let mut another = vault();
    another["metadata"]["uid"] = json!("another");
    for replaced_by in [None, Some(another)] {
        let server = ApiServer::default();
        let is_replaced = replaced_by.is_some();
        replaced_by.into_iter().for_each(|another| server.put("/namespaces/team/secretstores/vault", another));
        let bench = Bench::on(server.cluster(), None);
        bench.fill().await;
        *bench.told.next.lock() = writing(Requeue::BackOff);
        assert_eq!(bench.driven.run_once(&bench.object).await, None, "replaced: {is_replaced}");
        assert_eq!(bench.kept(), [] as [&str; 0], "replaced: {is_replaced}");
    }
}

#[tokio::test]
async fn of_an_object_that_is_not_ours_any_more_no_series_and_no_status_is_kept() {
    let bench = Bench::new();
    bench.fill().await;
    bench.series_after(Report::NotOurs).await;
    assert!(!bench.kept().iter().any(|kept| ["series", "a status", "a pruned status"].contains(kept)));
}

#[tokio::test]
async fn the_turns_forget_a_store_that_is_deleted_and_its_namespace_with_it() {
    let bench = Bench::new();
    let stores = &bench.told.context.stores;
    let vault = json!({ "server": "https://vault", "auth": { "tokenSecretRef": { "name": "t" } } });
    let store: SecretStore = serde_json::from_value(json!({
        "metadata": { "name": "vault", "namespace": "team", "uid": "u" }, "spec": { "provider": { "vault": vault } },
    }))
    .unwrap();
    let store = StoreObject::Namespaced(Arc::new(store));
    let name = store.store_name();
    stores.upsert(name.clone(), store);
    let changes = stores.changes();
    drop(bench.driven.turns.take(&Name::new("team", "app"), &stores.loads([name.clone()])).unwrap());
    assert_eq!(bench.driven.turns.stores(), std::slice::from_ref(&name));
    stores.remove(&name);
    // Nobody who uses it asks for a turn any more.
    assert!(bench.driven.heed(changes).now_or_never().is_none());
    assert_eq!(bench.driven.turns.stores(), []);
}
