//! Traces a line of the server's audit log, and of our own log, to a manifest.

use std::time::Duration;

use serde_json::json;
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::stage::{LATER, Stage};

#[tokio::test]
async fn every_request_names_the_resource_it_serves_and_every_mutation_is_a_line_of_the_log() -> anyhow::Result<()> {
    let stage = Stage::new("trail").await?;
    let audit = Lab::shared().await?.bao()?.audit();
    stage.vault.post("sys/config/auditing/request-headers/X-Waypost-Resource", &json!({ "hmac": false })).await?;
    let mark = audit.mark()?;
    stage.secret(&stage.producer, "source", &[("password", "first-value")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    stage.pull("pull", &[("password", "password")], json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    let (push, pull) =
        (format!("PushSecret/{}/push", stage.producer), format!("ExternalSecret/{}/pull", stage.consumer));
    wait::until("the audit log to tell who asked", LATER, async || {
        let mut requests = audit.since(mark)?;
        requests.retain(|request| request.path.ends_with(&stage.path()));
        let served = |request: &waypost_e2e::lab::Request| request.headers.get("x-waypost-resource").cloned();
        let wrote: Vec<_> = requests.iter().filter(|request| request.is_write()).map(served).collect();
        let read: Vec<_> = requests.iter().filter(|request| request.operation == "read").map(served).collect();
        let pushed =
            !wrote.is_empty() && wrote.iter().all(|names| names.as_deref() == Some(std::slice::from_ref(&push)));
        let pulled = read.contains(&Some(vec![pull.clone()]));
        anyhow::ensure!(pushed && pulled, "written for {wrote:?}, read for {read:?}");
        Ok(Some(()))
    })
    .await?;

    let path = format!("secret/{}", stage.path());
    wait::until("the log to tell of the version", Duration::from_secs(5), async || {
        let log = stage.controller.log()?;
        let line = log.lines().find(|line| line.contains("version written") && line.contains(&path));
        let Some(line) = line else { anyhow::bail!("no line tells of {path}") };
        let told = line.contains(&format!("{}/push", stage.producer)) && line.contains("version=1");
        anyhow::ensure!(told && !log.contains("first-value"), "{line}");
        Ok(Some(()))
    })
    .await
}
