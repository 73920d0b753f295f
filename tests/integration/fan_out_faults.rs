//! ClusterPushSecrets whose namespaces are being deleted, have a foreign object, deny requests, or
//! have CRDs with fewer fields.

use anyhow::ensure;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::json;
use waypost::api::{ClusterPushSecret, PushSecret};
use waypost_e2e::lab::{ApiRequest, LabOptions};
use waypost_e2e::turns::heavy;
use waypost_e2e::wait;

use crate::eso_crds::bare;
use crate::fan_out::{children, fan_out, in_place, label, named, says, spec};
use crate::stage::{LATER, SOON, Stage, own_lab};

#[tokio::test]
async fn sc8_es7_a_terminating_namespace_is_skipped_and_never_kept_alive() -> anyhow::Result<()> {
    let stage = Stage::new("sc8").await?;
    let [going, other] = ["going", "other"].map(|name| format!("{}-{name}", stage.word));
    named(&stage, &going, true).await?;
    named(&stage, &other, true).await?;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    fan_out(&stage, json!({})).await?;
    in_place(&stage, LATER, &[&going, &other]).await?;
    for namespace in [&going, &other] {
        let metadata = namespaces.get(namespace).await?.metadata;
        ensure!(metadata.finalizers.is_none(), "a finalizer on a Namespace: {:?}", metadata.finalizers);
        let ours = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref());
        ensure!(
            !ours.into_iter().any(|manager| manager.starts_with("waypost")),
            "something was written on a Namespace"
        );
    }
    // Something of somebody else keeps it going for a while.
    let held = json!({ "metadata": { "name": "held", "finalizers": ["waypost.io/test"] } });
    let maps = stage.api::<ConfigMap>(&going);
    maps.create(&PostParams::default(), &serde_json::from_value(held)?).await?;
    namespaces.delete(&going, &DeleteParams::default()).await?;
    wait::until("the leaving namespace to be left out", LATER, async || {
        Ok((children(&stage).await?.len() == 1).then_some(()))
    })
    .await?;
    in_place(&stage, SOON, &[&other]).await?;
    says(&stage, "True", "Provisioned", &[&other]).await?;

    // Nor does it hold up an edit, or a namespace that is new.
    let late = format!("{}-late", stage.word);
    fan_out(&stage, json!({ "pushSecretMetadata": { "labels": { "edited": "1" } } })).await?;
    named(&stage, &late, true).await?;
    in_place(&stage, SOON, &[&late, &other]).await?;
    let free = json!({ "metadata": { "finalizers": null } });
    maps.patch("held", &PatchParams::default(), &Patch::Merge(free)).await?;
    wait::until("the namespace to go", LATER, async || Ok(namespaces.get_opt(&going).await?.is_none().then_some(())))
        .await
}

#[tokio::test]
async fn sc9_rp7_a_foreign_push_secret_stays_as_it_is_and_is_named_until_it_is_gone() -> anyhow::Result<()> {
    let stage = Stage::new("sc9c").await?;
    for namespace in [&stage.producer, &stage.consumer] {
        label(&stage, namespace, json!(stage.word)).await?;
    }
    stage.push(&stage.word, "theirs", &[("password", "password")], json!({})).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    let before = pushes.get(&stage.word).await?;
    fan_out(&stage, json!({})).await?;
    let why = "a PushSecret of that name already exists and is not ours";
    says(&stage, "False", "NamespacesFailed", &["1 of 2 namespaces failed", &stage.producer, why, "delete it"]).await?;
    in_place_beside(&stage).await?;
    let after = pushes.get(&stage.word).await?;
    assert_eq!(json!(after.spec), json!(before.spec));
    let metadata =
        |push: &PushSecret| json!([push.metadata.uid, push.metadata.generation, push.metadata.owner_references]);
    assert_eq!(metadata(&after), metadata(&before));

    let status = Api::<ClusterPushSecret>::all(stage.client.clone()).get(&stage.word).await?.status.unwrap_or_default();
    let [failed] = status.failed_namespaces.as_slice() else { anyhow::bail!("{:?}", status.failed_namespaces) };
    assert_eq!(failed.namespace, stage.producer);
    ensure!(failed.reason.as_deref().is_some_and(|reason| reason.contains(why)), "{failed:?}");
    stage.delete::<PushSecret>(&stage.producer, &stage.word).await?;
    in_place(&stage, SOON, &[&stage.consumer, &stage.producer]).await?;
    says(&stage, "True", "Provisioned", &[]).await.map(drop)
}

