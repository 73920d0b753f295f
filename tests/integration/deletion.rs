//! What is removed from the store, and when: nothing without its reason, everything with it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Controller, Lab};
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, Stage, condition, mapping};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

#[tokio::test]
async fn rp4_a_key_dropped_from_the_mapping_goes_and_its_consumer_is_told() -> anyhow::Result<()> {
    let stage = Stage::new("rp4").await?;
    let both = [("user", "username"), ("pass", "password")];
    stage.secret(&stage.producer, "source", &[("user", "one"), ("pass", "two")]).await?;
    stage.push("push", "source", &both, json!({ "deletionPolicy": "Delete" })).await?;
    stage.pull("pull", &[("username", "username")], json!({})).await?;
    stage.holds(&stage.consumer, "pull", &[("username", "one")]).await?;
    // Beside who keeps what is missing, who lets it go.
    let both_go = json!({ "target": { "name": "goes", "deletionPolicy": "Delete" } });
    stage.pull("goes", &[("username", "username"), ("password", "password")], both_go).await?;
    let one_goes = json!({ "target": { "name": "empties", "deletionPolicy": "Delete" } });
    stage.pull("empties", &[("username", "username")], one_goes).await?;
    stage.holds(&stage.consumer, "goes", &[("username", "one"), ("password", "two")]).await?;
    stage.holds(&stage.consumer, "empties", &[("username", "one")]).await?;
    for name in ["goes", "empties"] {
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
    }
    stage.push("push", "source", &both[1..], json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    // It is our own push that took it: no loss to look around for.
    stage.holds(&stage.consumer, "goes", &[("password", "two")]).await?;
    wait::until("the target without any value to go", SOON, async || {
        Ok(stage.api::<Secret>(&stage.consumer).get_opt("empties").await?.is_none().then_some(()))
    })
    .await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "goes", "True", "SecretSynced").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "empties", "True", "SecretDeleted").await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (2, json!({ "password": "two" })));
    let message = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "PropertyNotFound").await?;
    assert!(message.contains("username") && message.contains(&stage.path()), "{message}");
    stage.holds(&stage.consumer, "pull", &[("username", "one")]).await?;
    Ok(())
}

#[tokio::test]
async fn es6_a_deleted_push_secret_takes_its_values_along() -> anyhow::Result<()> {
    let stage = Stage::new("es6a").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    delete(&stage, "push").await?;
    assert_eq!(stage.stored().await?, Value::Null);
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    let latest = metadata["versions"].as_object().and_then(|versions| versions.values().next_back()).cloned();
    assert_ne!(latest.unwrap_or_default()["deletion_time"], "", "the latest version is deleted: {metadata}");
    Ok(())
}

#[tokio::test]
async fn es6_without_a_deletion_policy_a_deleted_push_secret_leaves_its_values() -> anyhow::Result<()> {
    let stage = Stage::new("es6b").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "None" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.api::<PushSecret>(&stage.producer).get("push").await?.metadata.finalizers, None);
    stage.api::<Secret>(&stage.producer).delete("source", &DeleteParams::default()).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceGone").await?;
    delete(&stage, "push").await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "one" })));
    // The owner is gone, so its successor may go on.
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.push("successor", "source", PASSWORD, json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "successor", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "two" }));
    Ok(())
}

/// Healthy objects are current whether anything was written or not; one whose source is gone is not,
/// however often it is reconciled.
#[tokio::test]
async fn rf5_a_source_that_is_gone_is_named_and_its_last_ready_time_stands_still() -> anyhow::Result<()> {
    let stage = Stage::new("rf5").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let every = |interval: &str| json!({ "refreshInterval": interval, "deletionPolicy": "None" });
    stage.push("push", "source", PASSWORD, every("1s")).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let labels = [format!("namespace=\"{}\"", stage.producer), "name=\"push\"".to_owned()];
    let last_ready = async || {
        let labels = [labels[0].as_str(), labels[1].as_str()];
        stage.controller.metric("pushsecret_last_ready_timestamp_seconds", &labels).await
    };
    let written = stage.api::<PushSecret>(&stage.producer).get("push").await?;
    // The metric follows the status.
    let set = async || Ok(Some(last_ready().await?).filter(|at| *at > 0.0));
    let first = wait::until("it to be set", SOON, set).await?;
    wait::until("a reconcile that changes nothing to move it", SOON, async || {
        Ok((last_ready().await? > first).then_some(()))
    })
    .await?;
    let ready = |push: PushSecret| condition(&json!(push)).cloned();
    assert_eq!(ready(stage.api::<PushSecret>(&stage.producer).get("push").await?), ready(written));

    stage.delete::<Secret>(&stage.producer, "source").await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceGone").await?;
    assert!(said.contains("source"), "{said}");
    let last = last_ready().await?;
    for interval in ["2s", "3s"] {
        // For each generation it is reconciled.
        stage.push("push", "source", PASSWORD, every(interval)).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceGone").await?;
    }
    assert_eq!(last_ready().await?, last);
    Ok(())
}

