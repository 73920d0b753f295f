//! A store is an input of every target that is rendered through it: an edit of any of its fields
//! arrives within seconds, however long the refresh interval is, and nobody has to touch the
//! ExternalSecrets.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret, SecretStore};
use waypost_e2e::lab::{Lab, Transport, ca_bundle};
use waypost_e2e::wait;

use crate::bad_store::{cluster_store, edit_store, remove_store, store_ref};
use crate::moved_stores::{may_use, two_spaces};
use crate::stage::{self, LATER, SOON, Stage, bytes_of};
use crate::tenants::{account, allow_token_requests, may_log_in, store_spec};

/// Resources that are read again on changes only, or never, beside one that follows.
const POLICIES: [(&str, &str, &str); 4] = [
    ("follows", "Periodic", "24h"),
    ("on-change", "OnChange", "24h"),
    ("created-once", "CreatedOnce", "24h"),
    ("interval-zero", "Periodic", "0"),
];

/// Those of them that are not read again.
fn frozen() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().map(|(name, ..)| *name).filter(|name| *name != "follows")
}

/// A store of this test's own on the lab's server, and a target of each policy in sync through it.
async fn in_sync(test: &str) -> anyhow::Result<(Stage, String)> {
    let (stage, lab) = (Stage::new(test).await?, Lab::shared().await?);
    let store = format!("{}-store", stage.word);
    stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "old" })).await?;
    all_read(&stage, &store).await?;
    Ok((stage, store))
}

/// A target of each policy gets the old value through a store.
async fn all_read(stage: &Stage, store: &str) -> anyhow::Result<()> {
    for (name, policy, interval) in POLICIES {
        let more = json!({
            "secretStoreRef": store_ref(store), "refreshPolicy": policy, "refreshInterval": interval,
            "target": { "name": name },
        });
        stage.pull(name, &[("PASSWORD", "password")], more).await?;
        stage.holds(&stage.consumer, name, &[("PASSWORD", "old")]).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
    }
    Ok(())
}

/// Every one of them says so within seconds, and keeps its target.
async fn all_say(stage: &Stage, status: &str, reason: &str, words: &[&str]) -> anyhow::Result<()> {
    for (name, ..) in POLICIES {
        says(stage, name, status, reason, words).await?;
        let target = stage.api::<Secret>(&stage.consumer).get(name).await?;
        assert_eq!(bytes_of(&target)["PASSWORD"], b"old", "{name}");
    }
    Ok(())
}

async fn says(stage: &Stage, name: &str, status: &str, reason: &str, words: &[&str]) -> anyhow::Result<()> {
    said_of::<ExternalSecret>(stage, &stage.consumer, name, status, reason, words).await
}

async fn said_of<K>(
    stage: &Stage,
    namespace: &str,
    name: &str,
    status: &str,
    reason: &str,
    words: &[&str],
) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    let objects = stage.api::<K>(namespace);
    wait::until(&format!("{name} to be {status} {reason}: {words:?}"), SOON, async || {
        let object = serde_json::to_value(objects.get(name).await?)?;
        let ready = stage::condition(&object).cloned().unwrap_or_default();
        let message = ready["message"].as_str().unwrap_or_default();
        let fits = ready["status"] == status && ready["reason"] == reason;
        match fits && words.iter().all(|word| message.contains(word)) {
            true => Ok(Some(())),
            false => anyhow::bail!("it says {ready}"),
        }
    })
    .await
}

