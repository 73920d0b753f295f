//! Stores that are edited in place on real servers: what was pushed to the former place goes once
//! everything is written at the new one, or is named.

use anyhow::ensure;
use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::lab::{Lab, Transport, VaultAdmin, ca_bundle, cluster_secret_store};
use waypost_e2e::wait;

use crate::bad_store::{cluster_store, edit_store, remove_store};
use crate::logins::AppRole;
use crate::stage::{self, LATER, SOON, Stage};
use crate::tenants::{account, allow_token_requests, may_log_in, store_spec};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

/// A PushSecret that has pushed its password through a store of this test's own, on the lab's server.
async fn pushed(test: &str) -> anyhow::Result<(Stage, String)> {
    let (stage, lab) = (Stage::new(test).await?, Lab::shared().await?);
    let store = format!("{}-store", stage.word);
    stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    push(&stage, &store, "one").await?;
    stands(&stage.vault, "secret", &stage, "one").await?;
    Ok((stage, store))
}

async fn push(stage: &Stage, store: &str, value: &str) -> anyhow::Result<()> {
    stage.secret(&stage.producer, "source", &[("password", value)]).await?;
    let to =
        json!({ "deletionPolicy": "Delete", "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": store }] });
    stage.push("push", "source", PASSWORD, to).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    Ok(())
}

async fn stored(vault: &VaultAdmin, mount: &str, stage: &Stage) -> anyhow::Result<Value> {
    let entry = vault.read(mount, &stage.path()).await?;
    Ok(entry.and_then(|entry| entry.data).unwrap_or_default())
}

async fn stands(vault: &VaultAdmin, mount: &str, stage: &Stage, value: &str) -> anyhow::Result<()> {
    wait::until(&format!("{value} to stand at {mount}"), LATER, async || {
        let found = stored(vault, mount, stage).await?;
        ensure!(found == json!({ "password": value }), "{found}");
        Ok(Some(()))
    })
    .await
}

/// Nothing is left there, and the ledger lists only the present location.
async fn is_clean(vault: &VaultAdmin, mount: &str, stage: &Stage) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until(&format!("{mount} to be clean"), SOON, async || {
        let found = stored(vault, mount, stage).await?;
        let status = pushes.get("push").await?.status.unwrap_or_default();
        ensure!(found == Value::Null && status.former_locations.is_empty(), "{found}, {status:?}");
        ensure!(status.store_locations.len() == 1, "{status:?}");
        Ok(Some(()))
    })
    .await
}

/// A role with rights on a mount beside the shipped ones.
pub async fn may_use(stage: &Stage, mount: &str) -> anyhow::Result<String> {
    let rules = stage.vault.get("sys/policies/acl/waypost-combined").await?.unwrap_or_default();
    let rules = rules["data"]["policy"].as_str().unwrap_or_default();
    let more = rules.replace("path \"secret/", &format!("path \"{mount}/"));
    stage.vault.put_policy(mount, &format!("{rules}\n{more}")).await?;
    let role = json!({
        "bound_service_account_names": ["external-secrets"], "bound_service_account_namespaces": ["external-secrets"],
        "token_policies": [mount], "token_no_default_policy": true,
    });
    stage.vault.post(&format!("auth/kubernetes/role/{mount}"), &role).await?;
    Ok(mount.to_owned())
}

#[tokio::test]
async fn an_edited_path_takes_what_was_pushed_along_and_back() -> anyhow::Result<()> {
    let (stage, store) = pushed("mvpath").await?;
    let mount = format!("{}-kv", stage.word);
    stage.vault.enable_mount(&mount, "kv", &json!({ "version": "2" })).await?;
    let role = may_use(&stage, &mount).await?;
    let login = json!({ "kubernetes": { "role": role } });
    edit_store(&stage, &store, json!({ "path": mount, "auth": login })).await?;
    stands(&stage.vault, &mount, &stage, "one").await?;
    is_clean(&stage.vault, "secret", &stage).await?;
    edit_store(&stage, &store, json!({ "path": "secret" })).await?;
    stands(&stage.vault, "secret", &stage, "one").await?;
    is_clean(&stage.vault, &mount, &stage).await?;
    remove_store(&stage, &store).await
}

