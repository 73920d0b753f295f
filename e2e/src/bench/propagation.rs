//! From a source's change to its target, as a client that watches the target sees it: by the
//! product, and by hand.
//!
//! Both intervals are a day, so nothing moves but by events. Each second has one change of each,
//! half a second apart.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::{Stream, StreamExt};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    figure::Figure,
    ground::{Ground, external_secrets},
};
use crate::{lab::MOUNT, wait};

const NAMESPACES: [&str; 2] = ["bench-producer", "bench-consumer"];
const PATH: &str = "platform-data/postgres/bench";
const FLOOR_PATH: &str = "platform-data/postgres/bench-floor";
const DAY: &str = "24h";
const FIRST: Duration = Duration::from_secs(60);
const SLOWEST: Duration = Duration::from_secs(30);

pub(super) async fn measure(ground: &Ground, changes: usize) -> anyhow::Result<Vec<Figure>> {
    let pairs = Pairs::set_up(ground).await?;
    let controller = ground.start_controller()?;
    controller.wait_ready().await?;
    pairs.settle().await?;
    let (mut product, mut by_hand) = (Vec::new(), Vec::new());
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for change in 0..changes {
        second.tick().await;
        let began = Instant::now();
        product.push(pairs.product(&format!("value-{change}")).await?);
        tokio::time::sleep_until(began + Duration::from_millis(500)).await;
        by_hand.push(pairs.by_hand(&format!("value-{change}")).await?);
    }
    drop(pairs);
    ground.retire(controller).await?;
    let (product, by_hand) = (Spread::of(product), Spread::of(by_hand));
    Ok(vec![
        Figure::new("propagation p50", product.p50, "ms").beside(by_hand.p50).at_most(25.0),
        Figure::new("propagation p99", product.p99, "ms").beside(by_hand.p99).at_most(100.0),
        Figure::new("propagation max", product.max, "ms").beside(by_hand.max),
    ])
}

/// Source and target of the product, and those of the floor, which the controller does not know.
struct Pairs<'a> {
    ground: &'a Ground,
    sources: Api<Secret>,
    targets: Api<Secret>,
}

impl<'a> Pairs<'a> {
    async fn set_up(ground: &'a Ground) -> anyhow::Result<Self> {
        let [producer, consumer] = NAMESPACES;
        ground.namespace(producer).await?;
        ground.namespace(consumer).await?;
        let sources: Api<Secret> = Api::namespaced(ground.client.clone(), producer);
        let targets: Api<Secret> = Api::namespaced(ground.client.clone(), consumer);
        for name in ["product", "floor"] {
            sources.create(&PostParams::default(), &secret(name, "first")).await?;
        }
        targets.create(&PostParams::default(), &secret("floor", "first")).await?;
        ground.vault.write(MOUNT, FLOOR_PATH, &json!({ "password": "first" })).await?;
        ground.push([producer, "product"], PATH, DAY, &["password".to_owned()]).await?;
        ground.pull([consumer, "product"], PATH, DAY).await?;
        Ok(Pairs { ground, sources, targets })
    }

    /// Until the target is there and its ExternalSecret says so.
    async fn settle(&self) -> anyhow::Result<()> {
        let resource = external_secrets(&self.ground.client, NAMESPACES[1]);
        wait::until("the first sync", FIRST, async || {
            let found = resource.get("product").await?;
            let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            Ok(conditions.iter().any(|condition| condition["status"] == "True").then_some(()))
        })
        .await
    }

    /// Milliseconds from the request that changes the source to the event of the target.
    async fn product(&self, value: &str) -> anyhow::Result<f64> {
        let mut events = self.watch("product").await?;
        let began = Instant::now();
        self.change_source("product", value).await?;
        seen(&mut events, value).await?;
        Ok(milliseconds(began))
    }

    /// The same by hand: what is read is read, what is written is written, nothing more.
    async fn by_hand(&self, value: &str) -> anyhow::Result<f64> {
        let mut events = self.watch("floor").await?;
        let began = Instant::now();
        self.change_source("floor", value).await?;
        let version = self.read().await?["data"]["metadata"]["version"].clone();
        let write = json!({ "options": { "cas": version }, "data": { "password": value } });
        let data_path = format!("{MOUNT}/data/{FLOOR_PATH}");
        let (status, _) = self.ground.vault.request("POST", &data_path, Some(&write)).await?;
        ensure!(status == 200, "POST {data_path} answers {status}");
        let read = self.read().await?;
        let value = read["data"]["data"]["password"].as_str().context("the property is gone")?;
        let patch = Patch::Merge(json!({ "stringData": { "password": value } }));
        self.targets.patch_metadata("floor", &PatchParams::default(), &patch).await?;
        seen(&mut events, value).await?;
        Ok(milliseconds(began))
    }

    async fn change_source(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.sources.replace(name, &PostParams::default(), &secret(name, value)).await?;
        Ok(())
    }

    async fn read(&self) -> anyhow::Result<Value> {
        let (status, read) = self.ground.vault.request("GET", &format!("{MOUNT}/data/{FLOOR_PATH}"), None).await?;
        ensure!(status == 200, "GET {FLOOR_PATH} answers {status}");
        Ok(read)
    }

    /// Opened before the change, so that its opening is not measured.
    async fn watch(&self, name: &str) -> anyhow::Result<Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Secret>>>>>> {
        let version = self.targets.get_metadata(name).await?.metadata.resource_version.context("no resourceVersion")?;
        let only = WatchParams::default().fields(&format!("metadata.name={name}"));
        Ok(self.targets.watch(&only, &version).await?.boxed_local())
    }
}

async fn seen(
    events: &mut (impl Stream<Item = kube::Result<WatchEvent<Secret>>> + Unpin),
    value: &str,
) -> anyhow::Result<()> {
    let arrived = async {
        while let Some(event) = events.next().await {
            if let WatchEvent::Added(secret) | WatchEvent::Modified(secret) = event?
                && secret.data.iter().flatten().any(|(_, found)| found.0 == value.as_bytes())
            {
                return Ok(());
            }
        }
        bail!("the watch of the target ended")
    };
    wait::within("the target to change", SLOWEST, arrived).await?
}

fn secret(name: &str, value: &str) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some([("password".to_owned(), ByteString(value.as_bytes().to_vec()))].into()),
        ..Secret::default()
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// What is said of many measurements.
struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |share: f64| all.get(((all.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
        let at = |share| at(share).unwrap_or_default();
        Spread { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect());
        assert_eq!((spread.p50, spread.p99, spread.max), (50.0, 99.0, 100.0));
    }
}
