//! Beside another controller of the same API. An installation of Waypost plays that one, with the
//! namespace, the ServiceAccount and the Vault role of External Secrets Operator; it serves the
//! stores without a class.

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Controller, ControllerOptions, Lab, repository};
use waypost_e2e::wait;

use crate::guide::Guide;
use crate::stage::{self, LATER, Stage};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

#[tokio::test]
async fn es11_the_guide_beside_eso_can_be_followed_to_the_letter_and_back() -> anyhow::Result<()> {
    let (stage, lab) = (Stage::new("beside").await?, Lab::shared().await?);
    let store = format!("{}-store", stage.word);
    stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    let through = json!({ "kind": "ClusterSecretStore", "name": store });
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "secretStoreRefs": [through] })).await?;
    stage.pull("pull", PASSWORD, json!({ "secretStoreRef": through })).await?;
    let target = stage.holds(&stage.consumer, "pull", &[("password", "one")]).await?;
    serves(&stage, &stage.controller).await?;

    let guide = Guide { lab, page: "beside-eso.md", store: &store };
    let before = installed(lab)?;
    guide.follow("Install")?;
    guide.follow("Vault")?;
    guide.follow("Admission policies")?;
    assert_eq!(installed(lab)?, before, "what was installed before is what it was");
    let ours = start(&stage, lab).await?;

    guide.follow("Move a store")?;
    serves(&stage, &ours).await?;
    let moved = stage.api::<Secret>(&stage.consumer).get("pull").await?;
    assert_eq!(moved.resource_version(), target.resource_version(), "unchanged data is not rewritten");
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "two")]).await?;
    leaves_alone(&stage, &stage.controller).await?;

    guide.follow("Move it back")?;
    serves(&stage, &stage.controller).await?;
    stage.secret(&stage.producer, "source", &[("password", "three")]).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "three")]).await?;
    leaves_alone(&stage, &ours).await?;
    assert_eq!(stage.version().await?, 3, "one version a change, whoever wrote it");
    Ok(())
}

/// What the base installed, as the cluster has it: everything but what moves by itself.
fn installed(lab: &Lab) -> anyhow::Result<Vec<Value>> {
    let mut kubectl = lab.kubectl();
    let output = kubectl.args(["get", "-o", "json", "-k"]).arg(repository().join("deploy/kustomize/base")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut list: Value = serde_json::from_slice(&output.stdout)?;
    let items = list["items"].as_array_mut().context("a list has items")?;
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        item.remove("status");
        if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| ["name", "namespace", "uid", "generation", "labels"].contains(&field.as_str()));
        }
    }
    ensure!(items.len() > 15, "the base has {} objects", items.len());
    Ok(items.clone())
}

/// The controller as the overlay's Deployment would run it.
async fn start(stage: &Stage, lab: &Lab) -> anyhow::Result<Controller> {
    let deployment = stage.api::<Deployment>("waypost-system").get("waypost").await?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec).context("a Deployment has a pod")?;
    let account = pod.service_account_name.context("the pod has a ServiceAccount")?;
    let container = pod.containers.into_iter().next().context("the pod has a container")?;
    assert_eq!(container.image.as_deref(), Some("registry.example.com/waypost:0.1.0"));
    let kubeconfig = lab.kubeconfig_for("waypost-system", &account).await?;
    let mut options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), kubeconfig);
    for arg in container.args.unwrap_or_default().iter().skip(1) {
        options = options.arg(arg.replace("$(POD_NAMESPACE)", "waypost-system"));
    }
    let controller = lab.start_controller(&options)?;
    controller.wait_ready().await?;
    Ok(controller)
}

/// Waits until this controller answers for the test's push and pull, and both are in sync.
async fn serves(stage: &Stage, controller: &Controller) -> anyhow::Result<()> {
    wait::until("the controller to serve both", LATER, async || {
        Ok((served(stage, controller).await? == [1.0; 2]).then_some(()))
    })
    .await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

/// Waits until this controller answers for neither.
async fn leaves_alone(stage: &Stage, controller: &Controller) -> anyhow::Result<()> {
    wait::until("the controller to leave both alone", LATER, async || {
        Ok((served(stage, controller).await? == [0.0; 2]).then_some(()))
    })
    .await
}

/// The conditions that a controller publishes of the push and of the pull: 1 for each that is ready
/// by its word.
async fn served(stage: &Stage, controller: &Controller) -> anyhow::Result<[f64; 2]> {
    let labels = |namespace: &str, name: &str| [format!(r#"namespace="{namespace}""#), format!(r#"name="{name}""#)];
    let sum = async |metric: &str, labels: [String; 2]| controller.metric(metric, &[&labels[0], &labels[1]]).await;
    Ok([
        sum("pushsecret_status_condition", labels(&stage.producer, "push")).await?,
        sum("externalsecret_status_condition", labels(&stage.consumer, "pull")).await?,
    ])
}