#[tokio::test]
async fn sc12_a_namespace_that_refuses_stops_no_other_and_is_named() -> anyhow::Result<()> {
    let stage = Stage::new("sc12").await?;
    for namespace in [&stage.producer, &stage.consumer] {
        label(&stage, namespace, json!(stage.word)).await?;
    }
    let restless = format!("{}-restless", stage.word);
    named(&stage, &restless, true).await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(stage.client.clone());
    refuse(&stage, &policies).await?;
    let mutating = change_back(&stage, &restless).await?;
    fan_out(&stage, json!({})).await?;
    let policy = format!("the ValidatingAdmissionPolicy {} denies it", stage.word);
    let changed = format!("{restless}: an admission policy or webhook changes what is written");
    let words = ["2 of 3 namespaces failed", &stage.producer, &policy, &changed];
    says(&stage, "False", "NamespacesFailed", &words).await?;
    in_place_beside(&stage).await?;
    // What refused says nothing when it no longer does; any edit of the namespace, or of the child,
    // makes us look again.
    policies.delete(&stage.word, &DeleteParams::default()).await?;
    mutating.delete(&stage.word, &DeleteParams::default()).await?;
    let (namespaces, pushes) = (Api::<Namespace>::all(stage.client.clone()), stage.api::<PushSecret>(&restless));
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    wait::until("the children to be in place", LATER, async || {
        let again = json!({ "metadata": { "annotations": { "look": rand::random::<u32>().to_string() } } });
        namespaces.patch(&stage.producer, &PatchParams::default(), &Patch::Merge(&again)).await?;
        pushes.patch(&stage.word, &PatchParams::default(), &Patch::Merge(&again)).await?;
        let status = parents.get(&stage.word).await?.status.unwrap_or_default();
        Ok((status.provisioned_namespaces.len() == 3).then_some(()))
    })
    .await?;
    in_place(&stage, LATER, &[&stage.consumer, &stage.producer, &restless]).await
}

#[tokio::test]
async fn es11_a_fan_out_works_and_comes_to_rest_with_definitions_that_declare_less() -> anyhow::Result<()> {
    let (_lab, stage) = bare("barefan").await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    fan_out(&stage, json!({ "refreshTime": "1s" })).await?;
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    wait::until("the child", LATER, async || Ok((children(&stage).await?.len() == 1).then_some(()))).await?;
    let version = async || anyhow::Ok(parents.get(&stage.word).await?.metadata.resource_version);
    wait::until("the status", LATER, async || {
        let status = parents.get(&stage.word).await?.status.unwrap_or_default();
        Ok((status.provisioned_namespaces == [stage.producer.clone()]).then_some(()))
    })
    .await?;
    let at_rest = version().await?;
    let name = format!("name=\"{}\"", stage.word);
    let took = async || stage.controller.metric("clusterpushsecret_reconcile_duration", &[&name]).await;
    for _resync in 0..3 {
        let last = took().await?;
        wait::until("another resync", SOON, async || Ok((took().await? != last).then_some(()))).await?;
    }
    assert_eq!(version().await?, at_rest, "a status that the server cuts is not sent again and again");
    // A hand that takes away what the API server would not have let go by our definitions.
    let mut emptied = spec(&stage);
    emptied["namespaceSelectors"] = json!([]);
    let edit = Patch::Merge(json!({ "spec": emptied }));
    parents.patch(&stage.word, &PatchParams::default(), &edit).await?;
    wait::until("the child to go", SOON, async || Ok(children(&stage).await?.is_empty().then_some(()))).await
}

