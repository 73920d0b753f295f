//! PushSecrets that are renamed, as Argo CD and Helm do it: the new one is created, then the old
//! one is deleted. The path keeps its value all the time, and so does a target that would go with
//! it.

use std::time::Duration;

use anyhow::{bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};
use waypost::api::names::FINALIZER_PUSH_SECRET;
use waypost::api::{ClusterPushSecret, ExternalSecret, PushSecret};
use waypost_e2e::turns::heavy;
use waypost_e2e::wait;

use crate::fan_out::{fan_out, label, spec};
use crate::stage::{LATER, SOON, Stage, mapping};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

fn deletes() -> Value {
    json!({ "deletionPolicy": "Delete" })
}

async fn gone(stage: &Stage, deadline: Duration, name: &str) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    let goes = wait::until("the old one to go", deadline, async || {
        let Some(found) = pushes.get_opt(name).await? else { return Ok(Some(())) };
        bail!("it says {:?}", found.status.unwrap_or_default().conditions)
    });
    stage.explained(goes.await, name)
}

/// The old one goes, and the new one has what it left: each wakes the other. Whoever is not woken
/// looks again by itself after a minute, so `SOON` tells the two apart.
async fn is_handed_over(stage: &Stage, old: &str, new: &str) -> anyhow::Result<()> {
    gone(stage, SOON, old).await?;
    stage.ready_within::<PushSecret>(SOON, &stage.producer, new, "True", "Synced").await.map(drop)
}

/// A consumer whose target goes with the value.
async fn consumer(stage: &Stage, value: &str) -> anyhow::Result<Secret> {
    stage.pull("pull", PASSWORD, json!({ "target": { "deletionPolicy": "Delete" } })).await?;
    stage.holds(&stage.consumer, "pull", &[("password", value)]).await
}

/// How many versions there were, all of which stand: an empty version, or a deleted one, would have
/// been seen by a reader.
pub async fn history(stage: &Stage, path: &str) -> anyhow::Result<Vec<Value>> {
    let metadata = stage.vault.metadata("secret", path).await?.unwrap_or_default();
    let mut seen = Vec::new();
    for version in 1..=metadata["current_version"].as_u64().unwrap_or_default() {
        let details = &metadata["versions"][version.to_string()];
        ensure!(details["deletion_time"] == "" && details["destroyed"] == false, "version {version}: {details}");
        let entry = stage.vault.read_version("secret", path, version).await?;
        seen.push(entry.and_then(|entry| entry.data).unwrap_or_default());
    }
    Ok(seen)
}

