//! Random stories of what is below a folder that an ExternalSecret looks into: secrets that come,
//! change and go, announced or by hand, labels and consents, lists that fail, and a process that
//! starts anew, each also in the middle of a reconcile. When it is calm, the target has exactly what
//! is there and may be read.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::model::events::Setting;
use super::model::world::World;
use super::model::{OBJECT, TARGET};
use crate::domain::path::RemotePath;
use crate::domain::remote::{EntryState, RemoteData, RemoteValue};
use crate::domain::{claim, consent};
use crate::feed::Pushed;
use crate::model_cases::config;
use crate::store::error::Transport;
use crate::store::fake::{FakeStore, Fault};
use crate::store::{Site, StoreClient, StoreError};

/// Below the folder, except the last.
const PATHS: [&str; 4] = ["apps/a", "apps/b", "apps/deep/c", "apps-2/d"];

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A push writes the next version, and says so; or a person does, and nobody says so.
    Write {
        at: usize,
        said: bool,
    },
    /// The value is deleted, by a push with an empty version before; or the whole entry is.
    Lose {
        at: usize,
        said: bool,
    },
    Purge {
        at: usize,
        said: bool,
    },
    /// The label by which it is selected is set or removed.
    Label {
        at: usize,
        set: bool,
        said: bool,
    },
    /// The producer takes its consent back, or gives it.
    Consent {
        at: usize,
        given: bool,
    },
    /// The next requests fail.
    Fail,
    /// Everything is checked.
    Check,
    Restart,
    Reconcile,
    Woken,
    /// It is reconciled, and after so many requests this happens.
    Amid {
        requests: usize,
        at: usize,
        what: Amid,
    },
}

#[derive(Clone, Copy, Debug)]
enum Amid {
    Write,
    Purge,
    Forbid,
}

struct Folder {
    world: World,
    labels: [bool; 4],
    consents: [bool; 4],
    writes: usize,
    /// Whether labels select.
    labelled: bool,
}

