//! The cluster and the store of the model, and how each event changes them.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::object;
use super::events::{Event, Serves, Setting};
use super::one_store::{OneStore, PLACES, PROPERTIES, Place};
use super::process::Process;
use super::{OBJECT, TARGET};
use crate::api::{ExternalSecret, StoreKind};
use crate::cluster::in_memory::ApiServer;
use crate::controller::guarded::Guarded;
use crate::domain::object_name::Name;
use crate::domain::remote::{EntryState, RemoteData, RemoteValue};
use crate::domain::{claim, consent};
use crate::feed::{Follower, Published, Pushed, Spelled};
use crate::pull::bound::LOOK_AROUND;
use crate::store::{Site, StoreClient};

/// What somebody writes into the target: "x".
const STRANGE: &str = "eA==";

/// Who took away what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nobody: it was never there.
    Nobody,
    /// Its owner. The controller may have missed it.
    Push { seen: bool },
    /// A person.
    Hand,
    /// A person, who left the rest of the entry and the claims.
    Slip,
}

/// What happened at a place.
pub struct Path {
    pub taken: Taken,
    /// Whether a push ever wrote here, and which properties it owns.
    is_marked: bool,
    owned: [bool; 2],
    /// The values of each version since a push last removed the entry.
    pub values: BTreeMap<u64, Vec<String>>,
}

pub struct World {
    pub api: ApiServer,
    pub process: Process,
    pub store: OneStore,
    pub paths: [Path; 3],
    pub setting: Setting,
    /// Whether the spec says that the target goes with its values.
    pub deletes: bool,
    lags: bool,
    writes: u64,
    touches: u64,
    pub texts: u64,
    uids: u32,
    pub consents: bool,
    /// Something is as nobody told the controller yet.
    pub untold: bool,
    /// An entry was removed, and with it what was said of a value that was missing. Who is not to be
    /// read again is not told, not even by a check, before a consent changes, or its store.
    pub unheard: bool,
    /// A write has arrived late, and the watch does not show it yet.
    pub unshown: bool,
    /// A write has arrived late, and no reconcile has begun since.
    pub unanswered: bool,
    pub policy: &'static str,
}

