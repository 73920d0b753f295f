//! Targets that hold what their spec does not name any more, and producers who take it back.
//!
//! A random story edits the spec over paths, properties and stores, and over specs that cannot be
//! carried out; each property has its own consent. In the end the target holds nothing that was
//! taken back, and says so of what it may not have.

mod hidden;
mod interrupted;
mod origins;
mod standbys;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Pull;
use super::records::Records;
use crate::api::ExternalSecret;
use crate::api::condition::Reason;
use crate::cluster::in_memory::ApiServer;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::{Report, Requeue, Verdict};
use crate::controller::undecodable::Fate;
use crate::domain::consent;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::feed::Pushed;
use crate::model_cases::config;
use crate::store::fake::{FakeStore, Fault, Operation};
use crate::store::opening::Opening;
use crate::store::{Site, StoreClient, StoreError, StoreName, StoreRefusal};

const OBJECT: &str = "/namespaces/team/externalsecrets/db";
const TARGET: &str = "/namespaces/team/secrets/db";
const POLICIES: [&str; 3] = ["Periodic", "OnChange", "CreatedOnce"];
const PATHS: [&str; 3] = ["a", "b", "never-pushed"];
const PROPERTIES: [&str; 3] = ["one", "two", "never-pushed"];
/// Where the first store leads after an edit.
const OTHER_MOUNT: &str = "other";
const STORES: [&str; 3] = ["vault", "same-server", "nowhere"];
/// Longer than a standby can lag.
const CAUGHT_UP: Duration = Duration::from_secs(10);
/// Whoever asks to be tried again within this time is tried again at once.
const SOON: Duration = Duration::from_secs(600);

/// What a producer says of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Permitted,
    /// Nobody may read it, and targets keep what they have.
    Withdrawn,
    /// Nobody may read it, and targets go.
    TakenBack,
}

impl Says {
    fn text(self) -> Option<&'static str> {
        match self {
            Says::Permitted => None,
            Says::Withdrawn => Some("{}"),
            Says::TakenBack => Some(r#"{"onWithdrawal":"Delete"}"#),
        }
    }
}

/// A property of a path, by number.
type Spot = (usize, usize);

#[derive(Clone, Copy, Debug)]
enum Spec {
    Reads {
        spot: Spot,
        store: usize,
    },
    /// Of two values of which each has its store.
    ReadsBoth {
        stores: [usize; 2],
    },
    Nothing,
    /// A key that names no entry.
    Escapes,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Edit(Spec),
    Say(Spot, Says),
    Push(usize),
    Lose(usize),
    Restart,
    Turn,
}

struct World {
    api: ApiServer,
    server: FakeStore,
    context: Arc<Context>,
    pull: Pull<Opening>,
    wakeups: UnboundedReceiver<Name>,
    object: ExternalSecret,
    is_due: bool,
    policy: &'static str,
    spec: Spec,
    says: BTreeMap<Spot, Says>,
    writes: u32,
    /// Whether the first store was edited to lead to another mount, and whether the second is gone.
    edited: Arc<[AtomicBool; 2]>,
}

impl World {
    /// One whose target holds the first property of the first path.
    async fn synced(policy: &'static str) -> Self {
        let (api, server) = (ApiServer::default(), FakeStore::new());
        let context = Context::on(api.cluster());
        let edited = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let pull = Pull::new(context.clone(), opening(&server, &edited), Arc::new(Records::default()));
        let wakeups = context.feed.wakeups().unwrap();
        let spec = Spec::Reads { spot: (0, 0), store: 0 };
        let object = object(policy, spec, 1);
        let says = BTreeMap::new();
        let mut world =
            World { api, server, context, pull, wakeups, object, is_due: true, policy, spec, says, writes: 0, edited };
        world.show();
        for path in 0..2 {
            world.push(path).await;
        }
        assert!(world.turn().await.unwrap().ready);
        assert_eq!(world.held(), Some((0, 0)));
        world
    }

    fn show(&self) {
        self.api.put(OBJECT, json!(self.object));
    }

    async fn site(&self, path: usize) -> Site {
        let key = self.server.path_key(&remote(path)).await.unwrap();
        Site::of(&self.server, key)
    }

    async fn push(&mut self, path: usize) {
        self.writes += 1;
        let value = |property: &str| RemoteValue::text(&format!("{} {property} {}", PATHS[path], self.writes));
        let data = PROPERTIES[..2].iter().map(|property| ((*property).to_owned(), value(property)));
        let version = self.server.put(&remote(path), data.collect());
        let created = self.server.peek(&remote(path)).created;
        self.context.feed.announce(&self.site(path).await, Pushed::Version(version, created));
    }

