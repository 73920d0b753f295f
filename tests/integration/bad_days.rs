//! Failures of a store, seen from a push: what is written again, what survives, and what recovers
//! by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::wait;

use crate::bad_store::store_ref;
use crate::stage::{LATER, Stage, store};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];
/// How often a rotation and a person cross each other.
const ROTATIONS: usize = 20;
/// A person writes a hundred times a second.
const PERSON: Duration = Duration::from_millis(10);

/// Looks at the path every second.
fn looking() -> Value {
    json!({ "refreshInterval": "1s", "deletionPolicy": "Delete" })
}

async fn pushed(stage: &Stage, value: &str, more: Value) -> anyhow::Result<()> {
    stage.secret(&stage.producer, "source", &[("password", value)]).await?;
    stage.push("push", "source", PASSWORD, more).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
}

async fn holds_again(stage: &Stage, version: u64) -> anyhow::Result<()> {
    wait::until(&format!("version {version} with the value"), LATER, async || {
        let (found, data) = (stage.version().await?, stage.stored().await?);
        ensure!(found == version && data == json!({ "password": "good" }), "version {found} has {}", keys(&data));
        Ok(Some(()))
    })
    .await
}

fn keys(data: &Value) -> String {
    format!("{:?}", data.as_object().map(|data| data.keys().collect::<Vec<_>>()))
}

#[tokio::test]
async fn f34_what_is_deleted_destroyed_or_purged_in_the_store_is_written_again() -> anyhow::Result<()> {
    let stage = Stage::new("f34").await?;
    pushed(&stage, "good", looking()).await?;
    stage.vault.delete_latest("secret", &stage.path()).await?;
    holds_again(&stage, 2).await?;
    stage.vault.destroy("secret", &stage.path(), &[2]).await?;
    holds_again(&stage, 3).await?;
    stage.vault.delete_metadata("secret", &stage.path()).await?;
    holds_again(&stage, 1).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    // The claim is there again: the value goes with its PushSecret.
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    wait::until("the value to go", LATER, async || Ok((stage.stored().await? == Value::Null).then_some(()))).await
}

#[tokio::test]
async fn f36_after_an_older_snapshot_was_restored_the_present_value_is_written_again() -> anyhow::Result<()> {
    let stage = Stage::new("f36").await?;
    let (bao, name) = stage.own_store().await?;
    let admin = bao.admin()?;
    let mut through = looking();
    through["secretStoreRefs"] = json!([store_ref(&name)]);
    pushed(&stage, "old", through.clone()).await?;
    let snapshot = admin.snapshot().await?;
    pushed(&stage, "good", through).await?;
    let current = async || {
        let entry = admin.read("secret", &stage.path()).await?;
        anyhow::Ok(entry.map(|entry| (entry.version(), entry.data.clone().unwrap_or_default())))
    };
    wait::until("the second version", LATER, async || {
        Ok(current().await?.filter(|(version, _)| *version == 2).map(drop))
    })
    .await?;
    admin.restore(snapshot).await?;
    wait::until("the present value beside the older history", LATER, async || {
        Ok(current().await?.filter(|(_, data)| *data == json!({ "password": "good" })).map(drop))
    })
    .await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.delete::<PushSecret>(&stage.producer, "push").await
}

