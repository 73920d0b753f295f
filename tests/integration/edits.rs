//! Edits around a PushSecret: nothing that was pushed is removed before its successor is written,
//! and nothing is left without being named.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::names::FINALIZER_PUSH_SECRET;
use waypost::api::{ClusterPushSecret, ExternalSecret, PushSecret};
use waypost_e2e::wait;

use crate::fan_out::{fan_out, in_place, label, spec};
use crate::stage::{LATER, STORE, Stage};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

fn to(stores: &[&str]) -> Value {
    let stores: Vec<Value> = stores.iter().map(|name| json!({ "kind": "ClusterSecretStore", "name": name })).collect();
    json!({ "deletionPolicy": "Delete", "secretStoreRefs": stores })
}

async fn has_finalizer(stage: &Stage, namespace: &str, name: &str, wanted: bool) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(namespace);
    wait::until(&format!("the finalizer to be there: {wanted}"), LATER, async || {
        let push = pushes.get(name).await?;
        let found = push.finalizers().iter().any(|finalizer| finalizer == FINALIZER_PUSH_SECRET);
        ensure!(found == wanted, "its finalizers are {:?}", push.finalizers());
        Ok(Some(()))
    })
    .await
}

async fn goes(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.delete::<PushSecret>(&stage.producer, name).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt(name).await?.is_none().then_some(()))).await
}

#[tokio::test]
async fn a_store_that_does_not_exist_yet_takes_nothing_from_the_one_before_nor_from_a_target() -> anyhow::Result<()> {
    let stage = Stage::new("nextstore").await?;
    let next = format!("{}-store", stage.word);
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, to(&[STORE])).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.pull("pull", PASSWORD, json!({ "target": { "deletionPolicy": "Delete" } })).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "one")]).await?;

    stage.push("push", "source", PASSWORD, to(&[&next])).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotFound").await?;
    ensure!(said.ends_with(&format!("what was pushed to ClusterSecretStore/{STORE} stays")), "{said}");
    ensure!(stage.stored().await? == json!({ "password": "one" }));
    let target = stage.api::<Secret>(&stage.consumer).get("pull").await?;
    ensure!(target.metadata.deletion_timestamp.is_none());
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;

    // The new one comes: it gets the value, and then the former one loses it.
    let (bao, _) = stage.own_store().await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let moved = bao.admin()?.read("secret", &stage.path()).await?.and_then(|entry| entry.data);
    ensure!(moved == Some(json!({ "password": "one" })), "{moved:?}");
    ensure!(stage.stored().await? == Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_deletion_policy_that_is_edited_takes_effect_at_once_and_survives_a_stripped_finalizer() -> anyhow::Result<()>
{
    let stage = Stage::new("policy").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let policy = |of: &str| json!({ "deletionPolicy": of });
    stage.push("push", "source", PASSWORD, policy("None")).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    has_finalizer(&stage, &stage.producer, "push", false).await?;
    stage.push("push", "source", PASSWORD, policy("Delete")).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let push = stage.api::<PushSecret>(&stage.producer).get("push").await?;
    ensure!(push.finalizers() == [FINALIZER_PUSH_SECRET], "it is Ready with {:?}", push.finalizers());
    let strip = json!({ "metadata": { "finalizers": null } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(strip)).await?;
    has_finalizer(&stage, &stage.producer, "push", true).await?;
    stage.push("push", "source", PASSWORD, policy("None")).await?;
    has_finalizer(&stage, &stage.producer, "push", false).await?;
    stage.push("push", "source", PASSWORD, policy("Delete")).await?;
    has_finalizer(&stage, &stage.producer, "push", true).await?;
    goes(&stage, "push").await?;
    ensure!(stage.stored().await? == Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_deletion_policy_that_is_edited_in_a_cluster_push_secret_reaches_its_children() -> anyhow::Result<()> {
    let stage = Stage::new("policyof").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    let with = |policy: &str| {
        let mut push = spec(&stage)["pushSecretSpec"].clone();
        push["deletionPolicy"] = json!(policy);
        json!({ "pushSecretSpec": push })
    };
    fan_out(&stage, with("None")).await?;
    in_place(&stage, LATER, &[&stage.producer]).await?;
    stage.ready::<PushSecret>(&stage.producer, &stage.word, "True", "Synced").await?;
    has_finalizer(&stage, &stage.producer, &stage.word, false).await?;
    fan_out(&stage, with("Delete")).await?;
    has_finalizer(&stage, &stage.producer, &stage.word, true).await?;
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    parents.delete(&stage.word, &Default::default()).await?;
    wait::until("the value to go with its last child", LATER, async || {
        let stored = stage.stored().await?;
        ensure!(stored == Value::Null, "{stored}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn metadata_that_a_person_replaced_is_called_so_and_what_is_left_then_has_an_event() -> anyhow::Result<()> {
    let stage = Stage::new("relabelled").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.vault.write_custom_metadata("secret", &stage.path(), &json!({ "team": "dba" })).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "PathNotManaged").await?;
    ensure!(said.contains("was replaced since version 1") && said.contains("waypost.io/adopt"), "{said}");
    goes(&stage, "push").await?;
    let event = stage.orphaned().await?;
    ensure!(event.contains(&stage.path()) && event.contains("\"password\""), "{event}");
    ensure!(event.contains("the custom_metadata of the path was replaced"), "{event}");
    ensure!(stage.stored().await? == json!({ "password": "one" }));
    ensure!(stage.controller.metric("waypost_push_let_go_total", &[r#"reason="Declined""#]).await? >= 1.0);
    Ok(())
}

/// External Secrets Operator pushed a whole Secret, and handed the PushSecret over.
#[tokio::test]
async fn a_whole_secret_that_was_handed_over_goes_property_by_property() -> anyhow::Result<()> {
    let stage = Stage::new("wholeline").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "one" })).await?;
    let marked = json!({ "managed-by": "external-secrets" });
    stage.vault.write_custom_metadata("secret", &stage.path(), &marked).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceNotFound").await?;
    let line = json!({ (stage.path()): { "match": { "remoteRef": { "remoteKey": stage.path() } } } });
    let ledger = json!({ "status": { "syncedPushSecrets": { format!("ClusterSecretStore/{STORE}"): line } } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch_status("push", &PatchParams::default(), &Patch::Merge(ledger)).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let lines = pushes.get("push").await?.status.unwrap_or_default().synced_push_secrets;
    let lines: Vec<&String> = lines.values().flat_map(|lines| lines.keys()).collect();
    ensure!(lines == [&format!("{}/password", stage.path())], "{lines:?}");
    goes(&stage, "push").await?;
    ensure!(stage.stored().await? == Value::Null);
    Ok(())
}
