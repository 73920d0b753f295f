//! Random stories over the real reconcile: versions, consents, edits of the resource and of its
//! store, writes that fail or whose reply is lost, a cache that lags, lists made anew, a deletion
//! in the middle of a reconcile. After each reconcile the status must be honest; when it is calm
//! the target must be right, and nobody may ask for anything any more; and of what is deleted
//! nothing may be remembered.
//!
//! `WAYPOST_MODEL_CASES` sets how many stories are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::api_server::{ApiServer, Fault};
use super::*;
use crate::api::StoreRef;
use crate::api::kind::Kind;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::publish::{Published, Subject};
use crate::controller::watch::OwnWrites;
use crate::domain::consent;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::feed::Pushed;
use crate::pull::Pull;
use crate::pull::observe::{Opened, Stores};
use crate::pull::records::Records;
use crate::store::fake::FakeStore;
use crate::store::{Site, StoreClient};

const OBJECT: &str = "/namespaces/team/externalsecrets/db";
const TARGET: &str = "/namespaces/team/secrets/db";
const CASES: u32 = 120;

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A push writes the next version, in the place that the store means.
    Push,
    /// A person writes it, and nobody says so.
    WriteByHand,
    /// The producer takes its consent back, or gives it.
    Consent(bool),
    /// The store means another server, or another mount.
    EditStore(usize),
    /// The store is not there, does not serve the namespace, or serves again.
    Store(Serves),
    /// Its credential is rotated.
    RotateCredential,
    /// Another spec: the other property.
    EditSpec,
    /// An annotation, as a person sets it who wants a refresh.
    Touch,
    /// Somebody writes to the target, or deletes it.
    EditTarget,
    DeleteTarget,
    /// The next write of the target, or of the status, runs into this.
    FailTarget(Fault),
    FailStatus(Fault),
    /// The cache lags from now on, or has caught up.
    Lag(bool),
    /// The watch lists anew.
    Relist,
    /// Every path is checked.
    Check,
    /// The object is reconciled, as its cache has it.
    Reconcile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    Yes,
    NotThere,
    NotThisNamespace,
}

fn event() -> impl Strategy<Value = Event> {
    let fault = || prop_oneof![Just(Fault::Refuse), Just(Fault::LoseReply)];
    let serves = prop_oneof![Just(Serves::Yes), Just(Serves::NotThere), Just(Serves::NotThisNamespace)];
    prop_oneof![
        3 => Just(Event::Push),
        1 => Just(Event::WriteByHand),
        2 => any::<bool>().prop_map(Event::Consent),
        2 => (0..PLACES.len()).prop_map(Event::EditStore),
        2 => serves.prop_map(Event::Store),
        1 => Just(Event::RotateCredential),
        2 => Just(Event::EditSpec),
        1 => Just(Event::Touch),
        1 => Just(Event::EditTarget),
        1 => Just(Event::DeleteTarget),
        2 => fault().prop_map(Event::FailTarget),
        2 => fault().prop_map(Event::FailStatus),
        2 => any::<bool>().prop_map(Event::Lag),
        1 => Just(Event::Relist),
        1 => Just(Event::Check),
        9 => Just(Event::Reconcile),
    ]
}

/// Server and mount.
const PLACES: [(usize, &str); 3] = [(0, "secret"), (1, "secret"), (0, "other")];
const POLICIES: [&str; 3] = ["Periodic", "OnChange", "CreatedOnce"];
const PROPERTIES: [&str; 2] = ["one", "two"];

/// The store of the story.
#[derive(Clone)]
struct OneStore(Arc<Mutex<Place>>);

struct Place {
    servers: [FakeStore; 2],
    at: usize,
    serves: Serves,
    /// Counts the edits.
    generation: u32,
    session: Arc<dyn StoreClient>,
}

impl OneStore {
    fn edit(&self, edit: impl FnOnce(&mut Place)) {
        let mut place = self.0.lock();
        edit(&mut place);
        let identity = format!("vault@{}", place.generation);
        place.session = Arc::new(place.servers[PLACES[place.at].0].with_identity(&identity));
    }

    /// The server, and the path on it.
    fn place(&self) -> (FakeStore, RemotePath) {
        let place = self.0.lock();
        let (server, mount) = PLACES[place.at];
        (place.servers[server].clone(), RemotePath::parse(Some(mount), "db").unwrap())
    }

