//! Templates whose texts are in ConfigMaps and Secrets, and finalizers of a target.

use anyhow::ensure;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::wait;

use crate::stage::{SOON, Stage};

/// A consumer with two texts: `url` of a ConfigMap, and `more`, a map of keys, of a Secret.
async fn templated(test: &str) -> anyhow::Result<Stage> {
    let stage = Stage::new(test).await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    map(&stage, "pg://{{ .password }}@db").await?;
    stage.secret(&stage.consumer, "texts", &[("more", "user: 'app {{ .password }}'")]).await?;
    let template = json!({ "templateFrom": [
        { "configMap": { "name": "texts", "items": [{ "key": "url" }] } },
        { "secret": { "name": "texts", "items": [{ "key": "more", "templateAs": "KeysAndValues" }] } },
        { "configMap": { "name": "texts", "items": [{ "key": "note" }] }, "target": "Annotations" },
    ] });
    stage.pull("pull", &[("password", "password")], json!({ "target": { "template": template } })).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    holds(&stage, "pg://first@db", "app first").await?;
    Ok(stage)
}

async fn map(stage: &Stage, url: &str) -> anyhow::Result<()> {
    let data = json!({ "url": url, "note": "of {{ .password | len }} characters" });
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "texts" }, "data": data });
    let parameters = PatchParams::apply("a-person").force();
    stage.api::<ConfigMap>(&stage.consumer).patch("texts", &parameters, &Patch::Apply(map)).await?;
    Ok(())
}

async fn holds(stage: &Stage, url: &str, user: &str) -> anyhow::Result<Secret> {
    stage.holds(&stage.consumer, "pull", &[("url", url), ("user", user)]).await
}

#[tokio::test]
async fn an_edit_of_a_text_reaches_the_target() -> anyhow::Result<()> {
    let stage = templated("texts").await?;
    map(&stage, "pg://{{ .password }}@other").await?;
    let secret = holds(&stage, "pg://first@other", "app first").await?;
    ensure!(secret.annotations()["note"] == "of 5 characters");
    stage.secret(&stage.consumer, "texts", &[("more", "user: 'root {{ .password }}'")]).await?;
    holds(&stage, "pg://first@other", "root first").await?;
    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    holds(&stage, "pg://second@other", "root second").await.map(drop)
}

#[tokio::test]
async fn a_text_that_is_gone_is_named_and_takes_nothing_and_is_used_once_it_is_back() -> anyhow::Result<()> {
    let stage = templated("textgone").await?;
    let maps = stage.api::<ConfigMap>(&stage.consumer);
    maps.delete("texts", &DeleteParams::default()).await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "SourceNotFound").await?;
    let words = "spec.target.template.templateFrom[0].configMap: ConfigMap texts does not exist";
    ensure!(told.contains(words) && told.contains("keeps its data"), "{told}");
    holds(&stage, "pg://first@db", "app first").await?;
    map(&stage, "pg://{{ .password }}@back").await?;
    holds(&stage, "pg://first@back", "app first").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;

    // A text that is wrong says where, and that of a Secret says nothing else.
    stage.secret(&stage.consumer, "texts", &[("more", "{{ s3cretWord }}")]).await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "TargetInvalid").await?;
    ensure!(told.contains("templateFrom[1].secret.items[0]: line 1, column 4"), "{told}");
    ensure!(!told.contains("s3cretWord"), "{told}");
    holds(&stage, "pg://first@back", "app first").await.map(drop)
}

#[tokio::test]
async fn a_target_may_be_the_text_of_another_template() -> anyhow::Result<()> {
    let stage = templated("textchain").await?;
    let items = json!([{ "key": "url" }]);
    let template = json!({ "templateFrom": [{ "secret": { "name": "pull", "items": items } }] });
    stage.pull("second", &[("password", "password")], json!({ "target": { "template": template } })).await?;
    stage.holds(&stage.consumer, "second", &[("url", "pg://first@db")]).await?;
    map(&stage, "pg://{{ .password }}@moved").await?;
    stage.holds(&stage.consumer, "second", &[("url", "pg://first@moved")]).await.map(drop)
}

