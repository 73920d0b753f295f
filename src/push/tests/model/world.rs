//! The cluster, the stores and the controller of the model, and how each move changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use parking_lot::Mutex;
use serde_json::json;

use super::laws::is_ready;
use super::moves::{Move, NAMES, PATHS, PROPERTIES, PUSHES, Policy, SERVERS, SITES, SOURCES, Standing, Wish};
use super::objects::{forger, secret, spec, stranger};
use super::shelf::{Edited, FORGED, Shelf, site};
use crate::api::PushSecret;
use crate::api::push_secret::{PushSecretData, PushSecretStatus};
use crate::api::store_location::StoreLocation;
use crate::cluster::in_memory::ApiServer;
use crate::controller::referrers::Referrers;
use crate::controller::report::Report;
use crate::domain::claim;
use crate::domain::convention::{Convention, Mode};
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::EntryState;
use crate::metrics::LetGo;
use crate::push::deletions::Deletions;
use crate::push::intents::Intents;
use crate::push::offers::Offers;
use crate::push::patience::Leeway;
use crate::push::reconcile::{self, reconcile};
use crate::push::tests::bench::save;
use crate::store::StoreError;
use crate::store::fake::{FakeStore, Fault};

/// A reconcile that takes longer is stopped, as a process is.
const LONGEST_TURN: Duration = Duration::from_secs(300);
/// How long what cannot be removed holds a PushSecret that is deleted.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(600);
/// How often all PushSecrets are reconciled until it is calm, a good minute apart.
const CALM_ROUNDS: usize = 14;
/// A PushSecret of another namespace that fails for ever, and whose mapping may mean any path (ADR
/// 0027).
const STRANGER: &str = "/namespaces/other/pushsecrets/stranger";
/// A PushSecret that wants everything, of a server that only calls itself like the first one.
const FORGER: &str = "/namespaces/other/pushsecrets/forger";

/// A property of a path at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub site: usize,
    pub path: usize,
    pub property: usize,
}

pub struct World {
    pub server: ApiServer,
    pub servers: [FakeStore; SERVERS.len()],
    forged: FakeStore,
    pub sources: [Option<String>; SOURCES],
    /// Where a value of ours may be that no ledger lists: its PushSecret said so, or the model did.
    pub orphaned: BTreeSet<Spot>,
    /// Where which PushSecret, by its UID, had a value when it said Ready.
    pub acknowledged: BTreeSet<(Spot, String)>,
    /// The same for values that are wanted elsewhere now.
    pub moving: BTreeSet<(Spot, String)>,
    /// What was let go before the deadline of its clean-up, by the clock that nobody sets.
    pub let_go_early: Option<String>,
    /// When each PushSecret was deleted, by its UID.
    deleted: BTreeMap<String, tokio::time::Instant>,
    standing: Arc<Mutex<[Standing; SERVERS.len()]>>,
    stores: Arc<Mutex<Edited>>,
    referrers: Referrers,
    config_maps: Referrers,
    intents: Intents,
    deletions: Deletions,
    offers: Offers,
    leeway: Leeway,
    woken: Arc<Mutex<Vec<Name>>>,
    began: Instant,
    clock: i64,
    serial: u64,
}