#[tokio::test]
async fn f21_a_definition_that_is_gone_is_asked_for_ever_more_rarely_and_said() -> anyhow::Result<()> {
    let permit = heavy().await?;
    let lab = own_lab(&permit, LabOptions::default(), &[]).await?;
    let stage = Stage::on(&lab, &lab.controller, "f21").await?;
    fan_out(&stage, json!({})).await?;
    in_place(&stage, LATER, &[]).await?;

    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    definitions.delete("pushsecrets.external-secrets.io", &DeleteParams::default()).await?;
    wait::until("the definition to be gone", LATER, async || {
        Ok(stage.api::<PushSecret>(&stage.consumer).list(&Default::default()).await.is_err().then_some(()))
    })
    .await?;
    label(&stage, &stage.consumer, json!(stage.word)).await?;
    let words = ["1 of 1 namespaces failed", &stage.consumer, "check that the CRD of PushSecret is installed"];
    says(&stage, "False", "NamespacesFailed", &words).await?;

    let audit = lab.api_audit()?;
    let made = wait::until("six requests to be made", LATER, async || {
        let created = |request: &ApiRequest| {
            let object = request.object.as_ref();
            request.verb == "create" && object.is_some_and(|object| object.resource == "pushsecrets")
        };
        let made: Vec<Timestamp> =
            audit.requests()?.iter().filter(|request| created(request)).map(|request| request.received).collect();
        Ok((made.len() >= 6).then_some(made))
    })
    .await?;
    // At first once a second; then after pauses that double: before this one, four seconds less the
    // jitter.
    let pause = made[5].duration_since(made[4]);
    ensure!(pause > SignedDuration::from_secs(3), "asked again after {pause:?}");

    lab.install_product().await?;
    in_place(&stage, LATER, &[&stage.consumer]).await
}

/// Waits until only the consumer's namespace has the child, and the status says so.
async fn in_place_beside(stage: &Stage) -> anyhow::Result<()> {
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    wait::until("the other namespace has its child", SOON, async || {
        let status = parents.get(&stage.word).await?.status.unwrap_or_default();
        let child = stage.api::<PushSecret>(&stage.consumer).get_opt(&stage.word).await?;
        Ok((status.provisioned_namespaces == [stage.consumer.clone()] && child.is_some()).then_some(()))
    })
    .await
}

/// Has whatever is written to the PushSecrets of a namespace changed, and waits until it is; gives
/// the policies.
async fn change_back(stage: &Stage, namespace: &str) -> anyhow::Result<Api<DynamicObject>> {
    let objects = |kind: &str| {
        let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        Api::<DynamicObject>::all_with(stage.client.clone(), &ApiResource::from_gvk(&gvk))
    };
    let (policies, bindings) = (objects("MutatingAdmissionPolicy"), objects("MutatingAdmissionPolicyBinding"));
    let rule = json!({
        "apiGroups": ["external-secrets.io"], "apiVersions": ["v1alpha1"], "resources": ["pushsecrets"],
        "operations": ["CREATE", "UPDATE"],
    });
    let only = json!({ "matchLabels": { "kubernetes.io/metadata.name": namespace } });
    let change = r#"[JSONPatch{op: "add", path: "/spec/refreshInterval", value: "17m"}]"#;
    let policy = json!({ "metadata": { "name": stage.word }, "spec": {
        "matchConstraints": { "resourceRules": [rule], "namespaceSelector": only },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": change } }],
    } });
    policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
    let binding = json!({ "metadata": { "name": stage.word }, "spec": { "policyName": stage.word } });
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    let probe = probe(stage)?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    wait::until("the mutating policy to be in force", LATER, async || {
        let made = stage.api::<PushSecret>(namespace).create(&dry, &probe).await?;
        Ok((json!(made.spec)["refreshInterval"] == "17m").then_some(()))
    })
    .await?;
    Ok(policies)
}

/// A PushSecret that nobody carries out.
fn probe(stage: &Stage) -> anyhow::Result<PushSecret> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "metadata": { "name": "probe" },
        "spec": spec(stage)["pushSecretSpec"],
    }))?)
}

/// Has the producer's namespace refuse PushSecrets, and waits until it does.
async fn refuse(stage: &Stage, policies: &Api<ValidatingAdmissionPolicy>) -> anyhow::Result<()> {
    let rule = json!({
        "apiGroups": ["external-secrets.io"], "apiVersions": ["v1alpha1"], "resources": ["pushsecrets"],
        "operations": ["CREATE"],
    });
    let policy = json!({ "metadata": { "name": stage.word }, "spec": {
        "matchConstraints": { "resourceRules": [rule] },
        "validations": [{ "expression": format!("request.namespace != '{}'", stage.producer) }],
    } });
    policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
    let binding = json!({ "metadata": { "name": stage.word }, "spec": {
        "policyName": stage.word, "validationActions": ["Deny"],
    } });
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    let probe = probe(stage)?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    wait::until("the policy to be in force", LATER, async || {
        Ok(stage.api::<PushSecret>(&stage.producer).create(&dry, &probe).await.is_err().then_some(()))
    })
    .await
}
