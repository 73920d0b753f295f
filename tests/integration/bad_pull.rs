//! Invalid or failing ExternalSecrets: the messages, that targets keep their data, and that all
//! recover.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waypost::api::{ClusterExternalSecret, ExternalSecret, names};
use waypost_e2e::wait;

use crate::eso_crds::bare;
use crate::stage::{LATER, SOON, STORE, Stage, condition};
use crate::undecodable::anything;

/// Waits for this condition and checks that its message has all of these words.
async fn says(stage: &Stage, name: &str, reason: &str, words: &[&str]) -> anyhow::Result<()> {
    let said = stage.ready::<ExternalSecret>(&stage.consumer, name, "False", reason).await?;
    for word in words {
        ensure!(said.contains(word), "{name}: {word:?} is missing in {said:?}");
    }
    Ok(())
}

/// So often that an edit made straight in the store shows soon.
fn often(mut more: Value) -> Value {
    more["refreshInterval"] = json!("1s");
    more
}

async fn write(stage: &Stage, data: Value) -> anyhow::Result<()> {
    stage.vault.write("secret", &stage.path(), &data).await.map(drop)
}

#[tokio::test]
async fn rp5_what_is_missing_is_named_and_the_target_keeps_its_data() -> anyhow::Result<()> {
    let stage = Stage::new("missing").await?;
    stage.pull("pull", &[("PASSWORD", "password")], often(json!({}))).await?;
    let said = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "PathNotFound").await?;
    ensure!(said.contains(&stage.path()) && said.contains("push it, or correct the key"), "{said}");
    ensure!(!said.contains("keeps its data"), "there is no target: {said}");
    ensure!(stage.api::<Secret>(&stage.consumer).get_opt("pull").await?.is_none(), "nothing to hold, so no target");
    write(&stage, json!({ "password": "good" })).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "good")]).await?;

    let both = [("PASSWORD", "password"), ("USER", "username")];
    stage.pull("pull", &both, often(json!({}))).await?;
    says(&stage, "pull", "PropertyNotFound", &[&stage.path(), "no property \"username\"", "keeps its data"]).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    write(&stage, json!({ "password": "good", "username": "me" })).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "good"), ("USER", "me")]).await?;

    stage.vault.delete_latest("secret", &stage.path()).await?;
    let deleted = format!("version 2 of secret/{} is deleted", stage.path());
    says(&stage, "pull", "PathNotFound", &[&deleted, "undelete it", "keeps its data"]).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good"), ("USER", "me")]).await?;
    write(&stage, json!({ "password": "back", "username": "me" })).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "back"), ("USER", "me")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

/// Nobody deletes it: the server counts it as deleted once its time has come.
#[tokio::test]
async fn rp5_a_version_that_expires_is_told_like_one_that_was_deleted() -> anyhow::Result<()> {
    let stage = Stage::new("expires").await?;
    let lives = async |time: &str| {
        let metadata = format!("secret/metadata/{}", stage.path());
        stage.vault.post(&metadata, &json!({ "delete_version_after": time })).await
    };
    write(&stage, json!({ "password": "same" })).await?;
    stage.pull("pull", &[("PASSWORD", "password")], often(json!({}))).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "same")]).await?;
    lives("3s").await?;
    write(&stage, json!({ "password": "same" })).await?;
    let deleted = format!("version 2 of secret/{} is deleted", stage.path());
    says(&stage, "pull", "PathNotFound", &[&deleted, "keeps its data"]).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "same")]).await?;
    lives("0s").await?;
    write(&stage, json!({ "password": "another" })).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "another")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

