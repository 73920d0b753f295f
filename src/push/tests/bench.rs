//! A cluster in memory with stores, for whole reconciles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::PushSecret;
use crate::api::condition;
use crate::api::path_status::PushedPath;
use crate::api::push_secret::PushSecretStatus;
use crate::api::selector::StoreKind;
use crate::api::store_location::StoreLocation;
use crate::cluster::in_memory::{self, ApiServer};
use crate::cluster::status::{Precondition, difference};
use crate::cluster::{Cluster, ClusterError};
use crate::controller::guarded::Guarded;
use crate::controller::referrers::Referrers;
use crate::controller::report::Report;
use crate::domain::convention::Convention;
use crate::domain::label_query::LabelQuery;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::feed::News;
use crate::push::deletions::Deletions;
use crate::push::intents::Intents;
use crate::push::offers::{Offers, Others};
use crate::push::patience::Leeway;
use crate::push::reconcile::{World, reconcile};
use crate::store::fake::{self, FakeStore};
use crate::store::{StoreClient, StoreError, StoreName, StoreRefusal, Stores};

pub(super) const PUSH: &str = "/namespaces/db/pushsecrets/push";
pub(super) const SOURCE: &str = "/namespaces/db/secrets/source";
pub(super) const TEMPORAL: &str = "platform-data/postgres/temporal";

/// The stores of a bench.
pub(super) struct Shelf {
    /// Those that can be used, by name.
    pub clients: BTreeMap<&'static str, FakeStore>,
    /// What is wrong with any other, but one called `down`, which is only down.
    pub refusal: fn(StoreName) -> StoreRefusal,
    /// Sessions from before stores were edited.
    pub former: Vec<(&'static str, FakeStore)>,
    /// Those that were edited since the watch showed them.
    pub behind: BTreeSet<&'static str>,
    /// Those that were labelled since the watch showed them.
    pub unlabelled: BTreeSet<&'static str>,
    /// Those whose labels the API server does not tell.
    pub unanswered: BTreeSet<&'static str>,
    /// By store, what its label `team` says.
    pub teams: Arc<Mutex<BTreeMap<&'static str, &'static str>>>,
    /// Those that belong to another controller.
    pub others: Arc<Mutex<BTreeSet<&'static str>>>,
    /// Whether stores that name no controller are ours.
    pub serves_unclassified: bool,
}

#[async_trait]
impl Stores for Shelf {
    async fn client(&self, _namespace: &str, store: &StoreName) -> Result<Arc<dyn StoreClient>, StoreRefusal> {
        if self.others.lock().contains(store.name.as_str()) {
            return Err(StoreRefusal::OtherController { store: store.clone(), class: "other".into() });
        }
        match self.clients.get(store.name.as_str()) {
            Some(client) => Ok(Arc::new(client.clone())),
            None if store.name == "down" => Err(unusable(store.clone())),
            None => Err((self.refusal)(store.clone())),
        }
    }

    async fn still_leads_to(&self, store: &StoreName, location: &StoreLocation) -> Result<bool, ClusterError> {
        let client = self.clients.get(store.name.as_str());
        let is_shown = client.is_some_and(|client| client.location().is_spelled_as(location));
        Ok(is_shown && !self.behind.contains(store.name.as_str()))
    }

    async fn is_labelled_as_shown(&self, store: &StoreName) -> Result<bool, ClusterError> {
        if self.unanswered.contains(store.name.as_str()) {
            return Err(ClusterError::NotFound { verb: "list", object: store.to_string() });
        }
        Ok(!self.unlabelled.contains(store.name.as_str()))
    }

    fn departing(&self, _store: &StoreName) -> Option<Arc<dyn StoreClient>> {
        None
    }

    fn former(&self, _namespace: &str, store: &StoreName, location: &StoreLocation) -> Option<Arc<dyn StoreClient>> {
        let left = self.former.iter().filter(|(name, _)| **name == store.name).map(|(_, client)| client);
        let client = left.into_iter().find(|client| client.location().is_spelled_as(location))?;
        Some(Arc::new(client.clone()))
    }

    fn labelled(&self, _namespace: &str, _kind: StoreKind, query: &LabelQuery) -> BTreeSet<String> {
        // Each store here has a label with its name, and some have another one.
        let teams = self.teams.lock();
        let labels = |name: &str| {
            let team = teams.get(name).map(|team| ("team".to_owned(), (*team).to_owned()));
            [("store".to_owned(), name.to_owned())].into_iter().chain(team).collect()
        };
        let shown = self.clients.keys().filter(|name| !self.unlabelled.contains(*name));
        shown.filter(|name| query.matches(&labels(name))).map(|name| (*name).to_owned()).collect()
    }

