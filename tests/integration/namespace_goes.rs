//! A namespace that is deleted with everything in it, the ServiceAccount and the store first:
//! nothing hangs for ever, and what is left in the store is named where an operator finds it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{PushSecret, SecretStore};
use waypost::domain::convention::LABEL_MODE;
use waypost_e2e::lab::Controller;
use waypost_e2e::wait;

use crate::stage::{LATER, Stage};
use crate::tenants::{account, allow_token_requests, store_spec};

/// What `--cleanup-deadline` says on a usual machine where nothing can be cleaned up. Elsewhere it
/// is [`LATER`].
const DEADLINE: Duration = Duration::from_secs(4);
const PASSWORD: &[(&str, &str)] = &[("password", "password")];

#[tokio::test]
async fn es7_a_namespace_without_its_account_and_store_is_held_until_the_deadline_and_its_orphan_is_named()
-> anyhow::Result<()> {
    // In whole seconds, as it is told.
    let deadline = Duration::from_secs(wait::stretched(DEADLINE).as_secs());
    let mut tenant = Tenant::new("es7held", deadline).await?;
    tenant.loses_account_and_store().await?;
    // Another controller has no session that is left.
    tenant.controller.kill().await?;
    tenant.controller = controller(&tenant.stage, deadline).await?;
    let stage = &tenant.stage;
    let since = tenant.delete_namespace().await?;
    // Before its own deletion is seen, that of its source may be: then there is nothing to be let
    // go yet.
    wait::until("the hold to be explained", LATER, async || {
        let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "CleanupPending").await?;
        ensure!(said.contains(&stage.path()) && said.contains("waypost.io/abandon"), "{said}");
        Ok(Some(()))
    })
    .await?;
    tenant.is_gone().await?;
    // The API server's clock has whole seconds.
    ensure!(since.elapsed() + Duration::from_secs(1) >= deadline, "it was let go after {:?}", since.elapsed());

    assert_eq!(stage.stored().await?, json!({ "password": "one" }), "nobody could remove it");
    let left = format!("{}/password in SecretStore/own", stage.path());
    ensure!(tenant.controller.metric("waypost_push_let_go_total", &[r#"reason="NamespaceGone""#]).await? == 1.0);
    let log = tenant.controller.log()?;
    let line = log.lines().find(|line| line.contains("released without removing what was pushed"));
    ensure!(line.is_some_and(|line| line.contains(&left)), "{line:?}");
    let event = tenant.orphaned().await?.context("no Event on the namespace")?;
    ensure!(event.note.as_ref().is_some_and(|note| note.contains(&left)), "{event:?}");
    Ok(())
}

#[tokio::test]
async fn es7_a_namespace_that_takes_its_account_and_store_along_first_is_cleaned_up_by_the_session_that_is_left()
-> anyhow::Result<()> {
    let tenant = Tenant::new("es7session", wait::stretched(LATER)).await?;
    tenant.loses_account_and_store().await?;
    tenant.delete_namespace().await?;
    tenant.is_gone().await?;
    tenant.left_nothing().await
}

#[tokio::test]
async fn es7_a_namespace_that_is_deleted_with_everything_in_it_goes_and_leaves_nothing() -> anyhow::Result<()> {
    let tenant = Tenant::new("es7whole", wait::stretched(LATER)).await?;
    tenant.delete_namespace().await?;
    tenant.is_gone().await?;
    tenant.left_nothing().await
}

/// A namespace whose PushSecret writes through a store of its own, which logs in with a
/// ServiceAccount of its own; and a controller of that store's class.
struct Tenant {
    stage: Stage,
    controller: Controller,
}

impl Tenant {
    async fn new(test: &str, deadline: Duration) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        // The convention knows no SecretStores (P1).
        let label = json!({ "metadata": { "labels": { LABEL_MODE: "off" } } });
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        namespaces.patch(&stage.producer, &PatchParams::default(), &Patch::Merge(label)).await?;
        let controller = controller(&stage, deadline).await?;
        let tenant = Tenant { stage, controller };
        tenant.push().await?;
        Ok(tenant)
    }

    async fn push(&self) -> anyhow::Result<()> {
        let stage = &self.stage;
        account(stage, &stage.producer, "writer", "waypost-publisher").await?;
        allow_token_requests(stage, &stage.producer, "writer").await?;
        let mut spec = store_spec(stage, json!({ "serviceAccountRef": { "name": "writer" } })).await?;
        spec["controller"] = json!(stage.word);
        stage.apply::<SecretStore>(&stage.producer, "own", spec).await?;
        stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
        let through = json!([{ "kind": "SecretStore", "name": "own" }]);
        let more = json!({ "secretStoreRefs": through, "deletionPolicy": "Delete" });
        stage.push("push", "source", PASSWORD, more).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
    }

    /// The controller knows that the store is gone when it has dropped what it measured of it.
    async fn loses_account_and_store(&self) -> anyhow::Result<()> {
        let stage = &self.stage;
        stage.delete::<ServiceAccount>(&stage.producer, "writer").await?;
        stage.delete::<SecretStore>(&stage.producer, "own").await?;
        let series = format!(r#"namespace="{}""#, stage.producer);
        wait::until("the controller to have noticed", LATER, async || {
            let metrics = self.controller.metrics().await?;
            let known = metrics.lines().any(|line| line.contains("secretstore") && line.contains(&series));
            Ok((!known).then_some(()))
        })
        .await
    }

    async fn delete_namespace(&self) -> anyhow::Result<Instant> {
        let namespaces: Api<Namespace> = Api::all(self.stage.client.clone());
        let since = Instant::now();
        namespaces.delete(&self.stage.producer, &DeleteParams::default()).await?;
        Ok(since)
    }

    async fn is_gone(&self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.stage.client.clone());
        wait::until("the namespace to go", LATER, async || match namespaces.get_opt(&self.stage.producer).await? {
            None => Ok(Some(())),
            Some(held) => anyhow::bail!("its status is {:?}", held.status),
        })
        .await
    }

    /// The Event on the namespace, which outlives it.
    async fn orphaned(&self) -> anyhow::Result<Option<Event>> {
        let events = self.stage.api::<Event>("default").list(&ListParams::default()).await?;
        Ok(events.into_iter().find(|event| {
            let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
            event.reason.as_deref() == Some("Orphaned") && regarding == Some(&*self.stage.producer)
        }))
    }

    async fn left_nothing(&self) -> anyhow::Result<()> {
        let stage = &self.stage;
        assert_eq!(stage.stored().await?, Value::Null);
        let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
        assert_eq!(metadata["custom_metadata"], json!({ "managed-by": "external-secrets" }));
        assert_eq!(self.controller.metric("waypost_push_let_go_total", &[]).await?, 0.0);
        assert_eq!(self.orphaned().await?, None);
        Ok(())
    }
}

/// Of the tenant's class, in its namespace.
async fn controller(stage: &Stage, deadline: Duration) -> anyhow::Result<Controller> {
    let one = format!("--namespace={}", stage.producer);
    let deadline = format!("--cleanup-deadline={}s", deadline.as_secs());
    stage.class_controller(&[&one, &deadline]).await
}
