//! Whose losses hold up others, and whose do not: whoever may not read the store, and whoever is not
//! judged any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Pull;
use super::absence::Absence;
use super::bound::{Halt, MOST_TARGETS, Reads};
use super::records::Records;
use super::roll::{Member, Past};
use crate::api::condition::Reason;
use crate::api::{ClusterSecretStore, ExternalSecret};
use crate::cluster::in_memory::ApiServer;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::{Report, Verdict};
use crate::domain::consent;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::store::fake::FakeStore;
use crate::store::opening::{Opened, Opening};
use crate::store::{StoreClient, StoreName, StoreObject, StoreRefusal};

const MINUTE: Duration = Duration::from_secs(60);

/// What opening each store gives, if it is not the server of the tests.
type Refusals = Arc<Mutex<BTreeMap<String, StoreRefusal>>>;

struct World {
    api: ApiServer,
    server: FakeStore,
    refusals: Refusals,
    context: Arc<Context>,
    pull: Pull<Opening>,
    object: ExternalSecret,
}

impl World {
    /// A target in sync, of a store where so many others lost values that one more is too many.
    async fn synced(store: &str) -> Self {
        let (api, server, refusals) = (ApiServer::default(), FakeStore::new(), Refusals::default());
        server.put(&path(), BTreeMap::from([("password".to_owned(), RemoteValue::text("1"))]));
        let context = Context::on(api.cluster());
        let pull = Pull::new(context.clone(), opening(&server, &refusals), Arc::new(Records::default()));
        let mut world = World { api, server, refusals, context, pull, object: object(store) };
        world.sees();
        assert!(world.reconcile().await.unwrap().ready);
        world
    }

    /// A target whose loss is blocked, with nobody else left that loses.
    async fn held(store: &str) -> Self {
        let mut world = World::synced(store).await;
        let others = (0..MOST_TARGETS).map(|number| Name::new("others", number.to_string()));
        let member = Member { interval: Duration::from_secs(3600), has_target: true };
        for name in others.clone() {
            let (roll, past) =
                ((member, BTreeSet::from([StoreName::cluster(store)])), Past::Lost { ago: Duration::ZERO });
            world.pull.losses.enrol(&name, Some(roll), |_| past, |_| None, Instant::now());
            world.pull.losses.opened(&name, |_| Reads::Yes);
        }
        world.server.soft_delete(&path());
        world.context.feed.pass(MINUTE);
        world.context.feed.clone().check_all().await;
        assert_eq!(world.reconcile().await.unwrap().reason, Reason::MassDeletionBlocked);
        others.for_each(|name| world.pull.losses.forget(&name));
        assert!(world.is_closed(store));
        world
    }

    /// The watch delivers it as it is.
    fn sees(&self) {
        self.pull.seen(&self.object);
    }

    /// One reconcile, with its status written; `None` if nothing was decided.
    async fn reconcile(&mut self) -> Option<Verdict> {
        self.api.put("/namespaces/team/externalsecrets/db", json!(self.object));
        let Report::Verdict { verdict, status, .. } = self.pull.reconcile(Arc::new(self.object.clone()), &name()).await
        else {
            return None;
        };
        self.object.status = Some(status.after);
        self.sees();
        Some(verdict)
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        let mut object = serde_json::to_value(&self.object).unwrap();
        object["metadata"]["generation"] = json!(2);
        edit(&mut object);
        self.object = serde_json::from_value(object).unwrap();
        self.sees();
    }

    fn refuse(&self, refusal: StoreRefusal) {
        self.refusals.lock().insert("vault".to_owned(), refusal);
    }

    fn withdraw(&self, consents: &str) {
        self.server.put_metadata(&path(), BTreeMap::from([(consent::key("password"), consents.to_owned())]));
    }

    /// Whether a loss of somebody else is blocked.
    fn is_closed(&self, store: &str) -> bool {
        let (probe, absences) = (Name::new("others", "probe"), [(StoreName::cluster(store), Absence::Loss)]);
        let halt = self.pull.losses.judge(&probe, &absences.into(), |_| None, Instant::now());
        let back = [(StoreName::cluster(store), Absence::Nothing)];
        self.pull.losses.judge(&probe, &back.into(), |_| None, Instant::now()).unwrap();
        matches!(halt, Err(Halt::Blocked(_)))
    }
}

fn opening(server: &FakeStore, refusals: &Refusals) -> Opening {
    let (server, refusals) = (server.clone(), refusals.clone());
    Opening::by(move |_, store| -> Opened {
        let refusal = refusals.lock().get(&store.name).cloned();
        refusal.map_or_else(|| Ok(Arc::new(server.clone()) as Arc<dyn StoreClient>), Err)
    })
}

fn object(store: &str) -> ExternalSecret {
    serde_json::from_value(json!({
        "metadata": { "name": "db", "namespace": "team", "uid": "es-uid", "generation": 1 },
        "spec": {
            "secretStoreRef": { "name": store, "kind": "ClusterSecretStore" },
            "refreshInterval": "1h", "target": { "deletionPolicy": "Delete" },
            "data": [{ "secretKey": "password", "remoteRef": { "key": "db", "property": "password" } }],
        },
    }))
    .unwrap()
}

