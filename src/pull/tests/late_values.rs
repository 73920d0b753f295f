//! Values that come later than the resource that reads them, and what is gone when it is read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{done, moment};
use crate::api::ExternalSecret;
use crate::api::condition::{self, Condition, ConditionStatus, READY};
use crate::cluster::in_memory::ApiServer;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::Report;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::feed::Pushed;
use crate::pull::Pull;
use crate::pull::bound::LOOK_AROUND;
use crate::pull::desired::Desired;
use crate::pull::records::Records;
use crate::pull::report::{Synced, success};
use crate::store::fake::FakeStore;
use crate::store::opening::Opening;
use crate::store::{Site, StoreClient};

const OBJECT: &str = "/namespaces/team/externalsecrets/db";
const TARGET: &str = "/namespaces/team/secrets/db";
/// Policy and interval of those that are not read again.
const ONCE: [(&str, &str); 3] = [("OnChange", "1h"), ("CreatedOnce", "1h"), ("Periodic", "0")];

struct World {
    api: ApiServer,
    store: FakeStore,
    context: Arc<Context>,
    pull: Pull<Opening>,
    wakeups: UnboundedReceiver<Name>,
    object: ExternalSecret,
}

fn start(api: &ApiServer, store: &FakeStore) -> (Arc<Context>, Pull<Opening>, UnboundedReceiver<Name>) {
    let (context, client): (_, Arc<dyn StoreClient>) = (Context::on(api.cluster()), Arc::new(store.clone()));
    let opening = Opening::by(move |_, _| Ok(client.clone()));
    let pull = Pull::new(context.clone(), opening, Arc::new(Records::default()));
    let wakeups = context.feed.wakeups().unwrap();
    (context, pull, wakeups)
}

fn entries(keys: &[&str]) -> Value {
    keys.iter().map(|key| json!({ "secretKey": key, "remoteRef": { "key": key, "property": "value" } })).collect()
}

fn path(key: &str) -> RemotePath {
    RemotePath::parse(Some("secret"), key).unwrap()
}

impl World {
    fn new((policy, interval): (&str, &str), deletion: &str, keys: &[&str]) -> Self {
        let (api, store) = (ApiServer::default(), FakeStore::new());
        let (context, pull, wakeups) = start(&api, &store);
        let object = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "team", "uid": "es-uid", "generation": 1 },
            "spec": {
                "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" },
                "refreshInterval": interval, "refreshPolicy": policy,
                "target": { "deletionPolicy": deletion }, "data": entries(keys),
            },
        }));
        World { api, store, context, pull, wakeups, object: object.unwrap() }
    }

    fn restart(&mut self) {
        (self.context, self.pull, self.wakeups) = start(&self.api, &self.store);
    }

    /// One reconcile, with its status stored.
    async fn reconcile(&mut self) {
        self.api.put(OBJECT, json!(self.object));
        let report = self.pull.reconcile(Arc::new(self.object.clone()), &Name::new("team", "db")).await;
        if let Report::Verdict { status, .. } = report {
            self.object.status = Some(status.after);
        }
    }

    /// A push writes a value, and whoever it wakes is reconciled. Returns whether it woke anybody.
    async fn push(&mut self, key: &str, value: &str) -> bool {
        let version = self.store.put(&path(key), BTreeMap::from([("value".to_owned(), RemoteValue::text(value))]));
        let place = self.store.path_key(&path(key)).await.unwrap();
        let pushed = Pushed::Version(version, self.store.peek(&path(key)).created);
        self.context.feed.announce(&Site::of(&self.store, place), pushed);
        let mut woke = false;
        while self.wakeups.try_recv().is_ok() {
            woke = true;
            self.reconcile().await;
        }
        woke
    }

    fn edit(&mut self, keys: &[&str]) {
        self.object.metadata.generation = self.object.metadata.generation.map(|generation| generation + 1);
        self.object.spec.data = serde_json::from_value(entries(keys)).unwrap();
    }

    fn pin(&mut self, version: &str) {
        self.object.metadata.generation = self.object.metadata.generation.map(|generation| generation + 1);
        self.object.spec.data[0].remote_ref.version = Some(version.to_owned());
    }

    fn ready(&self) -> Condition {
        condition::find(&self.object.status.as_ref().unwrap().conditions, READY).unwrap().clone()
    }

    /// An annotation, as a person sets it who wants a refresh.
    fn touch(&mut self) {
        self.object.metadata.annotations.get_or_insert_default().insert("touched".into(), "1".into());
    }

    /// The values of the target, by key.
    fn held(&self) -> Option<BTreeMap<String, String>> {
        let target: Secret = self.api.get(TARGET)?;
        let text = |value: k8s_openapi::ByteString| String::from_utf8(value.0).unwrap();
        Some(target.data.unwrap().into_iter().map(|(key, value)| (key, text(value))).collect())
    }

    fn is_synced(&self) -> bool {
        self.object.status.as_ref().is_some_and(|status| status.synced_resource_version.is_some())
    }
}

