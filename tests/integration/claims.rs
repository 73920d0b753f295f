//! Ownership of a path: other writers, other PushSecrets, other clusters.

use anyhow::ensure;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, ExternalSecret, PushSecret, names};
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::stage::{SOON, Stage};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

#[tokio::test]
async fn es4_a_persons_property_survives_our_update_and_our_delete() -> anyhow::Result<()> {
    let stage = Stage::new("es4").await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage
        .vault
        .write("secret", &stage.path(), &json!({ "password": "one", "theirs": 9_007_199_254_740_991_u64 }))
        .await?;
    // From now on the server itself refuses a write without check-and-set.
    stage.vault.post(&format!("secret/metadata/{}", stage.path()), &json!({ "cas_required": true })).await?;
    assert!(stage.vault.write("secret", &stage.path(), &json!({})).await.is_err());

    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    let updated = json!({ "password": "two", "theirs": 9_007_199_254_740_991_u64 });
    wait::until("the update", SOON, async || {
        ensure!(
            stage.stored().await? == updated,
            "it is not there; status says {:?}",
            pushes.get("push").await?.status
        );
        Ok(Some(()))
    })
    .await?;
    pushes.delete("push", &DeleteParams::default()).await?;
    let left = json!({ "theirs": 9_007_199_254_740_991_u64 });
    wait::until("ours to go", SOON, async || Ok((stage.stored().await? == left).then_some(()))).await?;
    wait::until("our claims to go", SOON, async || Ok(metadata_keys(&stage).await?.is_empty().then_some(()))).await?;
    assert_eq!(stage.version().await?, 4);
    Ok(())
}

#[tokio::test]
async fn kg3_of_two_push_secrets_the_first_wins_until_it_goes() -> anyhow::Result<()> {
    let stage = Stage::new("kg3a").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.secret(&stage.producer, "rival", &[("password", "two"), ("username", "rival")]).await?;
    stage.push("first", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "first", "True", "Synced").await?;
    let before = metadata_keys(&stage).await?;
    stage.push("second", "rival", PASSWORD, json!({ "refreshInterval": "1s" })).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "second", "False", "PathConflict").await?;
    let cluster = kube_system_uid(&stage).await?;
    let owner = format!("PushSecret {}/first of cluster {cluster}", stage.producer);
    assert!(message.contains(&owner), "{message}");
    assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "one" })));
    assert_eq!(metadata_keys(&stage).await?, before, "the second leaves no trace");

    stage.api::<PushSecret>(&stage.producer).delete("first", &DeleteParams::default()).await?;
    stage.ready::<PushSecret>(&stage.producer, "second", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "two" }));
    Ok(())
}

#[tokio::test]
async fn claims_that_another_writer_erased_are_made_again_from_the_ledger() -> anyhow::Result<()> {
    let stage = Stage::new("erased").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "refreshInterval": "1s" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let claims = metadata_keys(&stage).await?;
    ensure!(claims.len() == 1, "{claims:?}");
    // As an External Secrets Operator does with each write.
    stage.vault.write_custom_metadata("secret", &stage.path(), &json!({ "managed-by": "external-secrets" })).await?;
    let again = async || Ok((metadata_keys(&stage).await? == claims).then_some(()));
    wait::until("the claim to be there again", SOON, again).await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "one" })));

    stage.push("rival", "source", PASSWORD, json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "rival", "False", "PathConflict").await?;
    Ok(())
}

#[tokio::test]
async fn a_foreign_path_is_left_alone_unless_adopted() -> anyhow::Result<()> {
    let stage = Stage::new("foreign").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "theirs", "other": "stays" })).await?;
    stage.secret(&stage.producer, "source", &[("password", "ours")]).await?;
    stage.push("push", "source", PASSWORD, json!({})).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "PathNotManaged").await?;
    assert!(message.contains(&stage.path()) && message.contains("waypost.io/adopt"), "{message}");
    assert_eq!(stage.stored().await?, json!({ "password": "theirs", "other": "stays" }));
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    assert_eq!(metadata["custom_metadata"], Value::Null);

    let adopt = json!({ "metadata": { "annotations": { "waypost.io/adopt": "true" } } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(adopt)).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "ours", "other": "stays" }));
    assert_eq!(stage.version().await?, 2);
    Ok(())
}

