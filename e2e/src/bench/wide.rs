//! One path with twenty properties: what a change of all of them costs the store, and what a look
//! without a change costs.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    figure::Figure,
    ground::{Ground, push_secrets},
};
use crate::{
    lab::{MOUNT, Mark, Request},
    wait,
};

const NAMESPACE: &str = "bench-wide";
const NAME: &str = "wide";
const PATH: &str = "platform-data/postgres/bench-wide";
const PROPERTIES: usize = 20;
const LOOKS: usize = 10;
const FIRST: Duration = Duration::from_secs(60);

pub(super) async fn measure(ground: &Ground) -> anyhow::Result<Vec<Figure>> {
    ground.namespace(NAMESPACE).await?;
    let sources: Api<Secret> = Api::namespaced(ground.client.clone(), NAMESPACE);
    sources.create(&PostParams::default(), &source("first")).await?;
    let keys: Vec<String> = keys().collect();
    ground.push([NAMESPACE, NAME], PATH, "24h", &keys).await?;
    let controller = ground.start_controller()?;
    controller.wait_ready().await?;
    let first = settled(ground, 1).await?;

    let mark = ground.audit.mark()?;
    sources.replace(NAME, &PostParams::default(), &source("second")).await?;
    let second = settled(ground, first + 1).await?;
    let change = requests(ground, mark)?;

    let mark = ground.audit.mark()?;
    for look in 1..=LOOKS {
        ask(ground, look).await?;
    }
    let looks = requests(ground, mark)?;
    let versions = version(ground).await? - second;
    ground.retire(controller).await?;
    Ok(vec![
        Figure::new("20 properties changed: versions", (second - first) as f64, "versions").beside(1.0).at_most(1.0),
        Figure::new("20 properties changed: requests to the path", change.len() as f64, "requests")
            .beside(2.0)
            .at_most(2.0),
        Figure::new("a look without a change: requests to the path", looks.len() as f64 / LOOKS as f64, "requests")
            .beside(1.0)
            .at_most(1.0),
        Figure::new("looks without a change: versions", versions as f64, "versions").beside(0.0).at_most(0.0),
    ])
}

fn keys() -> impl Iterator<Item = String> {
    (0..PROPERTIES).map(|number| format!("key{number}"))
}

fn source(value: &str) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        data: Some(keys().map(|key| (key.clone(), ByteString(format!("{value} {key}").into_bytes()))).collect()),
        ..Secret::default()
    }
}

/// Until the PushSecret says that this version, or a later one, is in place; that one.
async fn settled(ground: &Ground, at_least: u64) -> anyhow::Result<u64> {
    let pushes = push_secrets(&ground.client, NAMESPACE);
    wait::until("the PushSecret to say its version", FIRST, async || {
        let found = pushes.get(NAME).await?;
        let version = found.data["status"]["paths"][0]["version"].as_u64();
        Ok(version.filter(|version| *version >= at_least))
    })
    .await
}

async fn version(ground: &Ground) -> anyhow::Result<u64> {
    let metadata = ground.vault.metadata(MOUNT, PATH).await?.context("the path is gone")?;
    metadata["current_version"].as_u64().context("the path has no version")
}

/// Asks for one more look, and waits until it was made.
async fn ask(ground: &Ground, look: usize) -> anyhow::Result<()> {
    let mark = ground.audit.mark()?;
    let ask = json!({ "metadata": { "annotations": { "waypost.io/force-sync": look.to_string() } } });
    push_secrets(&ground.client, NAMESPACE).patch(NAME, &PatchParams::default(), &Patch::Merge(ask)).await?;
    wait::until("a look at the path", FIRST, async || Ok((!requests(ground, mark)?.is_empty()).then_some(()))).await
}

fn requests(ground: &Ground, mark: Mark) -> anyhow::Result<Vec<Request>> {
    let mut requests = ground.audit.since(mark)?;
    requests.retain(|request| request.path.ends_with(PATH));
    Ok(requests)
}