impl World {
    pub fn new(policy: &'static str, setting: Setting) -> Self {
        let (api, store) = (ApiServer::default(), OneStore::new());
        api.yield_at_each_request();
        api.put("/namespaces/team", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } }));
        let path = || Path { taken: Taken::Nobody, is_marked: false, owned: [false; 2], values: BTreeMap::new() };
        let process = Process::start(&api, &store, setting.crowded);
        let mut world = World {
            api,
            process,
            store,
            paths: [path(), path(), path()],
            setting,
            deletes: setting.deletes,
            lags: false,
            writes: 0,
            touches: 0,
            texts: 0,
            uids: 0,
            consents: true,
            untold: false,
            unheard: false,
            unshown: false,
            unanswered: false,
            policy,
        };
        world.edit_text();
        world.create();
        world.deliver();
        if setting.pushed {
            world.push();
        }
        world
    }

    fn path(&mut self) -> &mut Path {
        &mut self.paths[self.store.at()]
    }

    fn create(&mut self) {
        self.uids += 1;
        let mut object = serde_json::to_value(object(self.spec(0))).unwrap();
        object["apiVersion"] = json!("external-secrets.io/v1");
        object["kind"] = json!("ExternalSecret");
        object["metadata"]["uid"] = json!(format!("es-uid-{}", self.uids));
        self.api.put(OBJECT, object);
    }

    fn spec(&self, property: usize) -> Value {
        let mut target = json!({ "deletionPolicy": if self.deletes { "Delete" } else { "Retain" } });
        self.add_template(&mut target);
        json!({
            "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" }, "refreshPolicy": self.policy,
            "refreshInterval": "1h", "target": target,
            "data": [{ "secretKey": "password", "remoteRef": { "key": "db", "property": PROPERTIES[property] } }],
        })
    }

    /// The next version; what is not written anew stays as it is.
    fn write(&mut self, anew: &[usize], dropped: Option<usize>) -> u64 {
        self.writes += 1;
        let (server, path) = self.store.place();
        let before = server.peek(&path);
        let text = |property: usize| match (anew.contains(&property), before.data()) {
            (true, _) => Some(format!("{} {}", PROPERTIES[property], self.writes)),
            (false, data) => Some(data?.get(PROPERTIES[property])?.rendered().expose_utf8()?.to_owned()),
        };
        let kept = (0..PROPERTIES.len()).filter(|property| Some(*property) != dropped);
        let texts: Vec<(usize, String)> = kept.filter_map(|property| Some((property, text(property)?))).collect();
        let data: RemoteData =
            texts.iter().map(|(property, text)| (PROPERTIES[*property].to_owned(), RemoteValue::text(text))).collect();
        let version = server.put(&path, data);
        let values = texts.into_iter().map(|(_, text)| text);
        self.path().values.entry(version).or_default().extend(values);
        version
    }

    /// Sets the claims and consents of a place; returns whether the consents changed.
    fn describe(&mut self, at: usize, consents: bool) -> bool {
        let ((server, path), known) = (self.store.place_at(at), &self.paths[at]);
        let before = server.peek(&path).custom_metadata;
        let mark = known.is_marked.then(|| (claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned()));
        let owned = PROPERTIES.iter().zip(known.owned).filter(|(_, owned)| *owned);
        let claims = owned.map(|(property, _)| (claim::claim_key(property), "its owner".to_owned()));
        let nobody = r#"{"onWithdrawal":"Delete"}"#.to_owned();
        let told = PROPERTIES.iter().filter(|_| consents && !self.consents);
        let told = told.map(|property| (consent::key(property), nobody.clone()));
        let after: BTreeMap<String, String> = mark.into_iter().chain(claims).chain(told).collect();
        let moved = consent::digest(&before) != consent::digest(&after);
        server.put_metadata(&path, after);
        moved
    }

    /// Who follows the path, by what the producer is told.
    pub async fn followers(&self) -> Vec<Follower> {
        let ((server, path), feed) = (self.store.place(), &self.process.context.feed);
        let key = server.path_key(&path).await.unwrap();
        let spelled = Spelled { store: "ClusterSecretStore/vault".into(), path: path.to_string() };
        let producer = Name::new("db", "push");
        let published = Published { site: Site::of(&server, key), kind: StoreKind::ClusterSecretStore };
        feed.publishes(&producer, [(spelled.clone(), Some(published))].into());
        feed.followers(&producer, &spelled).unwrap_or_default()
    }

    /// The version that the consumer is counted as having, if nothing is in its way.
    pub async fn has_without_trouble(&self) -> Option<u64> {
        self.followers().await.into_iter().find(|follower| follower.trouble.is_none())?.version
    }

    async fn announce(&mut self, pushed: Pushed) {
        self.unheard &= pushed != Pushed::Consent;
        let (server, path) = self.store.place();
        let key = server.path_key(&path).await.unwrap();
        self.process.context.feed.announce(&Site::of(&server, key), pushed);
    }

    /// A push writes both properties. Returns the version, and whether the consents changed.
    fn push(&mut self) -> (u64, bool) {
        let path = self.path();
        (path.taken, path.is_marked, path.owned) = (Taken::Nobody, true, [true; 2]);
        let moved = self.describe(self.store.at(), true);
        (self.write(&[0, 1], None), moved)
    }

    /// A push removes these properties. The last one takes the version along.
    async fn drop_owned(&mut self, dropped: &[usize]) {
        let (server, path) = self.store.place();
        let has = |of: usize| server.peek(&path).data().is_some_and(|data| data.contains_key(PROPERTIES[of]));
        // What a person wrote where nobody pushed is nobody's to drop.
        let owned = self.path().owned;
        let dropped: Vec<usize> = dropped.iter().copied().filter(|of| owned[*of] && has(*of)).collect();
        if dropped.is_empty() {
            return;
        }
        let left = (0..PROPERTIES.len()).filter(|property| !dropped.contains(property) && has(*property)).count();
        let (at, seen) = (self.store.at(), self.followers().await.len() == 1);
        dropped.iter().for_each(|property| self.paths[at].owned[*property] = false);
        self.paths[at].taken = Taken::Push { seen };
        let pushed = match left {
            0 => {
                self.paths[at].owned = [false; 2];
                let version = server.put(&path, RemoteData::new());
                server.soft_delete(&path);
                Pushed::Removal(version)
            }
            _ => {
                let version = self.write(&[], dropped.first().copied());
                Pushed::Version(version, server.peek(&path).created)
            }
        };
        let moved = self.describe(at, left > 0);
        self.announce(pushed).await;
        if moved {
            self.announce(Pushed::Consent).await;
        }
    }

    /// Somebody removes the whole entry.
    fn purge(&mut self, taken: Taken) {
        let (server, path) = self.store.place();
        server.purge(&path);
        let path = self.path();
        (path.taken, path.is_marked, path.owned) = (taken, false, [false; 2]);
    }

    /// Every store that is edited, created or deleted, and every new credential, wakes who refers
    /// to it.
    fn edit_store(&mut self, edit: impl FnOnce(&mut Place)) {
        self.store.edit(edit);
        self.unheard = false;
        self.process.queue.is_due = true;
    }

    /// The watches bring the object and the target as they are now, but the former if it lags.
    pub fn deliver(&mut self) {
        let target = self.api.get(TARGET);
        self.process.show_target(target);
        if !self.lags {
            self.unshown &= self.process.lists;
            self.process.show(self.api.get(OBJECT));
        }
    }

    pub fn is_there(&self) -> bool {
        self.api.get::<Value>(OBJECT).is_some()
    }

    fn edit_spec(&mut self, property: usize) {
        let Some(object) = self.api.get::<Value>(OBJECT) else { return };
        let generation = object["metadata"]["generation"].as_u64().unwrap() + 1;
        let spec = self.spec(property);
        self.api.edit(OBJECT, &json!({ "metadata": { "generation": generation }, "spec": spec }));
    }

    /// What it saw of removals, another one that looks there anew has not seen.
    fn overlook(&mut self, still: impl Fn(usize) -> bool) {
        for (at, path) in self.paths.iter_mut().enumerate() {
            if let Taken::Push { seen } = &mut path.taken {
                *seen &= still(at);
            }
        }
    }

    pub async fn happens(&mut self, event: &Event) {
        match event {
            Event::Push => {
                let (version, moved) = self.push();
                if moved {
                    self.announce(Pushed::Consent).await;
                }
                let (server, path) = self.store.place();
                let created = server.peek(&path).created;
                self.announce(Pushed::Version(version, created)).await;
            }
            Event::Drop(property) => self.drop_owned(&[*property]).await,
            Event::DropAll => self.drop_owned(&[0, 1]).await,
            Event::Purge => {
                let (server, path) = self.store.place();
                if !matches!(server.peek(&path).state, EntryState::Absent) {
                    // What is said of a value that is missing is another thing now.
                    self.unheard |= self.policy != "Periodic" && self.wanted().is_none();
                    let seen = self.followers().await.len() == 1;
                    self.purge(Taken::Push { seen });
                    self.path().values.clear();
                    self.announce(Pushed::Purge).await;
                }
            }
            Event::WriteByHand => {
                self.write(&[0, 1], None);
                self.path().taken = Taken::Nobody;
                self.untold = true;
            }
            Event::LoseByHand => {
                let (server, path) = self.store.place();
                if server.peek(&path).data().is_some() {
                    server.soft_delete(&path);
                    self.path().taken = Taken::Hand;
                    self.untold = true;
                }
            }
            Event::PurgeByHand => {
                let (server, path) = self.store.place();
                if server.peek(&path).data().is_some() {
                    self.purge(Taken::Hand);
                    self.untold = true;
                }
            }
            Event::SlipByHand(property) => {
                let (server, path) = self.store.place();
                let is_whole = server.peek(&path).data().is_some_and(|data| data.len() == PROPERTIES.len());
                if is_whole {
                    self.write(&[], Some(*property));
                    let path = self.path();
                    // What nobody owns beside what somebody does is the person's own.
                    let is_theirs = path.is_marked && !path.owned[*property];
                    path.taken = if is_theirs { Taken::Hand } else { Taken::Slip };
                    self.untold = true;
                }
            }
            Event::Consent(given) => {
                self.consents = *given;
                for at in 0..PLACES.len() {
                    let (server, path) = self.store.place_at(at);
                    let is_there = !matches!(server.peek(&path).state, EntryState::Absent);
                    // Who owns nothing there any more has no say.
                    let is_vacated = self.paths[at].is_marked && self.paths[at].owned == [false; 2];
                    if is_there && !is_vacated {
                        self.describe(at, true);
                    }
                }
                self.announce(Pushed::Consent).await;
            }
            Event::EditStore(at) => {
                self.overlook(|known| known == *at);
                self.edit_store(|place| {
                    place.generation += u32::from(place.at != *at);
                    place.at = *at;
                });
            }
            Event::Store(serves) => self.edit_store(|place| {
                // A store that was deleted comes back as another object.
                place.generation += u32::from(place.serves == Serves::NotThere && *serves != Serves::NotThere);
                place.serves = *serves;
            }),
            Event::RotateCredential => self.edit_store(|_| {}),
            Event::EditSpec => self.edit_spec(1 - self.property()),
            Event::DeletionPolicy(deletes) => {
                if self.deletes != *deletes && self.is_there() {
                    self.deletes = *deletes;
                    self.edit_spec(self.property());
                }
            }
            Event::Touch => {
                self.touches += 1;
                let touched = json!({ "touched": self.touches.to_string() });
                if self.is_there() {
                    self.api.edit(OBJECT, &json!({ "metadata": { "annotations": touched } }));
                }
            }
            Event::Delete => {
                self.api.remove(OBJECT);
                self.overlook(|_| false);
            }
            Event::Create => {
                if !self.is_there() {
                    self.create();
                    self.unheard = false;
                }
            }
            Event::Collect => self.collect(),
            Event::EditText => self.edit_text(),
            Event::DeleteText => self.delete_text(),
            Event::EditTarget => {
                if self.api.get::<Value>(TARGET).is_some() {
                    self.api.edit(TARGET, &json!({ "data": { "password": STRANGE } }));
                }
            }
            Event::DeleteTarget => self.process.delete_target(&self.api),
            Event::FailTarget(fault) => self.api.fail_next_write("/secrets", *fault),
            Event::FailStatus(fault) => self.api.fail_next_write("/status", *fault),
            Event::Arrive => {
                self.arrive();
                self.unshown = true;
            }
            Event::Lag(lags) => self.lags = *lags,
            Event::Relist => {
                self.unshown &= self.process.lists;
                self.process.list(self.api.get(OBJECT));
            }
            Event::FirstPage => self.process.list_first_page(self.api.get(OBJECT)),
            Event::Check => self.check().await,
            Event::Restart => {
                self.overlook(|_| false);
                self.restart();
            }
            Event::Wait => self.wait(),
            Event::Reconcile => drop(self.reconcile().await),
            Event::Woken => {
                if self.process.queue.take() {
                    self.reconcile().await;
                }
            }
            Event::Amid { polls, event } => self.amid(*polls, event).await,
        }
        self.deliver();
    }

    fn arrive(&mut self) {
        self.unanswered |= self.api.arrive();
    }

    /// A removal of a version, of which the status shows an earlier one, is known for what it was.
    fn restart(&mut self) {
        // Nobody remembers what the former process had on its way.
        self.arrive();
        self.unshown = false;
        self.process = Process::start(&self.api, &self.store, self.setting.crowded);
        self.lags = false;
        let (server, path) = self.store.place();
        let EntryState::Deleted { version } = server.peek(&path).state else { return };
        let object = self.api.get::<Value>(OBJECT).unwrap_or_default();
        let status = Some(&object["status"]["paths"][0]).filter(|status| status["path"] == path.to_string());
        let read = status.and_then(|status| status["version"].as_u64());
        if let Taken::Push { seen } = &mut self.path().taken {
            *seen = read.is_some_and(|read| read < version);
        }
    }

    /// All times that were recorded are so much earlier.
    fn wait(&mut self) {
        self.arrive();
        self.process.pull.losses.pass(LOOK_AROUND);
        self.process.context.feed.pass(LOOK_AROUND);
        let Some(object) = self.api.get::<Value>(OBJECT).filter(|_| !self.lags && !self.process.lists) else { return };
        let earlier = |time: &Value| {
            let time: Timestamp = time.as_str()?.parse().ok()?;
            Some(json!((time - SignedDuration::try_from(LOOK_AROUND).unwrap()).to_string()))
        };
        let mut status = object["status"].clone();
        if status.is_null() {
            return;
        }
        if let Some(time) = earlier(&status["refreshTime"]) {
            status["refreshTime"] = time;
        }
        for (list, field) in [("conditions", "lastTransitionTime"), ("paths", "readAt")] {
            for part in status[list].as_array_mut().into_iter().flatten() {
                if let Some(time) = earlier(&part[field]) {
                    part[field] = time;
                }
            }
        }
        self.api.edit(OBJECT, &json!({ "status": status }));
    }

    pub fn collect(&mut self) {
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let present = self.api.get::<Value>(OBJECT).as_ref().map(uid);
        let Some(target) = self.api.get::<Value>(TARGET) else { return };
        if present.as_ref() != Some(&target["metadata"]["ownerReferences"][0]["uid"]) {
            self.api.remove(TARGET);
        }
    }

    /// Long after everything that is known, so that no server can lag so much.
    async fn check(&mut self) {
        self.process.context.feed.pass(LOOK_AROUND);
        self.process.context.feed.clone().check_all().await;
        self.untold = false;
    }

    /// Nothing fails any more, and everybody hears of everything.
    pub async fn heal(&mut self) {
        self.api.heal();
        self.arrive();
        self.lags = false;
        if self.process.lists {
            self.process.list(None);
        }
        self.collect();
        self.edit_text();
        self.deliver();
        self.check().await;
    }

    /// As a controller does it. Returns after which pause to do it again.
    pub async fn reconcile(&mut self) -> Option<Duration> {
        let object = self.process.cached()?;
        self.process.queue.take();
        self.unanswered = false;
        let pause = self.process.driven.clone().run_once(&object).await;
        self.ended(pause)
    }

    fn ended(&mut self, pause: Option<Duration>) -> Option<Duration> {
        self.process.queue.again_after(pause);
        pause
    }

    /// Something happens in the middle of a reconcile. If that ends the process, it ends the reconcile.
    async fn amid(&mut self, polls: u8, event: &Event) {
        let Some(object) = self.process.cached() else { return Box::pin(self.happens(event)).await };
        self.process.queue.take();
        self.unanswered = false;
        let driven = self.process.driven.clone();
        let mut running = Box::pin(async move { driven.run_once(&object).await });
        let mut ended = None;
        for _ in 0..polls {
            if let Poll::Ready(pause) = futures::poll!(&mut running) {
                ended = Some(pause);
                break;
            }
            tokio::task::yield_now().await;
        }
        Box::pin(self.happens(event)).await;
        let pause = match (ended, event) {
            (_, Event::Restart) => return,
            (Some(pause), _) => pause,
            (None, _) => running.await,
        };
        self.ended(pause);
    }
}

pub fn property_of(object: &Value) -> usize {
    let named = object["spec"]["data"][0]["remoteRef"]["property"].as_str();
    PROPERTIES.iter().position(|property| Some(*property) == named).unwrap()
}

/// The object as a watch delivers it.
pub type Watched = Guarded<ExternalSecret>;
