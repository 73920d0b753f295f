//! The cluster, the stores and the processes of the model, and how each move changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::laws::is_ready;
use super::losses::Losses;
use super::moves::{By, Move, NAMES, PATHS, PROPERTIES, PUSHES, Policy, SERVERS, SITES, SOURCES, Standing, Stop, Wish};
use super::objects::{forger, secret, spec, stranger};
use super::process::Process;
use super::shelf::{FORGED, site};
use crate::api::PushSecret;
use crate::api::names::ANNOTATION_EARLIER_VERSIONS;
use crate::api::push_secret::PushSecretData;
use crate::cluster::in_memory::{self, ApiServer};
use crate::domain::claim;
use crate::domain::convention::{Convention, Mode};
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::EntryState;
use crate::store::StoreError;
use crate::store::fake::{Counting, FakeStore, Fault, Operation};

/// How long it stays calm: longer than a deadline and the longest pause after a failure, and shorter
/// than a refresh. What nobody was told of is found by retries, or not at all.
const CALM: Duration = Duration::from_secs(1800);
/// The most reconciles until nothing is left to do. One that is hindered tries again each minute.
const CALM_TURNS: usize = 200;
/// How late a slow server answers.
const SLOW: Duration = Duration::from_millis(1500);
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
    pub(super) forged: FakeStore,
    pub sources: [Option<String>; SOURCES],
    /// By path, whose label the source has that is named in it, and its value.
    pub(super) teams: [Option<(usize, String)>; PATHS.len()],
    pub losses: Losses,
    /// Where a value of ours may be that no ledger lists: its PushSecret said so, or the model did.
    pub orphaned: BTreeSet<Spot>,
    /// Where which PushSecret, by its UID, had a value when it said Ready.
    pub acknowledged: BTreeSet<(Spot, String)>,
    /// The same for values that are wanted elsewhere now.
    pub moving: BTreeSet<(Spot, String)>,
    /// The UIDs of those that said what they leave, and are about to go.
    pub released: BTreeSet<String>,
    /// What was let go before the deadline of its clean-up, by the clock that nobody sets.
    pub let_go_early: Option<String>,
    /// When each PushSecret was deleted, by its UID.
    pub(super) deleted: BTreeMap<String, Instant>,
    pub(super) standing: [Standing; SERVERS.len()],
    /// Where the stores lead.
    pub(super) leads: [usize; NAMES.len()],
    /// The process that leads.
    pub(super) leader: Process,
    /// One that led before, and does not know yet that another one does.
    pub(super) former: Option<Process>,
    /// What watches last showed of each PushSecret.
    shown: [Option<Shown>; PUSHES],
    pub(super) began: std::time::Instant,
    pub(super) clock: i64,
    serial: u64,
}

/// What of a PushSecret triggers a reconcile if it changes.
#[derive(PartialEq, Eq)]
struct Shown {
    uid: Option<String>,
    generation: Option<i64>,
    finalizers: Option<Vec<String>>,
    is_deleted: bool,
}