    async fn say(&mut self, spot: Spot, says: Says) {
        self.say_unannounced(spot, says);
        self.context.feed.announce(&self.site(spot.0).await, Pushed::Consent);
    }

    fn say_unannounced(&mut self, spot: Spot, says: Says) {
        self.says.insert(spot, says);
        let told =
            |property| Some((consent::key(PROPERTIES[property]), self.of((spot.0, property)).text()?.to_owned()));
        self.server.put_metadata(&remote(spot.0), (0..2).filter_map(told).collect());
    }

    fn of(&self, spot: Spot) -> Says {
        self.says.get(&spot).copied().unwrap_or(Says::Permitted)
    }

    fn edit(&mut self, spec: Spec) {
        let generation = self.object.metadata.generation.unwrap() + 1;
        let status = self.object.status.take();
        self.object = ExternalSecret { status, ..object(self.policy, spec, generation) };
        (self.spec, self.is_due) = (spec, true);
        self.show();
    }

    /// Whether its spec names what was taken back: then it has no target, whatever that held.
    fn wants_what_was_taken_back(&self) -> bool {
        matches!(self.spec, Spec::Reads { spot, .. } if self.of(spot) == Says::TakenBack)
    }

    fn restart(&mut self) {
        self.context = Context::on(self.api.cluster());
        let opening = opening(&self.server, &self.edited);
        self.pull = Pull::new(self.context.clone(), opening, Arc::new(Records::default()));
        self.wakeups = self.context.feed.wakeups().unwrap();
        self.is_due = true;
    }

    /// One reconcile, with its status written; `None` if it gives no other verdict.
    async fn turn(&mut self) -> Option<Verdict> {
        self.woken();
        self.is_due = false;
        let report = self.pull.reconcile(Arc::new(self.object.clone()), &name()).await;
        self.is_due = match report.requeue() {
            Some(Requeue::BackOff | Requeue::AskAgain | Requeue::Throttled) => true,
            Some(Requeue::After(pause)) => pause <= SOON,
            Some(Requeue::AwaitChange) | None => false,
        };
        let Report::Verdict { verdict, status, .. } = report else { return None };
        self.object.status = Some(status.after);
        self.show();
        Some(verdict)
    }

    fn woken(&mut self) -> bool {
        while self.wakeups.try_recv().is_ok() {
            self.is_due = true;
        }
        self.is_due
    }

    /// No standby lags any more, every path is checked, and what is woken is reconciled.
    async fn calms_down(&mut self) {
        self.context.feed.pass(CAUGHT_UP);
        self.context.feed.clone().check_all().await;
        for _turn in 0..8 {
            if !self.woken() {
                return;
            }
            self.turn().await;
        }
    }

    /// From where the target has its value, if there is one.
    fn held(&self) -> Option<Spot> {
        let target: Secret = self.api.get(TARGET)?;
        let value = String::from_utf8(target.data?["password"].0.clone()).unwrap();
        let words: Vec<&str> = value.split(' ').collect();
        let number = |all: &[&str], word| all.iter().position(|known| *known == word).unwrap();
        Some((number(&PATHS, words[0]), number(&PROPERTIES, words[1])))
    }

    fn ready(&self) -> Value {
        json!(self.object.status)["conditions"][0].clone()
    }

    /// What it holds is permitted, or it says that it may not have it. What was taken back is gone.
    fn is_right(&self) -> Result<(), TestCaseError> {
        let (held, ready) = (self.held(), self.ready());
        if let Some(spot) = held {
            prop_assert_ne!(self.of(spot), Says::TakenBack, "it keeps what was taken back: {}", ready);
            let is_ready = ready["status"] == "True";
            prop_assert!(self.of(spot) == Says::Permitted || !is_ready, "it may not have {spot:?}: {ready}");
        }
        let bound = json!(self.object.status)["binding"]["name"].is_string();
        prop_assert_eq!(bound, held.is_some(), "it says that {}", ready);
        Ok(())
    }

    async fn tells(&mut self, event: Event) -> Result<(), TestCaseError> {
        let held = self.held();
        match event {
            Event::Edit(spec) => self.edit(spec),
            Event::Say(spot, says) => self.say(spot, says).await,
            Event::Push(path) => self.push(path).await,
            Event::Lose(path) => {
                if self.server.peek(&remote(path)).data().is_some() {
                    self.server.soft_delete(&remote(path));
                }
            }
            Event::Restart => self.restart(),
            Event::Turn => {
                if self.woken() {
                    self.turn().await;
                }
            }
        }
        if let (Some(spot), None) = (held, self.held()) {
            let may_go = self.of(spot) == Says::TakenBack || self.wants_what_was_taken_back();
            prop_assert!(may_go, "its target went by {event:?}");
        }
        Ok(())
    }
}