fn held(values: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

#[tokio::test]
async fn kg4_what_is_read_once_waits_for_each_value_that_was_never_there() {
    for (once, deletion, restarts) in ONCE
        .into_iter()
        .flat_map(|once| ["Retain", "Delete"].map(|deletion| [(once, deletion, false), (once, deletion, true)]))
        .flatten()
    {
        let case = format!("{once:?}, {deletion}, {restarts}");
        let mut world = World::new(once, deletion, &["a", "b"]);
        let look = async |world: &mut World| {
            if restarts {
                world.restart();
            }
            world.reconcile().await;
        };
        look(&mut world).await;
        assert_eq!((world.held(), world.is_synced()), (None, false), "{case}");
        look(&mut world).await;
        assert!(world.push("a", "1").await, "{case}");
        let part = if deletion == "Delete" { held(&[("a", "1")]) } else { None };
        assert_eq!((world.held(), world.is_synced()), (part, false), "{case}");
        look(&mut world).await;
        assert!(world.push("b", "1").await, "{case}");
        assert_eq!((world.held(), world.is_synced()), (held(&[("a", "1"), ("b", "1")]), true), "{case}");
        look(&mut world).await;
        assert!(!world.push("a", "2").await, "{case}: it is not read again");
        assert_eq!(world.held(), held(&[("a", "1"), ("b", "1")]), "{case}");
    }
}

#[tokio::test]
async fn kg4_an_edit_that_names_a_path_before_it_is_pushed_is_followed() {
    let mut world = World::new(ONCE[0], "Delete", &["a"]);
    world.push("a", "1").await;
    world.reconcile().await;
    assert!(world.is_synced());
    world.edit(&["a", "b"]);
    for _ in 0..2 {
        world.reconcile().await;
        assert_eq!((world.held(), world.is_synced()), (held(&[("a", "1")]), false));
    }
    assert!(world.push("b", "1").await);
    assert_eq!((world.held(), world.is_synced()), (held(&[("a", "1"), ("b", "1")]), true));
    assert!(!world.push("a", "2").await);
}

/// Somebody deleted it while its value was gone.
#[tokio::test]
async fn a_target_that_cannot_be_repaired_comes_back_with_its_value() {
    for (once, deletion) in ONCE.into_iter().flat_map(|once| ["Retain", "Delete"].map(|deletion| (once, deletion))) {
        let mut world = World::new(once, deletion, &["a"]);
        world.push("a", "1").await;
        world.reconcile().await;
        world.store.soft_delete(&path("a"));
        world.api.remove(TARGET);
        world.restart();
        world.reconcile().await;
        assert_eq!(world.held(), None, "{once:?}, {deletion}");
        assert!(world.push("a", "2").await, "{once:?}, {deletion}");
        assert_eq!((world.held(), world.is_synced()), (held(&[("a", "2")]), true), "{once:?}, {deletion}");
        assert!(!world.push("a", "3").await, "{once:?}, {deletion}");
    }
}

/// A value that is gone for good does not make its resource follow the others.
#[tokio::test]
async fn what_was_there_once_is_not_waited_for() {
    let mut world = World::new(ONCE[0], "Delete", &["a", "b"]);
    for key in ["a", "b"] {
        world.push(key, "1").await;
    }
    world.reconcile().await;
    world.store.soft_delete(&path("b"));
    world.touch();
    world.reconcile().await;
    world.pull.losses.pass(LOOK_AROUND);
    world.reconcile().await;
    assert_eq!((world.held(), world.is_synced()), (held(&[("a", "1")]), true));
    assert!(!world.push("a", "2").await);
    assert_eq!(world.held(), held(&[("a", "1")]));
}

/// Whatever is pushed before it, and whatever the path lacks yet.
#[tokio::test]
async fn kg4_a_pinned_version_is_waited_for_until_it_is_published() {
    let policies = ONCE.into_iter().chain([("Periodic", "1h")]);
    for (policy, deletion) in policies.flat_map(|policy| ["Retain", "Delete"].map(|deletion| (policy, deletion))) {
        let case = format!("{policy:?}, {deletion}");
        let mut world = World::new(policy, deletion, &["a"]);
        world.pin("3");
        world.push("a", "1").await;
        for _ in 0..2 {
            world.reconcile().await;
            let ready = world.ready();
            let message = ready.message.unwrap();
            assert_eq!((ready.status, world.held()), (ConditionStatus::False, None), "{case}: {message}");
            assert!(message.contains("secret/a does not exist at version 3"), "{case}: {message}");
        }
        world.push("a", "2").await;
        assert_eq!(world.held(), None, "{case}");
        assert!(world.push("a", "3").await, "{case}");
        assert_eq!((world.held(), world.is_synced()), (held(&[("a", "3")]), true), "{case}");
        world.reconcile().await;
        assert!(!world.push("a", "4").await, "{case}");
        assert_eq!(world.held(), held(&[("a", "3")]), "{case}");
    }
}

/// What was never there is not gone.
#[tokio::test]
async fn a_target_keeps_its_version_until_the_one_that_is_pinned_next_is_published() {
    for (policy, is_purged) in ["Periodic", "OnChange"].into_iter().flat_map(|policy| [(policy, false), (policy, true)])
    {
        let case = format!("{policy}, {is_purged}");
        let mut world = World::new((policy, "1h"), "Delete", &["a"]);
        world.push("a", "1").await;
        world.pin("1");
        world.reconcile().await;
        world.pin("2");
        for _ in 0..2 {
            world.reconcile().await;
            world.pull.losses.pass(LOOK_AROUND);
            assert_eq!((world.ready().status, world.held()), (ConditionStatus::False, held(&[("a", "1")])), "{case}");
        }
        assert!(world.push("a", "2").await, "{case}");
        assert_eq!(world.held(), held(&[("a", "2")]), "{case}");
        match is_purged {
            true => world.store.purge(&path("a")),
            false => world.store.soft_delete(&path("a")),
        }
        world.touch();
        world.context.feed.clone().check_all().await;
        world.reconcile().await;
        world.pull.losses.pass(LOOK_AROUND);
        for _ in 0..2 {
            world.reconcile().await;
            assert_eq!((world.ready().status, world.held()), (ConditionStatus::True, None), "{case}: it was there");
        }
    }
}

/// Argo CD takes an OnChange resource for stale while its condition is older than its refresh.
#[test]
fn under_on_change_a_heartbeat_moves_the_condition_with_the_refresh() {
    let mut object = super::object(super::spec_with("/refreshPolicy", json!("OnChange")));
    let desired = Desired::parse(&object).unwrap();
    for (synced, seconds) in [(done(&desired, 1), 1000), (Synced::Unchanged, 4600)] {
        let Report::Verdict { status, .. } = success(&object, &desired, synced, &moment(seconds)) else {
            panic!("a heartbeat is due");
        };
        let ready = condition::find(&status.after.conditions, READY).unwrap();
        assert_eq!(status.after.refresh_time, ready.last_transition_time);
        assert_eq!(ready.last_transition_time.as_ref().map(|time| time.0.as_duration().as_secs()), Some(seconds));
        object.status = Some(status.after);
    }
}