/// A Vault namespace of the test's own.
pub struct Space {
    /// Its name.
    pub name: String,
    /// OpenBao in it with all rights.
    pub inside: VaultAdmin,
    /// The `auth` of a store, by an AppRole inside it alone, over that of another method.
    pub auth: Value,
}

/// Two Vault namespaces with a mount and a login each.
pub async fn two_spaces(stage: &Stage) -> anyhow::Result<[Space; 2]> {
    let lab = Lab::shared().await?;
    let rules = stage.vault.get("sys/policies/acl/waypost-combined").await?.unwrap_or_default();
    let rules = rules["data"]["policy"].as_str().unwrap_or_default().to_owned();
    let space = async |letter: &str| {
        let space = format!("{}-{letter}", stage.word);
        stage.vault.post(&format!("sys/namespaces/{space}"), &json!({})).await?;
        let inside = lab.vault_admin()?.in_namespace(&space);
        inside.enable_mount("secret", "kv", &json!({ "version": "2" })).await?;
        inside.put_policy("waypost-combined", &rules).await?;
        let role = AppRole::enable(lab.vault_admin()?.in_namespace(&space), &stage.word, &["waypost-combined"]).await?;
        stage.secret(&stage.producer, letter, &[("secret-id", &role.new_secret_id().await?)]).await?;
        let mut auth = role.auth(&stage.producer);
        auth["appRole"]["secretRef"]["name"] = json!(letter);
        auth["kubernetes"] = Value::Null;
        anyhow::Ok(Space { name: space, inside, auth })
    };
    Ok([space("a").await?, space("b").await?])
}

/// The login is inside the Vault namespace: only the session from before the edit may clean it.
#[tokio::test]
async fn an_edited_vault_namespace_is_cleaned_by_the_session_from_before() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("mvns").await?, Lab::shared().await?);
    let store = format!("{}-store", stage.word);
    let [first, second] = two_spaces(&stage).await?;
    stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    edit_store(&stage, &store, json!({ "namespace": first.name, "auth": first.auth })).await?;
    push(&stage, &store, "one").await?;
    stands(&first.inside, "secret", &stage, "one").await?;
    edit_store(&stage, &store, json!({ "namespace": second.name, "auth": second.auth })).await?;
    stands(&second.inside, "secret", &stage, "one").await?;
    is_clean(&first.inside, "secret", &stage).await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn an_edited_server_takes_what_was_pushed_along() -> anyhow::Result<()> {
    let (stage, store) = pushed("mvsrv").await?;
    let other = Lab::shared().await?.extra_bao(Transport::Tls).await?;
    let ca = other.ca_pem().map(ca_bundle);
    edit_store(&stage, &store, json!({ "server": other.address(), "caBundle": ca })).await?;
    stands(&other.admin()?, "secret", &stage, "one").await?;
    is_clean(&stage.vault, "secret", &stage).await?;
    remove_store(&stage, &store).await
}

/// Each namespace logs in to it with an account of its own.
#[tokio::test]
async fn a_store_that_logs_in_as_the_namespace_takes_what_was_pushed_along_to_another_server() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("mvown").await?, Lab::shared().await?);
    let other = lab.extra_bao(Transport::Tls).await?;
    account(&stage, &stage.producer, "writer", "waypost-combined").await?;
    allow_token_requests(&stage, &stage.producer, "writer").await?;
    may_log_in(&other.admin()?, &stage.word, &stage.producer, "writer", "waypost-combined").await?;
    let store = format!("{}-store", stage.word);
    let spec = store_spec(&stage, json!({ "serviceAccountRef": { "name": "writer" } })).await?;
    stage::apply_store(lab, cluster_store(&store, &spec)).await?;
    push(&stage, &store, "one").await?;
    stands(&stage.vault, "secret", &stage, "one").await?;
    let ca = other.ca_pem().map(ca_bundle);
    edit_store(&stage, &store, json!({ "server": other.address(), "caBundle": ca })).await?;
    stands(&other.admin()?, "secret", &stage, "one").await?;
    is_clean(&stage.vault, "secret", &stage).await?;
    remove_store(&stage, &store).await
}

