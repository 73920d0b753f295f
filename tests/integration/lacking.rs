//! What a store's policy lacks is named with its path: by the store before anything fails, and by
//! whoever waits for it.

use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Lab, cluster_secret_store};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref, store_says};
use crate::least_rights::{login_by, manifest, printed};
use crate::stage::{LATER, Stage, apply_store, mapping};

/// A policy without the rules below this part of the KV API.
fn without(policy: &str, part: &str) -> String {
    let begins = format!("path \"secret/{part}/");
    policy.lines().filter(|line| !line.starts_with(&begins)).map(|line| format!("{line}\n")).collect()
}

fn push(stage: &Stage, store: &str) -> Value {
    json!({
        "refreshInterval": "24h", "deletionPolicy": "Delete", "selector": { "secret": { "name": "source" } },
        "secretStoreRefs": [store_ref(store)], "data": [mapping("password", &stage.path(), "password")],
    })
}

#[tokio::test]
async fn a_policy_without_delete_is_named_by_the_store_and_by_the_push_secret_that_waits_for_it() -> anyhow::Result<()>
{
    let stage = Stage::new("nodelete").await?;
    let store = format!("{}-store", stage.word);
    let spec = push(&stage, &store);
    let policy = printed("publisher", &manifest("external-secrets.io/v1alpha1", "PushSecret", &spec))?;
    login_by(&stage, &store, &without(&policy, "delete")).await?;
    let lacks = "lack `update` at secret/delete/platform-data/*";
    store_says(&stage, &store, "True", "Valid", &[lacks, "deletionPolicy: Delete"]).await?;

    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    stage.apply::<PushSecret>(&stage.producer, "push", spec).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "CleanupPending").await?;
    let named = format!("secret/delete/{}: let the role's policy allow `update` there", stage.path());
    assert!(said.contains(&named), "{said}");

    stage.vault.put_policy(&store, &policy).await?;
    wait::until("the PushSecret to go", LATER, async || {
        Ok(stage.api::<PushSecret>(&stage.producer).get_opt("push").await?.is_none().then_some(()))
    })
    .await?;
    assert_eq!(stage.stored().await?, Value::Null);
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn a_policy_without_claims_is_named_by_the_store_and_by_the_push_secret() -> anyhow::Result<()> {
    let stage = Stage::new("noclaims").await?;
    let store = format!("{}-store", stage.word);
    let spec = push(&stage, &store);
    let policy = printed("publisher", &manifest("external-secrets.io/v1alpha1", "PushSecret", &spec))?;
    login_by(&stage, &store, &without(&policy, "metadata")).await?;
    let lacks = "lack `create`, `read`, `update`, `patch` at secret/metadata/platform-data/*";
    store_says(&stage, &store, "True", "Valid", &[lacks]).await?;

    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    stage.apply::<PushSecret>(&stage.producer, "push", spec).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "NotPermitted").await?;
    assert!(said.contains(&format!("secret/metadata/{}: let the role's policy allow `", stage.path())), "{said}");
    stage.vault.put_policy(&store, &policy).await?;
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn r4_a_policy_of_single_paths_makes_no_failing_store() -> anyhow::Result<()> {
    let stage = Stage::new("onepath").await?;
    let store = format!("{}-store", stage.word);
    stage.vault.write("secret", &stage.path(), &json!({ "password": "good" })).await?;
    let policy = format!("path \"secret/data/{}\" {{ capabilities = [\"read\"] }}\n", stage.path());
    // What the policy that every server calls `default` allows.
    let own = ["sys/capabilities-self", "auth/token/renew-self", "auth/token/revoke-self"];
    let own: String = own.map(|path| format!("path \"{path}\" {{ capabilities = [\"update\"] }}\n")).concat();
    let look = "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }\n";
    login_by(&stage, &store, &format!("{policy}{own}{look}")).await?;
    let words = ["neither reading nor writing secret/data/platform-data/*", "`waypost policy`"];
    store_says(&stage, &store, "True", "Valid", &words).await?;
    stage.pull("pull", &[("password", "password")], json!({ "secretStoreRef": store_ref(&store) })).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "good")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn r11_a_store_without_auth_is_told_so() -> anyhow::Result<()> {
    let stage = Stage::new("noauth").await?;
    let (lab, store) = (Lab::shared().await?, format!("{}-store", stage.word));
    let mut object = cluster_secret_store(&store, lab.vault_addr(), lab.vault_ca_pem());
    if let Some(vault) = object["spec"]["provider"]["vault"].as_object_mut() {
        vault.remove("auth");
    }
    apply_store(lab, object).await?;
    let words = ["the store has no `auth`", "set `auth`"];
    let said = store_says(&stage, &store, "False", "InvalidProviderConfig", &words).await?;
    assert!(!said.contains("no secrets engine"), "{said}");
    stage.pull("pull", &[("password", "password")], json!({ "secretStoreRef": store_ref(&store) })).await?;
    let said = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "SecretSyncedError").await?;
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn r3_a_slash_before_the_mount_and_before_a_key_counts_for_nothing() -> anyhow::Result<()> {
    let stage = Stage::new("slash").await?;
    let (lab, store) = (Lab::shared().await?, format!("{}-store", stage.word));
    let mut object = cluster_secret_store(&store, lab.vault_addr(), lab.vault_ca_pem());
    object["spec"]["provider"]["vault"]["path"] = json!("/secret");
    apply_store(lab, object).await?;
    store_says(&stage, &store, "True", "Valid", &[]).await?;
    let stores: kube::Api<waypost::api::ClusterSecretStore> = kube::Api::all(stage.client.clone());
    let status = serde_json::to_value(stores.get(&store).await?)?;
    assert_eq!(status["status"]["vault"]["mount"], "secret");
    stage.vault.write("secret", &stage.path(), &json!({ "password": "good" })).await?;
    let spec = json!({
        "refreshInterval": "24h", "secretStoreRef": store_ref(&store),
        "data": [{ "secretKey": "password", "remoteRef": { "key": format!("/{}", stage.path()), "property": "password" } }],
    });
    stage.apply::<ExternalSecret>(&stage.consumer, "pull", spec).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "good")]).await?;
    remove_store(&stage, &store).await
}