impl Folder {
    async fn new(labelled: bool, deletes: bool) -> Self {
        let setting = Setting { deletes, crowded: false, pushed: false, templated: false };
        let mut world = World::new("Periodic", setting);
        let find = match labelled {
            true => json!({ "path": "apps", "tags": { "team": "shop" } }),
            false => json!({ "path": "apps" }),
        };
        let spec = json!({
            "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" },
            "refreshInterval": "1h", "target": { "deletionPolicy": if deletes { "Delete" } else { "Retain" } },
            "data": [], "dataFrom": [{ "find": find }],
        });
        world.api.edit(OBJECT, &json!({ "metadata": { "generation": 2 }, "spec": spec }));
        world.deliver();
        Folder { world, labels: [false; 4], consents: [true; 4], writes: 0, labelled }
    }

    fn place(&self, at: usize) -> (FakeStore, RemotePath) {
        place(&self.world, at)
    }

    async fn say(&self, at: usize, pushed: Pushed) {
        let (server, path) = self.place(at);
        let key = server.path_key(&path).await.unwrap();
        self.world.process.context.feed.announce(&Site::of(&server, key), pushed);
    }

    fn write(&mut self, at: usize) -> u64 {
        let (server, path) = self.place(at);
        self.writes += 1;
        let version = server.put(&path, value(self.writes));
        self.describe(at);
        version
    }

    fn describe(&self, at: usize) {
        let (server, path) = self.place(at);
        server.put_metadata(&path, metadata(self.labels[at], self.consents[at]));
    }

    fn is_there(&self, at: usize) -> bool {
        let (server, path) = self.place(at);
        !matches!(server.peek(&path).state, EntryState::Absent)
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Write { at, said } => {
                let version = self.write(at);
                if said {
                    let created = self.place(at).0.peek(&self.place(at).1).created;
                    self.say(at, Pushed::Version(version, created)).await;
                }
            }
            Event::Lose { at, said } if self.is_there(at) => {
                let (server, path) = self.place(at);
                if said {
                    // As a push removes: somebody may read before the empty version is deleted.
                    let version = server.put(&path, RemoteData::new());
                    self.world.reconcile().await;
                    server.soft_delete(&path);
                    self.say(at, Pushed::Removal(version)).await;
                } else {
                    server.soft_delete(&path);
                }
            }
            Event::Purge { at, said } if self.is_there(at) => {
                let (server, path) = self.place(at);
                server.purge(&path);
                if said {
                    self.say(at, Pushed::Purge).await;
                }
            }
            Event::Label { at, set, said } if self.is_there(at) => {
                self.labels[at] = set;
                self.describe(at);
                if said {
                    self.say(at, Pushed::CustomMetadata).await;
                }
            }
            Event::Consent { at, given } if self.is_there(at) => {
                self.consents[at] = given;
                self.describe(at);
                self.say(at, Pushed::Consent).await;
            }
            Event::Lose { .. } | Event::Purge { .. } | Event::Label { .. } | Event::Consent { .. } => {}
            Event::Fail => {
                let (server, _) = self.place(0);
                server.fail_next(2, StoreError::Unreachable { server: "a".into(), cause: Transport::Connect });
            }
            Event::Check => self.check().await,
            Event::Restart => self.world.happens(&super::model::events::Event::Restart).await,
            Event::Reconcile => drop(self.world.reconcile().await),
            Event::Woken => {
                if self.world.process.queue.take() {
                    self.world.reconcile().await;
                }
            }
            Event::Amid { requests, at, what } => self.amid(requests, at, what).await,
        }
        self.world.deliver();
    }

    /// In the middle of a reconcile. Where that has ended before, it happens afterwards.
    async fn amid(&mut self, requests: usize, at: usize, what: Amid) {
        let (server, path) = self.place(at);
        let key = server.path_key(&path).await.unwrap();
        let (site, feed) = (Site::of(&server, key), self.world.process.context.feed.clone());
        self.writes += 1;
        let (labels, value) = (self.labels[at], self.writes);
        let mut consents = self.consents[at];
        let (mut left, mut done) = (requests, false);
        let act = move |server: &FakeStore| match what {
            Amid::Write => {
                let version = server.put(&path, self::value(value));
                server.put_metadata(&path, metadata(labels, consents));
                feed.announce(&site, Pushed::Version(version, server.peek(&path).created));
            }
            Amid::Purge => {
                server.purge(&path);
                feed.announce(&site, Pushed::Purge);
            }
            Amid::Forbid => {
                consents = false;
                if !matches!(server.peek(&path).state, EntryState::Absent) {
                    server.put_metadata(&path, metadata(labels, consents));
                }
                feed.announce(&site, Pushed::Consent);
            }
        };
        let act = std::sync::Arc::new(parking_lot::Mutex::new(act));
        let happened = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (hook, told) = (act.clone(), happened.clone());
        server.before_each(move |server, _| {
            if left == 0 && !done {
                done = true;
                told.store(true, std::sync::atomic::Ordering::Relaxed);
                (hook.lock())(server);
            }
            left = left.saturating_sub(1);
            None::<Fault>
        });
        self.world.reconcile().await;
        server.before_each(|_, _| None);
        if !happened.load(std::sync::atomic::Ordering::Relaxed) {
            (act.lock())(&server);
        }
        if matches!(what, Amid::Forbid) && self.is_there(at) {
            self.consents[at] = false;
        }
    }

    async fn check(&mut self) {
        let feed = self.world.process.context.feed.clone();
        feed.pass(crate::pull::bound::LOOK_AROUND);
        feed.check_folders().await;
        feed.check_all().await;
    }

    /// What the target should hold.
    fn wanted(&self) -> BTreeMap<String, String> {
        let there = (0..PATHS.len() - 1).filter(|at| self.consents[*at] && (self.labels[*at] || !self.labelled));
        let values = there.filter_map(|at| {
            let (server, path) = self.place(at);
            let value = server.peek(&path).data()?.get("v")?.rendered();
            Some((PATHS[at].replace('/', "_"), format!("{{\"v\":\"{}\"}}", value.expose_utf8()?)))
        });
        values.collect()
    }

    fn held(&self) -> Option<BTreeMap<String, String>> {
        let target: k8s_openapi::api::core::v1::Secret = self.world.api.get(TARGET)?;
        let text = |(key, value): (String, k8s_openapi::ByteString)| (key, String::from_utf8(value.0).unwrap());
        Some(target.data.unwrap_or_default().into_iter().map(text).collect())
    }

    async fn calms_down(&mut self, deletes: bool) -> Result<(), TestCaseError> {
        self.world.api.heal();
        let (server, _) = self.place(0);
        server.before_each(|_, _| None);
        server.heal();
        self.world.deliver();
        self.check().await;
        for _ in 0..8 {
            if !self.world.process.queue.take() {
                break;
            }
            self.world.happens(&super::model::events::Event::Wait).await;
            self.world.reconcile().await;
            self.world.deliver();
        }
        let (wanted, held, ready) = (self.wanted(), self.held(), self.world.ready());
        match wanted.is_empty() {
            false => {
                prop_assert_eq!(held, Some(wanted), "it is {}", ready);
                prop_assert_eq!(&ready["status"], "True", "it is {}", ready);
            }
            // Whoever keeps what is missing has what was there last.
            true => prop_assert!(!deletes || held.is_none() || ready["status"] == "False", "it is {ready}"),
        }
        let forbidden = (0..PATHS.len()).filter(|at| !self.consents[*at] && self.is_there(*at));
        for key in forbidden.map(|at| PATHS[at].replace('/', "_")) {
            let has = self.held().is_some_and(|held| held.contains_key(&key));
            prop_assert!(!has, "{key} was withdrawn: {ready}");
        }
        let (writes, requests) = (self.world.api.writes(), server.requests().len());
        self.check().await;
        prop_assert!(!self.world.process.queue.take(), "calm, and a check wakes it: {ready}");
        prop_assert!(server.requests().len() - requests <= PATHS.len() + 2, "a check costs too much");
        self.world.reconcile().await;
        prop_assert_eq!(self.world.api.writes(), writes, "calm, and it writes");
        let asked = server.requests().len();
        self.world.reconcile().await;
        let asks = server.requests().len() > asked;
        prop_assert!(!asks || ready["status"] == "False", "calm, and it asks: {ready}");
        self.world.happens(&super::model::events::Event::Delete).await;
        prop_assert_eq!(self.world.process.remembers(), Vec::<&str>::new(), "something is remembered");
        Ok(())
    }
}

