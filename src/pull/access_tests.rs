//! Pulls whose stores cannot be opened, or do not answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Pull;
use super::observe::{Opened, StoreProblem, Stores};
use super::records::Records;
use crate::api::condition::Reason;
use crate::api::{ExternalSecret, StoreRef};
use crate::cluster::Cluster;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::store::StoreClient;
use crate::store::fake::{FakeStore, Operation};

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
            None => StatusCode::NOT_FOUND.into_response(),
        }
    });
    Cluster::new(kube::Client::new(router, "default"))
}

/// The one store: what opening it gives.
#[derive(Clone)]
struct OneStore(Arc<Mutex<Result<FakeStore, StoreProblem>>>);

#[async_trait]
impl Stores for OneStore {
    async fn open(&self, _namespace: &str, _store: &StoreRef) -> Result<Opened, StoreProblem> {
        let client = self.0.lock().clone()?;
        Ok(Opened { mount: client.mount().map(str::to_owned), client: Arc::new(client) })
    }
}

struct World {
    context: Arc<Context>,
    store: OneStore,
    server: FakeStore,
    pull: Pull<OneStore>,
    wakeups: UnboundedReceiver<Name>,
}

impl World {
    fn new() -> Self {
        let server = FakeStore::new();
        let context = Context::on(api_server());
        let store = OneStore(Arc::new(Mutex::new(Ok(server.with_identity("vault@1")))));
        let pull = Pull::new(context.clone(), store.clone(), Arc::new(Records::default()));
        let wakeups = context.feed.wakeups().unwrap();
        let world = World { context, store, server, pull, wakeups };
        world.write("1");
        world
    }

    fn write(&self, value: &str) {
        let data = BTreeMap::from([("password".to_owned(), RemoteValue::text(value))]);
        self.server.put(&RemotePath::parse(Some("secret"), "db/main").unwrap(), data);
    }

    async fn reconcile(&self, namespace: &str) {
        let object: ExternalSecret = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": namespace, "uid": namespace, "generation": 1 },
            "spec": {
                "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" },
                "refreshInterval": "1h",
                "data": [{ "secretKey": "password", "remoteRef": { "key": "db/main", "property": "password" } }],
            },
        }))
        .unwrap();
        self.pull.reconcile(Arc::new(object), &Name::new(namespace, "db")).await;
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

#[tokio::test]
async fn a_namespace_that_a_store_no_longer_serves_ends_no_check_of_another() {
    let mut world = World::new();
    world.reconcile("a").await;
    world.reconcile("b").await;
    assert_eq!(world.check().await, ["vault@1"]);

    *world.store.0.lock() = Err(StoreProblem::Refused { reason: Reason::NotPermitted, message: "narrowed".into() });
    world.reconcile("a").await;
    *world.store.0.lock() = Ok(world.server.with_identity("vault@2"));
    world.reconcile("b").await;
    world.woken();
    world.write("2");
    assert_eq!(world.check().await, ["vault@2"], "the session of the former generation has ended");
    assert!(world.woken().contains(&Name::new("b", "db")));
}