    fn serves_unclassified(&self) -> bool {
        self.serves_unclassified
    }
}

/// It does not exist.
pub(super) fn missing(store: StoreName) -> StoreRefusal {
    StoreRefusal::NotFound { store }
}

/// It cannot be had now.
pub(super) fn unusable(_store: StoreName) -> StoreRefusal {
    StoreRefusal::Failed(StoreError::Sealed { server: "down".into() })
}

impl ApiServer {
    /// A PushSecret as it is now.
    pub fn push_secret(&self, url: &str) -> Option<PushSecret> {
        self.get(url)
    }
}

/// As a cache has them that lags behind in nothing.
impl Others for ApiServer {
    fn find(&self, is_meant: &dyn Fn(&PushSecret) -> bool) -> Vec<Arc<Guarded<PushSecret>>> {
        let all: Vec<PushSecret> = self.all("pushsecrets");
        all.into_iter().filter(is_meant).map(|push| Arc::new(DeserializeGuard(Ok(push)))).collect()
    }
}

/// A cluster with a store, and what a controller keeps between reconciles.
pub(super) struct Bench {
    pub server: ApiServer,
    pub store: FakeStore,
    pub stores: Shelf,
    pub referrers: Referrers,
    pub config_maps: Referrers,
    pub intents: Intents,
    pub deletions: Deletions,
    pub offers: Offers,
    pub leeway: Leeway,
    pub woken: Arc<Mutex<Vec<Name>>>,
    /// How long after its start the bench is.
    pub passed: Mutex<Duration>,
    pub convention: Convention,
    pub announced: Arc<Mutex<Vec<News>>>,
    /// The paths that the status has no room for.
    pub beyond: Mutex<Vec<PushedPath>>,
}

impl Bench {
    pub fn new() -> Self {
        let store = FakeStore::new();
        let (server, woken) = (ApiServer::default(), Arc::<Mutex<Vec<Name>>>::default());
        let wakes = woken.clone();
        let wake = move |name| wakes.lock().push(name);
        let bench = Bench {
            offers: Offers::new(Box::new(server.clone()), Box::new(wake)),
            server,
            woken,
            stores: Shelf {
                clients: BTreeMap::from([("vault", store.clone())]),
                refusal: missing,
                former: Vec::new(),
                behind: BTreeSet::new(),
                unlabelled: BTreeSet::new(),
                unanswered: BTreeSet::new(),
                teams: Arc::default(),
                others: Arc::default(),
                serves_unclassified: true,
            },
            store,
            referrers: Referrers::default(),
            config_maps: Referrers::default(),
            intents: Intents::default(),
            deletions: Deletions::default(),
            leeway: Leeway::default(),
            passed: Mutex::default(),
            convention: Convention::default(),
            announced: Arc::default(),
            beyond: Mutex::default(),
        };
        bench
            .server
            .put("/namespaces/db", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "db" } }));
        bench.source(&[("user", b"u"), ("pass", b"p")]);
        bench
    }

    pub fn source(&self, entries: &[(&str, &[u8])]) {
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let data: BTreeMap<&str, String> = entries.iter().map(|(key, value)| (*key, encode(value))).collect();
        let secret =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "source", "uid": "s" }, "data": data });
        self.server.put(SOURCE, secret);
    }

    /// Applies a spec: everything else of the object stays.
    pub fn spec(&self, generation: i64, spec: Value) {
        let present = self.server.push_secret(PUSH).map(|push| json!(push));
        let mut push = present.unwrap_or_else(|| {
            json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
                "metadata": { "name": "push", "namespace": "db", "uid": "a" } })
        });
        push["metadata"]["generation"] = json!(generation);
        push["spec"] = spec;
        self.server.put(PUSH, push);
    }

    /// Asks for its deletion.
    pub fn delete(&self) {
        let mut push = json!(self.server.push_secret(PUSH).unwrap());
        push["metadata"]["deletionTimestamp"] = json!(Timestamp::now());
        self.server.put(PUSH, push);
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        *self.passed.lock() += time;
    }

    /// One reconcile with its status written, as the controller does it.
    pub async fn turn(&self) -> Report<PushSecretStatus> {
        self.turn_with(self.server.push_secret(PUSH).expect("the PushSecret is there")).await
    }

    /// The same with the object as a cache has it.
    pub async fn turn_with(&self, object: PushSecret) -> Report<PushSecretStatus> {
        let cluster = self.server.cluster();
        let announced = self.announced.clone();
        let world = World {
            cluster: &cluster,
            stores: &self.stores,
            announce: &move |_site, news| announced.lock().push(news),
            publishes: &|_places| {},
            beyond: &|| self.beyond.lock().clone(),
            tells_beyond: &|paths| *self.beyond.lock() = paths,
            referrers: &self.referrers,
            config_maps: &self.config_maps,
            convention: &self.convention,
            heartbeat: Duration::from_secs(3600),
            cleanup_deadline: Duration::from_secs(600),
            cluster_name: "here",
            intents: &self.intents,
            deletions: &self.deletions,
            offers: &self.offers,
            leeway: &self.leeway,
            instant: Instant::now() + *self.passed.lock(),
            now: Timestamp::now(),
        };
        let (uid, name) = (object.metadata.uid.clone().unwrap(), object.metadata.name.clone().unwrap());
        let report = reconcile(Arc::new(object), &world).await;
        save(&cluster, [&uid, "db", &name], &report).await;
        report
    }

    /// Request number `stop` from now on, to either server, runs into this fault. Gives the count
    /// of requests.
    pub fn fail_at(&self, stop: usize, fault: in_memory::Fault) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let (of_store, of_server) = (count.clone(), count.clone());
        let is_due = move |count: &AtomicUsize| count.fetch_add(1, Ordering::Relaxed) == stop;
        self.store.before_each(move |_, _| {
            let down = StoreError::Standby { server: "fake".into() };
            is_due(&of_store).then_some(match fault {
                in_memory::Fault::Refuse | in_memory::Fault::Delay => fake::Fault::Refuse(down),
                in_memory::Fault::LoseReply => fake::Fault::LoseReply(down),
            })
        });
        self.server.before_each(move |_, _| is_due(&of_server).then_some(fault));
        count
    }

    pub fn ready(&self) -> (bool, String, String) {
        let status = self.server.push_secret(PUSH).unwrap().status.unwrap_or_default();
        let ready = condition::find(&status.conditions, condition::READY).unwrap();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (ready.status == condition::ConditionStatus::True, text(&ready.reason), text(&ready.message))
    }

    pub fn ledger(&self) -> Vec<String> {
        let status = self.server.push_secret(PUSH).unwrap().status.unwrap_or_default();
        status.synced_push_secrets.values().flat_map(|lines| lines.keys().cloned()).collect()
    }

    pub fn texts(&self, path: &str) -> BTreeMap<String, String> {
        texts(&self.store, path)
    }
}

