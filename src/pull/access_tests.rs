//! Pulls whose stores cannot be opened, or do not answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Pull;
use super::records::Records;
use crate::api::ExternalSecret;
use crate::api::external_secret::{ExternalSecretStatus, RefreshPolicy};
use crate::cluster::in_memory::ApiServer;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::{Report, Requeue};
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::store::fake::{FakeStore, Operation};
use crate::store::opening::{Opened, Opening};
use crate::store::{StoreClient, StoreName, StoreRefusal};

/// What opening each store gives.
#[derive(Clone, Default)]
struct Named(Arc<Mutex<BTreeMap<String, Opened>>>);

impl Named {
    fn set(&self, store: &str, opened: Result<FakeStore, StoreRefusal>) {
        let opened = opened.map(|client| Arc::new(client) as Arc<dyn StoreClient>);
        self.0.lock().insert(store.to_owned(), opened);
    }

    fn opening(&self) -> Opening {
        let named = self.clone();
        Opening::by(move |_, store| named.0.lock()[&store.name].clone())
    }
}

struct World {
    context: Arc<Context>,
    stores: Named,
    server: FakeStore,
    pull: Pull<Opening>,
    wakeups: UnboundedReceiver<Name>,
}

impl World {
    fn new() -> Self {
        let server = FakeStore::new();
        let context = Context::on(ApiServer::default().cluster());
        let stores = Named::default();
        stores.set("vault", Ok(server.with_identity("vault@1")));
        let pull = Pull::new(context.clone(), stores.opening(), Arc::new(Records::default()));
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
        let requeue = world.reconcile(object.clone()).await.requeue().unwrap();
        assert!(!requeue.is_failure(), "its target is as rendered, and its status says so: {requeue:?}");
        (requeue == Requeue::AskAgain, elsewhere.count(Operation::Read))
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

/// Somebody purges the entry and creates it again between the reads of two logins: both see a first
/// version.
#[tokio::test]
async fn i8_two_entries_with_one_number_are_not_mixed() {
    let world = World::new();
    world.stores.set("second", Ok(world.server.with_identity("second@1")));
    let mut reads = 0;
    world.server.before_each(move |server, request| {
        reads += u32::from(request.operation == Operation::Read);
        if request.operation == Operation::Read && reads == 2 {
            server.purge(&RemotePath::parse(Some("secret"), "db/main").unwrap());
            write(server, "again");
        }
        None
    });
    let mixed = world.reconcile(object("a", &["vault", "second"])).await;
    assert!(matches!(&mixed, Report::Verdict { verdict, .. } if !verdict.ready), "{mixed:?}");
    let whole = world.reconcile(object("a", &["vault", "second"])).await;
    assert!(matches!(&whole, Report::Verdict { verdict, .. } if verdict.ready), "{whole:?}");
}