fn opening(server: &FakeStore, edited: &Arc<[AtomicBool; 2]>) -> Opening {
    let (server, edited) = (server.clone(), edited.clone());
    Opening::by(move |_, store| match store.name.as_str() {
        "nowhere" => Err(StoreRefusal::NotFound { store: StoreName::cluster(STORES[2]) }),
        "same-server" if edited[1].load(Ordering::Relaxed) => {
            Err(StoreRefusal::NotFound { store: StoreName::cluster(STORES[1]) })
        }
        "vault" if edited[0].load(Ordering::Relaxed) => {
            Ok(Arc::new(server.with_identity("vault, edited").with_mount(OTHER_MOUNT)) as Arc<dyn StoreClient>)
        }
        name => Ok(Arc::new(server.with_identity(name)) as Arc<dyn StoreClient>),
    })
}

fn object(policy: &str, spec: Spec, generation: i64) -> ExternalSecret {
    let reads = |key: &str, (path, property): Spot, store: usize| {
        let store = json!({ "storeRef": { "name": STORES[store], "kind": "ClusterSecretStore" } });
        let remote = json!({ "key": PATHS[path], "property": PROPERTIES[property] });
        json!({ "secretKey": key, "remoteRef": remote, "sourceRef": store })
    };
    let data = match spec {
        Spec::Reads { spot, store } => json!([reads("password", spot, store)]),
        Spec::ReadsBoth { stores: [one, two] } => {
            json!([reads("password", (0, 0), one), reads("more", (1, 1), two)])
        }
        Spec::Nothing => json!([]),
        Spec::Escapes => {
            let mut escapes = reads("password", (0, 0), 0);
            escapes["remoteRef"]["key"] = json!("../a");
            json!([escapes])
        }
    };
    serde_json::from_value(json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": { "name": "db", "namespace": "team", "uid": "es-uid", "generation": generation },
        "spec": { "refreshPolicy": policy, "refreshInterval": "1h", "data": data },
    }))
    .unwrap()
}

fn name() -> Name {
    Name::new("team", "db")
}

fn remote(path: usize) -> RemotePath {
    RemotePath::parse(Some("secret"), PATHS[path]).unwrap()
}

fn event() -> impl Strategy<Value = Event> {
    let spot = || (0..2_usize, 0..2_usize);
    let says = prop_oneof![1 => Just(Says::Permitted), 1 => Just(Says::Withdrawn), 2 => Just(Says::TakenBack)];
    let reads = ((0..PATHS.len(), 0..PROPERTIES.len()), 0..STORES.len());
    let spec = prop_oneof![
        6 => reads.prop_map(|(spot, store)| Spec::Reads { spot, store }),
        1 => Just(Spec::Nothing),
        1 => Just(Spec::Escapes),
    ];
    prop_oneof![
        4 => spec.prop_map(Event::Edit),
        4 => (spot(), says).prop_map(|(spot, says)| Event::Say(spot, says)),
        1 => (0..2_usize).prop_map(Event::Push),
        1 => (0..2_usize).prop_map(Event::Lose),
        1 => Just(Event::Restart),
        5 => Just(Event::Turn),
    ]
}

fn told(policy: &'static str, events: &[Event]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::synced(policy).await;
        for event in events {
            world.tells(*event).await?;
        }
        world.calms_down().await;
        world.is_right()?;
        let (before, asks) = (world.object.status.clone(), world.woken());
        world.turn().await;
        prop_assert_eq!(&world.object.status, &before, "calm, and it says something else");
        prop_assert_eq!(world.woken(), asks, "calm, and it asks for another turn");
        Ok(())
    })
}

proptest! {
    #![proptest_config(config(200, 12))]

    #[test]
    fn model_no_target_keeps_what_was_taken_back_whatever_its_spec_names(
        (policy, events) in (0..POLICIES.len(), prop::collection::vec(event(), 1..20))
    ) {
        told(POLICIES[policy], &events)?;
    }
}

/// Specs under which the target keeps what it has, and why each of them fails.
const FAILING: [(Spec, &str); 5] = [
    (Spec::Reads { spot: (2, 0), store: 0 }, "a path that does not exist"),
    (Spec::Reads { spot: (1, 2), store: 0 }, "a property that does not exist"),
    (Spec::Reads { spot: (0, 0), store: 2 }, "a store that does not exist"),
    (Spec::Nothing, "nothing to read"),
    (Spec::Escapes, "a key that names no entry"),
];

