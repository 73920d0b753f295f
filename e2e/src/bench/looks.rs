//! Many PushSecrets whose sources do not change, compared with the store every interval: nothing
//! may be written anywhere.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{DynamicObject, ObjectMeta, PostParams},
};

use super::{
    CONCURRENT,
    figure::Figure,
    ground::{Ground, push_secrets},
};
use crate::{lab::MOUNT, wait};

const NAMESPACE: &str = "bench-looks";
const INTERVAL: Duration = Duration::from_secs(2);
const FIRST: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn measure(ground: &Ground, pushes: usize, intervals: usize) -> anyhow::Result<Vec<Figure>> {
    let paths = assemble(ground, pushes).await?;
    let controller = ground.start_controller()?;
    all_counted(ground, pushes).await?;
    at_rest(ground).await?;
    let (mark, writes) = (ground.audit.mark()?, ground.kubernetes_writes().await?);
    let began = Instant::now();
    let most = INTERVAL * 10 * intervals as u32;
    let requests = wait::until("every path to be looked at once an interval", most, async || {
        let requests = ground.audit.since(mark)?;
        let looks = |path: &String| requests.iter().filter(|request| request.path.ends_with(path)).count();
        if paths.iter().all(|path| looks(path) >= intervals) {
            return Ok(Some(requests));
        }
        tokio::time::sleep(LOOK).await;
        Ok(None)
    })
    .await?;
    let lasted = began.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    let writes = ground.kubernetes_writes().await? - writes;
    ground.retire(controller).await?;
    let mut versions = 0;
    for path in &paths {
        let metadata = ground.vault.metadata(MOUNT, path).await?.context("a path is gone")?;
        versions += metadata["current_version"].as_u64().unwrap_or_default().saturating_sub(1);
    }
    let a_look = requests.len() as f64 / lasted / pushes as f64;
    Ok(vec![
        Figure::new("unchanged intervals: versions", versions as f64, "versions").beside(0.0).at_most(0.0),
        Figure::new("unchanged intervals: writes to Kubernetes", writes as f64, "writes").beside(0.0).at_most(0.0),
        // The store's own check and session are among them.
        Figure::new("unchanged intervals: requests a path and interval", a_look, "requests").beside(1.0).at_most(1.05),
    ])
}

async fn assemble(ground: &Ground, pushes: usize) -> anyhow::Result<Vec<String>> {
    ground.namespace(NAMESPACE).await?;
    let sources: Api<Secret> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let interval = format!("{}s", INTERVAL.as_secs());
    let names: Vec<String> = (0..pushes).map(|number| format!("look-{number}")).collect();
    stream::iter(&names)
        .map(async |name| {
            sources.create(&PostParams::default(), &source(name)).await?;
            ground.push([NAMESPACE, name], &path(name), &interval, &["password".to_owned()]).await
        })
        .buffer_unordered(CONCURRENT)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(names.iter().map(|name| path(name)).collect())
}

/// Counting who has what was pushed is the last that a push leads to.
async fn all_counted(ground: &Ground, pushes: usize) -> anyhow::Result<()> {
    let objects = push_secrets(&ground.client, NAMESPACE);
    wait::until("every PushSecret to be synced and counted", FIRST, async || {
        let listed = objects.list(&Default::default()).await?;
        let holds = |object: &DynamicObject, aspect: &str| {
            let conditions = object.data["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|said| said["type"] == aspect && said["status"] == "True"))
        };
        let done = listed.iter().filter(|object| holds(object, "Ready") && holds(object, "Propagated")).count();
        ensure!(done == pushes, "{done} of {pushes} are");
        Ok(Some(()))
    })
    .await
}

/// What earlier figures left is put in order by this controller, too.
async fn at_rest(ground: &Ground) -> anyhow::Result<()> {
    wait::until("an interval without a write", FIRST, async || {
        let before = ground.kubernetes_writes().await?;
        tokio::time::sleep(INTERVAL).await;
        Ok((ground.kubernetes_writes().await? == before).then_some(()))
    })
    .await
}

fn path(name: &str) -> String {
    format!("platform-data/redis/{name}")
}

fn source(name: &str) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some([("password".to_owned(), ByteString(name.as_bytes().to_vec()))].into()),
        ..Secret::default()
    }
}
