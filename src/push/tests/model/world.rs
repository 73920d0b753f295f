//! The cluster, the stores and the controller of the model, and how each move changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::laws::is_ready;
use super::moves::{Move, NAMES, PATHS, PROPERTIES, PUSHES, Policy, SOURCES, STORES, Standing, Wish};
use crate::api::PushSecret;
use crate::api::push_secret::PushSecretStatus;
use crate::api::selector::StoreKind;
use crate::cluster::status::{Precondition, difference};
use crate::controller::referrers::Referrers;
use crate::controller::report::Report;
use crate::domain::claim;
use crate::domain::convention::Convention;
use crate::domain::label_query::LabelQuery;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::EntryState;
use crate::push::deletions::Deletions;
use crate::push::intents::Intents;
use crate::push::ledger::StoreKey;
use crate::push::observe::{Absence, NoStore, Stores};
use crate::push::offers::Offers;
use crate::push::reconcile::{self, reconcile};
use crate::push::tests::api_server::ApiServer;
use crate::store::error::Family;
use crate::store::fake::{FakeStore, Fault};
use crate::store::{StoreClient, StoreError};

/// A reconcile that takes longer is stopped, as a process is.
const LONGEST_TURN: Duration = Duration::from_secs(300);
/// How often all PushSecrets are reconciled until it is calm, a good minute apart.
const CALM_ROUNDS: usize = 14;

/// A property of a path on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub store: usize,
    pub path: usize,
    pub property: usize,
}

pub struct World {
    pub server: ApiServer,
    pub stores: [FakeStore; STORES],
    pub sources: [Option<String>; SOURCES],
    /// Where something of ours may stand that no ledger lists: its PushSecret said so, or we did.
    pub orphaned: BTreeSet<Spot>,
    /// What stood there when its PushSecret, by its UID, said Ready.
    pub acknowledged: BTreeSet<(Spot, String)>,
    standing: Arc<Mutex<[Standing; STORES]>>,
    referrers: Referrers,
    config_maps: Referrers,
    intents: Intents,
    deletions: Deletions,
    offers: Offers,
    woken: Arc<Mutex<Vec<Name>>>,
    convention: Convention,
    began: Instant,
    clock: i64,
    serial: u64,
}

struct Shelf {
    stores: [FakeStore; STORES],
    standing: Arc<Mutex<[Standing; STORES]>>,
}

#[async_trait]
impl Stores for Shelf {
    async fn client(&self, _namespace: &str, store: &StoreKey) -> Result<Arc<dyn StoreClient>, NoStore> {
        let known = NAMES.iter().find(|(name, _)| *name == store.name);
        let standing = known.map_or(Standing::Absent, |(_, server)| self.standing.lock().unwrap()[*server]);
        let no = |why, family| Err(NoStore { why, family, text: format!("{store} is {standing:?}") });
        match (known, standing) {
            (None, _) | (_, Standing::Absent) => no(Absence::Missing, Family::Refused),
            (_, Standing::Refused) => no(Absence::NotPermitted, Family::Refused),
            (_, Standing::Broken) => no(Absence::Unusable, Family::Failed),
            (Some((name, server)), Standing::Up | Standing::Hanging | Standing::Down | Standing::Lossy) => {
                Ok(Arc::new(self.stores[*server].with_identity(name)))
            }
        }
    }

    fn departing(&self, _namespace: &str, _store: &StoreKey) -> Option<Arc<dyn StoreClient>> {
        None
    }

    fn labelled(&self, _namespace: &str, _kind: StoreKind, _query: &LabelQuery) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn serves_unclassified(&self) -> bool {
        true
    }
}

