//! Pulls of a path whose version went back, because a snapshot was restored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Pull;
use super::records::Records;
use crate::api::condition::Reason;
use crate::api::{ExternalSecret, names};
use crate::cluster::in_memory::ApiServer;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::{Report, Requeue, Verdict};
use crate::domain::consent;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::feed::Pushed;
use crate::store::fake::FakeStore;
use crate::store::opening::Opening;
use crate::store::{Site, StoreClient};

const MINUTE: Duration = Duration::from_secs(60);
const NAMESPACES: [&str; 2] = ["a", "b"];

struct World {
    api: ApiServer,
    store: FakeStore,
    context: Arc<Context>,
    pull: Pull<Opening>,
    objects: BTreeMap<&'static str, ExternalSecret>,
    wakeups: UnboundedReceiver<Name>,
}

impl World {
    /// Two namespaces with targets of the third version, and now the second is there.
    async fn restored(policy: &str) -> Self {
        let (api, store) = (ApiServer::default(), FakeStore::new());
        let client: Arc<dyn StoreClient> = Arc::new(store.clone());
        let opening = Opening::by(move |_, _| Ok(client.clone()));
        let context = Context::on(api.cluster());
        let pull = Pull::new(context.clone(), opening, Arc::new(Records::default()));
        for value in ["1", "2", "3"] {
            store.put(&path(), BTreeMap::from([("password".to_owned(), RemoteValue::text(value))]));
        }
        let objects = NAMESPACES.map(|namespace| (namespace, object(namespace, policy)));
        let wakeups = context.feed.wakeups().unwrap();
        let mut world = World { api, store, context, pull, objects: objects.into(), wakeups };
        for namespace in NAMESPACES {
            assert!(world.reconcile(namespace).await.0.ready);
            assert_eq!(world.held(namespace).as_deref(), Some("3"));
        }
        world.context.feed.pass(MINUTE);
        world.store.restore(&path(), 2);
        world
    }

    /// The process starts anew: it knows what the statuses show.
    fn restart(&mut self) {
        let client: Arc<dyn StoreClient> = Arc::new(self.store.clone());
        let opening = Opening::by(move |_, _| Ok(client.clone()));
        self.context = Context::on(self.api.cluster());
        self.pull = Pull::new(self.context.clone(), opening, Arc::new(Records::default()));
        self.wakeups = self.context.feed.wakeups().unwrap();
    }

    /// Nobody reads the path for a while: all specs are wrong, and then right again.
    async fn err(&mut self) {
        self.context.feed.forget(&Name::new(NAMESPACES[1], "db"));
        let right = self.objects.clone();
        for namespace in NAMESPACES {
            self.objects.get_mut(namespace).unwrap().spec.data.clear();
            assert_eq!(self.reconcile(namespace).await.0.reason, Reason::InvalidSpec);
        }
        for (namespace, object) in right {
            self.objects.get_mut(namespace).unwrap().spec = object.spec;
        }
    }

    /// One reconcile, with its status written.
    async fn reconcile(&mut self, namespace: &'static str) -> (Verdict, Requeue) {
        let object = self.objects.get_mut(namespace).unwrap();
        self.api.put(&format!("/namespaces/{namespace}/externalsecrets/db"), json!(object));
        match self.pull.reconcile(Arc::new(object.clone()), &Name::new(namespace, "db")).await {
            Report::Verdict { verdict, status, requeue } => {
                object.status = Some(status.after);
                (verdict, requeue)
            }
            Report::Unchanged { ready, requeue } => {
                (Verdict { ready, reason: Reason::SecretSynced, message: String::new() }, requeue)
            }
            other => panic!("{other:?}"),
        }
    }

    fn annotate(&mut self, namespace: &str, key: &str, value: &str) {
        let annotations = &mut self.objects.get_mut(namespace).unwrap().metadata.annotations;
        annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    }

    /// What the target in this namespace holds.
    fn held(&self, namespace: &str) -> Option<String> {
        let target: Secret = self.api.get(&format!("/namespaces/{namespace}/secrets/db"))?;
        Some(String::from_utf8(target.data?["password"].0.clone()).unwrap())
    }

    async fn announce_consent(&self) {
        let key = self.store.path_key(&path()).await.unwrap();
        self.context.feed.announce(&Site::of(&self.store, key), Pushed::Consent);
    }

    fn woken(&mut self) -> Vec<Name> {
        std::iter::from_fn(|| self.wakeups.try_recv().ok()).collect()
    }
}