/// The one that follows has the value of the new place; the others keep theirs and say that the
/// store was edited.
async fn only_who_follows_moves(stage: &Stage, value: &str) -> anyhow::Result<()> {
    stage.holds(&stage.consumer, "follows", &[("PASSWORD", value)]).await?;
    for name in frozen() {
        says(stage, name, "True", "SecretSynced", &["its store was edited since"]).await?;
        stage.holds(&stage.consumer, name, &[("PASSWORD", "old")]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_moved_to_another_server_takes_its_targets_along() -> anyhow::Result<()> {
    let (stage, store) = in_sync("sesrv").await?;
    let other = Lab::shared().await?.extra_bao(Transport::Tls).await?;
    other.admin()?.write("secret", &stage.path(), &json!({ "password": "new" })).await?;
    let ca = other.ca_pem().map(ca_bundle);
    edit_store(&stage, &store, json!({ "server": other.address(), "caBundle": ca })).await?;
    only_who_follows_moves(&stage, "new").await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn a_store_that_is_given_another_path_takes_its_targets_along() -> anyhow::Result<()> {
    let (stage, store) = in_sync("sepath").await?;
    let mount = format!("{}-kv", stage.word);
    stage.vault.enable_mount(&mount, "kv", &json!({ "version": "2" })).await?;
    stage.vault.write(&mount, &stage.path(), &json!({ "password": "new" })).await?;
    edit_store(&stage, &store, json!({ "path": mount })).await?;
    // No shipped policy allows that mount.
    says(&stage, "follows", "False", "SecretSyncedError", &[&mount]).await?;
    stage.holds(&stage.consumer, "follows", &[("PASSWORD", "old")]).await?;
    let role = may_use(&stage, &mount).await?;
    edit_store(&stage, &store, json!({ "auth": { "kubernetes": { "role": role } } })).await?;
    only_who_follows_moves(&stage, "new").await?;
    edit_store(&stage, &store, json!({ "path": "secret" })).await?;
    only_who_follows_moves(&stage, "old").await?;
    remove_store(&stage, &store).await
}

/// A namespace's own store, and a cluster's store that logs in with each namespace's account.
#[tokio::test]
async fn stores_that_log_in_as_the_namespace_take_its_targets_along_to_another_server() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("seown").await?, Lab::shared().await?);
    let other = lab.extra_bao(Transport::Tls).await?;
    account(&stage, &stage.consumer, "reader", "waypost-consumer").await?;
    allow_token_requests(&stage, &stage.consumer, "reader").await?;
    may_log_in(&other.admin()?, &stage.word, &stage.consumer, "reader", "waypost-consumer").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "old" })).await?;
    other.admin()?.write("secret", &stage.path(), &json!({ "password": "new" })).await?;
    let mut store = store_spec(&stage, json!({ "serviceAccountRef": { "name": "reader" } })).await?;
    let names = [("SecretStore", "own".to_owned()), ("ClusterSecretStore", format!("{}-referent", stage.word))];
    let apply = async |spec: &Value| -> anyhow::Result<()> {
        let [(_, own), (_, referent)] = &names;
        stage.apply::<SecretStore>(&stage.consumer, own, spec.clone()).await?;
        stage::apply_store(lab, cluster_store(referent, spec)).await
    };
    apply(&store).await?;
    for (kind, name) in &names {
        let more = json!({ "secretStoreRef": { "kind": kind, "name": name }, "target": { "name": name } });
        stage.pull(name, &[("PASSWORD", "password")], more).await?;
        stage.holds_within(LATER, &stage.consumer, name, &[("PASSWORD", "old")]).await?;
    }
    let vault = &mut store["provider"]["vault"];
    vault["server"] = json!(other.address());
    vault["caBundle"] = json!(other.ca_pem().map(ca_bundle));
    apply(&store).await?;
    for (_, name) in &names {
        stage.holds_within(LATER, &stage.consumer, name, &[("PASSWORD", "new")]).await?;
    }
    remove_store(&stage, &names[1].1).await
}

