//! What `kubectl describe` shows under Events: one line for each change of state, and none for a
//! refresh.

use anyhow::ensure;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use serde_json::json;
use waypost::api::PushSecret;
use waypost_e2e::wait;

use crate::stage::{LATER, Stage};

#[tokio::test]
async fn a_change_of_state_is_one_event_and_a_refresh_is_none() -> anyhow::Result<()> {
    let stage = Stage::new("events").await?;
    stage.push("push", "source", &[("password", "password")], json!({ "refreshInterval": "1s" })).await?;
    let waiting = ["Warning SourceNotFound"];
    told(&stage, &waiting).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let synced = ["Normal Synced", "Warning SourceNotFound"];
    told(&stage, &synced).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    wait::until("the second version", LATER, async || Ok((stage.version().await? == 2).then_some(()))).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    told(&stage, &synced).await
}

/// Waits until exactly these Events, by type and reason, regard the PushSecret.
async fn told(stage: &Stage, wanted: &[&str]) -> anyhow::Result<()> {
    let push = stage.api::<PushSecret>(&stage.producer).get("push").await?;
    let events = stage.api::<Event>(&stage.producer);
    wait::until(&format!("the Events {wanted:?}"), LATER, async || {
        let all = events.list(&Default::default()).await?;
        let ours =
            all.iter().filter(|event| event.regarding.as_ref().is_some_and(|regarding| regarding.uid == push.uid()));
        let mut said: Vec<String> = ours
            .map(|event| {
                let word = |text: &Option<String>| text.clone().unwrap_or_default();
                format!("{} {}", word(&event.type_), word(&event.reason))
            })
            .collect();
        said.sort();
        ensure!(said == wanted, "they are {said:?}");
        Ok(Some(()))
    })
    .await
}
