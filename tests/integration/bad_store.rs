//! Unusable stores: the messages, that targets keep their data, and that everything recovers by
//! itself.

use std::time::Duration;

use anyhow::bail;
use axum::http::StatusCode;
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret, SecretStore};
use waypost_e2e::lab::{Lab, Transport, ca_bundle};
use waypost_e2e::wait;

use crate::stage::{self, LATER, Stage, condition};

const UNTIL_CHECKED: Duration = Duration::from_secs(30);

/// Changes the vault provider of a ClusterSecretStore by a merge patch.
pub async fn edit_store(stage: &Stage, name: &str, vault: Value) -> anyhow::Result<()> {
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    let patch = json!({ "spec": { "provider": { "vault": vault } } });
    stores.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Waits until the store's condition has this status and reason and a message with all of these
/// words.
pub async fn store_says(
    stage: &Stage,
    name: &str,
    status: &str,
    reason: &str,
    words: &[&str],
) -> anyhow::Result<String> {
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    wait::until(&format!("ClusterSecretStore {name} is {status} {reason}: {words:?}"), UNTIL_CHECKED, async || {
        let store = serde_json::to_value(stores.get(name).await?)?;
        let Some(ready) = condition(&store) else { anyhow::bail!("it has no condition yet") };
        let message = ready["message"].as_str().unwrap_or_default();
        let fits = ready["status"] == status && ready["reason"] == reason;
        match fits && words.iter().all(|word| message.contains(word)) {
            true => Ok(Some(message.to_owned())),
            false => anyhow::bail!("its condition is {ready}"),
        }
    })
    .await
}

pub async fn remove_store(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    stores.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// A ClusterSecretStore with this spec.
pub fn cluster_store(name: &str, spec: &Value) -> Value {
    let (api_version, kind) = (ClusterSecretStore::api_version(&()), ClusterSecretStore::kind(&()));
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

pub fn store_ref(name: &str) -> Value {
    json!({ "kind": "ClusterSecretStore", "name": name })
}

/// A push and a pull through this store that are in sync.
async fn in_sync_through(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({ "secretStoreRefs": [store_ref(name)] })).await?;
    stage.pull("pull", &[("PASSWORD", "password")], json!({ "secretStoreRef": store_ref(name) })).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "good")]).await.map(drop)
}

/// Makes both sides look at the store again.
async fn touch(stage: &Stage, mark: &str) -> anyhow::Result<()> {
    stage.secret(&stage.producer, "source", &[("password", mark)]).await?;
    annotate(stage, mark).await
}

async fn annotate(stage: &Stage, mark: &str) -> anyhow::Result<()> {
    let patch = json!({ "metadata": { "annotations": { "touched": mark } } });
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

#[tokio::test]
async fn es9_sealed_or_unreachable_keeps_the_last_good_data_and_recovers() -> anyhow::Result<()> {
    let stage = Stage::new("es9").await?;
    let (bao, store) = stage.own_store().await?;
    in_sync_through(&stage, &store).await?;

    bao.seal().await?;
    touch(&stage, "while-sealed").await?;
    let pushed = stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    assert!(pushed.contains("is sealed: unseal it"), "{pushed}");
    let pulled = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "SecretSyncedError").await?;
    assert!(pulled.contains("is sealed: unseal it") && pulled.contains("keeps its data"), "{pulled}");
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    bao.unseal().await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "while-sealed")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;

    bao.stop();
    touch(&stage, "while-stopped").await?;
    let pushed = stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    assert!(pushed.contains("cannot reach https://") && pushed.contains("the store's `server`"), "{pushed}");
    let pulled = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "SecretSyncedError").await?;
    assert!(pulled.contains("cannot reach https://"), "{pulled}");
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "while-sealed")]).await?;
    bao.start().await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("PASSWORD", "while-stopped")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    remove_store(&stage, &store).await
}

/// A store that is edited until it is wrong, what its condition says, and what those of its users
/// say.
struct Wrong {
    vault: Value,
    store: &'static [&'static str],
    push: &'static str,
    pull: &'static str,
}

