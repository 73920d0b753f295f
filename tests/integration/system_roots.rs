//! ES11: a store that names no CA trusts the certificates of the system, as one for a publicly
//! signed server does.

use std::fs;

use anyhow::Context;
use serde_json::json;
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{CONTROLLER_ACCOUNT, ControllerOptions, Lab, cluster_secret_store};

use crate::bad_store::{remove_store, store_ref, store_says};
use crate::stage::{LATER, Stage, apply_store};

#[tokio::test]
async fn es11_a_store_that_names_no_ca_trusts_the_certificates_of_the_system() -> anyhow::Result<()> {
    let stage = Stage::new("roots").await?;
    let (lab, name) = (Lab::shared().await?, format!("{}-store", stage.word));
    let bundle = std::env::temp_dir().join(format!("{}-roots.pem", stage.word));
    fs::write(&bundle, lab.vault_ca_pem().context("the lab speaks TLS")?)?;
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), lab.kubeconfig_for(namespace, account).await?)
        .arg(format!("--controller-class={}", stage.word))
        .arg("--serve-unclassified=false")
        .arg("--leader-elect=false")
        .env("SSL_CERT_FILE", bundle.to_str().context("a path of text")?);
    let controller = lab.start_controller(&options)?;
    controller.wait_ready().await?;

    let mut store = cluster_secret_store(&name, lab.vault_addr(), None);
    store["spec"]["controller"] = json!(stage.word);
    apply_store(lab, store).await?;
    store_says(&stage, &name, "True", "Valid", &[]).await?;
    stage.secret(&stage.producer, "source", &[("password", "public")]).await?;
    let refs = json!({ "secretStoreRefs": [store_ref(&name)] });
    stage.push("push", "source", &[("password", "password")], refs).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.pull("pull", &[("password", "password")], json!({ "secretStoreRef": store_ref(&name) })).await?;
    stage.holds_within(LATER, &stage.consumer, "pull", &[("password", "public")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    remove_store(&stage, &name).await?;
    fs::remove_file(&bundle)?;
    Ok(())
}