#[tokio::test]
async fn a_store_that_is_given_another_vault_namespace_takes_its_targets_along() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("sespace").await?, Lab::shared().await?);
    let store = format!("{}-store", stage.word);
    let [first, second] = two_spaces(&stage).await?;
    first.inside.write("secret", &stage.path(), &json!({ "password": "old" })).await?;
    second.inside.write("secret", &stage.path(), &json!({ "password": "new" })).await?;
    stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    edit_store(&stage, &store, json!({ "namespace": first.name, "auth": first.auth })).await?;
    all_read(&stage, &store).await?;
    edit_store(&stage, &store, json!({ "namespace": second.name, "auth": second.auth })).await?;
    only_who_follows_moves(&stage, "new").await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn a_store_that_is_given_another_vault_namespace_is_not_read_in_the_old_one() -> anyhow::Result<()> {
    let (stage, store) = in_sync("sens").await?;
    edit_store(&stage, &store, json!({ "namespace": format!("{}-nowhere", stage.word) })).await?;
    says(&stage, "follows", "False", "SecretSyncedError", &[]).await?;
    stage.holds(&stage.consumer, "follows", &[("PASSWORD", "old")]).await?;
    edit_store(&stage, &store, json!({ "namespace": Value::Null })).await?;
    says(&stage, "follows", "True", "SecretSynced", &[]).await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn s18_narrowed_conditions_and_a_deletion_reach_every_target_of_the_store() -> anyhow::Result<()> {
    let (stage, store) = in_sync("second").await?;
    stage.admit(&store, json!([{ "namespaces": ["somebody-else"] }])).await?;
    all_say(&stage, "False", "NotPermitted", &[&store]).await?;
    stage.admit(&store, json!([{ "namespaces": [stage.consumer] }])).await?;
    all_say(&stage, "True", "SecretSynced", &[]).await?;

    // By labels, which the namespace loses.
    stage.admit(&store, json!([{ "namespaceSelector": { "matchLabels": { "serves": stage.word } } }])).await?;
    all_say(&stage, "False", "NotPermitted", &[&store]).await?;
    label(&stage, &stage.consumer, Some(&stage.word)).await?;
    all_say(&stage, "True", "SecretSynced", &[]).await?;
    label(&stage, &stage.consumer, None).await?;
    all_say(&stage, "False", "NotPermitted", &[&store]).await?;
    label(&stage, &stage.consumer, Some(&stage.word)).await?;
    all_say(&stage, "True", "SecretSynced", &[]).await?;

    remove_store(&stage, &store).await?;
    all_say(&stage, "False", "StoreNotFound", &[&store]).await
}

async fn label(stage: &Stage, namespace: &str, value: Option<&str>) -> anyhow::Result<()> {
    let labels = json!({ "metadata": { "labels": { "serves": value } } });
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(labels)).await?;
    Ok(())
}

/// Nobody touches the PushSecret, and what it pushed stays.
#[tokio::test]
async fn s18_a_namespace_that_loses_and_gets_back_its_label_is_told_to_its_push_secret() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("sepush").await?, Lab::shared().await?);
    let store = format!("{}-store", stage.word);
    stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    stage.admit(&store, json!([{ "namespaceSelector": { "matchLabels": { "serves": stage.word } } }])).await?;
    label(&stage, &stage.producer, Some(&stage.word)).await?;
    stage.secret(&stage.producer, "source", &[("password", "old")]).await?;
    let more = json!({ "secretStoreRefs": [store_ref(&store)], "deletionPolicy": "Delete" });
    let applied = stage.push("push", "source", &[("password", "password")], more).await?;
    let is_told = async |status: &str, reason: &str, words: &[&str]| {
        said_of::<PushSecret>(&stage, &stage.producer, "push", status, reason, words).await
    };
    is_told("True", "Synced", &[]).await?;
    for _ in 0..2 {
        label(&stage, &stage.producer, None).await?;
        is_told("False", "NotPermitted", &[&store]).await?;
        label(&stage, &stage.producer, Some(&stage.word)).await?;
        is_told("True", "Synced", &[]).await?;
    }
    let present = stage.api::<PushSecret>(&stage.producer).get("push").await?;
    assert_eq!(present.metadata.generation, applied.metadata.generation);
    assert_eq!((stage.stored().await?, stage.version().await?), (json!({ "password": "old" }), 1));

    // One that is being deleted waits for the label too.
    label(&stage, &stage.producer, None).await?;
    is_told("False", "NotPermitted", &[&store]).await?;
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    is_told("False", "CleanupPending", &[&store]).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "old" }));
    label(&stage, &stage.producer, Some(&stage.word)).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("it to go", SOON, async || Ok(pushes.get_opt("push").await?.is_none().then_some(()))).await?;
    assert_eq!(stage.stored().await?, Value::Null);
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn es1_a_push_through_an_edited_store_wakes_who_reads_through_it() -> anyhow::Result<()> {
    let (stage, store) = in_sync("sewake").await?;
    let other = Lab::shared().await?.extra_bao(Transport::Tls).await?;
    let ca = other.ca_pem().map(ca_bundle);
    edit_store(&stage, &store, json!({ "server": other.address(), "caBundle": ca })).await?;
    says(&stage, "follows", "False", "PathNotFound", &["does not exist", "keeps its data"]).await?;
    stage.secret(&stage.producer, "source", &[("password", "pushed")]).await?;
    let through = json!({ "secretStoreRefs": [store_ref(&store)] });
    stage.push("push", "source", &[("password", "password")], through).await?;
    stage.holds(&stage.consumer, "follows", &[("PASSWORD", "pushed")]).await?;
    remove_store(&stage, &store).await
}