#[tokio::test]
async fn a_store_that_is_written_wrong_says_what_to_correct() -> anyhow::Result<()> {
    let stage = Stage::new("wrongstore").await?;
    let (lab, store) = (Lab::shared().await?, format!("{}-store", stage.word));
    stage::store(lab, &store, lab.bao()?.address(), lab.bao()?.ca_pem()).await?;
    in_sync_through(&stage, &store).await?;
    stage.vault.enable_mount(&format!("{}-v1", stage.word), "kv", &json!({ "version": "1" })).await?;
    let right = json!({
        "server": lab.vault_addr(), "path": "secret", "version": "v2", "caBundle": ca_bundle(lab.vault_ca_pem().unwrap_or_default()),
        "auth": { "kubernetes": { "role": "external-secrets", "mountPath": "kubernetes" }, "ldap": null, "tokenSecretRef": null },
    });
    stage.secret(&stage.producer, "quoted", &[("token", r#""s.in-quotes""#)]).await?;
    let role = |role: &str| json!({ "auth": { "kubernetes": { "role": role } } });
    let foreign_ca = ca_bundle(&foreign_ca()?);
    let wrongs = [
        Wrong {
            vault: role("no-such-role"),
            store: &["login denied by auth/kubernetes", "no-such-role", "check that the role exists"],
            push: "StoreNotReady",
            pull: "SecretSyncedError",
        },
        Wrong {
            vault: json!({ "caBundle": foreign_ca }),
            store: &["certificate is not trusted", "caBundle"],
            push: "StoreNotReady",
            pull: "SecretSyncedError",
        },
        Wrong {
            vault: json!({ "path": "no-such-mount" }),
            store: &["no-such-mount/", "check the store's `path`"],
            push: "StoreNotReady",
            pull: "SecretSyncedError",
        },
        Wrong {
            vault: json!({ "version": "v1" }),
            store: &["KV version 1", "upgrade the mount to v2"],
            push: "StoreNotReady",
            pull: "StoreNotReady",
        },
        Wrong {
            vault: json!({ "auth": { "kubernetes": null, "ldap": {
                "username": "someone", "secretRef": { "name": "ldap", "namespace": stage.producer, "key": "password" },
            } } }),
            store: &["auth method `ldap`", "use `kubernetes`, `appRole` or `tokenSecretRef`"],
            push: "StoreNotReady",
            pull: "StoreNotReady",
        },
        Wrong {
            vault: json!({ "auth": { "kubernetes": null, "tokenSecretRef": {
                "name": "quoted", "namespace": stage.producer, "key": "token",
            } } }),
            store: &["is in quotes: store it without them"],
            push: "StoreNotReady",
            pull: "SecretSyncedError",
        },
        Wrong {
            vault: json!({ "server": lab.vault_addr().replace("https://", "http://") }),
            store: &["uses TLS", "write `https://…` in the store's `server`"],
            push: "StoreNotReady",
            pull: "SecretSyncedError",
        },
        Wrong {
            vault: json!({ "server": another_web_server().await? }),
            store: &["does not answer like Vault or OpenBao (status 404)"],
            push: "StoreNotReady",
            pull: "SecretSyncedError",
        },
    ];
    for wrong in wrongs {
        edit_store(&stage, &store, wrong.vault.clone()).await?;
        store_says(&stage, &store, "False", "InvalidProviderConfig", wrong.store).await?;
        // Whoever was using the store when it was edited says that first.
        wait::until("the PushSecret to say what is wrong", LATER, async || {
            let told = stage.ready::<PushSecret>(&stage.producer, "push", "False", wrong.push).await?;
            if told.contains(wrong.store[0]) { Ok(Some(())) } else { bail!(told) }
        })
        .await?;
        wait::until("the ExternalSecret to say it", LATER, async || {
            let told = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", wrong.pull).await?;
            if told.contains(wrong.store[0]) { Ok(Some(())) } else { bail!(told) }
        })
        .await?;
        stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;

        let mut kubernetes_again = right.clone();
        kubernetes_again["auth"]["kubernetes"]["serviceAccountRef"] =
            json!({ "name": "external-secrets", "namespace": "external-secrets" });
        edit_store(&stage, &store, kubernetes_again).await?;
        store_says(&stage, &store, "True", "Valid", &["store validated"]).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    }
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn a_v1_mount_is_told_from_a_v2_mount() -> anyhow::Result<()> {
    let stage = Stage::new("kvone").await?;
    let bao = Lab::shared().await?.extra_bao(Transport::Tls).await?;
    let admin = bao.admin()?;
    admin.delete("sys/mounts/secret").await?;
    admin.enable_mount("secret", "kv", &json!({ "version": "1" })).await?;
    let name = format!("{}-store", stage.word);
    stage::store(Lab::shared().await?, &name, bao.address(), bao.ca_pem()).await?;
    store_says(&stage, &name, "False", "InvalidProviderConfig", &["secret/ is", "needs KV version 2", "`path`"])
        .await?;
    remove_store(&stage, &name).await
}

#[tokio::test]
async fn a_role_that_is_put_right_in_the_server_shows_soon() -> anyhow::Result<()> {
    let stage = Stage::new("rolelater").await?;
    let (bao, store) = stage.own_store().await?;
    in_sync_through(&stage, &store).await?;
    let admin = bao.admin()?;
    let role = "auth/kubernetes/role/external-secrets";
    let before = admin.get(role).await?.map(|reply| reply["data"].clone()).unwrap_or_default();
    admin.delete(role).await?;
    // A new generation is a new login.
    edit_store(&stage, &store, json!({ "headers": { "X-Note": "again" } })).await?;
    store_says(&stage, &store, "False", "InvalidProviderConfig", &["login denied"]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "SecretSyncedError").await?;
    let right = json!({
        "bound_service_account_names": before["bound_service_account_names"],
        "bound_service_account_namespaces": before["bound_service_account_namespaces"],
        "token_policies": before["token_policies"],
        "token_no_default_policy": before["token_no_default_policy"],
    });
    admin.post(role, &right).await?;
    store_says(&stage, &store, "True", "Valid", &["store validated"]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn an_unknown_store_is_named_and_used_once_it_is_there() -> anyhow::Result<()> {
    let stage = Stage::new("nostore").await?;
    let name = format!("{}-store", stage.word);
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({ "secretStoreRefs": [store_ref(&name)] })).await?;
    stage.pull("pull", &[("PASSWORD", "password")], json!({ "secretStoreRef": store_ref(&name) })).await?;
    for said in [
        stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotFound").await?,
        stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "StoreNotFound").await?,
    ] {
        assert!(said.contains(&name) && said.contains("create it, or correct the reference"), "{said}");
    }
    let lab = Lab::shared().await?;
    stage::store(lab, &name, lab.vault_addr(), lab.vault_ca_pem()).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "good")]).await?;
    remove_store(&stage, &name).await
}

#[tokio::test]
async fn a_store_of_another_class_and_its_users_are_not_touched() -> anyhow::Result<()> {
    let stage = Stage::new("otherclass").await?;
    let lab = Lab::shared().await?;
    let name = format!("{}-store", stage.word);
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    let object = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ClusterSecretStore", "metadata": { "name": name },
        "spec": { "controller": "somebody-else", "provider": { "vault": { "server": lab.vault_addr() } } },
    });
    let store = stores.patch(&name, &PatchParams::apply("gitops"), &Patch::Apply(object)).await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    let push = stage
        .push("other", "source", &[("password", "password")], json!({ "secretStoreRefs": [store_ref(&name)] }))
        .await?;
    let pull = stage.pull("other", &[("PASSWORD", "password")], json!({ "secretStoreRef": store_ref(&name) })).await?;
    // Objects made later and served tell that the earlier ones had their turn.
    stage.push("ours", "source", &[("password", "password")], json!({})).await?;
    stage.pull("ours", &[("PASSWORD", "password")], json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "ours", "True", "Synced").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "ours", "True", "SecretSynced").await?;
    assert_eq!(stage.api::<PushSecret>(&stage.producer).get("other").await?, push);
    assert_eq!(stage.api::<ExternalSecret>(&stage.consumer).get("other").await?, pull);
    assert_eq!(stores.get(&name).await?, store);
    remove_store(&stage, &name).await
}