impl World {
    pub fn new() -> Self {
        let (server, woken) = (ApiServer::default(), Arc::<Mutex<Vec<Name>>>::default());
        let servers = SERVERS.map(FakeStore::on);
        servers.iter().for_each(FakeStore::yield_at_each_request);
        SITES.iter().for_each(|(server, mount)| servers[*server].add_mount(mount));
        server.yield_at_each_request();
        server.put("/namespaces/db", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "db" } }));
        let mut world = World {
            offers: offers(&server, &woken),
            woken,
            server,
            servers,
            forged: FakeStore::on(SERVERS[0]).with_address("forged.example").with_identity(FORGED),
            sources: [None, None],
            orphaned: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            moving: BTreeSet::new(),
            let_go_early: None,
            deleted: BTreeMap::new(),
            standing: Arc::new(Mutex::new([Standing::Up; SERVERS.len()])),
            stores: Arc::new(Mutex::new(Edited {
                leads: NAMES.map(|(_, site)| site),
                shown: [None; NAMES.len()],
                sessions: BTreeSet::new(),
            })),
            referrers: Referrers::default(),
            config_maps: Referrers::default(),
            intents: Intents::default(),
            deletions: Deletions::default(),
            leeway: Leeway::default(),
            began: Instant::now(),
            clock: 0,
            serial: 0,
        };
        (0..SOURCES).for_each(|source| world.source(source, true));
        world.server.put(STRANGER, stranger());
        world.server.put("/namespaces/other/secrets/source", secret("source", "theirs"));
        world
    }

    pub async fn make(&mut self, what: &Move) {
        match what {
            Move::Apply { push, wish } => self.apply(*push, *wish),
            Move::Delete { push } => self.delete(*push),
            Move::Source { source, there } => self.source(*source, *there),
            Move::Erase { site, path, mark } => self.erase(*site, *path, *mark),
            Move::Store { server, standing } => self.stand(*server, *standing),
            Move::Edit { name, site, session } => self.edit(*name, *site, *session),
            Move::Lag { name, site } => self.lag(*name, *site),
            Move::Told => self.told(),
            Move::Turn { push, behind, stop } => self.turn(*push, *behind, *stop).await,
            Move::Woken => self.woken().await,
            Move::Forge => self.forge().await,
            Move::Restart => self.restart(),
            Move::Wait { seconds } => tokio::time::advance(Duration::from_secs(*seconds)).await,
            Move::Clock { minutes } => self.clock += minutes,
        }
    }

    /// All servers answer again, and every PushSecret is reconciled until nothing is left to do.
    pub async fn calm(&mut self) -> Result<(), String> {
        (0..SERVERS.len()).for_each(|server| self.stand(server, Standing::Up));
        self.told();
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
            let stores = world.servers.iter().flat_map(FakeStore::requests);
            let stores = stores.filter(|request| request.operation.mutates()).map(|request| format!("{request:?}"));
            world.server.writes().into_iter().chain(stores).collect()
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
        self.strangers_turn().await;
        if self.server.push_secret(FORGER).is_some() {
            self.forge().await;
        }
    }

    async fn woken(&mut self) {
        let woken: BTreeSet<Name> = self.woken.lock().drain(..).collect();
        for push in (0..PUSHES).filter(|push| woken.contains(&Name::new("db", name(*push)))) {
            self.turn(push, 0, None).await;
        }
    }

    /// One reconcile of the stranger. The convention of its namespace lets it name no path.
    async fn strangers_turn(&self) {
        self.reconcile(self.stranger(), &Convention::with_mode(Mode::Off)).await;
    }

    async fn forge(&self) {
        for path in 0..PATHS.len() {
            let (place, ours) = (at(0, path), self.servers[0].peek(&at(0, path)));
            if let Some(data) = ours.data() {
                self.forged
                    .put(&place, data.iter().map(|(property, value)| (property.clone(), value.duplicate())).collect());
                self.forged.put_metadata(&place, ours.custom_metadata);
            }
        }
        if self.server.push_secret(FORGER).is_none() {
            self.server.put(FORGER, forger());
        }
        let forger = self.server.push_secret(FORGER).expect("nobody deletes it");
        self.reconcile(forger, &Convention::with_mode(Mode::Off)).await;
    }

    pub fn stranger(&self) -> PushSecret {
        self.server.push_secret(STRANGER).expect("nobody deletes it")
    }

    /// Whether somebody asked it since the last ones who were woken had their turn.
    pub fn is_stranger_asked(&self) -> bool {
        self.woken.lock().contains(&Name::new("other", "stranger"))
    }

    fn restart(&mut self) {
        self.offers = offers(&self.server, &self.woken);
        (self.intents, self.deletions, self.leeway) = (Intents::default(), Deletions::default(), Leeway::default());
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
        // What was edited to be deleted, and was not reconciled since, the API server lets go
        // before anybody knows.
        if policy(&object) == Policy::None || holds_nothing && !is_ready(&object) {
            self.may_leave(push);
        }
        let uid = object.metadata.uid.clone().unwrap_or_default();
        self.deleted.entry(uid).or_insert_with(tokio::time::Instant::now);
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

    /// With `deletionPolicy: None`, what a PushSecret listed or claimed stays, as its spec says.
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
            Some(value) => self.server.put(&url, secret(&format!("source{source}"), value)),
            None => self.server.remove(&url),
        }
    }

    fn erase(&mut self, site: usize, path: usize, mark: bool) {
        let (server, place) = (&self.servers[SITES[site].0], at(site, path));
        if matches!(server.peek(&place).state, EntryState::Absent) {
            return;
        }
        let marker = (claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned());
        server.put_metadata(&place, mark.then_some(marker).into_iter().collect());
        // Nobody can say any more whose these are: another may take them, and let them go.
        self.acknowledged.retain(|(spot, _)| (spot.site, spot.path) != (site, path));
        self.moving.retain(|(spot, _)| (spot.site, spot.path) != (site, path));
    }

    fn lag(&mut self, name: usize, site: usize) {
        self.stores_move();
        self.stores.lock().shown[name] = Some(site);
    }

    fn told(&mut self) {
        self.stores_move();
        self.stores.lock().shown = [None; NAMES.len()];
    }

    /// A store leads elsewhere now, or so it seems to the controller.
    fn stores_move(&mut self) {
        for push in 0..PUSHES {
            if self.server.push_secret(&url(push)).is_some_and(|push| policy(&push) == Policy::None) {
                self.may_leave(push);
            }
        }
    }

    fn edit(&mut self, name: usize, site: usize, session: bool) {
        self.stores_move();
        let mut stores = self.stores.lock();
        let before = std::mem::replace(&mut stores.leads[name], site);
        if !session {
            stores.sessions.retain(|(of, _)| *of != name);
        } else if before != site {
            stores.sessions.insert((name, before));
        }
    }

    fn stand(&mut self, server: usize, standing: Standing) {
        self.standing.lock()[server] = standing;
        let fake = &self.servers[server];
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

    /// One reconcile with its status written, as the controller does it, or as much of it as the
    /// polls allow.
    async fn turn(&mut self, push: usize, behind: usize, stop: Option<u16>) {
        let Some(object) = self.server.get_before::<PushSecret>(&url(push), behind) else { return };
        let convention = Convention::default();
        let object_locations = object.status.as_ref().map(|status| status.store_locations.clone());
        let deleted = self.deleted.get(object.metadata.uid.as_deref().unwrap_or_default()).copied();
        let run = tokio::time::timeout(LONGEST_TURN, self.reconcile(object, &convention));
        let before: Vec<Spot> = self
            .server
            .push_secret(&url(push))
            .iter()
            .flat_map(|push| spots().filter(move |spot| lists(push, *spot)))
            .collect();
        let known = object_locations.unwrap_or_default();
        let report = match stop {
            None => run.await.ok(),
            Some(polls) => stopped(run, polls).await.and_then(Result::ok),
        };
        if self.server.push_secret(&url(push)).is_none() {
            self.offers.forget(&Name::new("db", name(push)));
        }
        if report.is_none() {
            // Its last word may have gone with it: that it lets the PushSecret go, or leaves what
            // it cannot tell its own.
            let is_gone = self.server.push_secret(&url(push)).is_none();
            let unsaid: Vec<Spot> = before.into_iter().filter(|spot| is_gone || self.is_foreign(*spot)).collect();
            self.orphaned.extend(unsaid);
        }
        if let Some(Report::LetGo { why: why @ (LetGo::StoreGone | LetGo::Unreadable), left }) = &report
            && deleted.is_none_or(|deleted| deleted.elapsed() < CLEANUP_DEADLINE)
        {
            self.let_go_early = Some(format!("{why:?}: {left}"));
        }
        let mut words = Vec::new();
        let mut report = report.as_ref();
        while let Some(Report::LetGo { left, .. } | Report::Orphaned { left, .. }) = report {
            words.extend(left.split([',', ';']).map(str::to_owned));
            report = match report {
                Some(Report::Orphaned { rest, .. }) => Some(rest),
                _ => None,
            };
        }
        let named: Vec<Spot> =
            spots().filter(|spot| words.iter().any(|part| self.names(part, *spot, &known))).collect();
        self.orphaned.extend(named);
    }

    /// Whether a message names the value there: by its former location, or by where the store leads
    /// or led by the status.
    fn names(&self, words: &str, spot: Spot, known: &BTreeMap<String, StoreLocation>) -> bool {
        let (server, mount) = SITES[spot.site];
        let leads = self.stores.lock().leads;
        let mut names =
            NAMES.iter().enumerate().filter(|(_, (name, _))| words.contains(&format!("ClusterSecretStore/{name}")));
        let is_there = match words.contains("(formerly ") {
            true => words.contains(&format!("(formerly mount {mount} at {})", SERVERS[server])),
            false => names.any(|(number, (name, _))| {
                let recorded = known.get(&format!("ClusterSecretStore/{name}")).and_then(site);
                recorded.unwrap_or(leads[number]) == spot.site
            }),
        };
        is_there && words.contains(PATHS[spot.path]) && words.contains(PROPERTIES[spot.property])
    }

    /// Whether the spec asks for it.
    pub fn wants(&self, push: &PushSecret, spot: Spot) -> bool {
        maps(push, spot) && self.sites_of(push).contains(&spot.site)
    }

    /// The places that the spec's stores lead to.
    pub fn sites_of(&self, push: &PushSecret) -> BTreeSet<usize> {
        let leads = self.stores.lock().leads;
        let named = |name: &str| push.spec.secret_store_refs.iter().any(|store| store.name.as_deref() == Some(name));
        NAMES.iter().zip(leads).filter(|((name, _), _)| named(name)).map(|(_, site)| site).collect()
    }

    async fn reconcile(&self, object: PushSecret, convention: &Convention) -> Report<PushSecretStatus> {
        let cluster = self.server.cluster();
        let (servers, standing, stores) = (self.servers.clone(), self.standing.clone(), self.stores.clone());
        let shelf = Shelf { servers, forged: self.forged.clone(), standing, stores };
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
            beyond: &Vec::new,
            tells_beyond: &|_paths| {},
            referrers: &self.referrers,
            config_maps: &self.config_maps,
            convention,
            heartbeat: Duration::from_secs(24 * 3600),
            cleanup_deadline: CLEANUP_DEADLINE,
            cluster_name: "here",
            intents: &self.intents,
            deletions: &self.deletions,
            offers: &self.offers,
            leeway: &self.leeway,
            instant: self.began + passed,
            now: now + SignedDuration::from_mins(self.clock),
        };
        let (uid, name) = (object.metadata.uid.clone().unwrap_or_default(), object.name_any());
        let namespace = object.namespace().unwrap_or_default();
        let report = reconcile(Arc::new(object), &world).await;
        save(&cluster, [&uid, &namespace, &name], &report).await;
        report
    }

    /// All PushSecrets that are there.
    pub fn pushes(&self) -> Vec<PushSecret> {
        (0..PUSHES).filter_map(|push| self.server.push_secret(&url(push))).collect()
    }

    /// The text there.
    pub fn text(&self, spot: Spot) -> Option<String> {
        let entry = self.servers[SITES[spot.site].0].peek(&at(spot.site, spot.path));
        let value = entry.data()?.get(PROPERTIES[spot.property])?.rendered();
        value.expose_utf8().map(str::to_owned)
    }

    /// The UID of the owner there.
    pub fn owner(&self, spot: Spot) -> Option<String> {
        let entry = self.servers[SITES[spot.site].0].peek(&at(spot.site, spot.path));
        claim::owner(&entry.custom_metadata, PROPERTIES[spot.property]).map(|owner| owner.uid)
    }

    /// Whether the path holds, or held, data without the mark: then it is somebody's until it is
    /// adopted.
    pub fn is_foreign(&self, spot: Spot) -> bool {
        let entry = self.servers[SITES[spot.site].0].peek(&at(spot.site, spot.path));
        let is_filled = !matches!(entry.state, EntryState::Absent | EntryState::Empty);
        is_filled && !claim::is_marked(&entry.custom_metadata)
    }
}

