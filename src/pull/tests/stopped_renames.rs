//! Renames of a target that stop at any request, by an API server that answers no more or by the
//! end of the process. The reconciles that follow leave the present target, and no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::condition::{self, ConditionStatus, READY};
use crate::api::external_secret::ExternalSecretStatus;
use crate::api::{ExternalSecret, names};
use crate::cluster::in_memory::{ApiServer, Fault};
use crate::controller::context::Context;
use crate::controller::drive::Driven;
use crate::controller::guarded::Guarded;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::pull::Pull;
use crate::pull::records::Records;
use crate::store::StoreClient;
use crate::store::fake::FakeStore;
use crate::store::opening::Opening;

const OBJECT: &str = "/namespaces/team/externalsecrets/db";
const POLICIES: [&str; 2] = ["Periodic", "CreatedOnce"];
/// More requests than a reconcile makes.
const MOST_REQUESTS: usize = 30;

/// What happens to the first request of an outage. Those after it are refused.
const FAULTS: [Fault; 2] = [Fault::Refuse, Fault::LoseReply];

/// The name at the last success, if there was one; the one whose reconcile is stopped; and the one
/// after it.
const RENAMES: [(Option<&str>, &str, &str); 5] = [
    (Some("one"), "two", "two"),
    (Some("one"), "two", "three"),
    (Some("one"), "two", "one"),
    (None, "one", "one"),
    (None, "one", "two"),
];

struct World {
    api: ApiServer,
    store: FakeStore,
    driven: Arc<Driven<Pull<Opening>>>,
}

impl World {
    fn new(policy: &str, target: &str) -> Self {
        let (api, store) = (ApiServer::default(), FakeStore::new());
        let path = RemotePath::parse(Some("secret"), "db").unwrap();
        store.put(&path, BTreeMap::from([("password".to_owned(), RemoteValue::text("1"))]));
        let object = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
            "metadata": { "name": "db", "namespace": "team", "uid": "es-uid", "generation": 1 },
            "spec": {
                "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" },
                "refreshInterval": "1h", "refreshPolicy": policy, "target": { "name": target },
                "data": [{ "secretKey": "password", "remoteRef": { "key": "db", "property": "password" } }],
            },
        });
        api.put(OBJECT, object);
        let driven = start(&api, &store);
        World { api, store, driven }
    }

    fn restart(&mut self) {
        self.driven = start(&self.api, &self.store);
    }

    fn rename(&self, target: &str) {
        let object: Value = self.api.get(OBJECT).unwrap();
        if object["spec"]["target"]["name"] != target {
            let generation = object["metadata"]["generation"].as_u64().unwrap() + 1;
            let spec = json!({ "target": { "name": target } });
            self.api.edit(OBJECT, &json!({ "metadata": { "generation": generation }, "spec": spec }));
        }
    }

    async fn reconcile(&self) {
        let object: Guarded<ExternalSecret> = self.api.get(OBJECT).unwrap();
        self.driven.on_event(&Ok(Event::Apply(object.clone())));
        self.driven.run_once(&object).await;
    }

    /// A reconcile with an outage that begins after so many requests. Returns whether it got so far.
    async fn stopped(&self, after: usize, fault: Fault) -> bool {
        let made = Arc::new(Mutex::new(0));
        let count = made.clone();
        self.api.before_each(move |_, _| {
            let mut count = count.lock();
            *count += 1;
            match *count - 1 {
                made if made < after => None,
                made if made == after => Some(fault),
                _later => Some(Fault::Refuse),
            }
        });
        self.reconcile().await;
        self.api.before_each(|_, _| None);
        *made.lock() > after
    }

    /// How often the Secrets of the namespace were listed.
    fn lists(&self) -> usize {
        let requests = self.api.requests().into_iter();
        requests.filter(|request| request.as_str() == "GET /namespaces/team/secrets").count()
    }

    fn targets(&self) -> Vec<String> {
        let secrets: Vec<Value> = self.api.all("secrets");
        secrets.iter().map(|secret| secret["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    fn object(&self) -> ExternalSecret {
        self.api.get(OBJECT).unwrap()
    }

    fn status(&self) -> ExternalSecretStatus {
        self.object().status.unwrap()
    }
}

fn start(api: &ApiServer, store: &FakeStore) -> Arc<Driven<Pull<Opening>>> {
    let (context, client): (_, Arc<dyn StoreClient>) = (Context::on(api.cluster()), Arc::new(store.clone()));
    let opening = Opening::by(move |_, _| Ok(client.clone()));
    let pull = Arc::new(Pull::new(context.clone(), opening, Arc::new(Records::default())));
    Driven::new(pull, context, 8)
}

#[tokio::test]
async fn kg1_a_rename_that_stops_at_any_request_leaves_no_former_target() {
    for policy in POLICIES {
        for (before, stopped, after) in RENAMES {
            for (fault, restarts) in FAULTS.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
                for requests in 0..MOST_REQUESTS {
                    let mut world = World::new(policy, before.unwrap_or(stopped));
                    if before.is_some() {
                        world.reconcile().await;
                        world.rename(stopped);
                    }
                    if !world.stopped(requests, fault).await {
                        assert!(requests >= 3, "it reads, writes and reports: {requests}");
                        break;
                    }
                    if restarts {
                        world.restart();
                    }
                    world.rename(after);
                    for _ in 0..3 {
                        world.reconcile().await;
                    }
                    let case = format!("{policy}: {before:?}, {stopped}, {after}; {fault:?} at {requests}, {restarts}");
                    is_right(&world, after, &case).await;
                }
            }
        }
    }
}