#[tokio::test]
async fn objects_of_a_store_of_another_controller_are_not_touched() -> anyhow::Result<()> {
    let stage = Stage::new("class").await?;
    let lab = Lab::shared().await?;
    let theirs = format!("theirs-{}", stage.word);
    let stores: kube::Api<ClusterSecretStore> = kube::Api::all(stage.client.clone());
    let object = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ClusterSecretStore", "metadata": { "name": theirs },
        "spec": { "controller": "other", "provider": { "vault": {
            "server": lab.vault_addr(), "path": "secret", "version": "v2",
            "auth": { "kubernetes": { "mountPath": "kubernetes", "role": "external-secrets" } },
        } } },
    });
    let store = stores.patch(&theirs, &PatchParams::apply("gitops").force(), &Patch::Apply(object)).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let refs = json!([{ "kind": "ClusterSecretStore", "name": theirs }]);
    let more = json!({ "deletionPolicy": "Delete", "secretStoreRefs": refs });
    let push = stage.push("theirs", "source", PASSWORD, more).await?;
    let more = json!({ "secretStoreRef": { "kind": "ClusterSecretStore", "name": theirs } });
    let pull = stage.pull("theirs", PASSWORD, more).await?;
    // Nor when it asks for what we do not serve, or is being deleted.
    let more = json!({ "secretStoreRef": { "kind": "ClusterSecretStore", "name": theirs },
        "data": [], "dataFrom": [{ "extract": { "key": stage.path() } }] });
    let odd_pull = stage.pull("odd", &[], more).await?;
    let more = json!({ "deletionPolicy": "Delete", "secretStoreRefs": refs });
    stage.push("going", "source", PASSWORD, more).await?;
    let held = json!({ "metadata": { "finalizers": [names::FINALIZER_PUSH_SECRET] } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("going", &PatchParams::default(), &Patch::Merge(held)).await?;
    stage.delete::<PushSecret>(&stage.producer, "going").await?;
    let going = pushes.get("going").await?;
    // What we do serve goes on; both controllers of ours have looked at everything older by then.
    stage.push("ours", "source", PASSWORD, json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "ours", "True", "Synced").await?;
    stage.pull("ours", PASSWORD, json!({})).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "ours", "True", "SecretSynced").await?;
    let push_now = stage.api::<PushSecret>(&stage.producer).get("theirs").await?;
    let pull_now = stage.api::<ExternalSecret>(&stage.consumer).get("theirs").await?;
    assert_eq!(push_now.metadata.resource_version, push.metadata.resource_version);
    assert_eq!(pull_now.metadata.resource_version, pull.metadata.resource_version);
    assert_eq!(stores.get(&theirs).await?.metadata.resource_version, store.metadata.resource_version);
    let odd_now = stage.api::<ExternalSecret>(&stage.consumer).get("odd").await?;
    assert_eq!(odd_now.metadata.resource_version, odd_pull.metadata.resource_version);
    assert_eq!(pushes.get("going").await?.metadata.resource_version, going.metadata.resource_version);
    Ok(())
}

/// Claims and intents at this test's path, as `key=value`; the marker apart.
async fn metadata_keys(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    let keys = metadata["custom_metadata"].as_object().cloned().unwrap_or_default();
    let ours = keys.iter().filter(|(key, _)| key.contains("waypost.io/"));
    Ok(ours.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect())
}

async fn kube_system_uid(stage: &Stage) -> anyhow::Result<String> {
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(stage.client.clone());
    Ok(namespaces.get("kube-system").await?.metadata.uid.unwrap_or_default())
}

#[tokio::test]
async fn a_rebuilt_cluster_under_its_former_name_takes_its_paths_over() -> anyhow::Result<()> {
    let stage = Stage::new("rebuilt").await?;
    let name = stage.class_store().await?;
    // What the former cluster left: a value, and the claim of a PushSecret that was there under
    // another UID.
    stage.vault.write("secret", &stage.path(), &json!({ "password": "former" })).await?;
    let claim = format!("cluster=lost namespace={} name=push uid=11111111-0000-4000-8000-000000000000", stage.producer);
    let metadata = json!({ "managed-by": "external-secrets", "claim.waypost.io/password": claim });
    stage.vault.write_custom_metadata("secret", &stage.path(), &metadata).await?;
    stage.secret(&stage.producer, "source", &[("password", "rebuilt")]).await?;

    let unnamed = stage.class_controller(&[]).await?;
    let through = json!({ "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": name }] });
    stage.push("push", "source", &[("password", "password")], through).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "PathConflict").await?;
    assert!(said.contains("of cluster lost"), "{said}");
    unnamed.sigterm(SOON).await?;
    let _named = stage.class_controller(&["--cluster-name=lost"]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (2, json!({ "password": "rebuilt" })));
    Ok(())
}
