//! S8 for targets: the author of an ExternalSecret needs the right to create its target and, to
//! adopt or recreate one, the rights to update and delete it.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterExternalSecret, ExternalSecret};

use crate::author::{Author, apply, let_through, manifest, refused, try_out};
use crate::stage::STORE;

#[tokio::test]
async fn s8_who_may_not_create_a_secret_may_not_have_it_materialised() -> anyhow::Result<()> {
    let author = puller("s8pull").await?;
    let pulls = author.api::<ExternalSecret>();
    let named = |target: &str| pull(json!({}), &spec(&author, json!({ "name": target })));
    let unnamed = pull(json!({}), &spec(&author, json!({})));
    refused("you may not create secrets named pull", async || try_out(&pulls, &unnamed).await).await?;
    let right = author.may_do("create", "secrets", "pull").await?;
    let_through(async || apply(&pulls, &unnamed).await).await?;

    // Another target is another right, and a ConfigMap is no Secret.
    refused("you may not create secrets named other", async || try_out(&pulls, &named("other")).await).await?;
    author.may_do("create", "secrets", "other").await?;
    let_through(async || try_out(&pulls, &named("other")).await).await?;
    let map = json!({ "name": "other", "manifest": { "apiVersion": "v1", "kind": "ConfigMap" } });
    let map = pull(json!({}), &spec(&author, map));
    refused("you may not create configmaps named other", async || try_out(&pulls, &map).await).await?;

    // A right that is gone stops nothing that stands: neither manifests that are applied again, nor
    // labels, nor a wish to sync.
    author.may_no_more(&right).await?;
    let fresh = manifest::<ExternalSecret>("fresh", json!({}), &spec(&author, json!({ "name": "pull" })));
    refused("you may not create secrets named pull", async || try_out(&pulls, &fresh).await).await?;
    apply(&pulls, &unnamed).await?;
    let more = json!({ "metadata": { "labels": { "team": "a" }, "annotations": { "waypost.io/force-sync": "now" } } });
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(more)).await?;
    Ok(())
}

#[tokio::test]
async fn s8_who_may_not_use_a_store_or_read_what_a_template_names_may_not_pull() -> anyhow::Result<()> {
    let author = Author::begin("s8use").await?;
    author.may_write("externalsecrets").await?;
    author.may_do("create", "secrets", "pull").await?;
    let pulls = author.api::<ExternalSecret>();
    let plain = pull(json!({}), &spec(&author, json!({})));
    refused("you may not use this ClusterSecretStore", async || try_out(&pulls, &plain).await).await?;
    author.may_use_store().await?;
    let_through(async || try_out(&pulls, &plain).await).await?;
    for (field, resource) in [("secret", "secrets"), ("configMap", "configmaps")] {
        let from = json!([{ field: { "name": "from", "items": [{ "key": "a" }] } }]);
        let made = pull(json!({}), &spec(&author, json!({ "template": { "templateFrom": from } })));
        let words = format!("you may not get the {resource} that templateFrom names");
        refused(&words, async || try_out(&pulls, &made).await).await?;
        author.may_do("get", resource, "from").await?;
        let_through(async || try_out(&pulls, &made).await).await?;
    }
    Ok(())
}

#[tokio::test]
async fn s8_adopting_needs_the_right_to_update_and_recreating_the_right_to_delete() -> anyhow::Result<()> {
    let author = puller("s8adopt").await?;
    let (stage, pulls) = (&author.stage, author.api::<ExternalSecret>());
    author.may_do("create", "secrets", "pull").await?;
    stage.secret(&stage.producer, "source", &[("password", "ours")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    stage.secret(&stage.producer, "pull", &[("password", "theirs")]).await?;
    let spec = spec(&author, json!({}));
    let plain = pull(json!({}), &spec);
    let_through(async || apply(&pulls, &plain).await).await?;
    stage.ready::<ExternalSecret>(&stage.producer, "pull", "False", "TargetNotOwned").await?;

    // The spec stays as it is: the annotation alone is the change.
    let adopting = pull(json!({ "waypost.io/adopt": "true" }), &spec);
    let adopt = "you may not update secrets named pull, so you may not have it adopted";
    refused(adopt, async || try_out(&pulls, &adopting).await).await?;
    let recreating = pull(json!({ "waypost.io/recreate-immutable": "true" }), &spec);
    let recreate = "you may not delete secrets named pull, so you may not have it recreated";
    refused(recreate, async || try_out(&pulls, &recreating).await).await?;
    stage.holds(&stage.producer, "pull", &[("password", "theirs")]).await?;

    author.may_do("update", "secrets", "pull").await?;
    let_through(async || apply(&pulls, &adopting).await).await?;
    stage.holds(&stage.producer, "pull", &[("password", "ours")]).await?;
    refused(recreate, async || try_out(&pulls, &recreating).await).await?;
    author.may_do("delete", "secrets", "pull").await?;
    let_through(async || try_out(&pulls, &recreating).await).await.map(drop)
}

#[tokio::test]
async fn s8_a_fan_out_needs_the_rights_in_every_namespace_its_annotations_included() -> anyhow::Result<()> {
    let author = puller("s8pullfan").await?;
    author.may_write_in_cluster("clusterexternalsecrets").await?;
    author.may_do("create", "secrets", "fan").await?;
    let all = author.all::<ClusterExternalSecret>();
    let object = |annotations: Value| {
        let spec = json!({
            "namespaceSelectors": [], "externalSecretName": "fan", "externalSecretSpec": spec(&author, json!({})),
            "externalSecretMetadata": { "annotations": annotations },
        });
        manifest::<ClusterExternalSecret>(&author.stage.word, json!({}), &spec)
    };
    let plain = object(json!({}));
    refused("you may not create secrets named fan", async || try_out(&all, &plain).await).await?;
    author.in_cluster("create", json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] })).await?;
    let_through(async || try_out(&all, &plain).await).await?;
    let adopting = object(json!({ "waypost.io/adopt": "true" }));
    refused("you may not update secrets named fan", async || try_out(&all, &adopting).await).await?;
    let recreating = object(json!({ "waypost.io/recreate-immutable": "true" }));
    refused("you may not delete secrets named fan", async || try_out(&all, &recreating).await).await
}

/// An author who may write ExternalSecrets, use the shared store, and nothing else.
async fn puller(test: &str) -> anyhow::Result<Author> {
    let author = Author::begin(test).await?;
    author.may_write("externalsecrets").await?;
    author.may_use_store().await?;
    Ok(author)
}

fn spec(author: &Author, target: Value) -> Value {
    json!({
        "refreshInterval": "24h", "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE }, "target": target,
        "data": [{ "secretKey": "password", "remoteRef": { "key": author.stage.path(), "property": "password" } }],
    })
}

fn pull(annotations: Value, spec: &Value) -> Value {
    manifest::<ExternalSecret>("pull", annotations, spec)
}
