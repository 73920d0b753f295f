//! What a resource allows that cannot be undone, while the cache shows its edits late.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Pull;
use super::bound::LOOK_AROUND;
use super::records::Records;
use crate::api::ExternalSecret;
use crate::api::names::{ANNOTATION_ADOPT, ANNOTATION_RECREATE_IMMUTABLE};
use crate::cluster::in_memory::ApiServer;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::Report;
use crate::domain::consent;
use crate::domain::object_name::Name;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteValue;
use crate::store::StoreClient;
use crate::store::fake::FakeStore;
use crate::store::opening::Opening;

const OBJECT: &str = "/namespaces/team/externalsecrets/db";
const TARGET: &str = "/namespaces/team/secrets/db";

/// A resource with this annotation, and a target that needs it.
async fn bench(annotation: &str) -> (ApiServer, Pull<Opening>) {
    let (api, store) = (ApiServer::default(), FakeStore::new());
    let client = store.clone();
    let opening = Opening::by(move |_, _| Ok(Arc::new(client.clone()) as Arc<dyn StoreClient>));
    let pull = Pull::new(Context::on(api.cluster()), opening, Arc::new(Records::default()));
    let path = RemotePath::parse(Some("secret"), "db").unwrap();
    store.put(&path, BTreeMap::from([("password".to_owned(), RemoteValue::text("ours"))]));
    let object = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": { "name": "db", "namespace": "team", "uid": "es-uid", "generation": 1, "annotations": { annotation: "true" } },
        "spec": {
            "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" }, "refreshInterval": "1h",
            "data": [{ "secretKey": "password", "remoteRef": { "key": "db", "property": "password" } }],
        },
    });
    api.put(OBJECT, object);
    let owner = json!({ "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "db", "uid": "es-uid",
        "controller": true, "blockOwnerDeletion": true });
    let is_ours = annotation == ANNOTATION_RECREATE_IMMUTABLE;
    let owners = if is_ours { json!([owner]) } else { json!([]) };
    let metadata = json!({ "name": "db", "namespace": "team", "uid": "theirs", "ownerReferences": owners });
    let data = json!({ "password": "dGhlaXJz", "note": "dGhlaXJz" });
    let target = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
        "immutable": is_ours, "data": data });
    api.put(TARGET, target);
    (api, pull)
}

async fn reconcile(pull: &Pull<Opening>, object: ExternalSecret) -> bool {
    let report = pull.reconcile(Arc::new(object), &Name::new("team", "db")).await;
    matches!(report, Report::Verdict { verdict, .. } if verdict.ready)
}

#[tokio::test]
async fn a_target_is_neither_adopted_nor_made_anew_by_what_only_the_cache_shows() {
    for annotation in [ANNOTATION_ADOPT, ANNOTATION_RECREATE_IMMUTABLE] {
        let (api, pull) = bench(annotation).await;
        let stands = || api.get::<Value>(TARGET).unwrap();
        let (copy, before) = (api.get::<ExternalSecret>(OBJECT).unwrap(), stands());
        api.edit(OBJECT, &json!({ "metadata": { "annotations": { annotation: null } } }));
        assert!(!reconcile(&pull, copy).await, "{annotation}");
        assert!(!reconcile(&pull, api.get(OBJECT).unwrap()).await, "{annotation}");
        assert_eq!(stands(), before, "{annotation}");
        api.edit(OBJECT, &json!({ "metadata": { "annotations": { annotation: "true" } } }));
        assert!(reconcile(&pull, api.get(OBJECT).unwrap()).await, "{annotation}");
        assert_eq!(stands()["data"], json!({ "password": "b3Vycw==" }), "{annotation}");
    }
}

/// How a spec that the cache still shows takes data from the target.
const TAKEN: [&str; 4] = ["its values are gone", "it is renamed", "it lacks a key", "it may not read them"];

/// The server has a later generation, which may keep what this one gives up.
#[tokio::test]
async fn i3_nothing_is_taken_from_a_target_by_a_spec_that_only_the_cache_shows() {
    for taken in TAKEN {
        let (api, store) = (ApiServer::default(), FakeStore::new());
        let client = store.clone();
        let opening = Opening::by(move |_, _| Ok(Arc::new(client.clone()) as Arc<dyn StoreClient>));
        let pull = Pull::new(Context::on(api.cluster()), opening, Arc::new(Records::default()));
        let path = RemotePath::parse(Some("secret"), "db").unwrap();
        store.put(&path, ["a", "b"].map(|property| (property.to_owned(), RemoteValue::text("1"))).into());
        let entry = |key: &str| json!({ "secretKey": key, "remoteRef": { "key": "db", "property": key } });
        let object = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
            "metadata": { "name": "db", "namespace": "team", "uid": "es-uid", "generation": 1 },
            "spec": {
                "secretStoreRef": { "name": "vault", "kind": "ClusterSecretStore" }, "refreshInterval": "1h",
                "target": { "deletionPolicy": "Delete" }, "data": [entry("a"), entry("b")],
            },
        });
        api.put(OBJECT, object);
        let cached_at = async |generation| {
            let mut cached: ExternalSecret = api.get(OBJECT).unwrap();
            cached.metadata.generation = Some(generation);
            let report = pull.reconcile(Arc::new(cached), &Name::new("team", "db")).await;
            if let Report::Verdict { status, .. } = report {
                api.edit(OBJECT, &json!({ "status": status.after }));
            }
            pull.losses.pass(LOOK_AROUND);
        };
        let stands = || api.get::<Value>(TARGET).map(|target| target["data"].clone());
        cached_at(1).await;
        let before = stands();
        assert!(before.is_some(), "{taken}");
        match taken {
            "its values are gone" => store.soft_delete(&path),
            "it is renamed" => api.edit(OBJECT, &json!({ "spec": { "target": { "name": "two" } } })),
            "it lacks a key" => api.edit(OBJECT, &json!({ "spec": { "data": [entry("a")] } })),
            _withdrawn => {
                let nobody = [(consent::key("a"), r#"{"onWithdrawal":"Delete"}"#.to_owned())];
                store.put_metadata(&path, nobody.into());
            }
        }
        api.edit(OBJECT, &json!({ "metadata": { "generation": 3 } }));
        for _ in 0..2 {
            cached_at(2).await;
            assert_eq!(stands(), before, "{taken}");
        }
        api.edit(OBJECT, &json!({ "metadata": { "generation": 2 } }));
        for _ in 0..2 {
            cached_at(2).await;
        }
        assert_ne!(stands(), before, "{taken}: it is what the server has");
    }
}