fn object(namespace: &str, policy: &str) -> ExternalSecret {
    serde_json::from_value(json!({
        "metadata": { "name": "db", "namespace": namespace, "uid": namespace, "generation": 1 },
        "spec": {
            "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" },
            "refreshInterval": "1h", "refreshPolicy": policy,
            "data": [{ "secretKey": "password", "remoteRef": { "key": "db", "property": "password" } }],
        },
    }))
    .unwrap()
}

fn path() -> RemotePath {
    RemotePath::parse(Some("secret"), "db").unwrap()
}

/// The status tells no time of creation, because the definition in the cluster is older. A number alone
/// does not show that a version went back.
#[tokio::test]
async fn an_entry_that_was_created_again_is_followed_although_the_status_tells_no_times() {
    let mut world = World::restored("Periodic").await;
    for object in world.objects.values_mut() {
        object.status.as_mut().unwrap().paths.iter_mut().for_each(|path| path.created_at = None);
    }
    world.restart();
    world.store.purge(&path());
    world.store.put(&path(), BTreeMap::from([("password".to_owned(), RemoteValue::text("new"))]));
    let (verdict, _) = world.reconcile("a").await;
    assert!(verdict.ready, "{}", verdict.message);
    assert_eq!(world.held("a").as_deref(), Some("new"));
}

