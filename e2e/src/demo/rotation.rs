//! Rotates the source and measures when its consumers have the new password.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, future::try_join, stream::BoxStream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{WatchEvent, WatchParams},
};

use super::{
    Narrator, Place,
    source::{PASSWORD, Source, generated},
};
use crate::{lab::MOUNT, wait};

/// The Secret that both consumers keep, each in its own namespace.
const TARGET: &str = "temporal-postgres";
const CONSUMERS: [&str; 2] = ["temporal", "backstage"];
const PATH: &str = "platform-data/postgres/temporal";

type Events = BoxStream<'static, kube::Result<WatchEvent<Secret>>>;

/// Far more than a rotation may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Rotates some times, and prints each time and their median. Gives the last version.
pub(super) async fn show(
    place: &Place,
    narrator: &Narrator,
    source: &Source,
    canary: &str,
    times: usize,
) -> anyhow::Result<u64> {
    let client = place.lab().kube_admin().await?;
    let vault = place.lab().vault_admin()?;
    let (mut slowest, mut last) = (Vec::with_capacity(times), 0);
    for _ in 0..times {
        let took = rotate(&client, source, &generated(canary)?).await?;
        let version = vault.read(MOUNT, PATH).await?.context("the path is gone")?.version();
        narrator.say(&format!(
            "{MOUNT}/{PATH} version {version}: {} has it after {}, {} after {}",
            CONSUMERS[0],
            milliseconds(took[0]),
            CONSUMERS[1],
            milliseconds(took[1])
        ));
        slowest.push(took[0].max(took[1]));
        last = version;
    }
    slowest.sort();
    let median = slowest.get(times / 2).copied().unwrap_or_default();
    narrator.say(&format!(
        "from the operator's write until both have it, median of {times}: {}. Both intervals are 1 h.",
        milliseconds(median)
    ));
    Ok(last)
}

/// How long after the write was sent each consumer held it, as two watches that were open before
/// saw it.
async fn rotate(client: &Client, source: &Source, password: &str) -> anyhow::Result<[Duration; 2]> {
    let (first, second) = try_join(watch(client, CONSUMERS[0]), watch(client, CONSUMERS[1])).await?;
    let start = Instant::now();
    let arrivals = try_join(arrival(first, password), arrival(second, password));
    let all = try_join(source.write(client, password), arrivals);
    let (_, (first, second)) = wait::within("the new password to arrive at both consumers", DEADLINE, all).await??;
    Ok([first - start, second - start])
}

/// A watch of the namespace's target from its present version on.
async fn watch(client: &Client, namespace: &str) -> anyhow::Result<Events> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let current = secrets.get(TARGET).await.with_context(|| format!("read Secret {namespace}/{TARGET}"))?;
    let version = current.metadata.resource_version.unwrap_or_default();
    let only = WatchParams::default().fields(&format!("metadata.name={TARGET}"));
    let events = secrets.watch(&only, &version).await;
    Ok(events.with_context(|| format!("watch Secret {namespace}/{TARGET}"))?.boxed())
}

/// When the watch first shows the password.
async fn arrival(mut events: Events, password: &str) -> anyhow::Result<Instant> {
    while let Some(event) = events.try_next().await.context("watch a target")? {
        match event {
            WatchEvent::Added(secret) | WatchEvent::Modified(secret) => {
                let value = secret.data.as_ref().and_then(|data| data.get(PASSWORD));
                if value.is_some_and(|value| value.0 == password.as_bytes()) {
                    return Ok(Instant::now());
                }
            }
            WatchEvent::Deleted(_) => bail!("a target was deleted"),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(_) => bail!("the watch of a target broke off"),
        }
    }
    bail!("the watch of a target ended")
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
