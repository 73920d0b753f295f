//! S8, the confused deputy: the author of a PushSecret needs the right to read its source, of
//! whatever kind, and to use its store.

use anyhow::ensure;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waypost::api::{ClusterPushSecret, PushSecret};

use crate::author::{Author, apply, let_through, manifest, refused, try_out};
use crate::stage::{STORE, mapping};

#[tokio::test]
async fn s8_who_may_not_read_a_config_map_may_not_push_it() -> anyhow::Result<()> {
    let author = pusher("s8maps").await?;
    endpoint(&author, "source", "db.svc").await?;
    endpoint(&author, "other", "secret.svc").await?;
    is_refused(&author, &of(&author, "source"), "you may not get configmap source").await?;

    author.may_do("get", "configmaps", "source").await?;
    is_let_through(&author, &of(&author, "source")).await?;
    let stage = &author.stage;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let path = format!("platform-config/postgres/{}", stage.word);
    let stored = stage.vault.read("secret", &path).await?.and_then(|entry| entry.data);
    assert_eq!(stored, Some(json!({ "host": "db.svc" })));

    // The right to one is none to another, nor the right to a Secret of that name one to a
    // ConfigMap.
    author.may_do("get", "secrets", "other").await?;
    is_refused(&author, &of(&author, "other"), "you may not get configmap other").await?;
    // Whoever only labels it is not asked.
    annotate(&author, "labels", json!({ "team": "a" })).await?;
    Ok(())
}

#[tokio::test]
async fn s8_who_may_not_read_a_secret_or_list_secrets_may_not_push_them() -> anyhow::Result<()> {
    let author = pusher("s8secrets").await?;
    let stage = &author.stage;
    stage.secret(&stage.producer, "source", &[("host", "one")]).await?;
    let named = spec(&author, json!({ "secret": { "name": "source" } }));
    is_refused(&author, &named, "you may not get secret source").await?;
    author.may_do("get", "secrets", "source").await?;
    is_let_through(&author, &named).await?;
    let selected = spec(&author, json!({ "secret": { "selector": { "matchLabels": { "a": "b" } } } }));
    is_refused(&author, &selected, "you may not list secrets here").await
}

#[tokio::test]
async fn s8_who_may_not_read_what_a_template_is_made_from_may_not_have_it_read() -> anyhow::Result<()> {
    let author = pusher("s8from").await?;
    author.may_do("get", "secrets", "source").await?;
    for (field, resource) in [("secret", "secrets"), ("configMap", "configmaps")] {
        let mut made = spec(&author, json!({ "secret": { "name": "source" } }));
        made["template"] = json!({ "templateFrom": [{ field: { "name": "from", "items": [{ "key": "a" }] } }] });
        is_refused(&author, &made, &format!("you may not get the {resource} that templateFrom names")).await?;
        author.may_do("get", resource, "from").await?;
        let_through(async || try_out(&author.api::<PushSecret>(), &push(json!({}), &made)).await).await?;
    }
    Ok(())
}

#[tokio::test]
async fn s8_a_fan_out_of_config_maps_needs_the_right_to_them_in_every_namespace() -> anyhow::Result<()> {
    let author = pusher("s8fan").await?;
    author.may_write_in_cluster("clusterpushsecrets").await?;
    author.may_do("get", "configmaps", "source").await?;
    let spec = json!({ "namespaceSelectors": [], "pushSecretSpec": of(&author, "source") });
    let object = manifest::<ClusterPushSecret>(&author.stage.word, json!({}), &spec);
    let all = author.all::<ClusterPushSecret>();
    refused("you may not get configmap source", async || try_out(&all, &object).await).await?;
    author.in_cluster("read", json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] })).await?;
    let_through(async || try_out(&all, &object).await).await.map(drop)
}

#[tokio::test]
async fn s8_an_annotation_with_authority_over_a_path_is_judged_as_the_spec_is() -> anyhow::Result<()> {
    let author = pusher("s8notes").await?;
    let stage = &author.stage;
    stage.secret(&stage.producer, "source", &[("host", "one")]).await?;
    let right = author.may_do("get", "secrets", "source").await?;
    let named = spec(&author, json!({ "secret": { "name": "source" } }));
    is_let_through(&author, &named).await?;

    // What stands is not asked about again, nor is a wish to sync; what the controller acts by is.
    author.may_no_more(&right).await?;
    let authority = [("adopt", "true"), ("abandon", "true"), ("earlier-versions", "Destroy")];
    for (word, value) in authority {
        let noted = push(json!({ (format!("waypost.io/{word}")): value }), &named);
        let request = async || try_out(&author.api::<PushSecret>(), &noted).await;
        refused("you may not get secret source", request).await?;
    }
    apply(&author.api::<PushSecret>(), &push(json!({}), &named)).await?;
    annotate(&author, "annotations", json!({ "waypost.io/force-sync": "now" })).await?;
    annotate(&author, "labels", json!({ "team": "a" })).await
}

/// An author who may write PushSecrets, use the shared store, and nothing else.
async fn pusher(test: &str) -> anyhow::Result<Author> {
    let author = Author::begin(test).await?;
    author.may_write("pushsecrets").await?;
    author.may_use_store().await?;
    Ok(author)
}

async fn endpoint(author: &Author, name: &str, host: &str) -> anyhow::Result<()> {
    let map = json!({ "metadata": { "name": name }, "data": { "host": host } });
    let maps = author.stage.api::<ConfigMap>(&author.stage.producer);
    maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    Ok(())
}

fn spec(author: &Author, selector: Value) -> Value {
    let path = format!("platform-config/postgres/{}", author.stage.word);
    json!({
        "refreshInterval": "24h", "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
        "selector": selector, "data": [mapping("host", &path, "host")],
    })
}

/// The spec that pushes a ConfigMap.
fn of(author: &Author, config_map: &str) -> Value {
    spec(author, json!({ "configMap": { "name": config_map } }))
}

fn push(annotations: Value, spec: &Value) -> Value {
    manifest::<PushSecret>("push", annotations, spec)
}

async fn is_refused(author: &Author, spec: &Value, words: &str) -> anyhow::Result<()> {
    let object = push(json!({}), spec);
    refused(words, async || try_out(&author.api::<PushSecret>(), &object).await).await
}

async fn is_let_through(author: &Author, spec: &Value) -> anyhow::Result<()> {
    let object = push(json!({}), spec);
    let_through(async || apply(&author.api::<PushSecret>(), &object).await).await.map(drop)
}

async fn annotate(author: &Author, field: &str, entries: Value) -> anyhow::Result<()> {
    let change = Patch::Merge(json!({ "metadata": { field: entries } }));
    let changed = author.api::<PushSecret>().patch("push", &PatchParams::default(), &change).await?;
    ensure!(serde_json::to_value(&changed)?["metadata"][field].is_object(), "nothing was changed");
    Ok(())
}
