//! ClusterPushSecrets: which namespaces have a PushSecret, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waypost::api::{ClusterPushSecret, PushSecret};
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, STORE, Stage, condition, mapping};

/// SC2, SC3 and SC5 promise their outcomes within this time.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn sc2_sc3_new_and_relabelled_namespaces_gain_and_lose_their_child_at_once() -> anyhow::Result<()> {
    let stage = Stage::new("sc2").await?;
    let [first, second] = ["first", "second"].map(|name| format!("{}-{name}", stage.word));
    named(&stage, &first, true).await?;
    fan_out(&stage, json!({})).await?;
    in_place(&stage, LATER, &[&first]).await?;

    named(&stage, &second, true).await?;
    in_place(&stage, AT_ONCE, &[&first, &second]).await?;
    // The producer has a source: the child is a PushSecret like any other.
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    in_place(&stage, AT_ONCE, &[&first, &stage.producer, &second]).await?;
    stage.ready::<PushSecret>(&stage.producer, &stage.word, "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "one" }));

    label(&stage, &first, Value::Null).await?;
    in_place(&stage, AT_ONCE, &[&stage.producer, &second]).await?;
    annotate(&stage, &second, json!({ "waypost.io/opt-out": "true" })).await?;
    in_place(&stage, AT_ONCE, &[&stage.producer]).await?;
    annotate(&stage, &second, json!({ "waypost.io/opt-out": null })).await?;
    in_place(&stage, AT_ONCE, &[&stage.producer, &second]).await?;
    Ok(())
}

