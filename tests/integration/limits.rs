//! Targets that cannot be Secrets, and values that are too much: refused with a reason, and no target
//! is changed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::wait;

use crate::stage::{LATER, Stage, condition};

/// Every byte, which no encoding of text allows.
fn bytes() -> Vec<u8> {
    (0..=255).collect()
}

#[tokio::test]
async fn k1_a_name_or_key_that_no_secret_can_have_is_refused() -> anyhow::Result<()> {
    let stage = Stage::new("k1").await?;
    // The API server refuses what the schema can say ...
    let refused = stage.pull("pull", &[("not a key", "password")], json!({})).await.err();
    assert!(refused.is_some_and(|error| format!("{error:#}").contains("secretKey")));
    let refused = stage.pull("pull", &[("key", "password")], json!({ "target": { "name": "Not_A_Name" } })).await.err();
    assert!(refused.is_some_and(|error| format!("{error:#}").contains("target.name")));
    // ... and we what it cannot.
    stage.pull("pull", &[("..data", "password")], json!({})).await?;
    let message = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "TargetInvalid").await?;
    assert!(message.contains("K1") && message.contains("..data"), "{message}");
    assert_eq!(stage.api::<Secret>(&stage.consumer).get_opt("pull").await?, None);
    Ok(())
}

#[tokio::test]
async fn k2_a_typed_target_is_complete_or_what_is_there_stays() -> anyhow::Result<()> {
    let stage = Stage::new("k2").await?;
    stage.secret(&stage.producer, "source", &[("password", "p")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    let typed = |kind: &str| json!({ "target": { "template": { "type": kind } } });
    let token = typed("kubernetes.io/service-account-token");
    let refused = stage.pull("pull", &[("password", "password")], token).await.err();
    assert!(refused.is_some_and(|error| format!("{error:#}").contains("service account tokens")));
    let is_refused = async || {
        wait::until("the API server's refusal to be told", LATER, async || {
            let pull = stage.api::<ExternalSecret>(&stage.consumer).get("pull").await?;
            let Some(ready) = condition(&serde_json::to_value(&pull)?).cloned() else { return Ok(None) };
            let message = ready["message"].as_str().unwrap_or_default().to_owned();
            Ok((ready["status"] == "False" && message.contains("tls.crt")).then_some(()))
        })
        .await
    };
    stage.pull("pull", &[("password", "password")], typed("kubernetes.io/tls")).await?;
    is_refused().await?;
    assert_eq!(stage.api::<Secret>(&stage.consumer).get_opt("pull").await?, None);
    stage.pull("pull", &[("password", "password")], json!({})).await?;
    let target = stage.holds(&stage.consumer, "pull", &[("password", "p")]).await?;
    assert_eq!(target.type_.as_deref(), Some("Opaque"));
    // A type cannot be changed: the Secret is created again, but only if the API server would take it.
    stage.pull("pull", &[("password", "password")], typed("kubernetes.io/tls")).await?;
    is_refused().await?;
    let kept = stage.holds(&stage.consumer, "pull", &[("password", "p")]).await?;
    assert_eq!(kept.metadata.uid, target.metadata.uid);
    let whole = json!({ "type": "kubernetes.io/tls", "data": { "tls.crt": "{{ .password }}", "tls.key": "k" } });
    stage.pull("pull", &[("password", "password")], json!({ "target": { "template": whole } })).await?;
    let typed = stage.holds(&stage.consumer, "pull", &[("tls.crt", "p"), ("tls.key", "k")]).await?;
    assert_eq!(typed.type_.as_deref(), Some("kubernetes.io/tls"));
    Ok(())
}

#[tokio::test]
async fn k3_a_target_over_a_mebibyte_keeps_its_data() -> anyhow::Result<()> {
    let stage = Stage::new("k3").await?;
    // Each value fits into an entry of the store; two keys of one value do not fit into a Secret.
    let entries: Vec<(String, &str)> = (0..4).map(|number| (format!("key-{number}"), "large")).collect();
    let entries: Vec<(&str, &str)> = entries.iter().map(|(key, property)| (key.as_str(), *property)).collect();
    stage.vault.write("secret", &stage.path(), &json!({ "large": "small" })).await?;
    stage.pull("pull", &entries, json!({ "refreshInterval": "1s" })).await?;
    let small: Vec<(&str, &str)> = entries.iter().map(|(key, _)| (*key, "small")).collect();
    let before = stage.holds(&stage.consumer, "pull", &small).await?;
    stage.vault.write("secret", &stage.path(), &json!({ "large": "x".repeat(300 * 1024) })).await?;
    let message = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "TooLarge").await?;
    assert!(message.contains("K3"), "{message}");
    let after = stage.holds(&stage.consumer, "pull", &small).await?;
    assert_eq!(after.resource_version(), before.resource_version());
    stage.vault.write("secret", &stage.path(), &json!({ "large": "again" })).await?;
    let again: Vec<(&str, &str)> = entries.iter().map(|(key, _)| (*key, "again")).collect();
    stage.holds(&stage.consumer, "pull", &again).await?;
    Ok(())
}

#[tokio::test]
async fn es3_bytes_that_are_not_text_are_refused_with_the_key_and_nothing_is_altered() -> anyhow::Result<()> {
    let stage = Stage::new("es3r").await?;
    let data = BTreeMap::from([("keytab".to_owned(), bytes()), ("text".to_owned(), b"fine".to_vec())]);
    stage.secret_bytes(&stage.producer, "source", data).await?;
    stage.push("push", "source", &[("keytab", "keytab"), ("text", "text")], json!({})).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceInvalid").await?;
    assert!(message.contains("keytab"), "{message}");
    assert_eq!(stage.version().await?, 0, "an entry is written whole or not at all");
    Ok(())
}

#[tokio::test]
async fn es3_bytes_that_were_encoded_arrive_exactly() -> anyhow::Result<()> {
    use base64::Engine;
    let stage = Stage::new("es3e").await?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes());
    stage.secret(&stage.producer, "source", &[("keytab", encoded.as_str())]).await?;
    stage.push("push", "source", &[("keytab", "keytab")], json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let reference = |strategy: &str| {
        json!({ "data": [{ "secretKey": "keytab", "remoteRef": {
            "key": stage.path(), "property": "keytab", "decodingStrategy": strategy,
        } }] })
    };
    stage.pull("decoded", &[], reference("Base64")).await?;
    stage.pull("plain", &[], reference("None")).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "decoded", "True", "SecretSynced").await?;
    let decoded = stage.api::<Secret>(&stage.consumer).get("decoded").await?;
    assert_eq!(crate::stage::bytes_of(&decoded), BTreeMap::from([("keytab".to_owned(), bytes())]));
    stage.holds(&stage.consumer, "plain", &[("keytab", encoded.as_str())]).await?;
    // What is declared to be base64 and is not, is not guessed at.
    stage.secret(&stage.producer, "source", &[("keytab", "not base64!")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "decoded", "False", "TargetInvalid").await?;
    let kept = stage.api::<Secret>(&stage.consumer).get("decoded").await?;
    assert_eq!(kept.resource_version(), decoded.resource_version());
    Ok(())
}