fn name() -> Name {
    Name::new("team", "db")
}

fn path() -> RemotePath {
    RemotePath::parse(Some("secret"), "db").unwrap()
}

fn not_allowed(store: &str) -> StoreRefusal {
    StoreRefusal::NotAllowed { store: StoreName::cluster(store), namespace: "team".into() }
}

/// Each way in which a resource is judged no more, although its value is still gone.
#[tokio::test]
async fn whoever_is_not_judged_any_more_holds_nobody_up() {
    type Way = (&'static str, fn(&mut World));
    let ways: [Way; 9] = [
        ("its spec is wrong", |world| world.edit(|object| object["spec"]["data"] = json!([]))),
        ("its key names no entry", |world| {
            world.edit(|object| object["spec"]["data"][0]["remoteRef"]["key"] = json!("../db"));
        }),
        ("it is not read again", |world| world.edit(|object| object["spec"]["refreshPolicy"] = json!("CreatedOnce"))),
        ("its store does not serve it", |world| world.refuse(not_allowed("vault"))),
        ("its store is gone", |world| world.refuse(StoreRefusal::NotFound { store: StoreName::cluster("vault") })),
        ("another controller has its store", |world| {
            let store = json!({
                "metadata": { "name": "vault", "uid": "store-uid" }, "spec": { "controller": "other", "provider": {} },
            });
            let store: ClusterSecretStore = serde_json::from_value(store).unwrap();
            world.context.stores.upsert(StoreName::cluster("vault"), StoreObject::Cluster(Arc::new(store)));
        }),
        ("its producer took the consent back", |world| world.withdraw("{}")),
        ("its producer took the target back", |world| world.withdraw(r#"{"onWithdrawal":"Delete"}"#)),
        ("another value has never been there", |world| {
            let more = json!({ "secretKey": "more", "remoteRef": { "key": "more", "property": "more" } });
            world.server.put(&RemotePath::parse(Some("secret"), "more").unwrap(), BTreeMap::new());
            world.edit(|object| object["spec"]["data"].as_array_mut().unwrap().push(more));
        }),
    ];
    for (why, way) in ways {
        let mut world = World::held("vault").await;
        way(&mut world);
        let verdict = world.reconcile().await;
        assert_ne!(verdict.map(|verdict| verdict.reason), Some(Reason::MassDeletionBlocked), "{why}");
        assert!(!world.is_closed("vault"), "{why}");
        assert!(!world.pull.losses.awaits(&name()), "{why}");
    }
}

#[tokio::test]
async fn one_that_does_not_decode_any_more_holds_nobody_up() {
    let world = World::held("vault").await;
    world.pull.undecodable(&name()).await.unwrap();
    assert!(!world.is_closed("vault"));
}

/// Its values may still be gone.
#[tokio::test]
async fn whoever_cannot_be_judged_just_now_waits_with_the_others() {
    let mut world = World::held("vault").await;
    world.api.before_each(|_, _| Some(crate::cluster::in_memory::Fault::Refuse));
    world.reconcile().await;
    assert!(world.is_closed("vault"));
}

/// A spec may name any store, and its status is about another one.
#[tokio::test]
async fn i4_an_edit_that_names_a_store_closes_no_latch_of_it() {
    let mut world = World::held("own").await;
    world.refusals.lock().insert("vault".to_owned(), not_allowed("vault"));
    world.edit(|object| object["spec"]["secretStoreRef"]["name"] = json!("vault"));
    assert!(!world.is_closed("vault"), "the watch has delivered the edit");
    assert_eq!(world.reconcile().await.unwrap().reason, Reason::NotPermitted);
    assert!(!world.is_closed("vault"));

    // Nor does another process that begins with what this one left.
    let status = World::held("own").await.object.status;
    for named in ["own", "vault"] {
        let text = serde_json::to_string(&status).unwrap();
        world.object.status =
            serde_json::from_str(&text.replace("ClusterSecretStore own", &format!("ClusterSecretStore {named}")))
                .unwrap();
        let opening = opening(&world.server, &world.refusals);
        world.pull = Pull::new(Context::on(world.api.cluster()), opening, Arc::new(Records::default()));
        world.sees();
        assert_eq!(world.reconcile().await.unwrap().reason, Reason::NotPermitted);
        assert!(!world.is_closed("vault"), "{named}");
    }
}

/// The other direction: whoever was held by this store holds its latch closed after a restart, before
/// anything is reconciled, and afterwards.
#[tokio::test]
async fn i3_a_restart_opens_no_latch() {
    let mut world = World::held("vault").await;
    let opening = opening(&world.server, &world.refusals);
    world.pull = Pull::new(Context::on(world.api.cluster()), opening, Arc::new(Records::default()));
    world.sees();
    let absences = BTreeMap::from([(StoreName::cluster("vault"), Absence::Loss)]);
    let other = Name::new("others", "probe");
    assert!(world.pull.losses.judge(&other, &absences, |_| None, Instant::now()).is_err());
    let later = Instant::now() + MINUTE;
    assert!(world.pull.losses.judge(&other, &absences, |_| None, later).is_err());
    assert_eq!(world.reconcile().await.unwrap().reason, Reason::MassDeletionBlocked);
    assert!(world.is_closed("vault"));
}