/// Whoever follows refuses the version, and says so; whoever does not follow is as it was. The
/// withdrawal reaches both.
#[tokio::test]
async fn rf2_a_withdrawal_takes_the_target_although_the_version_went_back() {
    for policy in ["Periodic", "OnChange", "CreatedOnce"] {
        let mut world = World::restored(policy).await;
        world.announce_consent().await;
        let (verdict, requeue) = world.reconcile("a").await;
        let follows = policy == "Periodic";
        assert_eq!((verdict.ready, requeue.is_failure()), (!follows, follows), "{policy}: {}", verdict.message);
        assert_ne!(requeue, Requeue::AskAgain, "{policy}: the consents are known");
        assert_eq!(world.held("a").as_deref(), Some("3"), "{policy}");

        let nobody = BTreeMap::from([(consent::key("password"), r#"{"onWithdrawal":"Delete"}"#.to_owned())]);
        world.store.put_metadata(&path(), nobody);
        world.announce_consent().await;
        for namespace in NAMESPACES {
            let (verdict, _) = world.reconcile(namespace).await;
            assert_eq!((verdict.ready, verdict.reason), (false, Reason::NotPermitted), "{policy}: {}", verdict.message);
            assert_eq!(world.held(namespace), None, "{policy}");
        }
    }
}

#[tokio::test]
async fn i4_only_a_confirmation_takes_a_version_that_went_back_and_for_one_resource_alone() {
    let mut world = World::restored("Periodic").await;
    let keeps = async |world: &mut World, namespace, why: &str| {
        let (verdict, _) = world.reconcile(namespace).await;
        assert!(
            !verdict.ready && verdict.message.contains(names::ANNOTATION_ACCEPT_OLDER),
            "{why}: {}",
            verdict.message
        );
        assert_eq!(world.held(namespace).as_deref(), Some("3"), "{why}");
    };
    world.annotate("a", "force-sync", "1");
    keeps(&mut world, "a", "another annotation").await;
    world.objects.get_mut("a").unwrap().metadata.labels =
        Some(BTreeMap::from([("by".to_owned(), "gitops".to_owned())]));
    keeps(&mut world, "a", "a label").await;
    world.objects.get_mut("a").unwrap().metadata.generation = Some(2);
    keeps(&mut world, "a", "a new generation").await;
    world.context.feed.clone().check_all().await;
    keeps(&mut world, "b", "nothing").await;
    world.woken();

    world.annotate("a", names::ANNOTATION_ACCEPT_OLDER, "1");
    for time in ["it is confirmed", "and stays so"] {
        let (verdict, _) = world.reconcile("a").await;
        assert!(verdict.ready, "{time}: {}", verdict.message);
        assert_eq!(world.held("a").as_deref(), Some("2"), "{time}");
        assert_eq!(world.woken(), [], "{time}");
        keeps(&mut world, "b", "another one confirmed it").await;
    }
    world.annotate("a", "note", "1");
    assert!(world.reconcile("a").await.0.ready, "a later edit asks for no second confirmation");
    // What was there before is none.
    world.annotate("b", names::ANNOTATION_ACCEPT_OLDER, "1");
    assert!(world.reconcile("b").await.0.ready);
    assert_eq!(world.held("b").as_deref(), Some("2"));
    world.context.feed.pass(MINUTE);
    world.store.restore(&path(), 1);
    let (verdict, _) = world.reconcile("b").await;
    assert!(verdict.ready, "nothing has told it: {}", verdict.message);
    world.context.feed.clone().check_all().await;
    let (verdict, _) = world.reconcile("b").await;
    assert!(!verdict.ready, "{}", verdict.message);
}

/// How a path comes to be unknown to the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forgotten {
    Restart,
    WrongSpecs,
    Both,
}

impl Forgotten {
    const ALL: [Self; 3] = [Self::Restart, Self::WrongSpecs, Self::Both];

    async fn happens(self, world: &mut World) {
        if self != Self::WrongSpecs {
            world.restart();
        }
        if self != Self::Restart {
            world.err().await;
        }
    }
}

impl World {
    /// Each of them follows without a confirmation.
    async fn all_follow(&mut self, value: &str, case: &str) {
        for namespace in NAMESPACES {
            let (verdict, _) = self.reconcile(namespace).await;
            assert!(verdict.ready, "{case}: {}", verdict.message);
            assert_eq!(self.held(namespace).as_deref(), Some(value), "{case}");
        }
    }
}

/// The status knows what the feed does not: at first a standby may lag, and then it went back.
#[tokio::test(start_paused = true)]
async fn i4_a_version_that_went_back_while_nobody_knew_the_path_changes_no_target() {
    for forgotten in Forgotten::ALL {
        let mut world = World::restored("Periodic").await;
        forgotten.happens(&mut world).await;
        for namespace in NAMESPACES {
            let (verdict, requeue) = world.reconcile(namespace).await;
            assert!(!verdict.ready && requeue.is_failure(), "{forgotten:?}: {}", verdict.message);
            let asks = verdict.message.contains(names::ANNOTATION_ACCEPT_OLDER);
            assert!(!asks, "{forgotten:?}: a standby may lag: {}", verdict.message);
        }
        world.context.feed.pass(MINUTE);
        // What a check shows is not what the target has.
        world.context.feed.clone().check_all().await;
        for namespace in NAMESPACES {
            let (verdict, _) = world.reconcile(namespace).await;
            let asks = verdict.message.contains(names::ANNOTATION_ACCEPT_OLDER);
            assert!(!verdict.ready && asks, "{forgotten:?}: {}", verdict.message);
            assert_eq!(world.held(namespace).as_deref(), Some("3"), "{forgotten:?}");
        }
        world.annotate("a", names::ANNOTATION_ACCEPT_OLDER, "1");
        for (namespace, holds) in [("a", "2"), ("b", "3"), ("a", "2")] {
            let (verdict, _) = world.reconcile(namespace).await;
            assert_eq!(verdict.ready, holds == "2", "{forgotten:?}, {namespace}: {}", verdict.message);
            assert_eq!(world.held(namespace).as_deref(), Some(holds), "{forgotten:?}, {namespace}");
        }
        // A person writes it.
        world.store.put(&path(), BTreeMap::from([("password".to_owned(), RemoteValue::text("written"))]));
        world.context.feed.pass(MINUTE);
        world.context.feed.clone().check_all().await;
        world.all_follow("written", &format!("{forgotten:?}")).await;
    }
}

/// A standby that lagged has caught up, and an entry that was created again begins at 1: nobody has to
/// confirm that.
#[tokio::test(start_paused = true)]
async fn what_did_not_go_back_while_nobody_knew_the_path_is_followed_at_once() {
    let text = |value: &str| BTreeMap::from([("password".to_owned(), RemoteValue::text(value))]);
    for forgotten in Forgotten::ALL {
        for is_purged in [false, true] {
            let mut world = World::restored("Periodic").await;
            if is_purged {
                world.store.purge(&path());
            }
            forgotten.happens(&mut world).await;
            if !is_purged {
                assert!(!world.reconcile("a").await.0.ready, "{forgotten:?}");
                world.context.feed.pass(MINUTE);
            }
            world.store.put(&path(), text("again"));
            world.all_follow("again", &format!("{forgotten:?}, {is_purged}")).await;
        }
    }
}

/// Its server has other numbers. What this process rendered from the store before that was edited is
/// known to be from elsewhere.
#[tokio::test(start_paused = true)]
async fn a_store_that_leads_elsewhere_has_not_gone_back() {
    let mut world = World::restored("Periodic").await;
    let elsewhere: Arc<dyn StoreClient> = Arc::new(world.store.with_identity("edited").with_address("elsewhere"));
    world.pull.stores = Opening::by(move |_, _| Ok(elsewhere.clone()));
    for namespace in NAMESPACES {
        let (verdict, _) = world.reconcile(namespace).await;
        assert!(verdict.ready, "{}", verdict.message);
        assert_eq!(world.held(namespace).as_deref(), Some("2"));
    }
}

/// One that is not read again keeps what it has, and its consents are heard.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_takes_the_target_although_the_version_went_back_while_nobody_knew_the_path() {
    for policy in ["Periodic", "OnChange", "CreatedOnce"] {
        let mut world = World::restored(policy).await;
        world.restart();
        for namespace in NAMESPACES {
            world.reconcile(namespace).await;
        }
        world.context.feed.pass(MINUTE);
        let nobody = BTreeMap::from([(consent::key("password"), r#"{"onWithdrawal":"Delete"}"#.to_owned())]);
        for namespace in NAMESPACES {
            let (verdict, _) = world.reconcile(namespace).await;
            assert_eq!(verdict.ready, policy != "Periodic", "{policy}: {}", verdict.message);
            assert_eq!(world.held(namespace).as_deref(), Some("3"), "{policy}");
        }
        world.store.put_metadata(&path(), nobody);
        world.announce_consent().await;
        for namespace in NAMESPACES {
            let (verdict, _) = world.reconcile(namespace).await;
            assert_eq!((verdict.ready, verdict.reason), (false, Reason::NotPermitted), "{policy}: {}", verdict.message);
            assert_eq!(world.held(namespace), None, "{policy}");
        }
    }
}

/// It was read for its consents alone before it was edited.
#[tokio::test(start_paused = true)]
async fn an_edit_confirms_no_version_that_went_back_while_nobody_knew_the_path() {
    let mut world = World::restored("OnChange").await;
    world.restart();
    for _again in 0..2 {
        assert!(world.reconcile("a").await.0.ready);
        world.context.feed.pass(MINUTE);
    }
    world.objects.get_mut("a").unwrap().metadata.generation = Some(2);
    let (verdict, _) = world.reconcile("a").await;
    assert!(!verdict.ready && verdict.message.contains(names::ANNOTATION_ACCEPT_OLDER), "{}", verdict.message);
    assert_eq!(world.held("a").as_deref(), Some("3"));
}

/// It may be one edit, whether this process knew the resource before its spec was wrong or not. What
/// came with the wrong spec counts if it is known not to have been there before.
#[tokio::test]
async fn i4_a_confirmation_counts_that_comes_with_the_correction_of_a_spec() {
    const COMES: [&str; 3] = ["never", "with the wrong spec", "with the correction"];
    let cases = COMES.into_iter().flat_map(|comes| [(comes, true), (comes, false)]);
    for (comes, was_known, decodes) in cases.flat_map(|(comes, known)| [(comes, known, true), (comes, known, false)]) {
        let case = format!("it comes {comes}; {was_known}, {decodes}");
        let mut world = World::restored("Periodic").await;
        world.context.feed.clone().check_all().await;
        if !was_known {
            let client: Arc<dyn StoreClient> = Arc::new(world.store.clone());
            let opening = Opening::by(move |_, _| Ok(client.clone()));
            world.pull = Pull::new(world.context.clone(), opening, Arc::new(Records::default()));
        }
        if comes == "with the wrong spec" {
            world.annotate("a", names::ANNOTATION_ACCEPT_OLDER, "now");
        }
        let right = world.objects["a"].clone();
        match decodes {
            true => {
                world.objects.get_mut("a").unwrap().spec.data.clear();
                assert_eq!(world.reconcile("a").await.0.reason, Reason::InvalidSpec, "{case}");
            }
            false => {
                let mut wrong = json!(right);
                wrong["spec"]["data"] = json!("odd");
                world.api.put("/namespaces/a/externalsecrets/db", wrong);
                world.pull.undecodable(&Name::new("a", "db")).await.unwrap();
            }
        }
        world.objects.insert("a", right);
        if comes == "with the correction" {
            world.annotate("a", names::ANNOTATION_ACCEPT_OLDER, "now");
        }
        let (verdict, _) = world.reconcile("a").await;
        let counts = comes == "with the correction" || comes == "with the wrong spec" && was_known;
        assert_eq!(verdict.ready, counts, "{case}: {}", verdict.message);
        assert_eq!(world.held("a").as_deref(), Some(if counts { "2" } else { "3" }), "{case}");
    }
}
