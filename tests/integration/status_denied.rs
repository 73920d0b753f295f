//! A status that could not be written is written later, with the rights that we ship, whatever kind
//! it is of: the object is read live in between.

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waypost::api::SecretStore;
use waypost_e2e::lab::{Lab, cluster_secret_store};
use waypost_e2e::wait;

use crate::stage::{LATER, STORE, Stage, condition, mapping};

/// On a lab of the caller's own: one object of each kind is not told anything at first.
pub async fn told_later(lab: &Lab, stage: &Stage) -> anyhow::Result<()> {
    let name = format!("{}-late", stage.word);
    let policy = deny(stage, &name).await?;
    let mut objects = Vec::new();
    for manifest in manifests(lab, stage, &name) {
        objects.push(create(stage, manifest).await?);
    }
    let audit = lab.api_audit()?;
    wait::until("a status of every kind to be denied", LATER, async || {
        let requests = audit.requests()?;
        let denied = |resource: &ApiResource| {
            requests
                .iter()
                .filter(|request| request.code == 422)
                .filter_map(|request| request.object.as_ref())
                .any(|object| (&object.resource, object.subresource.as_str()) == (&resource.plural, "status"))
        };
        let not_yet: Vec<&str> =
            objects.iter().map(|(_, kind)| kind).filter(|kind| !denied(kind)).map(|kind| &*kind.kind).collect();
        ensure!(not_yet.is_empty(), "not yet of {not_yet:?}");
        Ok(Some(()))
    })
    .await?;
    policy.delete(&stage.word, &DeleteParams::default()).await?;
    for (api, resource) in &objects {
        let what = format!("{} {name} to be told what was denied", resource.kind);
        wait::until(&what, LATER, async || {
            let found = serde_json::to_value(api.get(&name).await?)?;
            Ok(condition(&found).map(drop))
        })
        .await?;
        api.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// One object of each kind with a status.
fn manifests(lab: &Lab, stage: &Stage, name: &str) -> Vec<Value> {
    let store = cluster_secret_store(name, lab.vault_addr(), lab.vault_ca_pem());
    let own = |version: &str, kind: &str, namespace: Option<&str>, spec: Value| {
        json!({
            "apiVersion": format!("external-secrets.io/{version}"), "kind": kind,
            "metadata": { "name": name, "namespace": namespace }, "spec": spec,
        })
    };
    let reads = json!({
        "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE },
        "data": [{ "secretKey": "a", "remoteRef": { "key": format!("{}-late", stage.path()), "property": "a" } }],
    });
    let writes = json!({
        "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
        "selector": { "secret": { "name": "nobody-made-it" } },
        "data": [mapping("a", &format!("{}-late", stage.path()), "a")],
    });
    let nowhere = json!([{ "matchLabels": { "nobody": stage.word } }]);
    vec![
        own("v1", "SecretStore", Some(&stage.consumer), store["spec"].clone()),
        own("v1", "ExternalSecret", Some(&stage.consumer), reads.clone()),
        own("v1alpha1", "PushSecret", Some(&stage.producer), writes.clone()),
        own("v1", "ClusterExternalSecret", None, json!({ "namespaceSelectors": nowhere, "externalSecretSpec": reads })),
        own("v1alpha1", "ClusterPushSecret", None, json!({ "namespaceSelectors": nowhere, "pushSecretSpec": writes })),
        store,
    ]
}

async fn create(stage: &Stage, manifest: Value) -> anyhow::Result<(Api<DynamicObject>, ApiResource)> {
    let object: DynamicObject = serde_json::from_value(manifest)?;
    let types = object.types.clone().context("a manifest without a kind")?;
    let resource = ApiResource::from_gvk(&types.try_into()?);
    let api = match object.metadata.namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(stage.client.clone(), namespace, &resource),
        None => Api::all_with(stage.client.clone(), &resource),
    };
    api.create(&PostParams::default(), &object).await?;
    Ok((api, resource))
}

/// A policy against statuses of what has this name, once it is in force.
async fn deny(stage: &Stage, name: &str) -> anyhow::Result<Api<ValidatingAdmissionPolicy>> {
    let rule = json!({
        "apiGroups": ["external-secrets.io"], "apiVersions": ["*"], "resources": ["*/status"], "operations": ["UPDATE"],
    });
    let policy = json!({ "metadata": { "name": stage.word }, "spec": {
        "matchConstraints": { "resourceRules": [rule] },
        "validations": [{ "expression": format!("request.name != '{name}'") }],
    } });
    let binding = json!({ "metadata": { "name": stage.word }, "spec": {
        "policyName": stage.word, "validationActions": ["Deny"],
    } });
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(stage.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
    policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    // One that no controller here serves: it shows when the policy is in force.
    let probe = json!({ "metadata": { "name": name }, "spec": {
        "controller": "nobody", "provider": { "vault": { "server": "https://vault.invalid", "path": "secret" } },
    } });
    let probes = stage.api::<SecretStore>(&stage.producer);
    probes.create(&PostParams::default(), &serde_json::from_value(probe)?).await?;
    wait::until("the policy to be in force", LATER, async || {
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let told = Patch::Merge(json!({ "status": { "capabilities": "ReadOnly" } }));
        Ok(probes.patch_status(name, &dry, &told).await.is_err().then_some(()))
    })
    .await?;
    Ok(policies)
}
