//! Stores that fail: targets keep the last good data, the condition says what is wrong, and
//! everything recovers by itself.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Bao, VaultAdmin};
use waypost_e2e::wait;

use crate::stage::{LATER, Stage, bytes_of, condition};

/// May look after its own session and find the mount, and nothing else.
const NOTHING: &str = r#"
path "auth/token/lookup-self" { capabilities = ["read"] }
path "sys/internal/ui/mounts/secret" { capabilities = ["read"] }
path "secret/data/elsewhere/*" { capabilities = ["read"] }
"#;
const POLICIES: [&str; 2] = ["waypost-combined", "waypost-scan"];

#[tokio::test]
async fn es9_a_sealed_store_leaves_targets_alone_and_recovers() -> anyhow::Result<()> {
    let outage = Outage::begin("es9s").await?;
    outage.bao.seal().await?;
    outage.is_endured("sealed").await?;
    outage.bao.unseal().await?;
    outage.is_over().await
}

#[tokio::test]
async fn es9_a_stopped_store_leaves_targets_alone_and_recovers() -> anyhow::Result<()> {
    let outage = Outage::begin("es9d").await?;
    outage.bao.stop();
    outage.is_endured("refused").await?;
    outage.bao.start().await?;
    outage.is_over().await
}

#[tokio::test]
async fn a_rotation_while_the_store_is_sealed_or_down_is_pushed_once_it_is_back_as_one_version() -> anyhow::Result<()> {
    let stage = Stage::new("rides").await?;
    let (bao, store) = stage.own_store().await?;
    let admin = bao.admin()?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let more = json!({ "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": store }] });
    stage.push("push", "source", &[("password", "password")], more).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let arrives = async |value: &str, version: u64| {
        wait::until(&format!("version {version}"), LATER, async || {
            let Some(entry) = admin.read("secret", &stage.path()).await? else { bail!("the path is gone") };
            ensure!(entry.version() == version, "it is at version {}", entry.version());
            Ok((entry.data == Some(json!({ "password": value }))).then_some(()))
        })
        .await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await
    };

    bao.seal().await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    ensure!(said.contains("sealed"), "{said}");
    bao.unseal().await?;
    arrives("two", 2).await?;

    bao.stop();
    stage.secret(&stage.producer, "source", &[("password", "three")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    bao.start().await?;
    arrives("three", 3).await?;
    Ok(())
}

#[tokio::test]
async fn es9_a_policy_that_forbids_leaves_targets_alone_and_recovers() -> anyhow::Result<()> {
    let outage = Outage::begin("es9p").await?;
    let mut before = Vec::new();
    for policy in POLICIES {
        let path = format!("sys/policies/acl/{policy}");
        let rules = outage.admin.get(&path).await?.unwrap_or_default();
        before.push((policy, rules["data"]["policy"].as_str().unwrap_or_default().to_owned()));
        outage.admin.put_policy(policy, NOTHING).await?;
    }
    outage.is_endured("permission denied").await?;
    for (policy, rules) in before {
        outage.admin.put_policy(policy, &rules).await?;
    }
    outage.is_over().await
}

#[tokio::test]
async fn es9_a_mount_that_is_gone_leaves_targets_alone_and_recovers() -> anyhow::Result<()> {
    let outage = Outage::begin("es9m").await?;
    outage.moves_the_mount("secret", "elsewhere").await?;
    outage.is_endured("no secrets engine").await?;
    outage.moves_the_mount("elsewhere", "secret").await?;
    outage.is_over().await
}

/// One target of a store that is about to fail.
struct Outage {
    stage: Stage,
    bao: Bao,
    admin: VaultAdmin,
    good: Secret,
}

impl Outage {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        let (bao, name) = stage.own_store().await?;
        let admin = bao.admin()?;
        admin.write("secret", &stage.path(), &json!({ "password": "good" })).await?;
        let more = json!({
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": name },
            "refreshInterval": "1s",
            // Even where a value that is gone would delete the target, an outage must not.
            "target": { "deletionPolicy": "Delete" },
        });
        stage.pull("pull", &[("password", "password")], more).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
        let good = stage.holds(&stage.consumer, "pull", &[("password", "good")]).await?;
        Ok(Outage { stage, bao, admin, good })
    }

    /// The condition names the cause, and the target is what it was, to the byte and the
    /// resourceVersion.
    async fn is_endured(&self, cause: &str) -> anyhow::Result<()> {
        let pulls = self.stage.api::<ExternalSecret>(&self.stage.consumer);
        wait::until(&format!("the condition to say {cause:?}"), LATER, async || {
            let pull = serde_json::to_value(pulls.get("pull").await?)?;
            let ready = condition(&pull).cloned().unwrap_or_default();
            ensure!(ready["status"] == "False" && ready["reason"] == "SecretSyncedError", "it is {ready}");
            ensure!(ready["message"].as_str().is_some_and(|message| message.contains(cause)), "it is {ready}");
            Ok(Some(()))
        })
        .await?;
        let target = self.stage.api::<Secret>(&self.stage.consumer).get("pull").await?;
        assert_eq!(bytes_of(&target), BTreeMap::from([("password".to_owned(), b"good".to_vec())]));
        assert_eq!(target.resource_version(), self.good.resource_version());
        Ok(())
    }

    /// Nobody touches the resource, and the target follows the store again.
    async fn is_over(&self) -> anyhow::Result<()> {
        self.admin.write("secret", &self.stage.path(), &json!({ "password": "better" })).await?;
        let consumer = &self.stage.consumer;
        let target = self.stage.holds_within(LATER, consumer, "pull", &[("password", "better")]).await?;
        assert_eq!(target.uid(), self.good.uid(), "it was not deleted in between");
        self.stage.ready::<ExternalSecret>(consumer, "pull", "True", "SecretSynced").await?;
        Ok(())
    }

    async fn moves_the_mount(&self, from: &str, to: &str) -> anyhow::Result<()> {
        self.admin.post("sys/remount", &json!({ "from": from, "to": to })).await?;
        wait::until(&format!("the mount {from} to serve as {to}"), LATER, async || {
            self.admin.get(&format!("{to}/config")).await
        })
        .await
        .map(drop)
    }
}
