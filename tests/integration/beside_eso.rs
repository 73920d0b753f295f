//! Beside another controller of the same API: objects that are not clearly ours are not touched. It
//! has its own lab, because this controller serves only its own class.

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use waypost::api::{ClusterExternalSecret, ClusterPushSecret, ClusterSecretStore, ExternalSecret, PushSecret, names};
use waypost_e2e::lab::{LabOptions, Storage};
use waypost_e2e::turns::heavy;

use crate::stage::{self, STORE, Stage, mapping, own_lab};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

#[tokio::test]
async fn f49_beside_another_controller_only_what_goes_with_our_class_is_touched() -> anyhow::Result<()> {
    let permit = heavy().await?;
    let options = LabOptions { storage: Storage::fastest(), ..LabOptions::default() };
    let lab = own_lab(&permit, options, &["--controller-class=waypost", "--serve-unclassified=false"]).await?;
    let stage = Stage::on(&lab, &lab.controller, "beside").await?;
    stage::store(&lab, "ours", lab.vault_addr(), lab.vault_ca_pem()).await?;
    let stores: Api<ClusterSecretStore> = Api::all(stage.client.clone());
    let class = Patch::Merge(json!({ "spec": { "controller": "waypost" } }));
    stores.patch("ours", &PatchParams::default(), &class).await?;
    stage.secret(&stage.producer, "source", &[("password", "good")]).await?;

    let theirs = theirs(&stage).await?;
    let ours = json!({ "kind": "ClusterSecretStore", "name": "ours" });
    stage.push("ours", "source", PASSWORD, json!({ "secretStoreRefs": [ours] })).await?;
    stage.pull("ours", PASSWORD, json!({ "secretStoreRef": ours })).await?;
    stage.holds(&stage.consumer, "ours", &[("password", "good")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "ours", "True", "Synced").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "ours", "True", "SecretSynced").await?;
    for (api, before) in theirs {
        let name = before.name_any();
        let after = api.get(&name).await?;
        assert_eq!(after.metadata.resource_version, before.metadata.resource_version, "{name} was touched");
    }
    // Also where a write would have changed nothing.
    let written =
        lab.api_audit()?.requests()?.into_iter().filter(|request| ["patch", "update"].contains(&request.verb.as_str()));
    let names: Vec<String> = written.filter_map(|request| Some(request.object?.name)).collect();
    assert!(names.iter().all(|name| !name.starts_with("theirs")), "{names:?}");
    Ok(())
}

/// What an External Secrets Operator's users have, each as it stands and with where to look at it
/// again.
async fn theirs(stage: &Stage) -> anyhow::Result<Vec<(Api<DynamicObject>, DynamicObject)>> {
    let store = |name: &str| json!({ "kind": "ClusterSecretStore", "name": name });
    let entry = json!({ "secretKey": "a", "remoteRef": { "key": stage.path(), "property": "password" } });
    let generator = json!({ "apiVersion": "generators.external-secrets.io/v1alpha1", "kind": "Password", "name": "x" });
    let by_label = json!({ "kind": "ClusterSecretStore", "labelSelector": { "matchLabels": { "a": "b" } } });
    let push = |store: Value| {
        json!({
            "secretStoreRefs": [store], "selector": { "secret": { "name": "source" } }, "deletionPolicy": "Delete",
            "data": [mapping("password", &stage.path(), "password")],
        })
    };
    let pull = |store: Value| json!({ "secretStoreRef": store, "data": [entry] });
    let everywhere = json!([{ "matchLabels": { "nobody": "here" } }]);
    let (consumer, producer) = (Some(stage.consumer.as_str()), Some(stage.producer.as_str()));

    let mut theirs = Vec::new();
    for (name, spec) in [
        ("theirs-plain", pull(store(STORE))),
        ("theirs-unsupported", json!({ "secretStoreRef": store(STORE), "dataFrom": [{ "extract": { "key": "a" } }] })),
        ("theirs-generated", json!({ "dataFrom": [{ "sourceRef": { "generatorRef": generator } }] })),
        ("theirs-without-store", pull(store("nowhere"))),
    ] {
        theirs.push(create::<ExternalSecret>(stage, consumer, name, spec).await?);
    }
    for (name, spec) in [
        ("theirs-plain", push(store(STORE))),
        ("theirs-by-label", push(by_label.clone())),
        ("theirs-without-store", push(store("nowhere"))),
        ("theirs-deleted", push(store(STORE))),
        ("theirs-deleted-by-label", push(by_label)),
    ] {
        theirs.push(create::<PushSecret>(stage, producer, name, spec).await?);
    }
    let of_pulls = json!({ "namespaceSelectors": everywhere, "externalSecretSpec": pull(store(STORE)) });
    theirs.push(create::<ClusterExternalSecret>(stage, None, "theirs-pulls", of_pulls).await?);
    let of_pushes = json!({ "namespaceSelectors": everywhere, "pushSecretSpec": push(store(STORE)) });
    theirs.push(create::<ClusterPushSecret>(stage, None, "theirs-pushes", of_pushes).await?);
    for (api, object) in theirs.iter_mut().filter(|(_, object)| object.name_any().contains("deleted")) {
        api.delete(&object.name_any(), &Default::default()).await?;
        *object = api.get(&object.name_any()).await?;
    }
    Ok(theirs)
}

/// Makes an object that the other controller holds by its finalizer.
async fn create<K>(
    stage: &Stage,
    namespace: Option<&str>,
    name: &str,
    spec: Value,
) -> anyhow::Result<(Api<DynamicObject>, DynamicObject)>
where
    K: Resource<DynamicType = ()>,
{
    let resource = ApiResource::erase::<K>(&());
    let api = match namespace {
        Some(namespace) => Api::namespaced_with(stage.client.clone(), namespace, &resource),
        None => Api::all_with(stage.client.clone(), &resource),
    };
    let finalizers = [names::FINALIZER_PUSH_SECRET];
    let object = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "spec": spec,
        "metadata": { "name": name, "finalizers": finalizers },
    });
    let created = api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok((api, created))
}
