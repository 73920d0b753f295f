//! A PushSecret that is deleted while its store cannot be reached: it waits and says so, a person
//! can end the wait, and what it leaves is named and counted.

use std::time::{Duration, Instant};

use anyhow::ensure;
use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::lab::{Bao, Controller, Lab, Transport, cluster_secret_store};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref};
use crate::stage::{LATER, Stage, apply_store};

/// What `--cleanup-deadline` says on a usual machine.
const DEADLINE: Duration = Duration::from_secs(4);
const PASSWORD: &[(&str, &str)] = &[("password", "password")];

#[tokio::test]
async fn f53_a_deletion_waits_for_the_store_and_ends_by_itself_once_it_is_back() -> anyhow::Result<()> {
    let held = Held::begin("f53w").await?;
    held.bao.start().await?;
    goes(&held.stage).await?;
    assert_eq!(held.stored().await?, Value::Null);
    assert_eq!(held.controller.metric("waypost_push_let_go_total", &[]).await?, 0.0);
    let events = held.stage.api::<Event>(&held.stage.producer).list(&ListParams::default()).await?.items;
    assert!(events.iter().all(|event| event.reason.as_deref() != Some("Orphaned")), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn f53_a_deletion_that_is_abandoned_leaves_what_was_pushed() -> anyhow::Result<()> {
    let held = Held::begin("f53a").await?;
    let abandon = json!({ "metadata": { "annotations": { "waypost.io/abandon": "true" } } });
    let pushes = held.stage.api::<PushSecret>(&held.stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(abandon)).await?;
    goes(&held.stage).await?;
    is_let_go(&held.stage, &held.controller, "Abandoned").await?;
    held.bao.start().await?;
    assert_eq!(held.stored().await?, json!({ "password": "good" }));
    Ok(())
}

#[tokio::test]
async fn the_claim_of_an_owner_that_was_let_go_falls_to_whoever_publishes_the_property_next() -> anyhow::Result<()> {
    let held = Held::begin("f53c").await?;
    let stage = &held.stage;
    let abandon = json!({ "metadata": { "annotations": { "waypost.io/abandon": "true" } } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(abandon)).await?;
    goes(stage).await?;
    held.bao.start().await?;
    let claim = held.claim().await?;
    assert!(claim.contains(&format!("namespace={} name=push ", stage.producer)), "{claim}");

    stage.secret(&stage.producer, "next", &[("password", "better")]).await?;
    let more = json!({ "secretStoreRefs": [store_ref(&held.store)] });
    stage.push("successor", "next", &[("password", "password")], more).await?;
    stage.ready::<PushSecret>(&stage.producer, "successor", "True", "Synced").await?;
    assert_eq!(held.stored().await?, json!({ "password": "better" }));
    assert_ne!(held.claim().await?, claim);
    Ok(())
}

/// Another process has no session that is left, so the store that is gone cannot be cleaned.
#[tokio::test]
async fn a_deletion_without_its_store_ends_at_the_deadline_and_what_stays_is_named_and_counted() -> anyhow::Result<()> {
    let (stage, deadline) = (Stage::new("heldgone").await?, deadline());
    let before = stage.class_controller(&[]).await?;
    let store = stage.class_store().await?;
    publish(&stage, &store).await?;
    before.kill().await?;
    remove_store(&stage, &store).await?;
    let controller = stage.class_controller(&[&until(deadline)]).await?;
    ends_at(&stage, deadline).await?;
    is_let_go(&stage, &controller, "StoreGone").await
}

#[tokio::test]
async fn a_deletion_whose_store_refuses_ends_at_the_deadline_and_what_stays_is_named_and_counted() -> anyhow::Result<()>
{
    let (stage, deadline) = (Stage::new("heldshut").await?, deadline());
    let controller = stage.class_controller(&[&until(deadline)]).await?;
    let store = stage.class_store().await?;
    publish(&stage, &store).await?;
    stage.admit(&store, json!([{ "namespaces": ["elsewhere"] }])).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "NotPermitted").await?;
    ends_at(&stage, deadline).await?;
    is_let_go(&stage, &controller, "StoreRefused").await?;
    remove_store(&stage, &store).await
}

/// In whole seconds, as it is told.
fn deadline() -> Duration {
    Duration::from_secs(wait::stretched(DEADLINE).as_secs())
}

fn until(deadline: Duration) -> String {
    format!("--cleanup-deadline={}s", deadline.as_secs())
}

/// A PushSecret pushes its password through this store, and is to take it along.
async fn publish(stage: &Stage, store: &str) -> anyhow::Result<()> {
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    let more = json!({ "secretStoreRefs": [store_ref(store)], "deletionPolicy": "Delete" });
    stage.push("push", "source", PASSWORD, more).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
}

/// It is deleted, waits and says so.
async fn is_held(stage: &Stage) -> anyhow::Result<()> {
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "CleanupPending").await?;
    ensure!(said.contains(&stage.path()) && said.contains("waypost.io/abandon"), "{said}");
    Ok(())
}

/// It is deleted, and is held until the deadline and no longer.
async fn ends_at(stage: &Stage, deadline: Duration) -> anyhow::Result<()> {
    let since = Instant::now();
    is_held(stage).await?;
    goes(stage).await?;
    ensure!(since.elapsed() >= deadline, "it was let go after {:?}", since.elapsed());
    ensure!(stage.stored().await? == json!({ "password": "good" }), "nobody could remove it");
    Ok(())
}

async fn goes(stage: &Stage) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt("push").await?.is_none().then_some(()))).await
}