#[tokio::test]
async fn what_a_store_asks_for_in_vain_is_named() -> anyhow::Result<()> {
    let stage = Stage::new("vain").await?;
    let lab = Lab::shared().await?;
    let name = format!("{}-store", stage.word);
    stage::store(lab, &name, lab.vault_addr(), lab.vault_ca_pem()).await?;
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    let patch = json!({ "spec": { "retrySettings": { "maxRetries": 3 } } });
    stores.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    store_says(&stage, &name, "True", "Valid", &["spec.retrySettings has no effect", "remove the field"]).await?;
    let patch = json!({ "spec": { "retrySettings": null, "refreshInterval": "1d" } });
    stores.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    let words = ["spec.refreshInterval: the duration has an unknown unit", "; the store is checked every 5m"];
    let said = store_says(&stage, &name, "True", "Valid", &words).await?;
    assert!(!said.contains("retrySettings"), "{said}");
    remove_store(&stage, &name).await?;

    let foreign = json!({ "provider": { "aws": { "service": "SecretsManager", "region": "eu-west-1" } } });
    let refused =
        stage.apply::<SecretStore>(&stage.consumer, "aws", foreign).await.err().map(|error| format!("{error:#}"));
    assert!(refused.as_deref().is_some_and(|said| said.contains("vault")), "{refused:?}");
    Ok(())
}

/// A server that knows nothing of Vault, as long as the test's runtime runs; gives its address.
async fn another_web_server() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let router = axum::Router::new().fallback(async || (StatusCode::NOT_FOUND, "no such page"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// A certificate authority that signed nothing here.
pub fn foreign_ca() -> anyhow::Result<String> {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    Ok(params.self_signed(&rcgen::KeyPair::generate()?)?.pem())
}