/// The sessions from before the edit went with the process that had them.
#[tokio::test]
async fn a_server_that_a_restart_shuts_out_is_named_once_and_keeps_what_was_pushed() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("mvshut").await?, Lab::shared().await?);
    let (bao, store) = (lab.extra_bao(Transport::Tls).await?, format!("{}-store", stage.word));
    let mut manifest = cluster_secret_store(&store, bao.address(), bao.ca_pem());
    manifest["spec"]["controller"] = json!(stage.word);
    stage::apply_store(lab, manifest).await?;
    let before = stage.class_controller(&[]).await?;
    push(&stage, &store, "one").await?;
    let old = bao.admin()?;
    stands(&old, "secret", &stage, "one").await?;
    before.kill().await?;

    // As long as nothing says that this is another server, nothing is given up.
    edit_store(&stage, &store, json!({ "server": "https://127.0.0.1:9" })).await?;
    let controller = stage.class_controller(&[]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    ensure!(controller.metric("waypost_push_let_go_total", &[]).await? == 0.0);

    let ca = lab.vault_ca_pem().map(ca_bundle);
    edit_store(&stage, &store, json!({ "server": lab.vault_addr(), "caBundle": ca })).await?;
    let event = stage.orphaned().await?;
    let former = format!("(formerly mount secret at {})", bao.address());
    ensure!(event.contains(&former) && event.contains(&format!("{}/password", stage.path())), "{event}");
    ensure!(event.contains("remove it there by hand"), "{event}");
    stands(&stage.vault, "secret", &stage, "one").await?;
    // A later reconcile does not say it again.
    push(&stage, &store, "two").await?;
    stands(&stage.vault, "secret", &stage, "two").await?;
    ensure!(stored(&old, "secret", &stage).await? == json!({ "password": "one" }), "nobody may remove it");
    for labels in [&[r#"reason="StoreMoved""#][..], &[]] {
        let counted = controller.metric("waypost_push_let_go_total", labels).await?;
        ensure!(counted == 1.0, "it was counted {counted} times");
    }
    let status = stage.api::<PushSecret>(&stage.producer).get("push").await?.status.unwrap_or_default();
    ensure!(status.former_locations.is_empty(), "{status:?}");
    remove_store(&stage, &store).await
}

/// Nothing goes while the new server does not answer; and what a status names is asked nothing.
#[tokio::test]
async fn a_server_that_does_not_answer_takes_nothing_and_one_that_a_status_names_is_only_named() -> anyhow::Result<()> {
    let stage = Stage::new("mvdown").await?;
    let lab = Lab::shared().await?;
    let (bao, store) = stage.own_store().await?;
    push(&stage, &store, "one").await?;
    let old = bao.admin()?;
    let dead = json!({ "server": "https://127.0.0.1:9" });
    edit_store(&stage, &store, dead).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    ensure!(stored(&old, "secret", &stage).await? == json!({ "password": "one" }));
    let ca = lab.vault_ca_pem().map(ca_bundle);
    edit_store(&stage, &store, json!({ "server": lab.vault_addr(), "caBundle": ca })).await?;
    stands(&stage.vault, "secret", &stage, "one").await?;
    is_clean(&old, "secret", &stage).await?;

    // A place of which no session is left, since none was ever there.
    let forged = json!({ "status": { "formerLocations": [{
        "store": format!("ClusterSecretStore/{store}"), "location": { "server": "https://attacker.example", "path": "secret" },
        "pushed": { "x/password": { "match": { "remoteRef": { "remoteKey": stage.path(), "property": "password" } } } },
    }] } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch_status("push", &Default::default(), &kube::api::Patch::Merge(forged)).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    let event = stage.orphaned().await?;
    ensure!(event.contains("at https://attacker.example") && event.contains("remove it there by hand"), "{event}");
    ensure!(stage.controller.metric("waypost_push_let_go_total", &[r#"reason="StoreMoved""#]).await? >= 1.0);
    stands(&stage.vault, "secret", &stage, "two").await?;
    remove_store(&stage, &store).await
}