fn place(world: &World, at: usize) -> (FakeStore, RemotePath) {
    let (server, _) = world.store.place();
    (server, RemotePath::parse(Some("secret"), PATHS[at]).unwrap())
}

fn value(number: usize) -> RemoteData {
    BTreeMap::from([("v".to_owned(), RemoteValue::text(&number.to_string()))])
}

fn metadata(labelled: bool, given: bool) -> BTreeMap<String, String> {
    let mark = (claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned());
    let owner = (claim::claim_key("v"), "its owner".to_owned());
    let label = labelled.then(|| ("team".to_owned(), "shop".to_owned()));
    let nobody = (!given).then(|| (consent::key("v"), r#"{"onWithdrawal":"Delete"}"#.to_owned()));
    [mark, owner].into_iter().chain(label).chain(nobody).collect()
}

fn story() -> impl Strategy<Value = Vec<Event>> {
    let (at, said) = (|| 0..PATHS.len(), any::<bool>);
    let what = prop_oneof![Just(Amid::Write), Just(Amid::Purge), Just(Amid::Forbid)];
    let event = prop_oneof![
        4 => (at(), said()).prop_map(|(at, said)| Event::Write { at, said }),
        2 => (at(), said()).prop_map(|(at, said)| Event::Lose { at, said }),
        1 => (at(), said()).prop_map(|(at, said)| Event::Purge { at, said }),
        3 => (at(), any::<bool>(), said()).prop_map(|(at, set, said)| Event::Label { at, set, said }),
        2 => (at(), any::<bool>()).prop_map(|(at, given)| Event::Consent { at, given }),
        1 => Just(Event::Fail),
        1 => Just(Event::Check),
        1 => Just(Event::Restart),
        1 => Just(Event::Reconcile),
        4 => Just(Event::Woken),
        2 => (0..8_usize, at(), what).prop_map(|(requests, at, what)| Event::Amid { requests, at, what }),
    ];
    proptest::collection::vec(event, 1..24)
}

fn told(labelled: bool, deletes: bool, events: &[Event]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut folder = Folder::new(labelled, deletes).await;
        for event in events {
            folder.happens(*event).await;
            let is_empty = folder.held().is_some_and(|held| held.values().any(|value| value == "{}"));
            prop_assert!(!is_empty, "it has the empty version of a removal, by {event:?}");
        }
        folder.calms_down(deletes).await
    })
}

proptest! {
    #![proptest_config(config(120, 17))]

    #[test]
    fn model_a_target_has_what_is_below_its_folder(labelled in any::<bool>(), deletes in any::<bool>(), events in story()) {
        told(labelled, deletes, &events)?;
    }
}