#[tokio::test]
async fn children_that_write_the_same_path_are_named_until_a_key_tells_them_apart() -> anyhow::Result<()> {
    let stage = Stage::new("siblings").await?;
    for namespace in [&stage.producer, &stage.consumer] {
        stage.secret(namespace, "source", &[("password", namespace)]).await?;
        label(&stage, namespace, json!(stage.word)).await?;
    }
    fan_out(&stage, json!({})).await?;
    let said = says(&stage, "True", "Provisioned", &["says PathConflict", ".metadata.namespace"]).await?;
    let (winner, loser) = match stage.stored().await?["password"].as_str() {
        Some(stored) if stored == stage.producer => (&stage.producer, &stage.consumer),
        _consumer => (&stage.consumer, &stage.producer),
    };
    ensure!(said.contains(&format!("in {loser} it says")), "{said}");
    let conflict = stage.ready::<PushSecret>(loser, &stage.word, "False", "PathConflict").await?;
    ensure!(conflict.contains(&format!("{winner}/{}", stage.word)), "{conflict}");

    let key = format!("{}-{{{{ .metadata.namespace }}}}", stage.path());
    let mut apart = spec(&stage)["pushSecretSpec"].clone();
    apart["data"] = json!([mapping("password", &key, "password")]);
    fan_out(&stage, json!({ "pushSecretSpec": apart })).await?;
    for namespace in [&stage.producer, &stage.consumer] {
        wait::until("each child to write a path of its own", LATER, async || {
            let entry = stage.vault.read("secret", &format!("{}-{namespace}", stage.path())).await?;
            let stored = entry.and_then(|entry| entry.data).unwrap_or_default();
            ensure!(stored == json!({ "password": namespace }), "{namespace} stored {stored}");
            Ok(Some(()))
        })
        .await?;
        stage.ready::<PushSecret>(namespace, &stage.word, "True", "Synced").await?;
    }
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    wait::until("nothing to be said of conflicts any more", LATER, async || {
        let parent = serde_json::to_value(parents.get(&stage.word).await?)?;
        let ready = condition(&parent).context("no condition")?;
        ensure!(!ready["message"].as_str().unwrap_or_default().contains("PathConflict"), "it says {ready}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn ks1_rp2_another_selector_is_followed_in_both_directions() -> anyhow::Result<()> {
    let stage = Stage::new("ks1").await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    fan_out(&stage, json!({})).await?;
    in_place(&stage, LATER, &[&stage.producer]).await?;
    let by_name = json!([{ "matchExpressions": [
        { "key": "kubernetes.io/metadata.name", "operator": "In", "values": [stage.consumer] },
    ] }]);
    fan_out(&stage, json!({ "namespaceSelectors": by_name })).await?;
    in_place(&stage, SOON, &[&stage.consumer]).await?;
    fan_out(&stage, json!({ "namespaceSelectors": [] })).await?;
    in_place(&stage, SOON, &[]).await?;
    says(&stage, "True", "Provisioned", &["no namespace matches"]).await?;
    Ok(())
}

#[tokio::test]
async fn sc4_a_malformed_selector_creates_nothing_and_deletes_nothing() -> anyhow::Result<()> {
    let stage = Stage::new("sc4").await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    fan_out(&stage, json!({})).await?;
    in_place(&stage, LATER, &[&stage.producer]).await?;
    let malformed = json!([{}, { "matchExpressions": [{ "key": "a", "operator": "Matches", "values": ["b"] }] }]);
    fan_out(&stage, json!({ "namespaceSelectors": malformed })).await?;
    let operator = "spec.namespaceSelectors[1].matchExpressions[0].operator \"Matches\"";
    says(&stage, "False", "InvalidSpec", &[operator, "nothing is created or deleted"]).await?;
    // The empty selector beside it matches everything.
    assert_eq!(children(&stage).await?, BTreeSet::from([stage.producer.clone()]));
    fan_out(&stage, json!({})).await?;
    in_place(&stage, SOON, &[&stage.producer]).await
}

#[tokio::test]
async fn sc5_a_child_that_was_edited_or_deleted_by_hand_comes_back() -> anyhow::Result<()> {
    let stage = Stage::new("sc5c").await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    let metadata =
        |label: &str| json!({ "pushSecretMetadata": { "labels": { label: "ours" }, "annotations": { "a": "1" } } });
    fan_out(&stage, metadata("team")).await?;
    in_place(&stage, LATER, &[&stage.producer]).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    let made = pushes.get(&stage.word).await?;
    let edit = json!({
        "metadata": { "labels": { "team": "theirs", "more": "theirs" } },
        "spec": { "deletionPolicy": "Delete", "selector": { "secret": { "name": "other" } } },
    });
    pushes.patch(&stage.word, &PatchParams::default(), &Patch::Merge(edit)).await?;
    let is = async |wanted: [(&str, Option<&str>); 3]| {
        wait::until("the child to be as it should be", AT_ONCE, async || {
            let found = pushes.get(&stage.word).await?;
            let labels = wanted.iter().all(|(key, value)| found.labels().get(*key).map(String::as_str) == *value);
            ensure!(labels && found.spec == made.spec, "{:?} {:?}", found.labels(), found.spec.selector);
            Ok(Some(()))
        })
        .await
    };
    is([("team", Some("ours")), ("more", Some("theirs")), ("group", None)]).await?;
    // Of the labels only what was ours goes with the wish.
    fan_out(&stage, metadata("group")).await?;
    is([("team", None), ("more", Some("theirs")), ("group", Some("ours"))]).await?;
    stage.delete::<PushSecret>(&stage.producer, &stage.word).await?;
    wait::until("the child to be another one", AT_ONCE, async || {
        let found = pushes.get_opt(&stage.word).await?;
        Ok(found.filter(|found| found.uid().is_some() && found.uid() != made.uid()).map(drop))
    })
    .await
}

#[tokio::test]
async fn a_renamed_child_is_replaced_and_a_deleted_fan_out_takes_its_children_with_it() -> anyhow::Result<()> {
    let stage = Stage::new("renamed").await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    fan_out(&stage, json!({})).await?;
    stage_ready(&stage, &stage.word).await?;
    let mut spec = spec(&stage);
    spec["pushSecretSpec"]["deletionPolicy"] = json!("Delete");
    spec["pushSecretName"] = json!("other");
    let path = format!("{}-other", stage.path());
    spec["pushSecretSpec"]["data"] = json!([mapping("password", &path, "password")]);
    apply(&stage, spec).await?;
    stage_ready(&stage, "other").await?;
    gone(&stage, &stage.word).await?;
    let stored = async |path: &str| anyhow::Ok(stage.vault.read("secret", path).await?.and_then(|entry| entry.data));
    assert_eq!(stored(&path).await?, Some(json!({ "password": "one" })));

    let all: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    all.delete(&stage.word, &DeleteParams::foreground()).await?;
    wait::until("the ClusterPushSecret to go", LATER, async || {
        Ok(all.get_opt(&stage.word).await?.is_none().then_some(()))
    })
    .await?;
    // A foreground deletion waits for the children, and they for what they removed.
    gone(&stage, "other").await?;
    assert_eq!(stored(&path).await?, None);
    assert_eq!(stage.stored().await?, json!({ "password": "one" }), "the first child was to leave what it pushed");
    Ok(())
}

#[tokio::test]
async fn i2_a_fan_out_at_rest_writes_nothing() -> anyhow::Result<()> {
    let stage = Stage::new("rest").await?;
    for namespace in [&stage.producer, &stage.consumer] {
        label(&stage, namespace, json!(stage.word)).await?;
        stage.secret(namespace, "source", &[("password", "one")]).await?;
    }
    // Somebody's label, which a child may keep.
    fan_out(&stage, json!({ "refreshTime": "1s" })).await?;
    in_place(&stage, LATER, &[&stage.consumer, &stage.producer]).await?;
    // The last that there is to say: both children write one path.
    says(&stage, "True", "Provisioned", &["says PathConflict"]).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    let theirs = json!({ "metadata": { "labels": { "theirs": "1" } } });
    pushes.patch(&stage.word, &PatchParams::default(), &Patch::Merge(theirs)).await?;
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    let version = async || anyhow::Ok(parents.get(&stage.word).await?.metadata.resource_version);
    let at_rest = version().await?;
    let name = format!("name=\"{}\"", stage.word);
    for _resync in 0..3 {
        let took = async || stage.controller.metric("clusterpushsecret_reconcile_duration", &[&name]).await;
        let last = took().await?;
        wait::until("another resync", SOON, async || Ok((took().await? != last).then_some(()))).await?;
    }
    assert_eq!(version().await?, at_rest);
    assert_eq!(stage.controller.metric("clusterpushsecret_status_condition", &[&name, r#"status="True""#]).await?, 1.0);
    let lab = Lab::shared().await?;
    let writes = lab.api_audit()?.requests()?.into_iter().filter(|request| {
        let object = request.object.as_ref();
        let is_child = object.is_some_and(|object| object.resource == "pushsecrets" && object.subresource.is_empty());
        is_child && object.is_some_and(|object| object.name == stage.word) && request.verb == "patch"
    });
    assert_eq!(writes.count(), 0, "what a child has besides is no reason to write");
    Ok(())
}

/// The spec of the test's ClusterPushSecret, for namespaces with the test's label.
pub fn spec(stage: &Stage) -> Value {
    json!({
        "namespaceSelectors": [{ "matchLabels": { "fan-out": stage.word } }],
        "pushSecretSpec": {
            "refreshInterval": "24h",
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
            "selector": { "secret": { "name": "source" } },
            "data": [mapping("password", &stage.path(), "password")],
        },
    })
}

/// Applies the test's ClusterPushSecret, with `more` over its spec.
pub async fn fan_out(stage: &Stage, more: Value) -> anyhow::Result<()> {
    let mut spec = spec(stage);
    for (field, value) in more.as_object().context("fields of a spec")? {
        spec[field] = value.clone();
    }
    apply(stage, spec).await
}

async fn apply(stage: &Stage, spec: Value) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "ClusterPushSecret",
        "metadata": { "name": stage.word }, "spec": spec,
    });
    let all: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    all.patch(&stage.word, &PatchParams::apply("gitops").force(), &Patch::Apply(object)).await?;
    Ok(())
}

/// Makes a namespace, which matches or not.
pub async fn named(stage: &Stage, name: &str, matches: bool) -> anyhow::Result<()> {
    let labels = if matches { json!({ "fan-out": stage.word }) } else { json!({}) };
    let namespace = serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } }))?;
    Api::<Namespace>::all(stage.client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(())
}