async fn is_right(world: &World, target: &str, case: &str) {
    assert_eq!(world.targets(), [target], "{case}");
    let status = world.status();
    let ready = condition::find(&status.conditions, READY).unwrap();
    let message = ready.message.as_deref().unwrap_or_default();
    assert_eq!(ready.status, ConditionStatus::True, "{case}: {message}");
    assert_eq!(ready.observed_generation, world.object().metadata.generation, "{case}: {message}");
    assert!(message.starts_with(&format!("Secret {target} holds")), "{case}: {message}");
    assert_eq!(status.binding.map(|binding| binding.name).as_deref(), Some(target), "{case}");
    let before = world.api.requests().len();
    world.reconcile().await;
    assert_eq!(world.api.requests().split_off(before), [""; 0], "calm, and it makes requests: {case}");
}

/// Who is bound to the former name only by a label loses nothing, and whoever edits their spec once
/// at a time lists nothing.
#[tokio::test]
async fn kg1_only_what_a_resource_owns_counts_as_its_former_target() {
    let world = World::new(POLICIES[0], "one");
    world.reconcile().await;
    let target: Value = world.api.get("/namespaces/team/secrets/one").unwrap();
    let label = target["metadata"]["labels"][names::LABEL_CREATED_BY].clone();
    let strange =
        json!({ "name": "strange", "namespace": "team", "uid": "s", "labels": { names::LABEL_CREATED_BY: label } });
    world.api.put("/namespaces/team/secrets/strange", json!({ "metadata": strange }));
    world.rename("two");
    world.reconcile().await;
    assert_eq!((world.targets(), world.lists()), (vec!["strange".to_owned(), "two".to_owned()], 0));
    world.rename("three");
    world.rename("four");
    world.reconcile().await;
    assert_eq!(world.targets(), ["four", "strange"]);
    assert!(world.lists() > 0);
}

/// Nor does one that loses nothing look twice.
#[tokio::test]
async fn kg1_who_waits_for_a_value_looks_for_no_former_target() {
    for (policy, deletion) in [("Periodic", "Retain"), ("Periodic", "Delete"), ("CreatedOnce", "Retain")] {
        let world = World::new(policy, "one");
        let reads = |property: &str| {
            let data = json!([{ "secretKey": "password", "remoteRef": { "key": "db", "property": property } }]);
            world.api.edit(OBJECT, &json!({ "spec": { "data": data, "target": { "deletionPolicy": deletion } } }));
        };
        world.reconcile().await;
        reads("later");
        world.rename("two");
        world.rename("three");
        for _ in 0..3 {
            world.reconcile().await;
            assert_eq!((world.targets(), world.lists()), (vec!["one".to_owned()], 0), "{policy}, {deletion}");
        }
        let path = RemotePath::parse(Some("secret"), "db").unwrap();
        world.store.put(&path, BTreeMap::from([("later".to_owned(), RemoteValue::text("1"))]));
        world.reconcile().await;
        assert_eq!((world.targets(), world.lists()), (vec!["three".to_owned()], 1), "{policy}, {deletion}");
    }
}
