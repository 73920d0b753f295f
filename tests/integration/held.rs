//! A PushSecret that is deleted while its store cannot be reached: it waits and says so, and a
//! person can end the wait.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::lab::Bao;
use waypost_e2e::wait;

use crate::stage::{LATER, Stage};

#[tokio::test]
async fn f53_a_deletion_waits_for_the_store_and_ends_by_itself_once_it_is_back() -> anyhow::Result<()> {
    let held = Held::begin("f53w").await?;
    held.bao.start().await?;
    held.goes().await?;
    assert_eq!(held.stored().await?, Value::Null);
    Ok(())
}

#[tokio::test]
async fn f53_a_deletion_that_is_abandoned_leaves_what_was_pushed() -> anyhow::Result<()> {
    let held = Held::begin("f53a").await?;
    let abandon = json!({ "metadata": { "annotations": { "waypost.io/abandon": "true" } } });
    let pushes = held.stage.api::<PushSecret>(&held.stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(abandon)).await?;
    held.goes().await?;
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
    held.goes().await?;
    held.bao.start().await?;
    let claim = held.claim().await?;
    assert!(claim.contains(&format!("namespace={} name=push ", stage.producer)), "{claim}");

    stage.secret(&stage.producer, "next", &[("password", "better")]).await?;
    let more = json!({ "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": held.store }] });
    stage.push("successor", "next", &[("password", "password")], more).await?;
    stage.ready::<PushSecret>(&stage.producer, "successor", "True", "Synced").await?;
    assert_eq!(held.stored().await?, json!({ "password": "better" }));
    assert_ne!(held.claim().await?, claim);
    Ok(())
}

/// A PushSecret that is being deleted, and cannot be cleaned up.
struct Held {
    stage: Stage,
    bao: Bao,
    store: String,
}

impl Held {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        let (bao, store) = stage.own_store().await?;
        stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
        let more = json!({
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": store }], "deletionPolicy": "Delete",
        });
        stage.push("push", "source", &[("password", "password")], more).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        bao.stop();
        stage.delete::<PushSecret>(&stage.producer, "push").await?;
        let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "CleanupPending").await?;
        assert!(said.contains(&stage.path()) && said.contains("waypost.io/abandon"), "{said}");
        Ok(Held { stage, bao, store })
    }

    async fn goes(&self) -> anyhow::Result<()> {
        let pushes = self.stage.api::<PushSecret>(&self.stage.producer);
        wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt("push").await?.is_none().then_some(())))
            .await
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