/// Entries of a pull, what else its spec says, the reason of the refusal, and words of its message.
type Wrong<'a> = (&'a [(&'a str, &'a str)], Value, &'a str, &'a [&'a str]);

#[tokio::test]
async fn k1_to_k3_a_target_that_would_be_no_secret_stays_as_it_is() -> anyhow::Result<()> {
    let stage = Stage::new("illegal").await?;
    write(&stage, json!({ "password": "good", "note": "no base64!" })).await?;
    let right = [("PASSWORD", "password")];
    stage.pull("pull", &right, often(json!({}))).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;

    let wrongs: [Wrong; 4] = [
        (&[("..data", "password")], json!({}), "TargetInvalid", &["\"..data\"", "K1", "use letters"]),
        (
            &[("PASSWORD", "password"), ("PASSWORD", "other")],
            json!({}),
            "InvalidSpec",
            &["\"PASSWORD\" twice", "one value"],
        ),
        (
            &[],
            json!({ "data": [{ "secretKey": "PASSWORD", "remoteRef": {
                "key": stage.path(), "property": "note", "decodingStrategy": "Base64",
            } }] }),
            "TargetInvalid",
            &["\"PASSWORD\"", "decodingStrategy", "correct the value or the strategy"],
        ),
        (
            &[],
            json!({ "data": [{ "secretKey": "PASSWORD", "remoteRef": { "key": "platform-data//x", "property": "y" } }] }),
            "InvalidSpec",
            &["platform-data//x", "doubled slash"],
        ),
    ];
    for (entries, more, reason, words) in wrongs {
        stage.pull("pull", entries, often(more)).await?;
        says(&stage, "pull", reason, words).await?;
        stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    }
    let large = "x".repeat(600_000);
    stage.vault.write("secret", &format!("{}-more", stage.path()), &json!({ "large": large })).await?;
    let entry = |key: &str| json!({ "secretKey": key, "remoteRef": { "key": format!("{}-more", stage.path()), "property": "large" } });
    stage.pull("pull", &[], often(json!({ "data": [entry("A"), entry("B")] }))).await?;
    says(&stage, "pull", "TooLarge", &["may have 1048576 (K3)", "use fewer or smaller values"]).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;

    let illegal = stage.pull("pull", &right, json!({ "target": { "name": "Not_A_Name" } })).await.err();
    let illegal = illegal.map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(illegal.contains("spec.target.name"), "{illegal}");

    stage.pull("pull", &right, often(json!({}))).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    Ok(())
}

#[tokio::test]
async fn sc9_a_secret_of_somebody_else_stays_as_it_is() -> anyhow::Result<()> {
    let stage = Stage::new("theirs").await?;
    write(&stage, json!({ "password": "ours" })).await?;
    let before = stage.secret(&stage.consumer, "pull", &[("their", "data")]).await?;
    stage.pull("pull", &[("PASSWORD", "password")], often(json!({}))).await?;
    says(&stage, "pull", "TargetNotOwned", &["pull exists and is not ours", "waypost.io/adopt"]).await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    ensure!(secrets.get("pull").await?.metadata.resource_version == before.metadata.resource_version);
    secrets.delete("pull", &DeleteParams::default()).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "ours")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

#[tokio::test]
async fn f55_adopting_a_secret_of_another_type_is_refused_and_deletes_nothing() -> anyhow::Result<()> {
    let stage = Stage::new("theirtype").await?;
    write(&stage, json!({ "password": "ours" })).await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull" }, "type": "example.com/theirs",
        "stringData": { "their": "data" },
    });
    let before = secrets.create(&PostParams::default(), &serde_json::from_value(theirs)?).await?;
    stage.pull("pull", &[("PASSWORD", "password")], often(json!({}))).await?;
    says(&stage, "pull", "TargetNotOwned", &["pull exists and is not ours"]).await?;
    let adopt = json!({ "metadata": { "annotations": { "waypost.io/adopt": "true" } } });
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(adopt)).await?;
    wait::until("the adoption to be refused", LATER, async || {
        let words = ["has type example.com/theirs", "adopting never deletes"];
        says(&stage, "pull", "TargetNotOwned", &words).await.map(Some)
    })
    .await?;
    let after = secrets.get("pull").await?.metadata;
    ensure!((after.uid, after.resource_version) == (before.metadata.uid, before.metadata.resource_version));
    Ok(())
}

#[tokio::test]
async fn what_a_pull_asks_for_in_vain_is_named() -> anyhow::Result<()> {
    let stage = Stage::new("pullvain").await?;
    write(&stage, json!({ "password": "good" })).await?;
    let generator = json!({ "apiVersion": "generators.external-secrets.io/v1alpha1", "kind": "Password", "name": "x" });
    let data = |more: Value| {
        let mut entry =
            json!({ "secretKey": "PASSWORD", "remoteRef": { "key": stage.path(), "property": "password" } });
        for (field, value) in more.as_object().cloned().unwrap_or_default() {
            entry[field] = value;
        }
        json!({ "data": [entry] })
    };
    let asked = [
        (
            "windows",
            json!({ "syncWindows": { "kind": "allow", "windows": [{ "schedule": "@daily", "duration": "1h" }] } }),
            "spec.syncWindows",
        ),
        (
            "manifest",
            json!({ "target": { "manifest": { "apiVersion": "v1", "kind": "ConfigMap" } } }),
            "spec.target.manifest",
        ),
        ("merge", json!({ "target": { "creationPolicy": "Merge" } }), "spec.target.creationPolicy Merge"),
        ("generator", data(json!({ "sourceRef": { "generatorRef": generator } })), "sourceRef.generatorRef"),
    ];
    for (name, spec, field) in asked {
        stage.pull(name, &[("PASSWORD", "password")], spec).await?;
        says(&stage, name, "Unsupported", &[field, "remove it"]).await?;
        ensure!(stage.api::<Secret>(&stage.consumer).get_opt(name).await?.is_none(), "{name} has a target");
    }
    stage.pull("query", &[("PASSWORD", "list|@reverse")], json!({})).await?;
    let words = ["\"list|@reverse\"", "the modifier @reverse is not supported", "name the property"];
    says(&stage, "query", "Unsupported", &words).await?;
    ensure!(stage.api::<Secret>(&stage.consumer).get_opt("query").await?.is_none(), "the query has a target");
    let refused = stage.pull("soon", &[("PASSWORD", "password")], json!({ "refreshInterval": "soon" })).await.err();
    let refused = refused.map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refused.contains("30s, 15m or 1h0m0s"), "{refused}");
    for (name, once) in [("zero", "0"), ("negative", "-1h")] {
        stage.pull(name, &[("PASSWORD", "password")], json!({ "refreshInterval": once })).await?;
        stage.holds(&stage.consumer, name, &[("PASSWORD", "good")]).await?;
    }
    cluster_wide(&stage).await
}