    fn serves(&self) -> Serves {
        self.0.lock().serves
    }
}

#[async_trait]
impl Stores for OneStore {
    async fn open(&self, _namespace: &str, _store: &StoreRef) -> Result<Opened, StoreProblem> {
        let place = self.0.lock();
        let refused = |reason| StoreProblem::Refused { reason, message: "it does not serve".into() };
        match place.serves {
            Serves::Yes => Ok(Opened { client: place.session.clone(), mount: Some(PLACES[place.at].1.to_owned()) }),
            Serves::NotThere => Err(refused(Reason::StoreNotFound)),
            Serves::NotThisNamespace => Err(refused(Reason::NotPermitted)),
        }
    }
}

struct World {
    api: ApiServer,
    context: Arc<Context>,
    records: Arc<Records>,
    pull: Pull<OneStore>,
    store: OneStore,
    wakeups: UnboundedReceiver<Name>,
    name: Name,
    cached: Arc<ExternalSecret>,
    lags: bool,
    writes: u64,
    touches: u64,
    consents: bool,
    /// Something is as nobody told the controller yet.
    untold: bool,
    policy: &'static str,
}

impl World {
    fn new(policy: &'static str) -> Self {
        let api = ApiServer::default();
        let cluster = api.cluster();
        let context = Context::on(cluster);
        let wakeups = context.feed.wakeups().unwrap();
        let servers = [FakeStore::on("a"), FakeStore::on("b")];
        servers[0].add_mount("other");
        let session: Arc<dyn StoreClient> = Arc::new(servers[0].clone());
        let place = Place { servers, at: 0, serves: Serves::Yes, generation: 0, session };
        let store = OneStore(Arc::new(Mutex::new(place)));
        let records = Arc::new(Records::default());
        let pull = Pull::new(context.clone(), store.clone(), records.clone());
        api.put("/namespaces/team", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } }));
        let mut object = serde_json::to_value(object(spec_of(policy, 0))).unwrap();
        object["apiVersion"] = json!("external-secrets.io/v1");
        object["kind"] = json!("ExternalSecret");
        api.put(OBJECT, object);
        let mut world = World {
            cached: Arc::new(serde_json::from_value(api.get(OBJECT).unwrap()).unwrap()),
            name: Name::new("team", "db"),
            api,
            context,
            records,
            pull,
            store,
            wakeups,
            lags: false,
            writes: 0,
            touches: 0,
            consents: true,
            untold: false,
            policy,
        };
        world.write();
        world
    }

    fn write(&mut self) -> u64 {
        self.writes += 1;
        let (server, path) = self.store.place();
        let text = |property: &str| format!("{property} {}", self.writes);
        let data = PROPERTIES.map(|property| (property.to_owned(), RemoteValue::text(&text(property))));
        server.put(&path, data.into())
    }

    async fn announce(&self, pushed: Pushed) {
        let (server, path) = self.store.place();
        let key = server.path_key(&path).await.unwrap();
        self.context.feed.announce(&Site::of(&server, key), pushed);
    }

    /// Each place has the same consents, so that an edit of the store changes none.
    fn consent(&mut self, given: bool) {
        self.consents = given;
        let labels = match given {
            true => BTreeMap::new(),
            false => {
                let nobody = |property: &str| (consent::key(property), r#"{"onWithdrawal":"Delete"}"#.to_owned());
                PROPERTIES.map(nobody).into()
            }
        };
        let servers = self.store.0.lock().servers.clone();
        for (server, mount) in PLACES {
            servers[server].put_metadata(&RemotePath::parse(Some(mount), "db").unwrap(), labels.clone());
        }
    }

    /// The watch brings the object as it is now, unless it lags.
    fn deliver(&mut self) {
        let Some(object) = self.api.get(OBJECT).filter(|_| !self.lags) else { return };
        let object: ExternalSecret = serde_json::from_value(object).unwrap();
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        self.context.written.shown("es-uid", &version);
        self.pull.seen(&object);
        self.cached = Arc::new(object);
    }

    async fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Push => {
                let is_first = self.wanted().is_none();
                let version = self.write();
                // A claim says who may read, and that is announced.
                if is_first {
                    self.announce(Pushed::Consent).await;
                }
                self.announce(Pushed::Version(version)).await;
            }
            Event::WriteByHand => {
                self.write();
                self.untold = true;
            }
            Event::Consent(given) => {
                self.consent(given);
                self.announce(Pushed::Consent).await;
            }
            Event::EditStore(at) => {
                self.store.edit(|place| {
                    place.generation += u32::from(place.at != at);
                    place.at = at;
                });
            }
            Event::Store(serves) => self.store.edit(|place| {
                // A store that was deleted comes back as another object.
                place.generation += u32::from(place.serves == Serves::NotThere && serves != Serves::NotThere);
                place.serves = serves;
            }),
            Event::RotateCredential => self.store.edit(|_| {}),
            Event::EditSpec => {
                let object = self.api.get(OBJECT).unwrap();
                let generation = object["metadata"]["generation"].as_u64().unwrap() + 1;
                let spec = spec_of(self.policy, usize::try_from(generation).unwrap() % 2);
                self.api.edit(OBJECT, &json!({ "metadata": { "generation": generation }, "spec": spec }));
            }
            Event::Touch => {
                self.touches += 1;
                let touched = json!({ "touched": self.touches.to_string() });
                self.api.edit(OBJECT, &json!({ "metadata": { "annotations": touched } }));
            }
            Event::EditTarget => {
                if let Some(target) = self.api.get(TARGET) {
                    self.api.edit(TARGET, &json!({ "data": { "password": "eA==" } }));
                    let uid = target["metadata"]["uid"].as_str().unwrap();
                    let version = self.api.get(TARGET).unwrap()["metadata"]["resourceVersion"].clone();
                    self.records.is_own_write(&self.name, uid, version.as_str().unwrap());
                }
            }
            Event::DeleteTarget => {
                self.api.remove(TARGET);
                self.records.deleted(&self.name);
            }
            Event::FailTarget(fault) => self.api.fail_next_write("/secrets", fault),
            Event::FailStatus(fault) => self.api.fail_next_write("/status", fault),
            Event::Lag(lags) => self.lags = lags,
            Event::Relist => {
                let lags = std::mem::take(&mut self.lags);
                self.deliver();
                self.lags = lags;
            }
            Event::Check => {
                self.context.feed.clone().check_all().await;
                self.untold = false;
            }
            Event::Reconcile => {
                self.reconcile().await;
                self.is_honest()?;
            }
        }
        self.deliver();
        Ok(())
    }

    /// As a controller does it. Says when to look again.
    async fn reconcile(&mut self) -> Published {
        while self.wakeups.try_recv().is_ok() {}
        let newer = self.context.written.newer(&*self.cached);
        let object = newer.map_or_else(|| self.cached.clone(), Arc::new);
        let report = self.pull.reconcile(object.clone(), &self.name).await;
        let api = self.pull.api(&self.name.namespace);
        let subject = Subject { kind: Kind::ExternalSecret, name: &self.name, object: &*object, api };
        let published = subject.publish(&self.context, report).await;
        if published == Published::Gone {
            self.pull.forget(&self.name);
        }
        published
    }

    fn ready(&self) -> Value {
        let object = self.api.get(OBJECT).unwrap();
        let ready = object["status"]["conditions"].as_array().and_then(|all| all.first()).cloned();
        let mut ready = ready.unwrap_or_default();
        ready["current"] = json!(ready["observedGeneration"] == object["metadata"]["generation"]);
        ready
    }

    /// What the target holds, if there is one.
    fn held(&self) -> Option<String> {
        let target: k8s_openapi::api::core::v1::Secret = serde_json::from_value(self.api.get(TARGET)?).unwrap();
        Some(String::from_utf8(target.data?["password"].0.clone()).unwrap())
    }

    /// What it should hold now.
    fn wanted(&self) -> Option<String> {
        let (server, path) = self.store.place();
        let object = self.api.get(OBJECT).unwrap();
        let property = object["spec"]["data"][0]["remoteRef"]["property"].as_str().unwrap().to_owned();
        let value = server.peek(&path).data()?.get(&property)?.rendered();
        Some(value.expose_utf8().unwrap().to_owned())
    }

    /// I7. Who does not follow has what it had, as long as its stores and producers let it.
    fn is_honest(&self) -> Result<(), TestCaseError> {
        let ready = self.ready();
        if ready["status"] != "True" || ready["current"] != true || self.context.written.is_owed("es-uid") {
            return Ok(());
        }
        prop_assert!(self.held().is_some(), "ready without a target: {ready}");
        prop_assert_eq!(self.store.serves(), Serves::Yes, "ready by a store that does not serve: {}", ready);
        prop_assert!(self.consents || self.wanted().is_none(), "ready without a permission: {ready}");
        if self.policy == "Periodic" && !self.untold {
            prop_assert_eq!(self.held(), self.wanted(), "ready with another value: {}", ready);
        }
        Ok(())
    }

    /// Nothing fails any more, and everybody has heard of everything.
    async fn calms_down(&mut self) -> Result<(), TestCaseError> {
        self.api.heal();
        self.lags = false;
        self.deliver();
        self.context.feed.clone().check_all().await;
        self.untold = false;
        for _round in 0..6 {
            self.reconcile().await;
            self.deliver();
        }
        let ready = self.ready();
        let exists = self.wanted().is_some();
        // Where nothing is, nobody says who may read it.
        let may = (self.consents || !exists) && self.store.serves() == Serves::Yes;
        prop_assert_eq!(&ready["current"], &json!(true), "an old verdict: {}", ready);
        match (may, exists) {
            (true, true) => {
                prop_assert_eq!(&ready["status"], "True", "it is {}", ready);
                if self.policy == "Periodic" {
                    prop_assert_eq!(self.held(), self.wanted(), "it says {}", ready);
                }
            }
            // Who has a value that is not read again is well without it, and whoever reads says
            // what is missing.
            (true, false) => {
                let is_held = self.policy != "Periodic" && ready["status"] == "True" && self.held().is_some();
                prop_assert!(is_held || ready["reason"] == "PathNotFound", "it is {}", ready);
            }
            (false, _) => prop_assert_eq!(&ready["status"], "False", "it is {}", ready),
        }
        if !self.consents && self.store.serves() == Serves::Yes && exists {
            prop_assert_eq!(self.held(), None, "a permission was withdrawn: {}", ready);
        }
        let (_, writes) = self.api.requests();
        let published = self.reconcile().await;
        prop_assert_eq!(self.api.requests().1, writes, "calm, and it writes: {:?}", published);
        prop_assert!(self.wakeups.try_recv().is_err(), "calm, and it wakes itself");
        Ok(())
    }

    /// It is deleted while it is reconciled: the event comes first, and then the reconcile goes on
    /// with what the cache had.
    async fn goes(&mut self) -> Result<(), TestCaseError> {
        self.happens(Event::EditSpec).await?;
        self.api.remove(OBJECT);
        self.pull.forget(&self.name);
        self.context.written.forget("es-uid");
        prop_assert_eq!(self.reconcile().await, Published::Gone);
        let metrics = self.context.metrics.encode();
        prop_assert!(!metrics.contains("name=\"db\""), "a series is left: {}", metrics);
        prop_assert!(self.records.is_empty() && self.context.written.is_empty(), "something is remembered");
        prop_assert_eq!(self.context.feed.consumers(), 0);
        Ok(())
    }
}