fn offers(server: &ApiServer, woken: &Arc<Mutex<Vec<Name>>>) -> Offers {
    let woken = woken.clone();
    Offers::new(Box::new(server.clone()), Box::new(move |name| woken.lock().push(name)))
}

/// Every property of every path at every place.
pub fn spots() -> impl Iterator<Item = Spot> {
    let all = (0..SITES.len()).flat_map(|site| (0..PATHS.len()).map(move |path| (site, path)));
    all.flat_map(|(site, path)| (0..PROPERTIES.len()).map(move |property| Spot { site, path, property }))
}

/// Whether the ledger has a line for it.
pub fn lists(push: &PushSecret, spot: Spot) -> bool {
    let ledger = push.status.as_ref().map(|status| status.ledger()).unwrap_or_default();
    let synced = ledger.synced.iter().filter_map(|(store, lines)| Some((site(ledger.locations.get(store)?)?, lines)));
    let former = ledger.former.iter().filter_map(|former| Some((site(&former.location)?, &former.pushed)));
    synced
        .chain(former)
        .filter(|(site, _)| *site == spot.site)
        .flat_map(|(_, lines)| lines.values())
        .any(|line| is_of(line, spot))
}

/// Whether the spec has it, wherever its stores lead.
pub fn maps(push: &PushSecret, spot: Spot) -> bool {
    push.spec.data.iter().any(|data| is_of(data, spot))
}

fn is_of(data: &PushSecretData, spot: Spot) -> bool {
    let remote = &data.match_.remote_ref;
    remote.remote_key == PATHS[spot.path] && remote.property.as_deref() == Some(PROPERTIES[spot.property])
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

pub fn at(site: usize, path: usize) -> RemotePath {
    RemotePath::parse(Some(SITES[site].1), PATHS[path]).expect("a path of the convention")
}

fn name(push: usize) -> &'static str {
    ["first", "second"][push]
}

fn url(push: usize) -> String {
    format!("/namespaces/db/pushsecrets/{}", name(push))
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
