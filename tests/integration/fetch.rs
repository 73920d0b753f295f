//! `metadataPolicy: Fetch`: the metadata of an entry reaches the target like its values.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};

use crate::bad_store::remove_store;
use crate::least_rights::login_by;
use crate::stage::{Stage, bytes_of, mapping};

/// A PushSecret of `source` with these options.
async fn push(stage: &Stage, options: Value) -> anyhow::Result<()> {
    let mut data = mapping("password", &stage.path(), "password");
    data["metadata"] = json!({ "apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata", "spec": options });
    stage.push("push", "source", &[], json!({ "data": [data] })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
}

fn of_team(team: &str) -> Value {
    json!({ "customMetadata": { "team": team } })
}

/// An entry of `spec.data` that fetches metadata of the stage's path.
fn fetched(stage: &Stage, key: &str, property: &str) -> Value {
    let reference = json!({ "key": stage.path(), "property": property, "metadataPolicy": "Fetch" });
    json!({ "secretKey": key, "remoteRef": reference })
}

/// With an interval of a day: only events move anything.
#[tokio::test]
async fn custom_metadata_and_the_version_of_a_path_reach_the_target_at_once() -> anyhow::Result<()> {
    let stage = Stage::new("fetch").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    push(&stage, of_team("billing")).await?;
    let data = [fetched(&stage, "team", "team"), fetched(&stage, "version", "current_version")];
    stage.pull("metadata", &[], json!({ "data": data, "target": { "deletionPolicy": "Delete" } })).await?;
    stage.holds(&stage.consumer, "metadata", &[("team", "billing"), ("version", "1")]).await?;

    push(&stage, of_team("payments")).await?;
    stage.holds(&stage.consumer, "metadata", &[("team", "payments"), ("version", "1")]).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.holds(&stage.consumer, "metadata", &[("team", "payments"), ("version", "2")]).await?;

    let extract = json!([{ "extract": { "key": stage.path(), "metadataPolicy": "Fetch" } }]);
    stage.pull("all", &[], json!({ "dataFrom": extract })).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "all", "True", "SecretSynced").await?;
    let all = stage.api::<k8s_openapi::api::core::v1::Secret>(&stage.consumer).get("all").await?;
    let keys: Vec<String> = bytes_of(&all).into_keys().collect();
    ensure!(keys == ["created_time", "current_version", "delete_version_after", "managed-by", "team"], "{keys:?}");

    // The values are gone, and the metadata is there until somebody purges the entry.
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    stage.vault.delete_latest("secret", &stage.path()).await?;
    let kept = [("team", "payments"), ("version", "2")];
    stage.holds(&stage.consumer, "metadata", &kept).await?;
    stage.vault.delete_metadata("secret", &stage.path()).await?;
    stage
        .pull(
            "metadata",
            &[],
            json!({ "data": data, "refreshInterval": "1s", "target": { "deletionPolicy": "Delete" } }),
        )
        .await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "metadata", "False", "PathNotFound").await?;
    ensure!(told.contains("keeps its data"), "{told}");
    stage.holds(&stage.consumer, "metadata", &kept).await.map(drop)
}

#[tokio::test]
async fn what_a_person_changes_reaches_the_target_within_the_interval() -> anyhow::Result<()> {
    let stage = Stage::new("fetchhand").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "one" })).await?;
    stage.vault.write_custom_metadata("secret", &stage.path(), &json!({ "team": "billing" })).await?;
    stage.pull("metadata", &[], json!({ "data": [fetched(&stage, "team", "team")], "refreshInterval": "1s" })).await?;
    stage.holds(&stage.consumer, "metadata", &[("team", "billing")]).await?;
    let expiry = json!({ "data": [fetched(&stage, "expiry", "delete_version_after")], "refreshInterval": "1s" });
    stage.pull("expiry", &[], expiry).await?;
    stage.holds(&stage.consumer, "expiry", &[("expiry", "0s")]).await?;
    stage.vault.write_custom_metadata("secret", &stage.path(), &json!({ "team": "payments" })).await?;
    stage.holds(&stage.consumer, "metadata", &[("team", "payments")]).await?;

    stage.vault.post(&format!("secret/metadata/{}", stage.path()), &json!({ "delete_version_after": "1h" })).await?;
    stage.holds(&stage.consumer, "expiry", &[("expiry", "1h0m0s")]).await?;

    stage.vault.write_custom_metadata("secret", &stage.path(), &json!({ "owner": "somebody" })).await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "metadata", "False", "PropertyNotFound").await?;
    ensure!(told.contains("\"team\"") && told.contains("keeps its data"), "{told}");
    stage.holds(&stage.consumer, "metadata", &[("team", "payments")]).await.map(drop)
}

#[tokio::test]
async fn metadata_that_may_not_be_read_is_refused_with_what_to_do() -> anyhow::Result<()> {
    let stage = Stage::new("fetchnot").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    push(&stage, json!({ "customMetadata": { "team": "billing" }, "consumers": { "namespaces": ["somebody-else"] } }))
        .await?;
    stage.pull("metadata", &[], json!({ "data": [fetched(&stage, "team", "team")] })).await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "metadata", "False", "NotPermitted").await?;
    ensure!(told.contains("does not let namespace") && told.contains("\"password\""), "{told}");
    push(&stage, of_team("billing")).await?;
    stage.holds(&stage.consumer, "metadata", &[("team", "billing")]).await?;

    let store = format!("{}-store", stage.word);
    let policy = format!(
        r#"path "sys/internal/ui/mounts/*" {{ capabilities = ["read"] }}
        path "auth/token/lookup-self" {{ capabilities = ["read"] }}
        path "secret/data/{}" {{ capabilities = ["read"] }}"#,
        stage.path()
    );
    login_by(&stage, &store, &policy).await?;
    let of_store = json!({ "kind": "ClusterSecretStore", "name": store });
    let data = [fetched(&stage, "team", "team")];
    stage.pull("denied", &[], json!({ "data": data, "secretStoreRef": of_store })).await?;
    let told = stage.ready::<ExternalSecret>(&stage.consumer, "denied", "False", "SecretSyncedError").await;
    let told = told.context("the policy has no right to read metadata")?;
    ensure!(told.contains(&format!("permission denied to read secret/metadata/{}", stage.path())), "{told}");
    remove_store(&stage, &store).await
}