#[tokio::test]
async fn finalizers_of_a_template_are_set_beside_those_of_others_and_taken_back() -> anyhow::Result<()> {
    let stage = Stage::new("finalizers").await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    let with = |finalizers: Value| {
        let metadata = json!({ "finalizers": finalizers });
        json!({ "target": { "template": { "metadata": metadata } } })
    };
    let entries = [("password", "password")];
    stage.pull("pull", &entries, with(json!(["example.com/one", "example.com/two"]))).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "first")]).await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    let expect = async |wanted: &[&str]| {
        wait::until("the finalizers of the target", SOON, async || {
            let mut found = secrets.get_metadata("pull").await?.finalizers().to_vec();
            found.sort();
            Ok((found == wanted).then_some(()))
        })
        .await
    };
    expect(&["example.com/one", "example.com/two"]).await?;
    let theirs = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "finalizers": ["example.org/theirs"] } });
    secrets.patch("pull", &PatchParams::apply("a-person"), &Patch::Apply(theirs)).await?;
    expect(&["example.com/one", "example.com/two", "example.org/theirs"]).await?;
    stage.pull("pull", &entries, with(json!(["example.com/two"]))).await?;
    expect(&["example.com/two", "example.org/theirs"]).await?;
    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "second")]).await?;
    expect(&["example.com/two", "example.org/theirs"]).await?;
    stage.pull("pull", &entries, json!({})).await?;
    expect(&["example.org/theirs"]).await?;
    let none = json!({ "metadata": { "finalizers": [] } });
    secrets.patch("pull", &PatchParams::default(), &Patch::Merge(none)).await?;
    expect(&[]).await
}

#[tokio::test]
async fn a_push_renders_what_it_publishes_and_an_edit_of_its_text_reaches_the_store() -> anyhow::Result<()> {
    let stage = Stage::new("pushtexts").await?;
    stage.secret(&stage.producer, "source", &[("user", "app"), ("password", "first")]).await?;
    let text = async |url: &str| {
        let map =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "texts" }, "data": { "url": url } });
        let parameters = PatchParams::apply("a-person").force();
        stage.api::<ConfigMap>(&stage.producer).patch("texts", &parameters, &Patch::Apply(map)).await
    };
    text("pg://{{ .user }}:{{ .password }}@db").await?;
    let from = json!([{ "configMap": { "name": "texts", "items": [{ "key": "url" }] } }]);
    let template = json!({ "data": { "role": "{{ .user | upper }}" }, "templateFrom": from });
    let properties = [("url", "url"), ("role", "role")];
    stage.push("push", "source", &properties, json!({ "template": template })).await?;
    let stored = async |url: &str| {
        wait::until("the store to have what is rendered", SOON, async || {
            Ok((stage.stored().await? == json!({ "role": "APP", "url": url })).then_some(()))
        })
        .await
    };
    stored("pg://app:first@db").await?;
    let version = stage.version().await?;
    text("pg://{{ .user }}:{{ .password }}@other").await?;
    stored("pg://app:first@other").await?;
    stage.secret(&stage.producer, "source", &[("user", "app"), ("password", "second")]).await?;
    stored("pg://app:second@other").await?;
    ensure!(stage.version().await? == version + 2, "one version for each change");

    // What fails, and what is missing, takes nothing.
    text("{{ .nosuch }}").await?;
    let told = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceInvalid").await?;
    ensure!(told.contains("spec.template.templateFrom[0].configMap.items[0]: line 1, column 4"), "{told}");
    stage.api::<ConfigMap>(&stage.producer).delete("texts", &DeleteParams::default()).await?;
    let told = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceNotFound").await?;
    ensure!(told.contains("ConfigMap texts does not exist") && told.contains("what was pushed stays"), "{told}");
    stored("pg://app:second@other").await?;
    text("back {{ .password }}").await?;
    stored("back second").await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
}