/// What stays is named in an Event, and counted once and under no other reason.
async fn is_let_go(stage: &Stage, controller: &Controller, reason: &str) -> anyhow::Result<()> {
    let event = stage.orphaned().await?;
    ensure!(event.contains(&format!("{}/password", stage.path())), "{event}");
    let label = format!("reason=\"{reason}\"");
    for labels in [&[label.as_str()][..], &[]] {
        let counted = controller.metric("waypost_push_let_go_total", labels).await?;
        ensure!(counted == 1.0, "{labels:?} were counted {counted} times");
    }
    Ok(())
}

/// A PushSecret that is being deleted, and cannot be cleaned up. A controller of its own serves it,
/// so that what that one counts is of this PushSecret alone.
struct Held {
    stage: Stage,
    bao: Bao,
    store: String,
    controller: Controller,
}

impl Held {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let (lab, stage) = (Lab::shared().await?, Stage::new(test).await?);
        let (bao, store) = (lab.extra_bao(Transport::Tls).await?, format!("{}-store", stage.word));
        let mut manifest = cluster_secret_store(&store, bao.address(), bao.ca_pem());
        manifest["spec"]["controller"] = json!(stage.word);
        apply_store(lab, manifest).await?;
        let controller = stage.class_controller(&[]).await?;
        publish(&stage, &store).await?;
        bao.stop();
        is_held(&stage).await?;
        Ok(Held { stage, bao, store, controller })
    }

    async fn stored(&self) -> anyhow::Result<Value> {
        let entry = self.bao.admin()?.read("secret", &self.stage.path()).await?;
        Ok(entry.and_then(|entry| entry.data).unwrap_or_default())
    }

    /// Who owns the password.
    async fn claim(&self) -> anyhow::Result<String> {
        let metadata = self.bao.admin()?.metadata("secret", &self.stage.path()).await?.unwrap_or_default();
        let labels = metadata["custom_metadata"].as_object().cloned().unwrap_or_default();
        let claim = labels.iter().find(|(label, _)| label.starts_with("claim.waypost.io/"));
        Ok(claim.map(|(label, owner)| format!("{label}={owner}")).unwrap_or_default())
    }
}