/// Writes the status of a report for the PushSecret with this UID, namespace and name. False if it
/// cannot be written: the next turn writes it.
pub(super) async fn save(
    cluster: &Cluster,
    [uid, namespace, name]: [&str; 3],
    report: &Report<PushSecretStatus>,
) -> bool {
    let mut said = report;
    while let Report::LetGo { rest, .. } | Report::Orphaned { rest, .. } = said {
        said = rest;
    }
    if let Report::Verdict { status, .. } = said
        && let Some(change) = difference(&json!(status.before), &json!(status.after))
    {
        let api = kube::Api::<PushSecret>::namespaced(cluster.client(), namespace);
        let precondition = Precondition { uid, resource_version: status.resource_version.as_deref() };
        return cluster.patch_status(&api, "PushSecret", name, &precondition, change).await.is_ok();
    }
    true
}

pub(super) fn texts(store: &FakeStore, path: &str) -> BTreeMap<String, String> {
    let entry = store.peek(&at(path));
    let data = entry
        .data()
        .map(|data| data.iter().map(|(p, v)| (p.clone(), v.rendered().expose_utf8().unwrap().to_owned())).collect());
    data.unwrap_or_default()
}

pub(super) fn at(path: &str) -> RemotePath {
    RemotePath::parse(Some("secret"), path).unwrap()
}

pub(super) fn mapping(key: &str, path: &str, property: &str) -> Value {
    json!({ "match": { "secretKey": key, "remoteRef": { "remoteKey": path, "property": property } } })
}

pub(super) fn spec(mappings: &[Value]) -> Value {
    json!({
        "refreshInterval": "1h", "deletionPolicy": "Delete",
        "secretStoreRefs": [{ "name": "vault", "kind": "ClusterSecretStore" }],
        "selector": { "secret": { "name": "source" } },
        "data": mappings,
    })
}

pub(super) fn both() -> Value {
    spec(&[mapping("user", TEMPORAL, "username"), mapping("pass", TEMPORAL, "password")])
}

pub(super) fn expect(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(p, v)| ((*p).to_owned(), (*v).to_owned())).collect()
}
