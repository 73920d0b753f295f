//! Many sources that change at once, each with a path and a target of its own: by the product, and
//! by hand.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{watcher, watcher::Event},
};
use serde_json::json;

use super::{
    CONCURRENT,
    figure::Figure,
    ground::{Ground, external_secrets, push_secrets},
};
use crate::{lab::MOUNT, wait};

const PRODUCER: &str = "bench-storm-producer";
const CONSUMER: &str = "bench-storm-consumer";
const DAY: &str = "24h";
const SLOWEST: Duration = Duration::from_secs(600);
const MOST_TIMES_THE_FLOOR: f64 = 2.0;

pub(super) async fn measure(ground: &Ground, sources: usize) -> anyhow::Result<Vec<Figure>> {
    let storm = Storm::assemble(ground, sources).await?;
    let controller = ground.start_controller()?;
    storm.arrives("first", async || Ok(())).await?;
    let product = storm.arrives("second", async || storm.each(async |name| storm.change(name, "second").await).await);
    let product = product.await?;
    ground.retire(controller).await?;
    let by_hand = storm.arrives("third", async || storm.each(async |name| storm.by_hand(name, "third").await).await);
    let by_hand = by_hand.await?;
    Ok(vec![
        Figure::new("changes at once, to the last target", product, "s")
            .beside(by_hand)
            .at_most(MOST_TIMES_THE_FLOOR * by_hand),
    ])
}

struct Storm<'a> {
    ground: &'a Ground,
    sources: Api<Secret>,
    targets: Api<Secret>,
    names: Vec<String>,
}

impl<'a> Storm<'a> {
    async fn assemble(ground: &'a Ground, sources: usize) -> anyhow::Result<Self> {
        for namespace in [PRODUCER, CONSUMER] {
            ground.namespace(namespace).await?;
        }
        let storm = Storm {
            ground,
            sources: Api::namespaced(ground.client.clone(), PRODUCER),
            targets: Api::namespaced(ground.client.clone(), CONSUMER),
            names: (0..sources).map(|number| format!("storm-{number}")).collect(),
        };
        storm
            .each(async |name| {
                storm.sources.create(&PostParams::default(), &secret(name, "first")).await?;
                ground.push([PRODUCER, name], &path(name), DAY, &["password".to_owned()]).await?;
                ground.pull([CONSUMER, name], &path(name), DAY).await
            })
            .await?;
        Ok(storm)
    }

    async fn each(&self, work: impl AsyncFn(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        stream::iter(&self.names)
            .map(async |name| work(name).await)
            .buffer_unordered(CONCURRENT)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(())
    }

    /// Seconds from the beginning of `work` until every target has the value.
    async fn arrives(&self, value: &str, work: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
        let mut events = watcher(self.targets.clone(), watcher::Config::default()).boxed();
        while !matches!(events.next().await.context("the watch of targets ended")??, Event::InitDone) {}
        let began = Instant::now();
        let arrived = async {
            let mut missing: HashSet<&String> = self.names.iter().collect();
            while !missing.is_empty() {
                let event = events.next().await.context("the watch of targets ended")??;
                if let Event::Apply(target) | Event::InitApply(target) = event
                    && target.data.iter().flatten().any(|(_, found)| found.0 == value.as_bytes())
                {
                    missing.remove(&target.name_any());
                }
            }
            anyhow::Ok(began.elapsed().as_secs_f64())
        };
        let both = async { tokio::try_join!(work(), arrived) };
        let (_, seconds) = wait::within("every target to have the value", SLOWEST, both).await??;
        Ok(seconds)
    }

    async fn change(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.sources.replace(name, &PostParams::default(), &secret(name, value)).await?;
        Ok(())
    }

    /// What cannot be left out: change the source, compare and write the version, read it, write
    /// the target, and say so on both resources.
    async fn by_hand(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.change(name, value).await?;
        let data_path = format!("{MOUNT}/data/{}", path(name));
        let read = async || self.ground.vault.request("GET", &data_path, None).await;
        let version = read().await?.1["data"]["metadata"]["version"].clone();
        let write = json!({ "options": { "cas": version }, "data": { "password": value } });
        let (status, _) = self.ground.vault.request("POST", &data_path, Some(&write)).await?;
        ensure!(status == 200, "POST {data_path} answers {status}");
        let (_, read) = read().await?;
        let params = PatchParams::default();
        let patch = json!({ "stringData": { "password": read["data"]["data"]["password"] } });
        self.targets.patch(name, &params, &Patch::Merge(patch)).await?;
        let said = Patch::Merge(json!({ "status": { "refreshTime": Timestamp::now().to_string() } }));
        push_secrets(&self.ground.client, PRODUCER).patch_status(name, &params, &said).await?;
        external_secrets(&self.ground.client, CONSUMER).patch_status(name, &params, &said).await?;
        Ok(())
    }
}

fn path(name: &str) -> String {
    format!("platform-data/postgres/{name}")
}

fn secret(name: &str, value: &str) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some([("password".to_owned(), ByteString(value.as_bytes().to_vec()))].into()),
        ..Secret::default()
    }
}