/// Labels a namespace for the test, or takes the label away.
pub async fn label(stage: &Stage, namespace: &str, value: Value) -> anyhow::Result<()> {
    edit(stage, namespace, json!({ "metadata": { "labels": { "fan-out": value } } })).await
}

async fn annotate(stage: &Stage, namespace: &str, annotations: Value) -> anyhow::Result<()> {
    edit(stage, namespace, json!({ "metadata": { "annotations": annotations } })).await
}

async fn edit(stage: &Stage, namespace: &str, change: Value) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

/// The namespaces in which there is a PushSecret of the test's name.
pub async fn children(stage: &Stage) -> anyhow::Result<BTreeSet<String>> {
    let pushes: Api<PushSecret> = Api::all(stage.client.clone());
    let found = pushes.list(&Default::default()).await?;
    let ours = found.items.into_iter().filter(|push| push.name_any() == stage.word);
    Ok(ours.filter_map(|push| push.namespace()).collect())
}

/// Waits until exactly these namespaces have the child, and the status says so.
pub async fn in_place(stage: &Stage, deadline: Duration, namespaces: &[&str]) -> anyhow::Result<()> {
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    wait::until(&format!("children in {namespaces:?}"), deadline, async || {
        let (found, parent) = (children(stage).await?, parents.get(&stage.word).await?);
        let status = parent.status.clone().unwrap_or_default();
        ensure!(found.iter().eq(namespaces.iter().copied()), "children in {found:?}");
        ensure!(status.provisioned_namespaces == namespaces, "status names {:?}", status.provisioned_namespaces);
        ensure!(status.observed_generation == parent.metadata.generation, "the status is of another generation");
        Ok(Some(()))
    })
    .await
}

/// Waits for a Ready condition of the present generation whose message has these words.
pub async fn says(stage: &Stage, status: &str, reason: &str, words: &[&str]) -> anyhow::Result<String> {
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    wait::until(&format!("{} to be {status} {reason}", stage.word), LATER, async || {
        let parent = serde_json::to_value(parents.get(&stage.word).await?)?;
        let Some(ready) = condition(&parent) else { bail!("no condition yet") };
        let is_current = ready["observedGeneration"] == parent["metadata"]["generation"];
        let message = ready["message"].as_str().unwrap_or_default();
        let fits = ready["status"] == status && ready["reason"] == reason && is_current;
        ensure!(fits && words.iter().all(|word| message.contains(word)), "it says {ready}");
        Ok(Some(message.to_owned()))
    })
    .await
}

async fn stage_ready(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.ready::<PushSecret>(&stage.producer, name, "True", "Synced").await.map(drop)
}

async fn gone(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("the child to go", LATER, async || Ok(pushes.get_opt(name).await?.is_none().then_some(()))).await
}
