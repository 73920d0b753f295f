//! From the start of the controller to the last target of a fleet that was created while it was
//! down.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
    runtime::{watcher, watcher::Event},
};
use serde_json::json;

use super::{
    CONCURRENT,
    figure::Figure,
    fleet::{Fleet, NAMESPACE},
    ground::{Ground, external_secrets},
};
use crate::{
    lab::{Controller, MOUNT},
    wait,
};

const SLOWEST: Duration = Duration::from_secs(600);
const TIME: &str = "cold start to the last target";
const MOST_TIMES_THE_FLOOR: f64 = 3.0;
/// The most resident memory at the size of the bound, in MiB.
pub(super) const MOST_MEMORY: f64 = 40.0;

/// The controller that it started keeps running.
pub(super) async fn measure(ground: &Ground, fleet: &Fleet) -> anyhow::Result<(Controller, Vec<Figure>)> {
    let mark = ground.audit.mark()?;
    let targets = Api::<PartialObjectMeta<Secret>>::all(ground.client.clone());
    let mut events = watcher(targets, watcher::Config::default()).boxed();
    listed(&mut events).await?;
    let began = Instant::now();
    let controller = ground.start_controller()?;
    let appeared = appear(&mut events, fleet.objects.len());
    wait::within("every target to appear", SLOWEST, appeared).await??;
    let took = began.elapsed();
    drop(events);
    all_ready(ground, fleet).await?;
    let requests = ground.audit.since_under(mark, &format!("{MOUNT}/data/"))?;
    let figures = vec![
        Figure::new(TIME, took.as_secs_f64(), "s"),
        Figure::new("cold start reads of data", requests.len() as f64, "reads").beside(fleet.paths.len() as f64),
        Figure::new("RSS after the cold start", mebibytes(&controller)?, "MiB").at_most(MOST_MEMORY),
    ];
    Ok((controller, figures))
}

/// The least requests for the same: each path read, each target created, each status written, as
/// many at once as the controller has. In seconds. No controller may run.
pub(super) async fn floor(ground: &Ground, fleet: &Fleet) -> anyhow::Result<f64> {
    let began = Instant::now();
    stream::iter(&fleet.paths)
        .map(async |path| ground.vault.read(MOUNT, path).await)
        .buffer_unordered(CONCURRENT)
        .try_collect::<Vec<_>>()
        .await?;
    stream::iter(&fleet.objects)
        .map(async |[namespace, name]| by_hand(ground, namespace, name).await)
        .buffer_unordered(CONCURRENT)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Puts the floor beside the time.
pub(super) fn compare(figures: &mut [Figure], floor: f64) {
    for figure in figures.iter_mut().filter(|figure| figure.name == TIME) {
        *figure = figure.clone().beside(floor).at_most(MOST_TIMES_THE_FLOOR * floor);
    }
}

/// Resident memory.
pub(super) fn mebibytes(controller: &Controller) -> anyhow::Result<f64> {
    Ok(controller.rss_kib()? as f64 / 1024.0)
}

async fn by_hand(ground: &Ground, namespace: &str, name: &str) -> anyhow::Result<()> {
    let secret = Secret {
        metadata: ObjectMeta { name: Some(format!("floor-{name}")), ..ObjectMeta::default() },
        data: Some([("password".to_owned(), ByteString(name.as_bytes().to_vec()))].into()),
        ..Secret::default()
    };
    Api::<Secret>::namespaced(ground.client.clone(), namespace).create(&PostParams::default(), &secret).await?;
    let status = json!({ "status": { "refreshTime": Timestamp::now().to_string(), "syncedResourceVersion": name } });
    let resources = external_secrets(&ground.client, namespace);
    resources.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

type Events<'a> = stream::BoxStream<'a, watcher::Result<Event<PartialObjectMeta<Secret>>>>;

/// Reads the watch up to the end of its first list, so that what comes after is seen as it happens.
async fn listed(events: &mut Events<'_>) -> anyhow::Result<()> {
    while let Some(event) = events.next().await {
        if let Event::InitDone = event? {
            return Ok(());
        }
    }
    bail!("the watch of Secrets ended")
}

/// Until so many targets of the fleet have appeared.
async fn appear(events: &mut Events<'_>, wanted: usize) -> anyhow::Result<()> {
    let mut found = HashSet::new();
    while found.len() < wanted {
        let event = events.next().await.context("the watch of Secrets ended")??;
        if let Event::Apply(secret) | Event::InitApply(secret) = event {
            let namespace = secret.namespace().unwrap_or_default();
            if namespace.starts_with(NAMESPACE) {
                found.insert((namespace, secret.name_any()));
            }
        }
    }
    Ok(())
}

/// Until each ExternalSecret says that it is synced.
async fn all_ready(ground: &Ground, fleet: &Fleet) -> anyhow::Result<()> {
    let namespaces: HashSet<&String> = fleet.objects.iter().map(|[namespace, _]| namespace).collect();
    wait::until("every ExternalSecret to be ready", Duration::from_secs(60), async || {
        let mut ready = 0;
        for namespace in &namespaces {
            let listed = external_secrets(&ground.client, namespace).list(&Default::default()).await?;
            ready +=
                listed.items.iter().filter(|object| object.data["status"]["conditions"][0]["status"] == "True").count();
        }
        ensure!(ready == fleet.objects.len(), "{ready} of {} are", fleet.objects.len());
        Ok(Some(()))
    })
    .await
}
