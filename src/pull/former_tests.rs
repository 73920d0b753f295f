//! Targets whose name is edited while their values go, or the consent to read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Pull;
use super::bound::LOOK_AROUND;
use super::records::Records;
use crate::api::ExternalSecret;
use crate::api::external_secret::ExternalSecretStatus;
use crate::cluster::in_memory::{ApiServer, Fault};
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::{Report, Verdict};
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::domain::{claim, consent};
use crate::store::StoreClient;
use crate::store::fake::FakeStore;
use crate::store::opening::Opening;

const POLICIES: [&str; 3] = ["Periodic", "OnChange", "CreatedOnce"];

struct World {
    api: ApiServer,
    store: FakeStore,
    pull: Pull<Opening>,
    object: ExternalSecret,
}

impl World {
    /// A target `one` in sync, which is then to be called `two`.
    async fn renamed(policy: &str) -> Self {
        let (api, store) = (ApiServer::default(), FakeStore::new());
        let client = store.clone();
        let opening = Opening::by(move |_, _| Ok(Arc::new(client.clone()) as Arc<dyn StoreClient>));
        let pull = Pull::new(Context::on(api.cluster()), opening, Arc::new(Records::default()));
        store.put(&path(), BTreeMap::from([("password".to_owned(), RemoteValue::text("1"))]));
        let object = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "team", "uid": "es-uid", "generation": 1 },
            "spec": {
                "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" },
                "refreshInterval": "1h", "refreshPolicy": policy,
                "target": { "name": "one", "deletionPolicy": "Delete" },
                "data": [{ "secretKey": "password", "remoteRef": { "key": "db", "property": "password" } }],
            },
        }));
        let mut world = World { api, store, pull, object: object.unwrap() };
        world.reconcile().await;
        assert_eq!(world.targets(), ["one"]);
        assert_eq!(world.bound(), Some("one"));
        world.object.metadata.generation = Some(2);
        world.object.spec.target.name = Some("two".to_owned());
        world
    }

    /// One reconcile, with its status written; `None` if nothing was decided.
    async fn reconcile(&mut self) -> Option<Verdict> {
        self.api.put("/namespaces/team/externalsecrets/db", json!(self.object));
        let report: Report<ExternalSecretStatus> =
            self.pull.reconcile(Arc::new(self.object.clone()), &Name::new("team", "db")).await;
        let Report::Verdict { verdict, status, .. } = report else { return None };
        self.object.status = Some(status.after);
        Some(verdict)
    }

    fn withdraw(&self) {
        let nobody = BTreeMap::from([(consent::key("password"), r#"{"onWithdrawal":"Delete"}"#.to_owned())]);
        self.store.put_metadata(&path(), nobody);
    }

    fn targets(&self) -> Vec<String> {
        let secrets: Vec<Value> = self.api.all("secrets");
        let names = secrets.iter().map(|secret| secret["metadata"]["name"].as_str().unwrap().to_owned());
        names.collect()
    }

    fn bound(&self) -> Option<&str> {
        self.object.status.as_ref()?.binding.as_ref().map(|binding| binding.name.as_str())
    }
}

fn path() -> RemotePath {
    RemotePath::parse(Some("secret"), "db").unwrap()
}

#[tokio::test]
async fn rf2_a_withdrawal_takes_the_former_target_of_a_renamed_one() {
    for policy in POLICIES {
        let mut world = World::renamed(policy).await;
        world.withdraw();
        let verdict = world.reconcile().await.unwrap();
        assert!(!verdict.ready && verdict.message.contains("is deleted, as the producer asks"), "{}", verdict.message);
        assert_eq!((world.targets(), world.bound()), (vec![], None), "{policy}");
    }
}

#[tokio::test]
async fn kg1_a_former_target_goes_with_its_values_within_the_bound() {
    let mut world = World::renamed(POLICIES[0]).await;
    world.store.soft_delete(&path());
    assert!(world.reconcile().await.is_none(), "what a person took away waits for others");
    assert_eq!((world.targets(), world.bound()), (vec!["one".to_owned()], Some("one")));
    world.pull.losses.pass(LOOK_AROUND);
    assert!(world.reconcile().await.unwrap().ready);
    assert_eq!((world.targets(), world.bound()), (vec![], None));
}

/// What its owner removed is no loss, and waits for nobody.
#[tokio::test]
async fn rp4_a_former_target_goes_with_what_a_push_removed() {
    let mut world = World::renamed(POLICIES[0]).await;
    world.store.put(&path(), BTreeMap::new());
    world.store.soft_delete(&path());
    world.store.put_metadata(&path(), BTreeMap::from([(claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned())]));
    assert!(world.reconcile().await.unwrap().ready);
    assert_eq!((world.targets(), world.bound()), (vec![], None));
}

#[tokio::test]
async fn a_former_target_that_could_not_be_deleted_is_still_named_and_goes_later() {
    for policy in POLICIES {
        let mut world = World::renamed(policy).await;
        world.withdraw();
        // What it holds of an earlier spec is taken back once more in the same try.
        (0..2).for_each(|_| world.api.fail_next_write("/secrets/one", Fault::Refuse));
        assert!(!world.reconcile().await.unwrap().ready);
        assert_eq!((world.targets(), world.bound()), (vec!["one".to_owned()], Some("one")), "{policy}");
        world.reconcile().await;
        assert_eq!((world.targets(), world.bound()), (vec![], None), "{policy}");
    }
}

#[tokio::test]
async fn a_secret_of_the_former_name_that_another_controls_is_left_alone() {
    let mut world = World::renamed(POLICIES[0]).await;
    let other = json!([{ "apiVersion": "v1", "kind": "Pod", "name": "other", "uid": "other", "controller": true }]);
    world.api.edit("/namespaces/team/secrets/one", &json!({ "metadata": { "ownerReferences": other } }));
    world.withdraw();
    world.reconcile().await;
    assert_eq!((world.targets(), world.bound()), (vec!["one".to_owned()], None));
}
