//! Several stores of one PushSecret: each is independent, and labels may select them.

use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, PushSecret};
use waypost_e2e::lab::{Lab, Signal, VaultAdmin};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref};
use crate::stage::{LATER, SOON, STORE, Stage, mapping};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

impl Stage {
    /// Sets or removes a label of a ClusterSecretStore.
    pub async fn label_store(&self, store: &str, value: Option<&str>) -> anyhow::Result<()> {
        let stores: Api<ClusterSecretStore> = Api::all(self.client.clone());
        let labels = json!({ "metadata": { "labels": { (&self.word): value } } });
        stores.patch(store, &PatchParams::default(), &Patch::Merge(labels)).await?;
        Ok(())
    }

    /// Waits until this test's path has this password in a server, or none.
    async fn has_password(&self, vault: &VaultAdmin, deadline: Duration, password: Option<&str>) -> anyhow::Result<()> {
        let what = format!("the password to be {password:?}");
        wait::until(&what, deadline, async || {
            let data = vault.read("secret", &self.path()).await?.and_then(|entry| entry.data).unwrap_or_default();
            let found = data["password"].as_str();
            anyhow::ensure!(found == password, "it is {found:?}");
            Ok(Some(()))
        })
        .await
    }
}

#[tokio::test]
async fn a_hanging_and_an_unreachable_store_delay_no_other_and_each_is_told_by_itself() -> anyhow::Result<()> {
    let stage = Stage::new("manystores").await?;
    let (hanging, hanging_store) = stage.own_store().await?;
    let unreachable = format!("{}-unreachable", stage.word);
    // Port 9 is the discard service, which nobody runs.
    crate::stage::store(Lab::shared().await?, &unreachable, "https://127.0.0.1:9", None).await?;
    hanging.signal(Signal::Stop)?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let refs: Value = [&hanging_store, STORE, &unreachable]
        .iter()
        .map(|name| json!({ "kind": "ClusterSecretStore", "name": name }))
        .collect();
    stage.push("push", "source", PASSWORD, json!({ "secretStoreRefs": refs })).await?;
    for password in ["one", "two", "three"] {
        stage.secret(&stage.producer, "source", &[("password", password)]).await?;
        stage.has_password(&stage.vault, SOON, Some(password)).await?;
    }
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("each store to be told by itself", LATER, async || {
        let status = pushes.get("push").await?.status.unwrap_or_default();
        let said = serde_json::to_value(&status)?;
        let message = said["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
        let states: Vec<String> = (status.paths.iter())
            .map(|path| format!("{} {:?}", path.store.trim_start_matches("ClusterSecretStore/"), path.state))
            .collect();
        let wanted = [
            format!("{hanging_store} Some(Failed)"),
            format!("{unreachable} Some(Failed)"),
            format!("{STORE} Some(Synced)"),
        ];
        let named = [&hanging_store, &unreachable].iter().all(|store| message.contains(store.as_str()));
        let is_told = named && message.ends_with(&format!("all is in place in ClusterSecretStore/{STORE}"));
        anyhow::ensure!(is_told && wanted.iter().all(|state| states.contains(state)), "{message} {states:?}");
        Ok(Some(()))
    })
    .await?;
    hanging.signal(Signal::Cont)?;
    stage.has_password(&hanging.admin()?, LATER, Some("three")).await
}

/// An intent may be removed a minute after it was first seen, and its entry is looked at again
/// within another.
const ABANDONED: Duration = Duration::from_secs(120);

#[tokio::test]
async fn an_intent_whose_claimant_died_holds_up_its_own_store_alone_and_not_for_ever() -> anyhow::Result<()> {
    let stage = Stage::new("deadintent").await?;
    let (bao, store) = stage.own_store().await?;
    let admin = bao.admin()?;
    // Of two claimants the lower UID continues.
    let uid = "00000000-0000-4000-8000-000000000000";
    let metadata = json!({
        "managed-by": "external-secrets",
        (format!("intent.waypost.io/{uid}/password")): format!("cluster=east namespace=db name=push uid={uid}"),
    });
    admin.write_custom_metadata("secret", &stage.path(), &metadata).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "secretStoreRefs": [store_ref(&store), store_ref(STORE)] })).await?;
    for password in ["one", "two"] {
        stage.secret(&stage.producer, "source", &[("password", password)]).await?;
        stage.has_password(&stage.vault, SOON, Some(password)).await?;
    }
    stage.has_password(&admin, ABANDONED, Some("two")).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let left = admin.metadata("secret", &stage.path()).await?.unwrap_or_default();
    anyhow::ensure!(!left.to_string().contains("intent."), "{left}");
    let entry = admin.read("secret", &stage.path()).await?;
    anyhow::ensure!(entry.is_some_and(|entry| entry.version() == 1), "what waited is written once");
    Ok(())
}

