//! How GitOps tools read our status: kstatus (Flux, kubectl) and Argo CD's checks.

use anyhow::ensure;
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};

use crate::stage::{Stage, condition};

#[tokio::test]
async fn status_reads_as_kstatus_and_argo_cd_read_it() -> anyhow::Result<()> {
    let stage = Stage::new("health").await?;
    stage.pull("pull", &[("password", "password")], json!({})).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "PathNotFound").await?;
    let pull = raw(&stage, "pull").await?;
    assert_eq!((argo_health(&pull), is_current(&pull)), ("Degraded", false));

    stage.secret(&stage.producer, "source", &[("password", "p"), ("user", "u")]).await?;
    let push = stage.push("push", "source", &[("password", "password"), ("user", "user")], json!({})).await?;
    assert_eq!(argo_health(&serde_json::to_value(&push)?), "Progressing", "nobody has looked at it yet");
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let push = serde_json::to_value(stage.api::<PushSecret>(&stage.producer).get("push").await?)?;
    assert_eq!((argo_health(&push), is_current(&push)), ("Healthy", true));

    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    let before = raw(&stage, "pull").await?;
    assert_eq!((argo_health(&before), is_current(&before)), ("Healthy", true));
    // An edit is not current before it was looked at, and then it is.
    stage.pull("pull", &[("user", "user")], json!({})).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    let after = raw(&stage, "pull").await?;
    let mut unseen = before.clone();
    unseen["metadata"]["generation"] = after["metadata"]["generation"].clone();
    assert!(is_current(&after) && !is_current(&unseen));
    Ok(())
}

#[tokio::test]
async fn under_on_change_the_condition_is_never_older_than_the_refresh() -> anyhow::Result<()> {
    let stage = Stage::new("argo").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "p", "user": "u" })).await?;
    for key in ["password", "user"] {
        stage.pull("pull", &[(key, key)], json!({ "refreshPolicy": "OnChange" })).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
        let pull = raw(&stage, "pull").await?;
        let moved = condition(&pull).and_then(|ready| ready["lastTransitionTime"].as_str().map(str::to_owned));
        let refreshed = pull["status"]["refreshTime"].as_str().map(str::to_owned);
        // RFC 3339 in UTC and whole seconds sorts as it is.
        ensure!(moved.is_some() && moved >= refreshed, "moved {moved:?}, refreshed {refreshed:?}");
    }
    Ok(())
}

/// Argo CD's check of health for these kinds: the Ready condition, and nothing yet is progress.
fn argo_health(object: &Value) -> &'static str {
    match condition(object).map(|ready| ready["status"].as_str().unwrap_or_default()) {
        Some("True") => "Healthy",
        Some("False") => "Degraded",
        Some(_) | None => "Progressing",
    }
}

/// kstatus: the generation was observed, and Ready is True for it.
fn is_current(object: &Value) -> bool {
    let generation = &object["metadata"]["generation"];
    let observed = object["status"].get("observedGeneration").unwrap_or(generation);
    observed == generation && condition(object).is_some_and(|ready| ready["status"] == "True")
}

async fn raw(stage: &Stage, name: &str) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(stage.api::<ExternalSecret>(&stage.consumer).get(name).await?)?)
}