impl World {
    pub fn new() -> Self {
        let stores = [FakeStore::on("one"), FakeStore::on("two")];
        stores.iter().for_each(FakeStore::yield_at_each_request);
        let (server, woken) = (ApiServer::default(), Arc::<Mutex<Vec<Name>>>::default());
        server.yield_at_each_request();
        server.put("/namespaces/db", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "db" } }));
        let mut world = World {
            offers: offers(&server, &woken),
            woken,
            server,
            stores,
            sources: [None, None],
            orphaned: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            standing: Arc::new(Mutex::new([Standing::Up; STORES])),
            referrers: Referrers::default(),
            config_maps: Referrers::default(),
            intents: Intents::default(),
            deletions: Deletions::default(),
            convention: Convention::default(),
            began: Instant::now(),
            clock: 0,
            serial: 0,
        };
        (0..SOURCES).for_each(|source| world.source(source, true));
        world
    }

    pub async fn make(&mut self, what: &Move) {
        match what {
            Move::Apply { push, wish } => self.apply(*push, *wish),
            Move::Delete { push } => self.delete(*push),
            Move::Source { source, there } => self.source(*source, *there),
            Move::Erase { store, path, mark } => self.erase(*store, *path, *mark),
            Move::Store { store, standing } => self.stand(*store, *standing),
            Move::Turn { push, behind, stop } => self.turn(*push, *behind, *stop).await,
            Move::Woken => self.woken().await,
            Move::Restart => self.restart(),
            Move::Wait { seconds } => tokio::time::advance(Duration::from_secs(*seconds)).await,
            Move::Clock { minutes } => self.clock += minutes,
        }
    }

    /// Everything is well again, and everybody is reconciled until nothing is left to do.
    pub async fn calm(&mut self) -> Result<(), String> {
        (0..STORES).for_each(|store| self.stand(store, Standing::Up));
        self.clock = 0;
        for round in 0..CALM_ROUNDS {
            self.round().await;
            super::laws::hold(self).map_err(|broken| format!("in calm round {round}: {broken}"))?;
        }
        Ok(())
    }

    /// Another round changes nothing, anywhere.
    pub async fn stays_silent(&mut self) -> Result<(), String> {
        let mutations = |world: &World| -> Vec<String> {
            let kube = world.server.requests().into_iter().filter(|request| !request.starts_with("GET"));
            let stores = world.stores.iter().flat_map(FakeStore::requests);
            let stores = stores.filter(|request| request.operation.mutates()).map(|request| format!("{request:?}"));
            kube.chain(stores).collect()
        };
        let before = mutations(self).len();
        self.round().await;
        match &mutations(self)[before.min(mutations(self).len())..] {
            [] => Ok(()),
            more => Err(format!("it is not silent: {more:?}")),
        }
    }

    async fn round(&mut self) {
        tokio::time::advance(Duration::from_secs(61)).await;
        for push in 0..PUSHES {
            self.turn(push, 0, None).await;
        }
    }

    async fn woken(&mut self) {
        let woken: BTreeSet<Name> = self.woken.lock().unwrap().drain(..).collect();
        for push in (0..PUSHES).filter(|push| woken.contains(&Name::new("db", name(*push)))) {
            self.turn(push, 0, None).await;
        }
    }

    fn restart(&mut self) {
        self.offers = offers(&self.server, &self.woken);
        (self.intents, self.deletions) = (Intents::default(), Deletions::default());
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn apply(&mut self, push: usize, wish: Wish) {
        let present = self.server.push_secret(&url(push)).map(|push| json!(push));
        if present.as_ref().is_some_and(|push| push["metadata"].get("deletionTimestamp").is_some()) {
            return;
        }
        if wish.policy == Policy::None {
            self.may_leave(push);
        }
        let mut object = present.unwrap_or_else(|| {
            let uid = format!("u{}", self.next());
            json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
                "metadata": { "name": name(push), "namespace": "db", "uid": uid, "generation": 0 } })
        });
        let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
        object["metadata"]["generation"] = json!(generation + 1);
        object["spec"] = spec(wish);
        self.server.put(&url(push), object);
    }

    fn delete(&mut self, push: usize) {
        let Some(object) = self.server.push_secret(&url(push)) else { return };
        let holds_nothing = object.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        // What was edited to be deleted, and was not reconciled since, the API server lets go before anybody knows.
        if policy(&object) == Policy::None || holds_nothing && !is_ready(&object) {
            self.may_leave(push);
        }
        let mut object = json!(object);
        match object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            true => {
                self.server.remove(&url(push));
                self.offers.forget(&Name::new("db", name(push)));
            }
            false => {
                object["metadata"]["deletionTimestamp"] =
                    json!(Timestamp::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
                self.server.put(&url(push), object);
            }
        }
    }

    /// With `deletionPolicy: None` what a PushSecret has listed or claimed stays where it is, by its own wish.
    fn may_leave(&mut self, push: usize) {
        let Some(object) = self.server.push_secret(&url(push)) else { return };
        let listed = spots().filter(|spot| lists(&object, *spot));
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let claimed = spots().filter(|spot| self.owner(*spot).as_deref() == Some(uid.as_str()));
        let all: Vec<Spot> = listed.chain(claimed).collect();
        self.orphaned.extend(all);
    }

    fn source(&mut self, source: usize, there: bool) {
        let url = format!("/namespaces/db/secrets/source{source}");
        self.sources[source] = there.then(|| format!("v{}", self.next()));
        match &self.sources[source] {
            Some(value) => {
                let data = base64::engine::general_purpose::STANDARD.encode(value);
                let secret = json!({ "apiVersion": "v1", "kind": "Secret", "data": { "key": data },
                    "metadata": { "name": format!("source{source}"), "uid": format!("s{source}") } });
                self.server.put(&url, secret);
            }
            None => self.server.remove(&url),
        }
    }

    fn erase(&mut self, store: usize, path: usize, mark: bool) {
        if matches!(self.stores[store].peek(&at(path)).state, EntryState::Absent) {
            return;
        }
        let marker = (claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned());
        self.stores[store].put_metadata(&at(path), mark.then_some(marker).into_iter().collect());
        // Nobody can say any more whose these are: another may take them, and let them go.
        self.acknowledged.retain(|(spot, _)| (spot.store, spot.path) != (store, path));
    }

    fn stand(&mut self, store: usize, standing: Standing) {
        self.standing.lock().unwrap()[store] = standing;
        let fake = &self.stores[store];
        fake.recover();
        let mut odd = false;
        fake.before_each(move |_, _| {
            odd = !odd;
            let down = || StoreError::Sealed { server: "fake".into() };
            match standing {
                Standing::Down => Some(Fault::Refuse(down())),
                Standing::Lossy if odd => Some(Fault::LoseReply(down())),
                _ => None,
            }
        });
        if standing == Standing::Hanging {
            fake.hang();
        }
    }

    /// One reconcile with its status written, as the controller does it, or as much of it as the polls allow.
    async fn turn(&mut self, push: usize, behind: usize, stop: Option<u16>) {
        let Some(object) = self.server.push_secret_before(&url(push), behind) else { return };
        let run = tokio::time::timeout(LONGEST_TURN, self.reconcile(push, object));
        let before: Vec<Spot> = self
            .server
            .push_secret(&url(push))
            .iter()
            .flat_map(|push| spots().filter(move |spot| lists(push, *spot)))
            .collect();
        let report = match stop {
            None => run.await.ok(),
            Some(polls) => stopped(run, polls).await.and_then(Result::ok),
        };
        if self.server.push_secret(&url(push)).is_none() {
            self.offers.forget(&Name::new("db", name(push)));
        }
        if report.is_none() {
            // Its last word may have gone with it: that it lets the PushSecret go, or leaves what it cannot tell its own.
            let is_gone = self.server.push_secret(&url(push)).is_none();
            let unsaid: Vec<Spot> = before.into_iter().filter(|spot| is_gone || self.is_foreign(*spot)).collect();
            self.orphaned.extend(unsaid);
        }
        let left = match report {
            Some(Report::LetGo { left, .. } | Report::Orphaned { left, .. }) => left,
            _ => return,
        };
        let named = |spot: &Spot| {
            let names = NAMES.iter().filter(|(_, server)| *server == spot.store);
            let parts = left.split([',', ';']);
            let is_named = |part: &str| part.contains(PATHS[spot.path]) && part.contains(PROPERTIES[spot.property]);
            parts.filter(|part| is_named(part)).any(|part| names.clone().any(|(name, _)| part.contains(name)))
        };
        self.orphaned.extend(spots().filter(named));
    }

    async fn reconcile(&self, push: usize, object: PushSecret) -> Report<PushSecretStatus> {
        let cluster = self.server.cluster();
        let shelf = Shelf { stores: self.stores.clone(), standing: self.standing.clone() };
        // The runtime's clock moves only when we let it.
        let passed = Duration::from_millis(
            u64::try_from(tokio::time::Instant::now().into_std().saturating_duration_since(self.began).as_millis())
                .unwrap_or_default(),
        );
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + passed;
        let world = reconcile::World {
            cluster: &cluster,
            stores: &shelf,
            announce: &|_key, _pushed| {},
            publishes: &|_places| {},
            referrers: &self.referrers,
            config_maps: &self.config_maps,
            convention: &self.convention,
            heartbeat: Duration::from_secs(24 * 3600),
            cleanup_deadline: Duration::from_secs(600),
            cluster_name: "here",
            intents: &self.intents,
            deletions: &self.deletions,
            offers: &self.offers,
            instant: self.began + passed,
            now: now + SignedDuration::from_mins(self.clock),
        };
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let report = reconcile(Arc::new(object), &world).await;
        let said = match &report {
            Report::Orphaned { rest, .. } => rest,
            report => report,
        };
        if let Report::Verdict { status, .. } = said
            && let Some(change) = difference(&json!(status.before), &json!(status.after))
        {
            let api = kube::Api::<PushSecret>::namespaced(cluster.client(), "db");
            let precondition = Precondition { uid: &uid, resource_version: status.resource_version.as_deref() };
            // A status that cannot be written is written by the next turn.
            let _written = cluster.patch_status(&api, "PushSecret", name(push), &precondition, change).await;
        }
        report
    }

    /// All PushSecrets that are there.
    pub fn pushes(&self) -> Vec<PushSecret> {
        (0..PUSHES).filter_map(|push| self.server.push_secret(&url(push))).collect()
    }

    /// The text that stands there.
    pub fn text(&self, spot: Spot) -> Option<String> {
        let entry = self.stores[spot.store].peek(&at(spot.path));
        let value = entry.data()?.get(PROPERTIES[spot.property])?.rendered();
        value.expose_utf8().map(str::to_owned)
    }

    /// Whose claim stands there.
    pub fn owner(&self, spot: Spot) -> Option<String> {
        let entry = self.stores[spot.store].peek(&at(spot.path));
        claim::owner(&entry.custom_metadata, PROPERTIES[spot.property]).map(|owner| owner.uid)
    }

    /// Whether the path holds, or held, data without the mark: then it is somebody's until it is adopted.
    pub fn is_foreign(&self, spot: Spot) -> bool {
        let entry = self.stores[spot.store].peek(&at(spot.path));
        let is_filled = !matches!(entry.state, EntryState::Absent | EntryState::Empty);
        is_filled && !claim::is_marked(&entry.custom_metadata)
    }
}

