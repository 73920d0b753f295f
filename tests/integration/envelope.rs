//! The `metadata` of a mapping: bytes that are not text, custom metadata of the path, and what is
//! refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::wait;

use crate::stage::{LATER, Stage, bytes_of, mapping};

/// A mapping of the test's path with an envelope.
pub fn declared(stage: &Stage, key: &str, spec: Value) -> Value {
    let mut declared = mapping(key, &stage.path(), key);
    declared["metadata"] = json!({
        "apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata", "spec": spec,
    });
    declared
}

/// Waits until the path's custom metadata is this, claims and the marker apart.
async fn has_metadata(stage: &Stage, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    let wanted: BTreeMap<&str, &str> = wanted.iter().copied().collect();
    wait::until("the path has its custom metadata", LATER, async || {
        let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
        let keys = metadata["custom_metadata"].as_object().cloned().unwrap_or_default();
        let others: BTreeMap<&str, &str> = (keys.iter())
            .filter(|(key, _)| *key != "managed-by" && !key.contains("waypost.io/"))
            .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
            .collect();
        anyhow::ensure!(others == wanted, "its custom metadata is {others:?}");
        Ok(Some(()))
    })
    .await
}

/// Sets custom metadata by hand and leaves the rest.
async fn set_metadata(stage: &Stage, entries: &[(&str, &str)]) -> anyhow::Result<()> {
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    let mut all = metadata["custom_metadata"].clone();
    entries.iter().for_each(|(key, value)| all[*key] = json!(value));
    stage.vault.write_custom_metadata("secret", &stage.path(), &all).await
}

/// Defect F.
#[tokio::test]
async fn es3_bytes_that_are_declared_round_trip_exactly() -> anyhow::Result<()> {
    let stage = Stage::new("es3d").await?;
    let bytes: Vec<u8> = (0..=255).collect();
    let data = BTreeMap::from([("keytab".to_owned(), bytes.clone())]);
    stage.secret_bytes(&stage.producer, "source", data.clone()).await?;
    let entry = declared(&stage, "keytab", json!({ "encoding": "Base64" }));
    stage.push("push", "source", &[], json!({ "data": [entry] })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let decoded = json!({ "data": [{ "secretKey": "keytab", "remoteRef": {
        "key": stage.path(), "property": "keytab", "decodingStrategy": "Base64",
    } }] });
    stage.pull("pull", &[], decoded).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    let target = stage.api::<k8s_openapi::api::core::v1::Secret>(&stage.consumer).get("pull").await?;
    assert_eq!(bytes_of(&target), data);
    Ok(())
}

#[tokio::test]
async fn metadata_of_the_path_is_merged_and_leaves_with_its_mapping() -> anyhow::Result<()> {
    let stage = Stage::new("labels").await?;
    stage.secret(&stage.producer, "source", &[("username", "u"), ("password", "p")]).await?;
    let delete = |data: Value| json!({ "data": data, "deletionPolicy": "Delete" });
    let team = || declared(&stage, "password", json!({ "customMetadata": { "team": "payments" } }));
    let tier = || declared(&stage, "username", json!({ "customMetadata": { "tier": "1" } }));
    stage.push("push", "source", &[], delete(json!([team(), tier()]))).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    has_metadata(&stage, &[("team", "payments"), ("tier", "1")]).await?;
    assert_eq!(stage.version().await?, 1, "custom metadata costs no version");

    // A person's own label survives our next write, and a label of a person under our key is put
    // right by the next change.
    set_metadata(&stage, &[("note", "hands off"), ("team", "mine")]).await?;
    stage.secret(&stage.producer, "source", &[("username", "u"), ("password", "p2")]).await?;
    has_metadata(&stage, &[("team", "payments"), ("tier", "1"), ("note", "hands off")]).await?;

    stage.push("push", "source", &[], delete(json!([team()]))).await?;
    has_metadata(&stage, &[("team", "payments"), ("note", "hands off")]).await?;

    let replacing =
        declared(&stage, "password", json!({ "customMetadata": { "team": "a" }, "mergePolicy": "Replace" }));
    stage.push("push", "source", &[], delete(json!([replacing]))).await?;
    has_metadata(&stage, &[("team", "a")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    let ours = &metadata["custom_metadata"];
    assert!(ours["managed-by"] == "external-secrets" && ours["claim.waypost.io/password"].is_string(), "{metadata}");
    Ok(())
}

#[tokio::test]
async fn an_envelope_that_is_not_understood_is_refused_by_field() -> anyhow::Result<()> {
    let stage = Stage::new("envelope").await?;
    stage.secret(&stage.producer, "source", &[("password", "p"), ("username", "u")]).await?;
    let one = |spec: Value| json!([declared(&stage, "password", spec)]);
    let asked = [
        ("unknown", one(json!({ "secretPushFormat": "string" })), "spec.secretPushFormat is not a field"),
        ("encoding", one(json!({ "encoding": "rot13" })), "spec.encoding must be None or Base64"),
        ("owner", one(json!({ "customMetadata": { "managed-by": "me" } })), "spec.customMetadata.managed-by"),
        (
            "disagree",
            json!([
                declared(&stage, "password", json!({ "customMetadata": { "team": "a" } })),
                declared(&stage, "username", json!({ "customMetadata": { "team": "b" } })),
            ]),
            "spec.data[0] and spec.data[1] ask for different values of metadata.spec.customMetadata.team",
        ),
    ];
    for (name, data, said) in asked {
        stage.push(name, "source", &[], json!({ "data": data })).await?;
        let message = stage.ready::<PushSecret>(&stage.producer, name, "False", "InvalidSpec").await?;
        assert!(message.contains(said), "{name}: {message}");
    }
    assert_eq!(stage.version().await?, 0);
    Ok(())
}
