//! Pulls whose stores cannot be opened, or do not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Pull;
use super::records::Records;
use crate::api::external_secret::{ExternalSecretStatus, RefreshPolicy};
use crate::api::store_location::StoreLocation;
use crate::api::{ExternalSecret, StoreKind};
use crate::cluster::{Cluster, ClusterError};
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::Report;
use crate::domain::label_query::LabelQuery;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::store::fake::{FakeStore, Operation};
use crate::store::{StoreClient, StoreName, StoreRefusal, Stores};

/// An API server that creates a target, and has it afterwards.
fn api_server() -> Cluster {
    let target: Arc<Mutex<Option<Value>>> = Arc::default();
    let router = axum::Router::new().fallback(async move |method: Method, uri: Uri, body: Bytes| -> Response {
        let mut target = target.lock();
        if method == Method::POST && uri.path().ends_with("/secrets") {
            let mut created: Value = serde_json::from_slice(&body).unwrap();
            created["metadata"]["uid"] = json!("target");
            created["metadata"]["resourceVersion"] = json!("1");
            *target = Some(created);
        }
        match target.as_ref().filter(|_| uri.path().contains("/secrets")) {
            Some(target) => target.to_string().into_response(),
            None => {
                let status = json!({ "apiVersion": "v1", "kind": "Status", "reason": "NotFound", "code": 404 });
                (StatusCode::NOT_FOUND, status.to_string()).into_response()
            }
        }
    });
    Cluster::new(kube::Client::new(router, "default"))
}

/// What opening each store gives.
#[derive(Clone, Default)]
struct Named(Arc<Mutex<BTreeMap<String, Opened>>>);

type Opened = Result<Arc<dyn StoreClient>, StoreRefusal>;

impl Named {
    fn set(&self, store: &str, opened: Result<FakeStore, StoreRefusal>) {
        let opened = opened.map(|client| Arc::new(client) as Arc<dyn StoreClient>);
        self.0.lock().insert(store.to_owned(), opened);
    }
}

#[async_trait]
impl Stores for Named {
    async fn client(&self, _namespace: &str, store: &StoreName) -> Result<Arc<dyn StoreClient>, StoreRefusal> {
        self.0.lock()[&store.name].clone()
    }

    async fn still_leads_to(&self, _store: &StoreName, _location: &StoreLocation) -> Result<bool, ClusterError> {
        Ok(true)
    }

    fn departing(&self, _store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        None
    }

    fn former(&self, _namespace: &str, _store: &StoreName, _location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        None
    }

    fn labelled(&self, _namespace: &str, _kind: StoreKind, _query: &LabelQuery) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn serves_unclassified(&self) -> bool {
        true
    }
}

struct World {
    context: Arc<Context>,
    stores: Named,
    server: FakeStore,
    pull: Pull<Named>,
    wakeups: UnboundedReceiver<Name>,
}

impl World {
    fn new() -> Self {
        let server = FakeStore::new();
        let context = Context::on(api_server());
        let stores = Named::default();
        stores.set("vault", Ok(server.with_identity("vault@1")));
        let pull = Pull::new(context.clone(), stores.clone(), Arc::new(Records::default()));
        let wakeups = context.feed.wakeups().unwrap();
        let world = World { context, stores, server, pull, wakeups };
        write(&world.server, "1");
        world
    }

    async fn reconcile(&self, object: ExternalSecret) -> Report<ExternalSecretStatus> {
        let name = Name::new(object.metadata.namespace.clone().unwrap(), "db");
        self.pull.reconcile(Arc::new(object), &name).await
    }

    /// Every path is checked; the identities that did so.
    async fn check(&self) -> Vec<String> {
        let before = self.server.requests().len();
        self.context.feed.clone().check_all().await;
        let requests = self.server.requests().split_off(before);
        requests
            .into_iter()
            .filter(|request| request.operation == Operation::Head)
            .map(|head| head.identity.0.to_string())
            .collect()
    }

    fn woken(&mut self) -> Vec<Name> {
        std::iter::from_fn(|| self.wakeups.try_recv().ok()).collect()
    }
}

fn write(server: &FakeStore, value: &str) {
    let data = BTreeMap::from([("password".to_owned(), RemoteValue::text(value))]);
    server.put(&RemotePath::parse(Some("secret"), "db/main").unwrap(), data);
}

/// A resource that reads the password of each of these stores.
fn object(namespace: &str, stores: &[&str]) -> ExternalSecret {
    let entry = |store: &&str| {
        json!({
            "secretKey": store,
            "remoteRef": { "key": "db/main", "property": "password" },
            "sourceRef": { "storeRef": { "name": store, "kind": "ClusterSecretStore" } },
        })
    };
    serde_json::from_value(json!({
        "metadata": { "name": "db", "namespace": namespace, "uid": namespace, "generation": 1 },
        "spec": { "refreshInterval": "1h", "data": stores.iter().map(entry).collect::<Vec<_>>() },
    }))
    .unwrap()
}

#[tokio::test]
async fn a_namespace_that_a_store_no_longer_serves_ends_no_check_of_another() {
    let mut world = World::new();
    world.reconcile(object("a", &["vault"])).await;
    world.reconcile(object("b", &["vault"])).await;
    assert_eq!(world.check().await, ["vault@1"]);

    world
        .stores
        .set("vault", Err(StoreRefusal::NotAllowed { store: StoreName::cluster("vault"), namespace: "team".into() }));
    world.reconcile(object("a", &["vault"])).await;
    world.stores.set("vault", Ok(world.server.with_identity("vault@2")));
    world.reconcile(object("b", &["vault"])).await;
    world.woken();
    write(&world.server, "2");
    assert_eq!(world.check().await, ["vault@2"], "the session of the former generation has ended");
    assert!(world.woken().contains(&Name::new("b", "db")));
}

/// The resource once its first sync was published; it is read once.
fn synced_once(namespace: &str, report: Report<ExternalSecretStatus>) -> ExternalSecret {
    let mut object = once(namespace);
    match report {
        Report::Verdict { status, .. } => object.status = Some(status.after),
        other => panic!("{other:?}"),
    }
    object
}

fn once(namespace: &str) -> ExternalSecret {
    let mut object = object(namespace, &["vault"]);
    object.spec.refresh_policy = Some(RefreshPolicy::CreatedOnce);
    object
}

#[tokio::test]
async fn rf2_a_consent_that_could_not_be_read_is_asked_for_until_it_is_told() {
    let world = World::new();
    let object = synced_once("a", world.reconcile(once("a")).await);
    let elsewhere = FakeStore::on("elsewhere");
    elsewhere.remove_mount("secret");
    world.stores.set("vault", Ok(elsewhere.with_identity("vault@2")));
    let pass = async || {
        let report = world.reconcile(object.clone()).await;
        (format!("{report:?}").contains("BackOff"), elsewhere.count(Operation::Read))
    };
    for _ in 0..3 {
        assert_eq!(pass().await, (true, 0), "where the store leads now, nobody answers");
    }
    elsewhere.add_mount("secret");
    for _ in 0..2 {
        assert_eq!(pass().await, (false, 1), "it is asked once");
    }
}

#[tokio::test]
async fn a_server_restored_from_another_s_snapshot_may_have_other_versions() {
    let world = World::new();
    let restored = FakeStore::new();
    write(&restored, "1");
    write(&restored, "2");
    world.stores.set("restored", Ok(restored.with_address("restored").with_identity("restored@1")));
    let report = world.reconcile(object("a", &["vault", "restored"])).await;
    assert!(matches!(&report, Report::Verdict { verdict, .. } if verdict.ready), "{report:?}");
}