fn offers(server: &ApiServer, woken: &Arc<Mutex<Vec<Name>>>) -> Offers {
    let woken = woken.clone();
    Offers::new(Box::new(server.clone()), Box::new(move |name| woken.lock().unwrap().push(name)))
}

/// Every property of every path on every server.
pub fn spots() -> impl Iterator<Item = Spot> {
    let all = (0..STORES).flat_map(|store| (0..PATHS.len()).map(move |path| (store, path)));
    all.flat_map(|(store, path)| (0..PROPERTIES.len()).map(move |property| Spot { store, path, property }))
}

/// Whether the ledger has a line for it.
pub fn lists(push: &PushSecret, spot: Spot) -> bool {
    let ledger = push.status.as_ref().map(|status| &status.synced_push_secrets);
    let names = NAMES.iter().filter(|(_, server)| *server == spot.store);
    names.filter_map(|(name, _)| ledger?.get(&format!("ClusterSecretStore/{name}"))).any(|lines| {
        lines.values().any(|line| {
            let remote = &line.match_.remote_ref;
            remote.remote_key == PATHS[spot.path] && remote.property.as_deref() == Some(PROPERTIES[spot.property])
        })
    })
}

/// Whether the spec asks for it.
pub fn wants(push: &PushSecret, spot: Spot) -> bool {
    let names = NAMES.iter().filter(|(_, server)| *server == spot.store).map(|(name, _)| *name);
    let named = |name: &str| push.spec.secret_store_refs.iter().any(|store| store.name.as_deref() == Some(name));
    let mapped = |data: &crate::api::push_secret::PushSecretData| {
        let remote = &data.match_.remote_ref;
        remote.remote_key == PATHS[spot.path] && remote.property.as_deref() == Some(PROPERTIES[spot.property])
    };
    names.into_iter().any(named) && push.spec.data.iter().any(mapped)
}