async fn cluster_wide(stage: &Stage) -> anyhow::Result<()> {
    let all: Api<ClusterExternalSecret> = Api::all(stage.client.clone());
    let everywhere: ClusterExternalSecret = serde_json::from_value(json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ClusterExternalSecret", "metadata": { "name": stage.word },
        "spec": {
            "namespaceSelectors": [{ "matchLabels": { "a": stage.word } }],
            "externalSecretSpec": {
                "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE },
                "data": [{ "secretKey": "a", "remoteRef": { "key": stage.path(), "property": "password" } }],
            },
        },
    }))?;
    all.create(&PostParams::default(), &everywhere).await?;
    wait::until("the ClusterExternalSecret is told that it is not supported", LATER, async || {
        let found = serde_json::to_value(all.get(&stage.word).await?)?;
        Ok(condition(&found).filter(|ready| ready["reason"] == "Unsupported").map(drop))
    })
    .await?;
    all.delete(&stage.word, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn f13_a_resource_that_does_not_decode_stops_no_other() -> anyhow::Result<()> {
    // Another lab than the shared one, whose definitions other tests judge by.
    let (_lab, stage) = bare("decode").await?;
    write(&stage, json!({ "password": "good" })).await?;
    let message = told_that_it_does_not_decode(&stage, "odd").await?;
    ensure!(message.contains("does not decode") && message.contains("correct the field"), "{message}");
    ensure!(!message.contains("hunter2"), "the status quotes the object: {message}");
    stage.pull("next", &[("PASSWORD", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "next", &[("PASSWORD", "good")]).await?;
    stage.pull("odd", &[("PASSWORD", "password")], json!({ "syncWindows": null })).await?;
    stage.holds(&stage.consumer, "odd", &[("PASSWORD", "good")]).await?;
    Ok(())
}

/// Lets the server take a field of another shape, as older or foreign definitions do, makes an
/// ExternalSecret with one, and gives what it is told.
pub async fn told_that_it_does_not_decode(stage: &Stage, name: &str) -> anyhow::Result<String> {
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let lenient = json!([{
        "op": "replace",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/syncWindows",
        "value": { "x-kubernetes-preserve-unknown-fields": true },
    }]);
    let patch = Patch::Json::<()>(serde_json::from_value(lenient)?);
    definitions.patch("externalsecrets.external-secrets.io", &PatchParams::default(), &patch).await?;
    let anything = anything::<ExternalSecret>(stage, &stage.consumer);
    wait::until("the lenient definition is in force", SOON, async || {
        let object = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": { "name": name },
            "spec": { "syncWindows": "hunter2 at night", "data": [{ "secretKey": "a", "remoteRef": { "key": "b" } }] },
        });
        let applied = anything.patch(name, &PatchParams::apply("gitops").force(), &Patch::Apply(object)).await;
        Ok(Some(applied?))
    })
    .await?;
    wait::until("the resource is told that it does not decode", LATER, async || {
        let found = anything.get(name).await?.data;
        let ready = condition(&found).filter(|ready| ready["reason"] == "InvalidSpec");
        Ok(ready.and_then(|ready| ready["message"].as_str()).map(str::to_owned))
    })
    .await
}

#[tokio::test]
async fn a_migrated_resource_is_not_held_by_the_former_operators_finalizer() -> anyhow::Result<()> {
    let stage = Stage::new("migrated").await?;
    write(&stage, json!({ "password": "good" })).await?;
    stage.pull("pull", &[("PASSWORD", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    let others = "tests.waypost.io/hold";
    let held = json!({ "metadata": { "finalizers": [names::FINALIZER_EXTERNAL_SECRET, others] } });
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(held)).await?;
    pulls.delete("pull", &DeleteParams::default()).await?;
    wait::until("only the other finalizer is left", SOON, async || {
        let finalizers = pulls.get("pull").await?.metadata.finalizers.unwrap_or_default();
        Ok((finalizers == [others]).then_some(()))
    })
    .await?;
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(json!({ "metadata": { "finalizers": null } }))).await?;
    wait::until("the target goes with its owner", LATER, async || {
        Ok(stage.api::<Secret>(&stage.consumer).get_opt("pull").await?.is_none().then_some(()))
    })
    .await
}
