//! A PushSecret shows which consumers have what it pushed, which lag, and why.

use std::time::{Duration, Instant};

use anyhow::bail;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use waypost::api::condition::{self, ConditionStatus, PROPAGATED};
use waypost::api::path_status::{Lagging, PushedPath};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Lab, Request};
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, Stage};

/// Waits until `Propagated` has this status and reason for this version; gives its message and the
/// path's status.
async fn propagated(stage: &Stage, word: &str, reason: &str, version: i64) -> anyhow::Result<(String, PushedPath)> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until(&format!("Propagated to be {word} {reason} for version {version}"), SOON, async || {
        let status = pushes.get("push").await?.status.unwrap_or_default();
        let (Some(said), [path]) = (condition::find(&status.conditions, PROPAGATED), status.paths.as_slice()) else {
            bail!("nothing is said yet")
        };
        if said.status.as_str() == word && said.reason.as_deref() == Some(reason) && path.version == Some(version) {
            return Ok(Some((said.message.clone().unwrap_or_default(), path.clone())));
        }
        bail!("it is {said:?}, and the path {path:?}")
    })
    .await
}

async fn push(stage: &Stage) -> anyhow::Result<()> {
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    Ok(())
}

/// Waits until the one consumer lags for this reason; gives how it is shown.
async fn lags(stage: &Stage, version: i64, reason: &str) -> anyhow::Result<(String, Lagging)> {
    wait::until(&format!("a consumer to lag for {reason}"), SOON, async || {
        let (message, path) = propagated(stage, "False", "ConsumersLag", version).await?;
        let consumers = path.consumers.unwrap_or_default();
        let [late] = consumers.lagging.as_slice() else { bail!("one lags: {consumers:?}") };
        if late.message == reason && late.consumer == format!("{}/pull", stage.consumer) {
            return Ok(Some((message, late.clone())));
        }
        bail!("it is {late:?}")
    })
    .await
}

fn counts(path: &PushedPath) -> (i64, i64) {
    path.consumers.as_ref().map_or((-1, -1), |consumers| (consumers.total, consumers.current))
}