#[tokio::test]
async fn f28_f44_a_person_who_writes_all_the_time_and_a_rotation_lose_nothing_of_each_other() -> anyhow::Result<()> {
    let stage = Stage::new("f44").await?;
    pushed(&stage, "value-0", json!({})).await?;
    let (done, path) = (AtomicBool::new(false), format!("secret/data/{}", stage.path()));
    // With check-and-set, as `bao kv patch` does; what the server acknowledged must stay.
    let person = async {
        let mut acknowledged = 0;
        let mut pace = tokio::time::interval(PERSON);
        // A person does not catch up on what a slow answer held up.
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !done.load(Ordering::Relaxed) {
            pace.tick().await;
            let (_, read) = stage.vault.request("GET", &path, None).await?;
            let mut data = read["data"]["data"].clone();
            data["note"] = json!(acknowledged + 1);
            let write = json!({ "options": { "cas": read["data"]["metadata"]["version"] }, "data": data });
            let (status, _) = stage.vault.request("POST", &path, Some(&write)).await?;
            acknowledged += u64::from(status == 200);
        }
        anyhow::Ok(acknowledged)
    };
    let operator = async {
        for rotation in 1..=ROTATIONS {
            let value = format!("value-{rotation}");
            stage.secret(&stage.producer, "source", &[("password", &value)]).await?;
            wait::until(&format!("rotation {rotation} in the store"), LATER, async || {
                let stored = stage.stored().await?;
                Ok((stored["password"] == json!(value)).then_some(()))
            })
            .await?;
        }
        done.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let (acknowledged, ()) = tokio::try_join!(person, operator)?;
    assert!(acknowledged > 0, "nobody wrote meanwhile");
    let last = json!({ "password": format!("value-{ROTATIONS}"), "note": acknowledged });
    assert_eq!(stage.stored().await?, last);
    // I6: no version but one a rotation and one a note.
    assert_eq!(stage.version().await?, 1 + ROTATIONS as u64 + acknowledged);
    Ok(())
}

#[tokio::test]
async fn f54_a_store_that_goes_first_holds_its_pushes_until_it_is_back() -> anyhow::Result<()> {
    let stage = Stage::new("f54").await?;
    let (bao, name) = stage.own_store().await?;
    let mut through = looking();
    through["secretStoreRefs"] = json!([store_ref(&name)]);
    pushed(&stage, "good", through).await?;
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    stores.delete(&name, &DeleteParams::default()).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotFound").await?;
    assert!(said.contains(&name), "{said}");
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "CleanupPending").await?;
    assert!(said.contains(&name) && said.contains("waypost.io/abandon"), "{said}");
    let lab = waypost_e2e::lab::Lab::shared().await?;
    store(lab, &name, bao.address(), bao.ca_pem()).await?;
    goes(&stage, "push").await?;
    let left = bao.admin()?.read("secret", &stage.path()).await?.and_then(|entry| entry.data);
    assert_eq!(left, None);
    Ok(())
}

async fn goes(stage: &Stage, push: &str) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt(push).await?.is_none().then_some(()))).await
}

#[tokio::test]
async fn es7_a_namespace_goes_with_everything_in_it_and_so_does_what_was_pushed_from_it() -> anyhow::Result<()> {
    let stage = Stage::new("es7n").await?;
    pushed(&stage, "good", json!({ "deletionPolicy": "Delete" })).await?;
    delete_producer(&stage).await?;
    assert_eq!(stage.stored().await?, Value::Null);
    Ok(())
}

#[tokio::test]
async fn kg8_a_producers_namespace_that_goes_leaves_store_and_targets_where_nothing_is_deleted() -> anyhow::Result<()> {
    let stage = Stage::new("kg8").await?;
    pushed(&stage, "good", json!({ "deletionPolicy": "None" })).await?;
    stage.pull("pull", &[("PASSWORD", "password")], json!({ "refreshInterval": "1s" })).await?;
    let target = stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    delete_producer(&stage).await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "good" })));
    // A look later.
    annotate(&stage).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    let after = stage.api::<Secret>(&stage.consumer).get("pull").await?;
    assert_eq!(after.metadata.resource_version, target.metadata.resource_version);
    Ok(())
}

async fn delete_producer(stage: &Stage) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.delete(&stage.producer, &DeleteParams::default()).await?;
    wait::until("the namespace to go", Duration::from_secs(120), async || {
        Ok(namespaces.get_opt(&stage.producer).await?.is_none().then_some(()))
    })
    .await
}

async fn annotate(stage: &Stage) -> anyhow::Result<()> {
    let ask = json!({ "metadata": { "annotations": { "waypost.io/force-sync": "now" } } });
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(ask)).await?;
    Ok(())
}

#[tokio::test]
async fn f31_f33_a_push_whose_login_is_refused_says_so_and_goes_on_once_it_is_granted() -> anyhow::Result<()> {
    let stage = Stage::new("f33p").await?;
    let (bao, name) = stage.own_store().await?;
    let admin = bao.admin()?;
    let through = json!({ "secretStoreRefs": [store_ref(&name)] });
    pushed(&stage, "old", through).await?;
    let role = "auth/kubernetes/role/external-secrets";
    let granted = admin.get(role).await?.map(|reply| reply["data"].clone()).unwrap_or_default();
    admin.delete(role).await?;
    // Every session of the role, with its leases.
    admin.post("sys/leases/revoke-prefix/auth/kubernetes/login", &json!({})).await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    assert!(said.contains("login denied") && said.contains("external-secrets"), "{said}");
    admin.post(role, &granted).await?;
    wait::until("the new value", LATER, async || {
        let entry = admin.read("secret", &stage.path()).await?.and_then(|entry| entry.data);
        Ok((entry == Some(json!({ "password": "good" }))).then_some(()))
    })
    .await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
}
