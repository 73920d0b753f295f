//! Targets that somebody else edits or deletes, or whose name is taken.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret, names};
use waypost_e2e::wait;

use crate::stage::{SOON, Stage, bytes_of};

/// SC5 promises repair within this time.
const DRIFT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn sc5_a_target_that_was_edited_or_deleted_by_hand_comes_back() -> anyhow::Result<()> {
    let stage = synced("sc5").await?;
    stage.secret(&stage.consumer, "pull", &[("password", "wrong"), ("more", "keys")]).await?;
    stage.holds_within(DRIFT, &stage.consumer, "pull", &[("password", "right")]).await?;
    stage.delete::<Secret>(&stage.consumer, "pull").await?;
    stage.holds_within(DRIFT, &stage.consumer, "pull", &[("password", "right")]).await?;
    Ok(())
}

#[tokio::test]
async fn sc5_a_label_of_ours_that_was_changed_or_removed_by_hand_comes_back() -> anyhow::Result<()> {
    let stage = synced("sc5l").await?;
    for changed in [json!("no"), Value::Null] {
        patch(&stage, json!({ "metadata": { "labels": { names::LABEL_MANAGED: changed } } })).await?;
        let secrets = stage.api::<Secret>(&stage.consumer);
        wait::until("the label is back", DRIFT, async || {
            let target = secrets.get("pull").await?;
            Ok(target.labels().get(names::LABEL_MANAGED).filter(|value| *value == names::TRUE).map(|_| ()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn sc9_a_foreign_secret_stays_as_it_is_until_adoption_is_asked_for() -> anyhow::Result<()> {
    let stage = Stage::new("sc9").await?;
    let before = stage.secret(&stage.consumer, "pull", &[("password", "theirs"), ("other", "key")]).await?;
    publish(&stage, "ours").await?;
    stage.pull("pull", &[("password", "password")], json!({})).await?;
    let message = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "TargetNotOwned").await?;
    assert!(message.contains(names::ANNOTATION_ADOPT), "it says what to do: {message}");
    let after = stage.api::<Secret>(&stage.consumer).get("pull").await?;
    assert_eq!(serde_json::to_value(&after)?, serde_json::to_value(&before)?);

    let adopt = json!({ "metadata": { "annotations": { names::ANNOTATION_ADOPT: "true" } } });
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(adopt)).await?;
    let adopted = stage.holds(&stage.consumer, "pull", &[("password", "ours")]).await?;
    assert_eq!(adopted.uid(), before.uid(), "it was taken over, not replaced");
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

#[tokio::test]
async fn a_controller_that_may_adopt_takes_a_secret_over_that_nobody_owns() -> anyhow::Result<()> {
    let stage = Stage::new("adopting").await?;
    let _controller = stage.class_controller(&["--adopt-unowned-targets"]).await?;
    let name = stage.class_store().await?;
    let before = stage.secret(&stage.consumer, "pull", &[("password", "theirs"), ("other", "key")]).await?;
    publish(&stage, "ours").await?;
    // By another controller, which announces nothing to this one.
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let through = json!({ "secretStoreRef": { "kind": "ClusterSecretStore", "name": name } });
    stage.pull("pull", &[("password", "password")], through).await?;
    let adopted = stage.holds(&stage.consumer, "pull", &[("password", "ours")]).await?;
    assert_eq!(adopted.uid(), before.uid(), "it was taken over, not replaced");
    Ok(())
}

#[tokio::test]
async fn rp7_a_conflict_that_was_cleared_recovers_by_itself() -> anyhow::Result<()> {
    let stage = Stage::new("rp7").await?;
    stage.secret(&stage.consumer, "pull", &[("password", "theirs")]).await?;
    publish(&stage, "ours").await?;
    stage.pull("pull", &[("password", "password")], json!({})).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "TargetNotOwned").await?;
    stage.delete::<Secret>(&stage.consumer, "pull").await?;
    stage.holds(&stage.consumer, "pull", &[("password", "ours")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

#[tokio::test]
async fn ks5_a_secret_that_merely_carries_our_labels_is_not_touched() -> anyhow::Result<()> {
    // What stands on a real target, on a Secret of somebody's own.
    let stage = synced("ks5").await?;
    let ours = stage.api::<Secret>(&stage.consumer).get("pull").await?;
    stage.secret(&stage.consumer, "theirs", &[("password", "theirs")]).await?;
    let marks = json!({ "metadata": { "labels": ours.labels(), "annotations": ours.annotations() } });
    let secrets = stage.api::<Secret>(&stage.consumer);
    let before = secrets.patch("theirs", &PatchParams::default(), &Patch::Merge(marks)).await?;
    stage.pull("second", &[("password", "password")], json!({ "target": { "name": "theirs" } })).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "second", "False", "TargetNotOwned").await?;
    let after = secrets.get("theirs").await?;
    assert_eq!(serde_json::to_value(&after)?, serde_json::to_value(&before)?);
    Ok(())
}

#[tokio::test]
async fn rp3_deleting_the_resource_deletes_its_target_and_no_other_secret() -> anyhow::Result<()> {
    let stage = synced("rp3").await?;
    let foreign = stage.secret(&stage.consumer, "foreign", &[("a", "b")]).await?;
    stage.delete::<ExternalSecret>(&stage.consumer, "pull").await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    wait::until("the target is gone", SOON, async || Ok(secrets.get_opt("pull").await?.is_none().then_some(())))
        .await?;
    assert_eq!(bytes_of(&secrets.get("foreign").await?), bytes_of(&foreign));
    Ok(())
}

#[tokio::test]
async fn r13_a_target_that_stays_immutable_against_its_spec_is_told_so() -> anyhow::Result<()> {
    let stage = synced("r13").await?;
    let entries = [("password", "password")];
    stage.pull("pull", &entries, json!({ "target": { "name": "pull", "immutable": true } })).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    assert_eq!(stage.api::<Secret>(&stage.consumer).get("pull").await?.immutable, Some(true));
    stage.pull("pull", &entries, json!({ "target": { "name": "pull", "immutable": false } })).await?;
    let said = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    assert!(said.contains("/pull is still immutable: delete it") && said.contains("recreate-immutable"), "{said}");
    stage.delete::<Secret>(&stage.consumer, "pull").await?;
    let again = stage.holds(&stage.consumer, "pull", &[("password", "right")]).await?;
    assert_ne!(again.immutable, Some(true));
    Ok(())
}

/// A source, its path and one target `pull` that holds `password: right`.
async fn synced(test: &str) -> anyhow::Result<Stage> {
    let stage = Stage::new(test).await?;
    publish(&stage, "right").await?;
    stage.pull("pull", &[("password", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "right")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(stage)
}

async fn publish(stage: &Stage, password: &str) -> anyhow::Result<()> {
    stage.secret(&stage.producer, "source", &[("password", password)]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    Ok(())
}

async fn patch(stage: &Stage, change: Value) -> anyhow::Result<()> {
    let secrets = stage.api::<Secret>(&stage.consumer);
    secrets.patch("pull", &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}
