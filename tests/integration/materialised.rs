//! The optional guard: what an ExternalSecret owns can be changed only through Vault, and
//! everything else of it stays free.

use std::fs;

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::names;
use waypost_e2e::lab::repository;

use crate::author::refused;
use crate::stage::Stage;

#[tokio::test]
async fn the_guard_refuses_every_edit_that_the_controller_would_undo_or_could_not() -> anyhow::Result<()> {
    let stage = Stage::new("guard").await?;
    guard(&stage).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    stage.pull("pull", &[("password", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "one")]).await?;

    let secrets = stage.api::<Secret>(&stage.consumer);
    let owns = "ExternalSecret pull owns this Secret";
    let edits = [
        json!({ "data": { "password": "b3RoZXI=" } }),
        json!({ "stringData": { "more": "other" } }),
        json!({ "immutable": true }),
        json!({ "metadata": { "labels": { (names::LABEL_MANAGED): null } } }),
        json!({ "metadata": { "labels": { (names::LABEL_CREATED_BY): "me" } } }),
        json!({ "metadata": { "annotations": { (names::ANNOTATION_DATA_HASH): "other" } } }),
        json!({ "metadata": { "ownerReferences": null } }),
    ];
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    for edit in &edits {
        refused(owns, async || secrets.patch("pull", &dry, &Patch::Merge(edit)).await).await?;
    }
    let dry_delete = DeleteParams { dry_run: true, ..DeleteParams::default() };
    refused(owns, async || secrets.delete("pull", &dry_delete).await).await?;

    let free = json!({ "metadata": { "labels": { "team": "a" }, "annotations": { "note": "mine" } } });
    secrets.patch("pull", &PatchParams::default(), &Patch::Merge(free)).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "two")]).await?;
    // A Secret that nobody materialised is anybody's.
    stage.secret(&stage.consumer, "own", &[("a", "b")]).await?;
    secrets.patch("own", &PatchParams::default(), &Patch::Merge(json!({ "immutable": true }))).await?;
    Ok(())
}

/// Applies the shipped policy under the test's own name, for the consumer's namespace alone: other
/// tests edit their targets.
async fn guard(stage: &Stage) -> anyhow::Result<()> {
    let text = fs::read_to_string(repository().join("policies/admission/optional/materialised-secrets-guard.yaml"))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let params = PatchParams::apply("test");
    for mut document in documents {
        document["metadata"]["name"] = json!(stage.word);
        let patch = |document: Value| Patch::Apply(document);
        if document["kind"] == "ValidatingAdmissionPolicy" {
            let policies: Api<ValidatingAdmissionPolicy> = Api::all(stage.client.clone());
            policies.patch(&stage.word, &params, &patch(document)).await?;
        } else {
            document["spec"]["policyName"] = json!(stage.word);
            let selector = json!({ "matchLabels": { "kubernetes.io/metadata.name": stage.consumer } });
            document["spec"]["matchResources"] = json!({ "namespaceSelector": selector });
            let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
            bindings.patch(&stage.word, &params, &patch(document)).await?;
        }
    }
    Ok(())
}