async fn is_as_it_was(stage: &Stage, before: &Secret) -> anyhow::Result<()> {
    let target = stage.api::<Secret>(&stage.consumer).get("pull").await?;
    ensure!(target.uid() == before.uid() && target.resource_version() == before.resource_version(), "it was touched");
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

#[tokio::test]
async fn a_renamed_push_secret_keeps_its_path_and_the_target_that_would_go_with_it() -> anyhow::Result<()> {
    let stage = Stage::new("rename").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("first", "source", PASSWORD, deletes()).await?;
    stage.ready::<PushSecret>(&stage.producer, "first", "True", "Synced").await?;
    let target = consumer(&stage, "one").await?;

    // The new one is made and the old one deleted without a pause; then once more, after the new
    // one said that it waits.
    for (old, new, waits) in [("first", "second", false), ("second", "third", true)] {
        stage.push(new, "source", PASSWORD, deletes()).await?;
        if waits {
            stage.ready::<PushSecret>(&stage.producer, new, "False", "PathConflict").await?;
        }
        stage.delete::<PushSecret>(&stage.producer, old).await?;
        is_handed_over(&stage, old, new).await?;
        ensure!(history(&stage, &stage.path()).await? == [json!({ "password": "one" })]);
        is_as_it_was(&stage, &target).await?;
        let push = stage.api::<PushSecret>(&stage.producer).get(new).await?;
        ensure!(push.finalizers() == [FINALIZER_PUSH_SECRET], "{:?}", push.finalizers());
    }

    // It is the new one's in every respect.
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "two")]).await?;
    stage.delete::<PushSecret>(&stage.producer, "third").await?;
    gone(&stage, SOON, "third").await?;
    ensure!(stage.stored().await? == Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_successor_with_another_value_replaces_it_in_one_version() -> anyhow::Result<()> {
    let stage = Stage::new("replaced").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.secret(&stage.producer, "other", &[("password", "two")]).await?;
    stage.push("first", "source", PASSWORD, deletes()).await?;
    stage.ready::<PushSecret>(&stage.producer, "first", "True", "Synced").await?;
    let before = consumer(&stage, "one").await?;
    stage.push("second", "other", PASSWORD, deletes()).await?;
    stage.delete::<PushSecret>(&stage.producer, "first").await?;
    is_handed_over(&stage, "first", "second").await?;
    ensure!(history(&stage, &stage.path()).await? == [json!({ "password": "one" }), json!({ "password": "two" })]);
    let after = stage.holds(&stage.consumer, "pull", &[("password", "two")]).await?;
    ensure!(after.uid() == before.uid(), "the target was made anew");
    Ok(())
}

#[tokio::test]
async fn twenty_renamed_at_once_lose_nothing() -> anyhow::Result<()> {
    // The queue is shared, and others measure in it how long they wait.
    let _turn = heavy().await?;
    let stage = Stage::new("renames").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let path = |number: usize| format!("{}-{number}", stage.path());
    let push = async |name: String, number: usize| {
        let data = json!([mapping("password", &path(number), "password")]);
        let more = json!({ "deletionPolicy": "Delete", "data": data });
        stage.push(&name, "source", &[], more).await.map(drop)
    };
    let ready = async |word: &str, number: usize| {
        stage.ready::<PushSecret>(&stage.producer, &format!("{word}-{number}"), "True", "Synced").await.map(drop)
    };
    try_join_all((0..20).map(|number| push(format!("old-{number}"), number))).await?;
    try_join_all((0..20).map(|number| ready("old", number))).await?;
    try_join_all((0..20).map(|number| push(format!("new-{number}"), number))).await?;
    let names: Vec<String> = (0..20).map(|number| format!("old-{number}")).collect();
    try_join_all(names.iter().map(|name| stage.delete::<PushSecret>(&stage.producer, name))).await?;
    // Forty reconciles wait for each other's turns.
    try_join_all(names.iter().map(|name| gone(&stage, LATER, name))).await?;
    try_join_all((0..20).map(|number| ready("new", number))).await?;
    for number in 0..20 {
        ensure!(history(&stage, &path(number)).await? == [json!({ "password": "one" })], "{}", path(number));
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_push_secret_that_names_its_children_otherwise_keeps_their_paths() -> anyhow::Result<()> {
    let stage = Stage::new("renamedof").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    let with = |name: &str| {
        let mut push = spec(&stage)["pushSecretSpec"].clone();
        push["deletionPolicy"] = json!("Delete");
        json!({ "pushSecretSpec": push, "pushSecretName": name })
    };
    fan_out(&stage, with("first")).await?;
    stage.ready::<PushSecret>(&stage.producer, "first", "True", "Synced").await?;
    let target = consumer(&stage, "one").await?;
    fan_out(&stage, with("second")).await?;
    is_handed_over(&stage, "first", "second").await?;
    ensure!(history(&stage, &stage.path()).await? == [json!({ "password": "one" })]);
    is_as_it_was(&stage, &target).await?;
    let parents: kube::Api<ClusterPushSecret> = kube::Api::all(stage.client.clone());
    parents.delete(&stage.word, &Default::default()).await?;
    Ok(())
}

#[tokio::test]
async fn two_that_swap_their_paths_lose_nothing() -> anyhow::Result<()> {
    let stage = Stage::new("swapped").await?;
    let paths = [format!("{}-one", stage.path()), format!("{}-two", stage.path())];
    for (name, value) in [("one", "1"), ("two", "2")] {
        stage.secret(&stage.producer, name, &[("password", value)]).await?;
    }
    let push = async |name: &str, path: &str| {
        let more = json!({ "deletionPolicy": "Delete", "data": [mapping("password", path, "password")] });
        stage.push(name, name, &[], more).await.map(drop)
    };
    push("one", &paths[0]).await?;
    push("two", &paths[1]).await?;
    for name in ["one", "two"] {
        stage.ready::<PushSecret>(&stage.producer, name, "True", "Synced").await?;
    }
    push("one", &paths[1]).await?;
    push("two", &paths[0]).await?;
    for name in ["one", "two"] {
        stage.ready_within::<PushSecret>(SOON, &stage.producer, name, "True", "Synced").await?;
    }
    let [one, two] = ["1", "2"].map(|value| json!({ "password": value }));
    wait::until("each path to have been one's and then the other's", SOON, async || {
        let seen = [history(&stage, &paths[0]).await?, history(&stage, &paths[1]).await?];
        ensure!(seen == [vec![one.clone(), two.clone()], vec![two.clone(), one.clone()]], "{seen:?}");
        Ok(Some(()))
    })
    .await
}