/// How a store leads is the same, so only those that select by labels have anything to do.
#[tokio::test]
async fn a_label_of_a_store_wakes_nobody_who_names_the_store() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("labelcost").await?, Lab::shared().await?);
    let store = format!("{}-store", stage.word);
    crate::stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let named = format!("{}-named", stage.path());
    let data = json!([mapping("password", &named, "password")]);
    stage.push("named", "source", &[], json!({ "secretStoreRefs": [store_ref(&store)], "data": data })).await?;
    let selector = json!({ "matchLabels": { (&stage.word): "yes" } });
    let refs = json!([{ "kind": "ClusterSecretStore", "labelSelector": selector }]);
    stage.push("selects", "source", PASSWORD, json!({ "secretStoreRefs": refs })).await?;
    let entry = json!({ "secretKey": "PASSWORD", "remoteRef": { "key": named, "property": "password" } });
    stage.pull("pull", &[], json!({ "secretStoreRef": store_ref(&store), "data": [entry] })).await?;
    stage.ready::<PushSecret>(&stage.producer, "named", "True", "Synced").await?;
    stage.ready::<PushSecret>(&stage.producer, "selects", "False", "StoreNotFound").await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "one")]).await?;

    // Whoever is woken, and finds everything in order asks Vault nothing, but is reconciled.
    let namespace = format!("namespace=\"{}\"", stage.consumer);
    let reconciles = async || stage.controller.metric("externalsecret_sync_calls_total", &[&namespace]).await;
    let relabel = async || {
        stage.label_store(&store, Some("yes")).await?;
        stage.has_password(&stage.vault, SOON, Some("one")).await?;
        stage.ready::<PushSecret>(&stage.producer, "selects", "True", "Synced").await?;
        stage.label_store(&store, None).await?;
        stage.ready::<PushSecret>(&stage.producer, "selects", "False", "StoreNotFound").await
    };
    let audit = lab.bao()?.audit();
    let mark = audit.mark()?;
    relabel().await?;
    for part in ["data", "metadata"] {
        let asked = audit.since_under(mark, &format!("secret/{part}/{named}"))?;
        assert!(asked.is_empty(), "{asked:?}");
    }
    let before = reconciles().await?;
    assert!(before >= 1.0, "it was reconciled when it was made");
    relabel().await?;
    relabel().await?;
    assert_eq!(reconciles().await?, before, "a label woke who reads through the store");
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn stores_that_labels_select_get_their_value_as_they_come_and_lose_it_as_they_go() -> anyhow::Result<()> {
    let stage = Stage::new("labelstores").await?;
    let (bao, own) = stage.own_store().await?;
    let admin = bao.admin()?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let refs = json!([{ "kind": "ClusterSecretStore", "labelSelector": { "matchLabels": { (&stage.word): "yes" } } }]);
    let more = json!({ "secretStoreRefs": refs, "deletionPolicy": "Delete" });
    stage.push("push", "source", PASSWORD, more).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotFound").await?;
    assert!(message.contains(&format!("{}=yes", stage.word)), "{message}");

    stage.label_store(&own, Some("yes")).await?;
    stage.has_password(&admin, SOON, Some("one")).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.label_store(STORE, Some("yes")).await?;
    stage.has_password(&stage.vault, SOON, Some("one")).await?;
    // One that serves other namespaces is nobody's concern.
    stage.admit(&own, json!([{ "namespaces": ["elsewhere"] }])).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.has_password(&stage.vault, SOON, Some("two")).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.has_password(&admin, SOON, Some("one")).await?;

    stage.admit(&own, json!([])).await?;
    stage.has_password(&admin, SOON, Some("two")).await?;
    stage.label_store(STORE, None).await?;
    stage.has_password(&stage.vault, SOON, None).await?;
    // The last one goes: nobody knows where the value should be, so it stays.
    stage.label_store(&own, None).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotFound").await?;
    stage.has_password(&admin, SOON, Some("two")).await
}