/// What a resource holds that is read once does not change with its spec.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_reaches_whoever_was_edited_after_it_was_read_once() {
    let others = [(1, 0), (0, 1)].map(|spot| Spec::Reads { spot, store: 0 });
    let elsewhere = [1, 2].map(|store| Spec::Reads { spot: (0, 0), store });
    for spec in others.into_iter().chain(elsewhere) {
        for (looked, restarted) in [(true, false), (false, false), (true, true)] {
            let case = format!("{spec:?}, {looked} {restarted}");
            let mut world = World::synced("CreatedOnce").await;
            world.edit(spec);
            if looked {
                world.turn().await;
                assert_eq!(world.held(), Some((0, 0)), "{case}");
            }
            if restarted {
                world.restart();
                world.turn().await;
            }
            world.say((0, 0), Says::Withdrawn).await;
            assert!(world.woken(), "{case}");
            let verdict = world.turn().await.unwrap();
            assert!(!verdict.ready, "{case}: {}", verdict.message);
            assert_eq!(world.held(), Some((0, 0)), "{case}");
            world.say((0, 0), Says::TakenBack).await;
            assert!(world.woken(), "{case}");
            world.turn().await;
            assert_ne!(world.held(), Some((0, 0)), "{case}");
        }
    }
}

/// It is made anew from the present spec, as if somebody had deleted it.
#[tokio::test(start_paused = true)]
async fn what_was_read_once_and_taken_back_is_made_anew_from_the_present_spec() {
    let mut world = World::synced("CreatedOnce").await;
    world.edit(Spec::Reads { spot: (1, 1), store: 0 });
    world.say((0, 0), Says::TakenBack).await;
    assert!(world.turn().await.unwrap().ready);
    assert_eq!(world.held(), Some((1, 1)));
}

/// Nobody is asked about what it does not hold.
#[tokio::test(start_paused = true)]
async fn a_producer_takes_nothing_that_a_target_read_once_has_from_another() {
    let mut world = World::synced("CreatedOnce").await;
    world.edit(Spec::Reads { spot: (1, 1), store: 0 });
    world.say((1, 1), Says::TakenBack).await;
    world.restart();
    assert!(world.turn().await.unwrap().ready);
    assert_eq!(world.held(), Some((0, 0)));
}

/// The target keeps its data while its spec cannot be carried out, and loses it with the consent.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_takes_what_a_resource_holds_whose_spec_cannot_be_carried_out() {
    for ((spec, why), policy) in FAILING.into_iter().flat_map(|case| POLICIES.map(|policy| (case, policy))) {
        for restarted in [false, true] {
            let case = format!("{why}, {policy}, {restarted}");
            let mut world = World::synced(policy).await;
            world.edit(spec);
            world.turn().await;
            if restarted {
                world.restart();
                world.turn().await;
            }
            assert_eq!(world.held(), Some((0, 0)), "{case}");
            world.is_due = false;
            world.say((0, 0), Says::TakenBack).await;
            assert!(world.woken(), "{case}: nothing wakes it");
            let verdict = world.turn().await.unwrap();
            assert_eq!((verdict.ready, world.held()), (false, None), "{case}: {}", verdict.message);
            assert!(verdict.message.contains("took back what it held"), "{case}: {}", verdict.message);
            let before = world.object.status.clone();
            world.turn().await;
            assert_eq!(world.object.status, before, "{case}: it goes on to say so");
            world.edit(Spec::Reads { spot: (1, 1), store: 0 });
            let verdict = world.turn().await.unwrap();
            assert!(verdict.ready && !verdict.message.contains("took back"), "{case}: {}", verdict.message);
        }
    }
}

/// A withdrawal that nobody announces is found by the next try, which is at most an hour away.
#[tokio::test(start_paused = true)]
async fn rf2_whoever_holds_something_and_cannot_go_on_looks_for_its_consent_within_an_hour() {
    for (spec, why) in FAILING {
        let mut world = World::synced("Periodic").await;
        world.edit(spec);
        let report = world.pull.reconcile(Arc::new(world.object.clone()), &name()).await;
        let is_in_time = match report.requeue() {
            Some(Requeue::After(pause)) => pause <= Duration::from_secs(3600),
            requeue => requeue == Some(Requeue::BackOff),
        };
        assert!(is_in_time, "{why}: {report:?}");
        world.turn().await;
        world.say_unannounced((0, 0), Says::TakenBack);
        world.turn().await;
        assert_eq!(world.held(), None, "{why}");
    }
}

