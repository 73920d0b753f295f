//! `waypost policy`: a login with the printed policy can do what its manifests ask for, and nothing
//! else.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Lab, cluster_secret_store};

use crate::bad_store::{remove_store, store_says};
use crate::stage::{Stage, apply_store, mapping};

#[tokio::test]
async fn a_login_with_the_printed_policy_can_do_what_its_manifests_ask_and_nothing_beside() -> anyhow::Result<()> {
    let stage = Stage::new("least").await?;
    let (publisher, consumer) = (format!("{}-publisher", stage.word), format!("{}-consumer", stage.word));
    let push = json!({
        "refreshInterval": "24h", "deletionPolicy": "Delete", "selector": { "secret": { "name": "source" } },
        "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": publisher }],
        "data": [mapping("password", &stage.path(), "password")],
    });
    let pull = json!({
        "refreshInterval": "24h", "secretStoreRef": { "kind": "ClusterSecretStore", "name": consumer },
        "data": [{ "secretKey": "password", "remoteRef": { "key": stage.path(), "property": "password" } }],
    });
    login(&stage, &publisher, "publisher", manifest("external-secrets.io/v1alpha1", "PushSecret", &push)).await?;
    login(&stage, &consumer, "consumer", manifest("external-secrets.io/v1", "ExternalSecret", &pull)).await?;

    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;
    stage.apply::<PushSecret>(&stage.producer, "push", push.clone()).await?;
    stage.apply::<ExternalSecret>(&stage.consumer, "pull", pull).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "good")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;

    let mut beside = push;
    beside["data"] = json!([mapping("password", &format!("{}-other", stage.path()), "password")]);
    stage.apply::<PushSecret>(&stage.producer, "beside", beside).await?;
    stage.ready::<PushSecret>(&stage.producer, "beside", "False", "NotPermitted").await?;

    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    waypost_e2e::wait::until("the value to go with its PushSecret", crate::stage::LATER, async || {
        Ok((stage.stored().await? == Value::Null).then_some(()))
    })
    .await?;
    stage.delete::<PushSecret>(&stage.producer, "beside").await?;
    remove_store(&stage, &publisher).await?;
    remove_store(&stage, &consumer).await
}

#[tokio::test]
async fn a_live_token_is_told_what_it_lacks_and_what_it_has_beside() -> anyhow::Result<()> {
    let stage = Stage::new("rights").await?;
    let push = manifest(
        "external-secrets.io/v1alpha1",
        "PushSecret",
        &json!({
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": "any" }],
            "data": [mapping("password", &stage.path(), "password")],
        }),
    );
    stage.vault.put_policy(&stage.word, &printed("publisher", &push)?).await?;
    let exact = stage.vault.create_token(&[&stage.word], "10m").await?;
    let (code, said) = checked("publisher", &push, &exact).await?;
    assert_eq!((code, said.as_str()), (Some(0), ""));

    // The shipped policy of consumers reads everything of the convention, and writes nothing.
    let reading = stage.vault.create_token(&["waypost-consumer"], "10m").await?;
    let (code, said) = checked("publisher", &push, &reading).await?;
    let lacks = format!("the token lacks create, update at secret/data/{}\n", stage.path());
    assert!(code == Some(1) && said.contains(&lacks), "{code:?} {said}");

    let (code, said) = checked("publisher", &push, "hvs.nobody").await?;
    assert_eq!((code, said.as_str()), (Some(2), ""));
    let root = stage.vault.create_token(&["root"], "10m").await?;
    let (code, said) = checked("publisher", &push, &root).await?;
    assert!(code == Some(0) && said.contains("has in addition to what is needed root"), "{code:?} {said}");
    Ok(())
}

/// The exit code and standard output of `waypost policy --check` with this token.
async fn checked(role: &str, manifest: &Value, token: &str) -> anyhow::Result<(Option<i32>, String)> {
    let lab = Lab::shared().await?;
    let certificates = std::env::temp_dir().join(format!("waypost-rights-{}.pem", rand::random::<u32>()));
    std::fs::write(&certificates, lab.vault_ca_pem().context("the lab speaks TLS")?)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    command.args(["policy", role, "-", "--check"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.env("BAO_ADDR", lab.vault_addr()).env("BAO_CACERT", &certificates).env("BAO_TOKEN", token);
    let mut child = command.spawn()?;
    child.stdin.take().context("a pipe")?.write_all(manifest.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    std::fs::remove_file(&certificates)?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

pub fn manifest(version: &str, kind: &str, spec: &Value) -> Value {
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "printed-for" }, "spec": spec })
}

/// A store of this name, whose role has the policy that is printed for the manifest and no other.
pub async fn login(stage: &Stage, name: &str, role: &str, manifest: Value) -> anyhow::Result<()> {
    login_by(stage, name, &printed(role, &manifest)?).await?;
    store_says(stage, name, "True", "Valid", &[]).await.map(drop)
}

/// A store of this name, whose role has this policy and no other.
pub async fn login_by(stage: &Stage, name: &str, policy: &str) -> anyhow::Result<()> {
    stage.vault.put_policy(name, policy).await?;
    let bound = json!({
        "bound_service_account_names": "external-secrets", "bound_service_account_namespaces": "external-secrets",
        "token_policies": name, "token_no_default_policy": true,
    });
    stage.vault.post(&format!("auth/kubernetes/role/{name}"), &bound).await?;
    let lab = Lab::shared().await?;
    let mut store = cluster_secret_store(name, lab.vault_addr(), lab.vault_ca_pem());
    store["spec"]["provider"]["vault"]["auth"]["kubernetes"]["role"] = json!(name);
    apply_store(lab, store).await
}

/// The policy that `waypost policy` prints for a manifest.
pub fn printed(role: &str, manifest: &Value) -> anyhow::Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    command.args(["policy", role, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("a pipe")?.write_all(manifest.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "waypost policy ends with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