/// Which source the spec names.
pub fn source_of(push: &PushSecret) -> usize {
    let named = push.spec.selector.secret.as_ref().and_then(|secret| secret.name.as_deref());
    usize::from(named == Some("source1"))
}

pub fn policy(push: &PushSecret) -> Policy {
    match push.spec.deletion_policy() {
        crate::api::push_secret::PushDeletionPolicy::Delete => Policy::Delete,
        crate::api::push_secret::PushDeletionPolicy::None => Policy::None,
    }
}

pub fn at(path: usize) -> RemotePath {
    RemotePath::parse(Some("secret"), PATHS[path]).expect("a path of the convention")
}

fn name(push: usize) -> &'static str {
    ["first", "second"][push]
}

fn url(push: usize) -> String {
    format!("/namespaces/db/pushsecrets/{}", name(push))
}

fn spec(wish: Wish) -> Value {
    let stores = NAMES.iter().enumerate().filter(|(bit, _)| wish.stores & (1 << bit) != 0);
    let stores: Vec<Value> =
        stores.map(|(_, (name, _))| json!({ "name": name, "kind": "ClusterSecretStore" })).collect();
    let all = (0..PATHS.len()).flat_map(|path| (0..PROPERTIES.len()).map(move |property| (path, property)));
    let data = all.enumerate().filter(|(bit, _)| wish.spots & (1 << bit) != 0).map(|(_, (path, property))| {
        json!({ "match": { "secretKey": "key", "remoteRef": { "remoteKey": PATHS[path], "property": PROPERTIES[property] } } })
    });
    json!({
        "refreshInterval": "1h", "deletionPolicy": format!("{:?}", wish.policy), "secretStoreRefs": stores,
        "selector": { "secret": { "name": format!("source{}", wish.source) } }, "data": data.collect::<Vec<_>>(),
    })
}

/// Polls so often, and drops what is not done by then.
async fn stopped<F: Future>(future: F, polls: u16) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(done) = futures::poll!(&mut future) {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// By name, what every PushSecret lists, for messages.
pub fn ledgers(world: &World) -> BTreeMap<String, Vec<Spot>> {
    let of = |push: PushSecret| {
        (push.metadata.name.clone().unwrap_or_default(), spots().filter(|spot| lists(&push, *spot)).collect())
    };
    world.pushes().into_iter().map(of).collect()
}