impl World {
    pub fn new() -> Self {
        let server = ApiServer::default();
        // One claims in two steps, as on Vault, the other in one request, as on OpenBao.
        let [vault, bao] = SERVERS.map(FakeStore::on);
        let servers = [vault, bao.with_counting(Counting::Offered)];
        servers.iter().for_each(FakeStore::yield_at_each_request);
        SITES.iter().for_each(|(server, mount)| servers[*server].add_mount(mount));
        server.yield_at_each_request();
        server.put("/namespaces/db", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "db" } }));
        let mut world = World {
            leader: process(&server),
            former: Some(process(&server)),
            server,
            servers,
            forged: FakeStore::on(SERVERS[0]).with_address("forged.example").with_identity(FORGED),
            sources: [None, None],
            teams: [None, None],
            losses: Losses::default(),
            orphaned: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            moving: BTreeSet::new(),
            released: BTreeSet::new(),
            let_go_early: None,
            deleted: BTreeMap::new(),
            standing: [Standing::Up; SERVERS.len()],
            leads: NAMES.map(|(_, site)| site),
            shown: [None, None],
            began: std::time::Instant::now(),
            clock: 0,
            serial: 0,
        };
        world.losses.watch(&world.servers);
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
            Move::Amid { push, source, there, after } => self.amid(*push, *source, *there, *after).await,
            Move::Relabel { path, to } => self.relabel(*path, *to).await,
            Move::Erase { site, path, mark } => self.erase(*site, *path, *mark),
            Move::Unwritten { count, is_made } => {
                let fault = if *is_made { in_memory::Fault::LoseReply } else { in_memory::Fault::Refuse };
                (0..*count).for_each(|_| self.server.fail_next_write("/pushsecrets/", fault));
            }
            Move::Store { server, standing } => self.stand(*server, *standing),
            Move::Edit { name, site, session } => self.edit(*name, *site, *session),
            Move::Lag { name, site } => self.lag(*name, *site),
            Move::Told => self.told(),
            Move::Turn { push, by, behind, stop } => self.turn(*push, *by, *behind, *stop).await,
            Move::Both { turns, after } => self.both(*turns, *after).await,
            Move::Woken { by } => self.woken(*by).await,
            Move::Forge => self.forge().await,
            Move::Restart => self.restart(),
            Move::TakeOver => self.take_over(),
            Move::Wait { seconds } => tokio::time::advance(Duration::from_secs(*seconds)).await,
            Move::Clock { minutes } => self.clock += minutes,
        }
        self.show();
    }

    /// All servers answer again, and one process leads. It reconciles what it is woken for and what
    /// is due, until nothing is left to do before the next refresh.
    pub async fn calm(&mut self) -> Result<(), String> {
        (0..SERVERS.len()).for_each(|server| self.stand(server, Standing::Up));
        self.server.heal();
        self.told();
        (self.clock, self.former) = (0, None);
        self.strangers_turn().await;
        self.settle(CALM).await
    }

    /// Once more after a refresh, which finds what others wrote beside its own.
    pub async fn refreshed(&mut self) -> Result<(), String> {
        self.refresh(std::iter::once(&self.leader));
        if self.server.push_secret(FORGER).is_some() {
            self.leader.wake([Name::new("other", "forger")]);
        }
        self.settle(Duration::from_secs(120)).await
    }

    async fn settle(&mut self, within: Duration) -> Result<(), String> {
        let (latest, mut turns) = (Instant::now() + within, 0);
        while let Some(name) = self.leader.next(latest).await {
            self.turn_of(&name).await;
            self.show();
            super::laws::hold(self).map_err(|broken| format!("when {name} was reconciled in the calm: {broken}"))?;
            turns += 1;
            if turns > CALM_TURNS {
                return Err(format!("it does not become calm: {name} is reconciled again"));
            }
        }
        Ok(())
    }

    /// Another round changes nothing, anywhere.
    pub async fn stays_silent(&mut self) -> Result<(), String> {
        let mutations = |world: &World| -> Vec<Vec<String>> {
            let of_store = |store: &FakeStore| {
                let mutating = store.requests().into_iter().filter(|request| request.operation.mutates());
                mutating.map(|request| format!("{request:?}")).collect()
            };
            std::iter::once(world.server.writes()).chain(world.servers.iter().map(of_store)).collect()
        };
        let before = mutations(self);
        tokio::time::advance(Duration::from_secs(61)).await;
        for push in 0..PUSHES {
            self.turn(push, By::Leader, 0, None).await;
        }
        self.strangers_turn().await;
        if self.server.push_secret(FORGER).is_some() {
            self.forge().await;
        }
        let after = mutations(self).into_iter().zip(&before);
        let more: Vec<String> = after.flat_map(|(after, before)| after.into_iter().skip(before.len())).collect();
        if more.is_empty() { Ok(()) } else { Err(format!("it is not silent: {more:?}")) }
    }

    /// One reconcile of whoever has this name.
    async fn turn_of(&mut self, of: &Name) {
        match (0..PUSHES).find(|push| Name::new("db", name(*push)) == *of) {
            Some(push) => self.turn(push, By::Leader, 0, None).await,
            None if &*of.name == "forger" => self.forge().await,
            None => self.strangers_turn().await,
        }
    }

    pub(super) async fn turn(&mut self, push: usize, by: By, behind: usize, stop: Option<Stop>) {
        let by = self.as_it_is(by);
        self.stores_may_move(by);
        self.losses.of(self.server.push_secret(&url(push)).and_then(|push| push.metadata.uid));
        match self.run(push, by, behind, stop).await {
            Some(turn) => self.take(&turn),
            None => self.process(by).begins(&Name::new("db", name(push))),
        }
        // The watch still has to show what the copy lacks.
        if by == By::Former || behind > 0 {
            self.refresh_of([push]);
        }
    }

    /// A process reconciles a PushSecret once at a time.
    async fn both(&mut self, turns: [(usize, By); 2], after: u16) {
        let turns = turns.map(|(push, by)| (push, self.as_it_is(by)));
        if turns[0] == turns[1] {
            return self.turn(turns[0].0, turns[0].1, 0, None).await;
        }
        turns.iter().for_each(|(_, by)| self.stores_may_move(*by));
        self.losses.of(None);
        for turn in self.run_both(turns, after).await.iter().flatten() {
            self.take(turn);
        }
        let by_former = turns.iter().filter(|(_, by)| *by == By::Former);
        self.refresh_of(by_former.map(|(push, _)| *push));
    }

    /// If none is left that led before, the one that leads does its part.
    fn as_it_is(&self, by: By) -> By {
        if self.former.is_some() { by } else { By::Leader }
    }

    pub(super) async fn woken(&mut self, by: By) {
        let process = self.process(by);
        let woken: Vec<usize> = (0..PUSHES).filter(|push| process.is_woken(&Name::new("db", name(*push)))).collect();
        for push in woken {
            self.turn(push, by, 0, None).await;
        }
    }

    /// If none is left that led before, the one that leads.
    pub(super) fn process(&self, by: By) -> &Process {
        match by {
            By::Leader => &self.leader,
            By::Former => self.former.as_ref().unwrap_or(&self.leader),
        }
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.leader).chain(&self.former)
    }

    /// Nobody tells the leader what a former one writes for a PushSecret: its status, and by an old
    /// copy of it a value. The next refresh finds it (ADR 0026). Here it is at once.
    fn refresh_of(&self, pushes: impl IntoIterator<Item = usize>) {
        self.leader.wake(pushes.into_iter().map(|push| Name::new("db", name(push))));
    }

    /// The watch of a former leader may be behind.
    fn stores_may_move(&mut self, by: By) {
        if by == By::Former {
            self.stores_move();
        }
    }

    /// Watches show what has become of the PushSecrets.
    pub(super) fn show(&mut self) {
        for push in 0..PUSHES {
            let (name, present) = (Name::new("db", name(push)), self.server.push_secret(&url(push)));
            let present = present.map(|push| Shown {
                uid: push.metadata.uid,
                generation: push.metadata.generation,
                finalizers: push.metadata.finalizers,
                is_deleted: push.metadata.deletion_timestamp.is_some(),
            });
            if present != self.shown[push] {
                self.processes().for_each(|process| match &present {
                    Some(_) => process.wake([name.clone()]),
                    None => process.forget(&name),
                });
                self.shown[push] = present;
            }
        }
    }

    /// Everything is reconciled again: a store was edited, or the refresh finds something that
    /// nobody was told of.
    fn refresh<'p>(&self, processes: impl Iterator<Item = &'p Process>) {
        processes.for_each(|process| process.wake(known(&self.server)));
    }

    /// One reconcile of the stranger. The convention of its namespace lets it name no path.
    async fn strangers_turn(&self) {
        self.reconcile(&self.leader, self.stranger(), &Convention::with_mode(Mode::Off)).await;
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
        self.reconcile(&self.leader, forger, &Convention::with_mode(Mode::Off)).await;
    }

    pub fn stranger(&self) -> PushSecret {
        self.server.push_secret(STRANGER).expect("nobody deletes it")
    }

    /// Whether somebody asked it.
    pub fn is_stranger_asked(&self) -> bool {
        self.processes().any(|process| process.is_woken(&Name::new("other", "stranger")))
    }

    pub(super) fn restart(&mut self) {
        self.leader = process(&self.server);
    }

    fn take_over(&mut self) {
        self.former = Some(std::mem::replace(&mut self.leader, process(&self.server)));
    }

    pub(super) fn next(&mut self) -> u64 {
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
        object["metadata"]["annotations"] = json!({ ANNOTATION_EARLIER_VERSIONS: format!("{:?}", wish.earlier) });
        object["spec"] = spec(name(push), wish);
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
        self.deleted.entry(uid).or_insert_with(Instant::now);
        let mut object = json!(object);
        match object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            true => self.server.remove(&url(push)),
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
        self.refresh(self.processes());
    }

    fn lag(&mut self, name: usize, site: usize) {
        self.stores_move();
        self.take_over();
        self.leader.shown[name] = Some(site);
    }

    fn told(&mut self) {
        self.stores_move();
        let none = [None; NAMES.len()];
        self.refresh(self.processes().filter(|process| process.shown != none));
        for process in std::iter::once(&mut self.leader).chain(&mut self.former) {
            process.shown = none;
        }
    }

    /// A store leads elsewhere now, or so it seems to a process.
    fn stores_move(&mut self) {
        for push in 0..PUSHES {
            if self.server.push_secret(&url(push)).is_some_and(|push| policy(&push) == Policy::None) {
                self.may_leave(push);
            }
        }
    }

    /// The watch of a process that led before does not show it yet.
    fn edit(&mut self, name: usize, site: usize, session: bool) {
        self.stores_move();
        let before = std::mem::replace(&mut self.leads[name], site);
        for process in std::iter::once(&mut self.leader).chain(&mut self.former) {
            if !session {
                process.sessions.retain(|(of, _)| *of != name);
            } else if before != site {
                process.sessions.insert((name, before));
            }
        }
        if let Some(former) = &mut self.former {
            former.shown[name].get_or_insert(before);
        }
        self.refresh(std::iter::once(&self.leader));
    }

    fn stand(&mut self, server: usize, standing: Standing) {
        let before = std::mem::replace(&mut self.standing[server], standing);
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
        let pause = if standing == Standing::Slow { SLOW } else { Duration::ZERO };
        for operation in [Operation::Read, Operation::Write, Operation::PatchMetadata] {
            fake.slow(operation, pause);
        }
        // Whatever is wrong with its stores is an object's fault, and its repair is an edit.
        if [before, standing].iter().any(|standing| standing.is_of_stores()) {
            self.refresh(self.processes());
        }
    }

    /// Whether the spec asks for it.
    pub fn wants(&self, push: &PushSecret, spot: Spot) -> bool {
        self.maps(push, spot) && self.sites_of(push).contains(&spot.site)
    }

    /// The places that the spec's stores lead to.
    pub fn sites_of(&self, push: &PushSecret) -> BTreeSet<usize> {
        let named = |name: &str| push.spec.secret_store_refs.iter().any(|store| store.name.as_deref() == Some(name));
        NAMES.iter().zip(self.leads).filter(|((name, _), _)| named(name)).map(|(_, site)| site).collect()
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

/// A process that begins.
fn process(server: &ApiServer) -> Process {
    Process::new(server, known(server))
}

/// The names of the PushSecrets that are there.
fn known(server: &ApiServer) -> impl Iterator<Item = Name> {
    let there: Vec<usize> = (0..PUSHES).filter(|push| server.push_secret(&url(*push)).is_some()).collect();
    there.into_iter().map(|push| Name::new("db", name(push)))
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

pub(super) fn is_of(data: &PushSecretData, spot: Spot) -> bool {
    let remote = &data.match_.remote_ref;
    remote.remote_key == PATHS[spot.path] && remote.property.as_deref() == Some(PROPERTIES[spot.property])
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

pub fn name(push: usize) -> &'static str {
    ["first", "second"][push]
}

pub fn url(push: usize) -> String {
    format!("/namespaces/db/pushsecrets/{}", name(push))
}

/// By name, what every PushSecret lists, for messages.
pub fn ledgers(world: &World) -> BTreeMap<String, Vec<Spot>> {
    let of = |push: PushSecret| {
        (push.metadata.name.clone().unwrap_or_default(), spots().filter(|spot| lists(&push, *spot)).collect())
    };
    world.pushes().into_iter().map(of).collect()
}