#[tokio::test]
async fn rf5_what_is_read_once_has_its_last_ready_time_after_a_restart() -> anyhow::Result<()> {
    let stage = Stage::new("rf5r").await?;
    let store = stage.class_store().await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "one" })).await?;
    let labels = [format!("namespace=\"{}\"", stage.consumer), "name=\"pull\"".to_owned()];
    let has_series = async |controller: &Controller| {
        wait::until("the series of the ExternalSecret", LATER, async || {
            let labels = [labels[0].as_str(), labels[1].as_str()];
            let last = controller.metric("externalsecret_last_ready_timestamp_seconds", &labels).await?;
            Ok((last > 0.0).then_some(()))
        })
        .await
    };
    let before = stage.class_controller(&[]).await?;
    let once =
        json!({ "refreshPolicy": "CreatedOnce", "secretStoreRef": { "kind": "ClusterSecretStore", "name": store } });
    stage.pull("pull", &[("PASSWORD", "password")], once).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    has_series(&before).await?;
    before.kill().await?;
    has_series(&stage.class_controller(&[]).await?).await
}

#[tokio::test]
async fn es6_a_deleted_source_takes_its_values_along_and_a_new_one_brings_them_back() -> anyhow::Result<()> {
    let stage = Stage::new("es6c").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.api::<Secret>(&stage.producer).delete("source", &DeleteParams::default()).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceDeleted").await?;
    assert_eq!(stage.stored().await?, Value::Null);
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "two" }));
    Ok(())
}

#[tokio::test]
async fn sc6_a_deleted_source_takes_value_and_copy_along_where_both_say_so_and_neither_where_not() -> anyhow::Result<()>
{
    for (test, push, pull) in [("sc6d", "Delete", "Delete"), ("sc6r", "None", "Retain")] {
        let stage = Stage::new(test).await?;
        stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
        stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": push })).await?;
        let target = json!({ "target": { "name": "pull", "deletionPolicy": pull } });
        stage.pull("pull", &[("PASSWORD", "password")], target).await?;
        let copy = stage.holds(&stage.consumer, "pull", &[("PASSWORD", "one")]).await?;
        stage.delete::<Secret>(&stage.producer, "source").await?;
        let copies = stage.api::<Secret>(&stage.consumer);
        if pull == "Delete" {
            let gone = async || Ok(copies.get_opt("pull").await?.is_none().then_some(()));
            wait::until("the copy to go", SOON, gone).await?;
            assert_eq!(stage.stored().await?, Value::Null);
        } else {
            stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceGone").await?;
            assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "one" })));
            assert_eq!(copies.get("pull").await?.metadata.resource_version, copy.metadata.resource_version);
        }
    }
    Ok(())
}

#[tokio::test]
async fn es6_a_renamed_path_is_written_before_the_old_one_goes() -> anyhow::Result<()> {
    let stage = Stage::new("es6d").await?;
    let audit = Lab::shared().await?.bao()?.audit();
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let (new, mark) = (format!("platform-data/mysql/{}", stage.word), audit.mark()?);
    let renamed = json!({ "deletionPolicy": "Delete", "data": [mapping("password", &new, "password")] });
    stage.push("push", "source", &[], renamed).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let written = stage.vault.read("secret", &new).await?.and_then(|entry| entry.data);
    assert_eq!(written, Some(json!({ "password": "one" })));
    assert_eq!(stage.stored().await?, Value::Null);
    let requests = audit.since(mark)?;
    let changes: Vec<&str> = (requests.iter())
        .filter(|request| request.is_write() && !request.path.contains("/metadata/"))
        .filter_map(|request| request.path.strip_prefix("secret/"))
        .filter(|path| path.ends_with(&stage.word))
        .collect();
    let (new, old) = (format!("data/{new}"), format!("data/{}", stage.path()));
    let place = |path: &str| changes.iter().position(|change| *change == path);
    assert!(place(&new).is_some() && place(&new) < place(&old), "{changes:?}");
    Ok(())
}

async fn delete(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.delete(name, &DeleteParams::default()).await?;
    let what = format!("PushSecret {name} to go");
    wait::until(&what, SOON + Duration::from_secs(5), async || Ok(pushes.get_opt(name).await?.is_none().then_some(())))
        .await
}