fn spec_of(policy: &str, property: usize) -> Value {
    json!({
        "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" }, "refreshPolicy": policy,
        "refreshInterval": "1h",
        "data": [{ "secretKey": "password", "remoteRef": { "key": "db", "property": PROPERTIES[property] } }],
    })
}

/// The usual run tells the same stories each time; who asks for a number of them gets others.
fn config() -> Config {
    let usual = Config { failure_persistence: None, ..Config::default() };
    match std::env::var("WAYPOST_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()) {
        Some(cases) => Config { cases, ..usual },
        None => Config { cases: CASES, rng_seed: RngSeed::Fixed(11), ..usual },
    }
}

/// Tells stories of this many events, and shrinks the first that goes wrong.
fn told(policy: &'static str) {
    let story = proptest::collection::vec(event(), 1..24);
    let outcome = TestRunner::new(config()).run(&story, |events| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(policy);
            for event in events {
                world.happens(event).await?;
            }
            world.calms_down().await?;
            world.goes().await
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn the_model_of_a_pull_that_follows_holds() {
    told(POLICIES[0]);
}

#[test]
fn the_model_of_a_pull_on_change_holds() {
    told(POLICIES[1]);
}

#[test]
fn the_model_of_a_pull_that_is_read_once_holds() {
    told(POLICIES[2]);
}
