//! Invalid or failing PushSecrets: the messages, that what was pushed stays, and that a correction
//! is enough.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, STORE, Stage, mapping};

/// The convention's admission policy skips a namespace with this label.
pub const UNGUARDED: &str = "tests.waypost.io/unguarded";

/// Lets the producer's namespace past admission, as a cluster without the policy would, so that the
/// reconciler judges.
async fn without_admission(stage: &Stage) -> anyhow::Result<()> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
    let outside = json!({ "spec": { "matchResources": { "namespaceSelector": {
        "matchExpressions": [{ "key": UNGUARDED, "operator": "DoesNotExist" }],
    } } } });
    bindings.patch("waypost-convention-enforce", &PatchParams::default(), &Patch::Merge(outside)).await?;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let label = json!({ "metadata": { "labels": { UNGUARDED: "true" } } });
    namespaces.patch(&stage.producer, &PatchParams::default(), &Patch::Merge(label)).await?;
    Ok(())
}

/// Applies a PushSecret as soon as admission lets it pass.
async fn push_past_admission(stage: &Stage, name: &str, more: Value) -> anyhow::Result<()> {
    wait::until("admission to leave the namespace out", SOON, async || {
        stage.push(name, "source", &[("password", "password")], more.clone()).await.map(Some)
    })
    .await
    .map(drop)
}

/// Waits for this condition and checks that its message has all of these words.
async fn says(stage: &Stage, name: &str, reason: &str, words: &[&str]) -> anyhow::Result<()> {
    // One reason may stand for several causes in turn: the words tell them apart.
    wait::until(&format!("{name} says {words:?}"), LATER, async || {
        let said = stage.ready::<PushSecret>(&stage.producer, name, "False", reason).await?;
        match words.iter().find(|word| !said.contains(**word)) {
            None => Ok(Some(())),
            Some(word) => anyhow::bail!("{word:?} is missing in {said:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn es5_each_rule_is_named_and_nothing_is_written() -> anyhow::Result<()> {
    let stage = Stage::new("rules").await?;
    without_admission(&stage).await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    let to = |key: &str, property: &str| json!({ "data": [mapping("password", key, property)] });
    let (word, path) = (stage.word.as_str(), stage.path());
    let key = |pattern: &str| pattern.replace("{}", word);
    let broken = [
        ("v1", to(&key("{}/db"), "password"), "V1", key("{}/db")),
        ("v2", to(&key("redis/{}"), "host"), "V2", "platform-config/".into()),
        ("v3", to(&key("platform-data/nosuch/{}"), "password"), "V3", "nosuch".into()),
        (
            "v4",
            json!({ "data": [mapping("password", &path, "password"), mapping("user", &path, "password")] }),
            "V4",
            "remove one of the two mappings".into(),
        ),
        ("v5", to(&key("platform-data/postgres/prod-{}"), "password"), "V5", "prod".into()),
        ("v6", to(&key("platform-data/postgres/{}/deep"), "password"), "V6", "segments".into()),
        ("v7", to(&path, "Password"), "V7", "Password".into()),
        ("v8", to(&key("platform-config/postgres/{}"), "password"), "V8", "platform-data/".into()),
        (
            "p1",
            json!({ "secretStoreRefs": [{ "kind": "SecretStore", "name": "own" }] }),
            "P1",
            "set `kind: ClusterSecretStore`".into(),
        ),
        (
            "p2-whole",
            json!({ "data": [{ "match": { "remoteRef": { "remoteKey": path } } }] }),
            "P2",
            "names no `secretKey`".into(),
        ),
        ("p2-wildcard", to(&path, "pass*"), "P2", "write out each key".into()),
        (
            "p2-many",
            json!({ "data": [], "dataTo": [{ "storeRef": { "name": STORE, "kind": "ClusterSecretStore" } }] }),
            "P2",
            "list each key in `data`".into(),
        ),
        ("p3", to(&key("platform-data/postgres/../{}"), "password"), "P3", "..".into()),
    ];
    for (name, spec, _, _) in &broken {
        push_past_admission(&stage, name, spec.clone()).await?;
    }
    for (name, _, rule, word) in &broken {
        says(&stage, name, "ConventionViolated", &[rule, word]).await?;
    }
    assert_eq!(stage.version().await?, 0, "nothing is written for any of them");

    stage.push("v8", "source", &[("password", "password")], json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "v8", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "good" }));
    // A spec that goes bad leaves what was pushed by the good one.
    stage.push("v8", "source", &[("password", "Password")], json!({})).await?;
    says(&stage, "v8", "ConventionViolated", &["V7"]).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "good" }));
    Ok(())
}

