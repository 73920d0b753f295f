//! A replica that does not lead: when it is ready, and what its metrics say.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::PostParams;
use serde_json::json;
use waypost_e2e::lab::{CONTROLLER_ACCOUNT, Controller, ControllerOptions, Lab};
use waypost_e2e::wait;

use crate::stage::{LATER, Stage};

/// The right to one Lease, as `deploy/kustomize/rbac/leader-election.yaml` gives it.
async fn allow_lease(stage: &Stage) -> anyhow::Result<()> {
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let leases = json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"] });
    let (mut creates, mut holds) = (leases.clone(), leases);
    creates["verbs"] = json!(["create"]);
    (holds["verbs"], holds["resourceNames"]) = (json!(["get", "update"]), json!([stage.word]));
    let role: Role = serde_json::from_value(json!({ "metadata": { "name": "lease" }, "rules": [creates, holds] }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "lease" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease" },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
    }))?;
    stage.api(&stage.consumer).create(&PostParams::default(), &role).await?;
    stage.api(&stage.consumer).create(&PostParams::default(), &binding).await?;
    Ok(())
}

async fn leading(controller: &Controller) -> anyhow::Result<bool> {
    Ok(controller.metric("waypost_leading", &[]).await? == 1.0)
}

#[tokio::test]
async fn a_standby_is_ready_once_it_has_seen_the_lease_and_only_who_holds_it_is_leading() -> anyhow::Result<()> {
    let (lab, stage) = (Lab::shared().await?, Stage::new("standby").await?);
    let leases = stage.api::<Lease>(&stage.consumer);
    let others = json!({ "metadata": { "name": stage.word }, "spec": { "holderIdentity": "another" } });
    leases.create(&PostParams::default(), &serde_json::from_value(others)?).await?;
    let [namespace, account] = CONTROLLER_ACCOUNT;
    let options = ControllerOptions::new(env!("CARGO_BIN_EXE_waypost"), lab.kubeconfig_for(namespace, account).await?)
        .arg("--log-format=text")
        .env("NO_COLOR", "1")
        .arg(format!("--controller-class={}", stage.word))
        .arg("--serve-unclassified=false")
        .arg(format!("--leader-election-namespace={}", stage.consumer))
        .arg(format!("--leader-election-id={}", stage.word));
    let standby = lab.start_controller(&options)?;
    wait::until("it to be denied the Lease", LATER, async || {
        Ok(standby.log()?.contains("cannot read the lease: not ready to take over").then_some(()))
    })
    .await?;
    assert_eq!((standby.health("readyz").await?, standby.health("livez").await?), (503, 200));
    assert!(!leading(&standby).await?);

    allow_lease(&stage).await?;
    standby.wait_ready().await?;
    assert!(!leading(&standby).await?, "another replica holds the Lease");

    stage.delete::<Lease>(&stage.consumer, &stage.word).await?;
    wait::until("it to lead", LATER, async || Ok(leading(&standby).await?.then_some(()))).await?;
    standby.wait_ready().await?;
    let holder = leases.get(&stage.word).await?.spec.and_then(|spec| spec.holder_identity);
    assert!(holder.is_some_and(|holder| holder != "another"));
    Ok(())
}
