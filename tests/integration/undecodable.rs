//! Resources that do not decode, which CRDs without our rules accept: each can be deleted like any
//! other.

use anyhow::{Context, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret, names};
use waypost_e2e::wait;

use crate::eso_crds::bare;
use crate::stage::{LATER, STORE, Stage, condition, mapping};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];
/// Somebody else's, which nobody here may remove.
const HOLD: &str = "tests.waypost.io/hold";

#[tokio::test]
async fn es7_an_external_secret_that_does_not_decode_goes_when_it_is_deleted() -> anyhow::Result<()> {
    let (_lab, stage) = bare("oddpull").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "good" })).await?;
    let theirs = store_of_another_controller(&stage).await?;
    let pulls = anything::<ExternalSecret>(&stage, &stage.consumer);
    let by = |store: &str| json!({ "secretStoreRef": { "name": store, "kind": "ClusterSecretStore" } });
    for (name, store) in [("ours", STORE), ("theirs", &theirs), ("unclear", STORE)] {
        stage.pull(name, PASSWORD, by(store)).await?;
    }
    stage.holds_within(LATER, &stage.consumer, "ours", &[("password", "good")]).await?;
    for (name, kind) in [("theirs", "ClusterSecretStore"), ("unclear", "Sideways"), ("ours", "ClusterSecretStore")] {
        let odd = json!({
            "metadata": { "finalizers": [names::FINALIZER_EXTERNAL_SECRET, HOLD] },
            "spec": { "secretStoreRef": { "kind": kind }, "target": { "creationPolicy": "Sometimes" } },
        });
        pulls.patch(name, &PatchParams::default(), &Patch::Merge(odd)).await?;
    }
    for name in ["unclear", "ours"] {
        says(&pulls, name, "InvalidSpec", &["does not decode", "correct the field"]).await?;
    }

    for name in ["theirs", "unclear", "ours"] {
        pulls.delete(name, &DeleteParams::default()).await?;
    }
    for name in ["unclear", "ours"] {
        wait::until(&format!("only another's finalizer is left on {name}"), LATER, async || {
            Ok((pulls.get(name).await?.finalizers() == [HOLD]).then_some(()))
        })
        .await?;
    }
    let theirs = pulls.get("theirs").await?;
    ensure!(theirs.finalizers() == [names::FINALIZER_EXTERNAL_SECRET, HOLD] && theirs.data.get("status").is_none());
    let let_go = json!({ "metadata": { "finalizers": null } });
    pulls.patch("ours", &PatchParams::default(), &Patch::Merge(let_go)).await?;
    wait::until("the target goes with its owner", LATER, async || {
        Ok(stage.api::<Secret>(&stage.consumer).get_opt("ours").await?.is_none().then_some(()))
    })
    .await
}

#[tokio::test]
async fn es7_a_push_secret_that_does_not_decode_still_takes_its_values_along() -> anyhow::Result<()> {
    let (_lab, stage) = bare("oddpush").await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    let pushes = anything::<PushSecret>(&stage, &stage.producer);
    says(&pushes, "push", "Synced", &["version 1"]).await?;
    let mut odd = mapping("password", &stage.path(), "password");
    odd["conversionStrategy"] = json!("Sideways");
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(json!({ "spec": { "data": [odd] } }))).await?;
    says(&pushes, "push", "InvalidSpec", &["does not decode"]).await?;
    ensure!(stage.stored().await? == json!({ "password": "good" }), "an edit that cannot be read removes nothing");
    pushes.delete("push", &DeleteParams::default()).await?;
    gone(&pushes, "push").await?;
    ensure!(stage.stored().await? == Value::Null);
    Ok(())
}

#[tokio::test]
async fn es7_a_push_secret_that_does_not_say_what_becomes_of_its_values_says_what_lets_it_go() -> anyhow::Result<()> {
    let (_lab, stage) = bare("unsure").await?;
    let theirs = store_of_another_controller(&stage).await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    let pushes = anything::<PushSecret>(&stage, &stage.producer);
    says(&pushes, "push", "Synced", &["version 1"]).await?;
    let refs = json!([{ "name": theirs, "kind": "ClusterSecretStore" }]);
    stage.push("theirs", "source", PASSWORD, json!({ "secretStoreRefs": refs })).await?;
    let odd = json!({
        "metadata": { "finalizers": [names::FINALIZER_PUSH_SECRET] }, "spec": { "deletionPolicy": "Sometimes" },
    });
    for name in ["theirs", "push"] {
        pushes.patch(name, &PatchParams::default(), &Patch::Merge(&odd)).await?;
        pushes.delete(name, &DeleteParams::default()).await?;
    }
    let words = ["does not decode", "spec.deletionPolicy", "remove the finalizer", names::FINALIZER_PUSH_SECRET];
    says(&pushes, "push", "CleanupPending", &words).await?;
    ensure!(stage.stored().await? == json!({ "password": "good" }));
    let corrected = json!({ "spec": { "deletionPolicy": "Delete" } });
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(corrected)).await?;
    gone(&pushes, "push").await?;
    ensure!(stage.stored().await? == Value::Null);
    let theirs = pushes.get("theirs").await?;
    ensure!(theirs.finalizers() == [names::FINALIZER_PUSH_SECRET] && theirs.data.get("status").is_none());
    Ok(())
}

/// Objects of a kind in whatever shape they are.
pub fn anything<K>(stage: &Stage, namespace: &str) -> Api<DynamicObject>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced_with(stage.client.clone(), namespace, &ApiResource::erase::<K>(&()))
}

async fn store_of_another_controller(stage: &Stage) -> anyhow::Result<String> {
    let name = format!("theirs-{}", stage.word);
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    let mut store = stores.get(STORE).await?;
    store.metadata = kube::api::ObjectMeta { name: Some(name.clone()), ..Default::default() };
    store.spec.0.controller = Some("other".to_owned());
    store.status = None;
    stores.create(&Default::default(), &store).await?;
    Ok(name)
}

/// Waits until the Ready condition has this reason and a message with all of these words.
async fn says(api: &Api<DynamicObject>, name: &str, reason: &str, words: &[&str]) -> anyhow::Result<()> {
    wait::until(&format!("{name} says {reason}: {words:?}"), LATER, async || {
        let object = api.get(name).await?;
        let ready = condition(&object.data).context("it has no condition yet")?;
        let message = ready["message"].as_str().unwrap_or_default();
        ensure!(ready["reason"] == reason && words.iter().all(|word| message.contains(word)), "it says {ready}");
        Ok(Some(()))
    })
    .await
}

async fn gone(api: &Api<DynamicObject>, name: &str) -> anyhow::Result<()> {
    wait::until(&format!("{name} to go"), LATER, async || Ok(api.get_opt(name).await?.is_none().then_some(()))).await
}