/// Defect F, among others: bytes that are no text are refused, not altered.
#[tokio::test]
async fn a_source_that_gives_no_value_is_named_until_it_does() -> anyhow::Result<()> {
    let stage = Stage::new("nosource").await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    let source = format!("Secret {}/source does not exist", stage.producer);
    says(&stage, "push", "SourceNotFound", &[&source, "create it"]).await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;

    stage.secret(&stage.producer, "source", &[("passwort", "typo")]).await?;
    says(&stage, "push", "SourceInvalid", &["no key \"password\"", "add it, or change the mapping"]).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "good" }));

    let bytes = BTreeMap::from([("password".to_owned(), vec![0xff, 0xfe, 0x00])]);
    stage.secret_bytes(&stage.producer, "source", bytes).await?;
    says(&stage, "push", "SourceInvalid", &["\"password\"", "is not UTF-8 text", "Base64"]).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "good" }));

    // Control characters take six bytes in JSON: a legal Secret that is no legal entry.
    let large = "\u{1}".repeat(300_000);
    stage.secret(&stage.producer, "source", &[("password", &large)]).await?;
    says(&stage, "push", "TooLarge", &["1048576 is the limit", "make the values smaller"]).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "good" }));
    assert_eq!(stage.version().await?, 1);

    stage.secret(&stage.producer, "source", &[("password", "better")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "better" }));

    stage.api::<k8s_openapi::api::core::v1::Secret>(&stage.producer).delete("source", &DeleteParams::default()).await?;
    says(&stage, "push", "SourceGone", &["is gone, and what was pushed from it stays"]).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "better" }));
    Ok(())
}

#[tokio::test]
async fn a_path_of_somebody_else_is_left_alone() -> anyhow::Result<()> {
    let stage = Stage::new("foreign").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "theirs" })).await?;
    stage.secret(&stage.producer, "source", &[("password", "ours")]).await?;
    let often = json!({ "refreshInterval": "2s" });
    stage.push("first", "source", &[("password", "password")], often.clone()).await?;
    let words = [&stage.path(), "no External Secrets controller wrote", "waypost.io/adopt"].map(|word| word.to_owned());
    says(&stage, "first", "PathNotManaged", &words.each_ref().map(String::as_str)).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "theirs" }));
    stage.vault.delete_metadata("secret", &stage.path()).await?;
    stage.ready::<PushSecret>(&stage.producer, "first", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "ours" }));

    stage.secret(&stage.producer, "second", &[("password", "late")]).await?;
    stage.push("second", "second", &[("password", "password")], often).await?;
    let owner = format!("{}/first", stage.producer);
    says(&stage, "second", "PathConflict", &["\"password\" belongs to", &owner, "choose another path"]).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "ours" }));
    stage.api::<PushSecret>(&stage.producer).delete("first", &DeleteParams::default()).await?;
    stage.ready::<PushSecret>(&stage.producer, "second", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "late" }));
    Ok(())
}

#[tokio::test]
async fn an_interval_is_a_duration_and_zero_or_less_means_once() -> anyhow::Result<()> {
    let stage = Stage::new("interval").await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    for wrong in ["soon", "1d", "10"] {
        let refused = stage
            .push("push", "source", &[("password", "password")], json!({ "refreshInterval": wrong }))
            .await
            .err()
            .map(|error| format!("{error:#}"));
        assert!(refused.as_deref().is_some_and(|said| said.contains("30s, 15m or 1h0m0s")), "{wrong}: {refused:?}");
    }
    for (name, once, property) in [("zero", "0s", "zero"), ("negative", "-5m", "negative")] {
        stage.push(name, "source", &[("password", property)], json!({ "refreshInterval": once })).await?;
        stage.ready::<PushSecret>(&stage.producer, name, "True", "Synced").await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_push_asks_for_in_vain_is_named() -> anyhow::Result<()> {
    let stage = Stage::new("pushvain").await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    let asked = [
        (
            "template",
            json!({ "template": { "data": { "password": "{{ randAlphaNum 8 }}" } } }),
            "spec.template.data.password: a function whose result changes by itself",
        ),
        (
            "generator",
            json!({ "selector": { "generatorRef": { "kind": "Password", "name": "x" } } }),
            "spec.selector.generatorRef is not supported",
        ),
    ];
    for (name, spec, words) in asked {
        stage.push(name, "source", &[("password", "password")], spec).await?;
        says(&stage, name, "Unsupported", &[words]).await?;
    }
    assert_eq!(stage.version().await?, 0);
    Ok(())
}