/// One store of two does not exist, or does not answer: the other one's producers are heard.
#[tokio::test(start_paused = true)]
async fn rf2_a_store_that_fails_hides_no_withdrawal_in_another() {
    for is_down in [false, true] {
        let mut world = World::synced("Periodic").await;
        world.edit(Spec::ReadsBoth { stores: [0, 1] });
        world.turn().await;
        match is_down {
            true => world.server.before_each(|_, request| {
                let down = StoreError::Standby { server: "fake".into() };
                (*request.identity.0 == *STORES[1]).then_some(Fault::Refuse(down))
            }),
            false => world.edit(Spec::ReadsBoth { stores: [0, 2] }),
        }
        world.say((0, 0), Says::TakenBack).await;
        let verdict = world.turn().await.unwrap();
        assert_eq!((verdict.ready, world.held()), (false, None), "{is_down}: {}", verdict.message);
    }
}

/// A store that does not answer is not asked twice in each try.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_asked_once_in_each_try() {
    let mut world = World::synced("Periodic").await;
    let requests = async |world: &mut World| {
        let before = world.server.count(Operation::Read);
        world.edit(Spec::Reads { spot: (0, 0), store: 0 });
        world.object.spec.data[0].remote_ref.version = Some("1".to_owned());
        world.turn().await;
        world.server.count(Operation::Read) - before
    };
    assert_eq!(requests(&mut world).await, 1);
    world.server.before_each(|_, request| {
        let down = StoreError::Standby { server: "fake".into() };
        (request.operation == Operation::Read).then_some(Fault::Refuse(down))
    });
    assert_eq!(requests(&mut world).await, 1);
}

/// The stores of what it holds count as those that it names: their changes wake it.
#[tokio::test(start_paused = true)]
async fn a_store_from_which_a_target_was_rendered_goes_on_to_concern_it() {
    let mut world = World::synced("CreatedOnce").await;
    world.edit(Spec::Reads { spot: (0, 0), store: 1 });
    let stores = world.pull.stores(&world.object);
    assert!(stores.contains(&StoreName::cluster(STORES[0])) && stores.contains(&StoreName::cluster(STORES[1])));
}

/// It does not decode any more, and holds what it had.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_takes_what_a_resource_holds_that_does_not_decode() {
    let mut world = World::synced("Periodic").await;
    let mut odd = json!(world.object);
    odd["spec"]["refreshInterval"] = json!(7);
    world.api.put(OBJECT, odd);
    let retried = async |world: &World| match world.pull.undecodable(&name()).await.unwrap() {
        Fate::Told(advice) => advice.requeue,
        fate => panic!("{fate:?}"),
    };
    // A withdrawal that nobody announces is found within an hour.
    assert_eq!(retried(&world).await, Requeue::After(Duration::from_secs(3600)));
    assert_eq!(world.held(), Some((0, 0)));
    world.woken();
    world.is_due = false;
    world.say((0, 0), Says::TakenBack).await;
    assert!(world.woken());
    // Nobody else wakes it if the store does not answer then.
    world.server.fail_next(1, StoreError::Sealed { server: "fake".into() });
    assert_eq!(retried(&world).await, Requeue::AskAgain);
    assert_eq!(world.held(), Some((0, 0)));
    assert_eq!(retried(&world).await, Requeue::AwaitChange);
    assert_eq!(world.held(), None);
}

/// The spec was edited twice, to another target and to something wrong. What was taken back was never
/// in the other target.
#[tokio::test(start_paused = true)]
async fn a_withdrawal_takes_no_target_that_is_former_to_an_earlier_spec_alone() {
    let mut world = World::synced("Periodic").await;
    let mut other: Value = world.api.get(TARGET).unwrap();
    other["metadata"]["name"] = json!("other");
    world.api.put("/namespaces/team/secrets/other", other);
    world.edit(Spec::Escapes);
    world.edit(Spec::Escapes);
    world.turn().await;
    world.say((0, 0), Says::TakenBack).await;
    world.turn().await;
    assert_eq!(world.held(), None);
    assert!(world.api.get::<Value>("/namespaces/team/secrets/other").is_some());
}

/// External Secrets Operator's definitions keep no paths: then the present spec is all that is known.
#[tokio::test(start_paused = true)]
async fn without_paths_in_the_status_the_present_spec_is_judged() {
    let mut world = World::synced("CreatedOnce").await;
    world.object.status.as_mut().unwrap().paths.clear();
    world.say((0, 0), Says::TakenBack).await;
    let verdict = world.turn().await.unwrap();
    assert_eq!((verdict.reason, world.held()), (Reason::NotPermitted, None));
}
