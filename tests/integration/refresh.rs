//! When the store is read again: by interval, on changes of the resource, once; and that a quiet
//! resource is quiet.

use std::time::{Duration, Instant};

use anyhow::bail;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use waypost::api::ExternalSecret;
use waypost_e2e::lab::{Lab, Request};
use waypost_e2e::wait;

use crate::stage::{Stage, bytes_of, store};

const WINDOW: Duration = Duration::from_secs(1);
/// Windows differ by this much from each other, so that paths do not stay together.
const JITTER: f64 = 0.95;

#[tokio::test]
async fn an_edit_made_straight_in_the_store_is_found_by_the_interval() -> anyhow::Result<()> {
    let stage = Stage::new("edit").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "one" })).await?;
    stage.pull("pull", &[("password", "password")], json!({ "refreshInterval": "1s" })).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "one")]).await?;
    for password in ["two", "three"] {
        stage.vault.write("secret", &stage.path(), &json!({ "password": password })).await?;
        stage.holds(&stage.consumer, "pull", &[("password", password)]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_asked_to_be_synced_once_does_not_follow() -> anyhow::Result<()> {
    let stage = Stage::new("once").await?;
    publish(&stage, "one").await?;
    let once = [
        ("created-once", json!({ "refreshPolicy": "CreatedOnce", "refreshInterval": "1s" })),
        ("zero", json!({ "refreshInterval": "0" })),
        ("negative", json!({ "refreshInterval": "-1s" })),
    ];
    for (name, more) in &once {
        stage.pull(name, &[("password", "password")], more.clone()).await?;
        stage.holds(&stage.consumer, name, &[("password", "one")]).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
    }
    follow(&stage, "follower", "one").await?;
    publish(&stage, "two").await?;
    stage.holds(&stage.consumer, "follower", &[("password", "two")]).await?;
    for (name, _) in &once {
        let target = stage.api::<Secret>(&stage.consumer).get(name).await?;
        assert_eq!(bytes_of(&target)["password"], b"one", "{name}");
        // It is still repaired, with what the store holds by then.
        stage.delete::<Secret>(&stage.consumer, name).await?;
        stage.holds(&stage.consumer, name, &[("password", "two")]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn on_change_syncs_when_the_resource_changes_and_only_then() -> anyhow::Result<()> {
    let stage = Stage::new("onchange").await?;
    publish(&stage, "one").await?;
    stage.pull("pull", &[("password", "password")], json!({ "refreshPolicy": "OnChange" })).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "one")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    follow(&stage, "follower", "one").await?;
    publish(&stage, "two").await?;
    stage.holds(&stage.consumer, "follower", &[("password", "two")]).await?;
    let target = stage.api::<Secret>(&stage.consumer).get("pull").await?;
    assert_eq!(bytes_of(&target)["password"], b"one");
    let changed = json!({ "metadata": { "annotations": { "restarted": "now" } } });
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(changed)).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "two")]).await?;
    Ok(())
}

#[tokio::test]
async fn i2_an_unchanged_path_costs_one_request_a_window_and_no_write() -> anyhow::Result<()> {
    const WINDOWS: usize = 24;
    let stage = Stage::new("quiet").await?;
    publish(&stage, "same").await?;
    // A store of its own has a login of its own: no listing for the paths of other tests serves
    // this one too.
    let (lab, own) = (Lab::shared().await?, format!("store-{}", stage.word));
    store(lab, &own, lab.vault_addr(), lab.vault_ca_pem()).await?;
    let more = json!({
        "refreshInterval": "1s", "secretStoreRef": { "kind": "ClusterSecretStore", "name": own },
    });
    let names = ["one", "two"];
    for name in names {
        stage.pull(name, &[("password", "password")], more.clone()).await?;
        stage.holds(&stage.consumer, name, &[("password", "same")]).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
    }
    let before = versions(&stage, &names).await?;
    stage.vault.post("sys/config/auditing/request-headers/X-Waypost-Resource", &json!({ "hmac": false })).await?;
    let audit = lab.bao()?.audit();
    let (began, mark) = (Instant::now(), audit.mark()?);
    let path = stage.path();
    let deadline = WINDOW * 3 * u32::try_from(WINDOWS)?;
    let (seen, took) = wait::until("24 checks of the path", deadline, async || {
        let mut seen = audit.since(mark)?;
        // The push looks once where its store was in trouble, which other tests may cause: that is
        // no refresh.
        let by_push = |request: &Request| {
            request.headers.get("x-waypost-resource").is_some_and(|names| names[0].starts_with("PushSecret/"))
        };
        seen.retain(|request| request.path.ends_with(&path) && !by_push(request));
        if seen.len() < WINDOWS {
            bail!("it saw {} of them", seen.len());
        }
        Ok(Some((seen, began.elapsed())))
    })
    .await?;
    assert!(!seen.iter().any(|request| request.is_write()), "nothing is written: {seen:?}");
    assert!(!seen.iter().any(|request| request.path.contains("/data/")), "what did not change is not read: {seen:?}");
    let most = took.as_secs_f64() / (WINDOW.as_secs_f64() * JITTER) + 1.0;
    assert!(f64::from(u32::try_from(seen.len())?) <= most, "{} requests in {took:?}", seen.len());
    assert_eq!(versions(&stage, &names).await?, before, "nothing is written to the cluster");
    Ok(())
}

/// The resourceVersions of these ExternalSecrets and their targets.
async fn versions(stage: &Stage, names: &[&str]) -> anyhow::Result<Vec<Option<String>>> {
    let mut versions = Vec::new();
    for name in names {
        versions.push(stage.api::<ExternalSecret>(&stage.consumer).get(name).await?.resource_version());
        versions.push(stage.api::<Secret>(&stage.consumer).get(name).await?.resource_version());
    }
    Ok(versions)
}

async fn publish(stage: &Stage, password: &str) -> anyhow::Result<()> {
    stage.secret(&stage.producer, "source", &[("password", password)]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    Ok(())
}

/// Whoever follows shows that a change has arrived where others stay behind on purpose.
async fn follow(stage: &Stage, name: &str, password: &str) -> anyhow::Result<()> {
    stage.pull(name, &[("password", "password")], json!({})).await?;
    stage.holds(&stage.consumer, name, &[("password", password)]).await?;
    Ok(())
}