#[tokio::test]
async fn who_has_what_was_pushed_is_counted_as_consumers_come_follow_and_go() -> anyhow::Result<()> {
    let stage = Stage::new("pgc").await?;
    push(&stage).await?;
    let (_, path) = propagated(&stage, "True", "NoConsumers", 1).await?;
    assert_eq!(counts(&path), (0, 0));

    for name in ["one", "two"] {
        stage.pull(name, &[("PASSWORD", "password")], json!({ "target": { "name": name } })).await?;
    }
    wait::until("both to be counted", SOON, async || {
        let (_, path) = propagated(&stage, "True", "ConsumersCurrent", 1).await?;
        Ok((counts(&path) == (2, 2)).then_some(()))
    })
    .await?;

    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    let (message, path) = propagated(&stage, "True", "ConsumersCurrent", 2).await?;
    assert_eq!(counts(&path), (2, 2));
    assert_eq!(message, format!("secret/{} version 2 is in the targets of all its 2 consumers", stage.path()));
    for name in ["one", "two"] {
        stage.holds(&stage.consumer, name, &[("PASSWORD", "second")]).await?;
        stage.delete::<ExternalSecret>(&stage.consumer, name).await?;
    }
    propagated(&stage, "True", "NoConsumers", 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_lags_is_named_with_what_is_in_its_way_until_it_has_the_version() -> anyhow::Result<()> {
    let stage = Stage::new("pgl").await?;
    stage.vault.post("sys/config/auditing/request-headers/X-Waypost-Resource", &json!({ "hmac": false })).await?;
    let bao = Lab::shared().await?.bao()?;
    let mark = bao.audit().mark()?;
    push(&stage).await?;
    stage.secret(&stage.consumer, "pull", &[("PASSWORD", "somebody else's")]).await?;
    stage.pull("pull", &[("PASSWORD", "password")], json!({})).await?;
    let (message, late) = lags(&stage, 1, "TargetNotOwned").await?;
    assert!(message.starts_with(&format!("1 of 1 consumers lag: {} lacks ", late.consumer)), "{message}");
    assert_eq!(late.version, None);
    let served = format!("PushSecret/{}/push", stage.producer);
    let asked = |request: &Request| {
        request.headers.get("x-waypost-resource").is_some_and(|resources| resources.contains(&served))
    };
    assert!(bao.audit().since(mark)?.iter().any(asked), "what the push asked is in the audit log");

    // The producer is told, and asks the store nothing for it.
    let mark = bao.audit().mark()?;
    stage.delete::<Secret>(&stage.consumer, "pull").await?;
    propagated(&stage, "True", "ConsumersCurrent", 1).await?;
    assert!(!bao.audit().since(mark)?.iter().any(asked));
    Ok(())
}

#[tokio::test]
async fn a_version_that_a_consumer_cannot_take_leaves_it_named_with_the_one_it_has() -> anyhow::Result<()> {
    let stage = Stage::new("pgo").await?;
    push(&stage).await?;
    stage.pull("pull", &[("PASSWORD", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "first")]).await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    let frozen = json!({ "immutable": true });
    secrets.patch("pull", &Default::default(), &kube::api::Patch::Merge(frozen)).await?;

    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    let (_, late) = lags(&stage, 2, "TargetImmutable").await?;
    assert_eq!(late.version, Some(1));

    // The path is purged, and its numbers begin anew: the first version now is not the one it has.
    stage.vault.delete_metadata("secret", &stage.path()).await?;
    stage.secret(&stage.producer, "source", &[("password", "third")]).await?;
    let (_, late) = lags(&stage, 1, "TargetImmutable").await?;
    assert_eq!(late.version, None);
    Ok(())
}

#[tokio::test]
async fn many_consumers_cost_their_producer_few_status_writes_and_silence_none() -> anyhow::Result<()> {
    const CONSUMERS: i64 = 30;
    let stage = Stage::new("pgm").await?;
    push(&stage).await?;
    for number in 0..CONSUMERS {
        let name = format!("pull-{number}");
        let target = json!({ "target": { "name": name } });
        stage.pull(&name, &[("PASSWORD", "password")], target).await?;
    }
    wait::until("all to be counted", LATER, async || {
        let (_, path) = propagated(&stage, "True", "ConsumersCurrent", 1).await?;
        Ok((counts(&path) == (CONSUMERS, CONSUMERS)).then_some(()))
    })
    .await?;

    let config = watcher::Config::default().fields("metadata.name=push");
    let seen = watcher(stage.api::<PushSecret>(&stage.producer), config).default_backoff().touched_objects();
    pin_mut!(seen);
    let before = seen.next().await.transpose()?.and_then(|push| push.resource_version());
    let began = Instant::now();
    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    let (mut writes, mut last) = (0, before);
    let all_have_it = async {
        while let Some(push) = seen.next().await.transpose()? {
            if push.resource_version() != last {
                (writes, last) = (writes + 1, push.resource_version());
            }
            let status = push.status.unwrap_or_default();
            let counted = condition::find(&status.conditions, PROPAGATED)
                .is_some_and(|said| said.status == ConditionStatus::True);
            if counted && status.paths.iter().any(|path| path.version == Some(2)) {
                return anyhow::Ok(());
            }
        }
        bail!("the watch ended")
    };
    wait::within("all to have the second version", LATER, all_have_it).await??;
    // The push's own, and one for each half second in which consumers came.
    let bound = 2 + began.elapsed().as_millis() / 500;
    assert!(writes <= bound, "{writes} writes in {:?}", began.elapsed());
    let more = tokio::time::timeout(Duration::from_secs(2), seen.next()).await;
    assert!(more.is_err(), "nothing more is written: {more:?}");
    Ok(())
}
