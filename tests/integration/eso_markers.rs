//! Paths that External Secrets Operator pushed under a key that repeats the mount: its mark is on a
//! path without data.

use std::fs;

use anyhow::ensure;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::{ClusterSecretStore, PushSecret};
use waypost_e2e::lab::{Lab, cluster_secret_store, repository};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref, store_says};
use crate::stage::{LATER, SOON, Stage, mapping};

#[tokio::test]
async fn a_mark_at_the_wrong_place_is_believed_put_right_and_never_looked_for_again() -> anyhow::Result<()> {
    for spelling in ["secret/", "secret/data/"] {
        let stage = Stage::new("marked").await?;
        let store = stage.store_of("eso-markers").await?;
        let (key, phantom) = stage.pushed_by_the_operator(spelling).await?;
        stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
        stage.push_through(&store, &key).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        // The value was there already: no version. What others keep there stays.
        assert_eq!(stage.stored().await?, json!({ "password": "one", "note": "theirs" }));
        assert_eq!(stage.version().await?, 1);
        let labels =
            stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default()["custom_metadata"].clone();
        ensure!(
            labels["managed-by"] == "external-secrets" && labels["claim.waypost.io/password"].is_string(),
            "{labels}"
        );
        stage.marks_nothing(&phantom).await?;

        let audit = Lab::shared().await?.bao()?.audit();
        let mark = audit.mark()?;
        stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
        let wrong = format!("secret/metadata/{phantom}");
        wait::until("the next value", SOON, async || Ok((stage.version().await? == 2).then_some(()))).await?;
        let looked = audit.since(mark)?.iter().filter(|request| request.path == wrong).count();
        assert_eq!(looked, 0, "{spelling}: the path has its own mark");
        remove_store(&stage, &store).await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_the_right_to_look_a_path_is_refused_as_ever_and_the_place_is_named() -> anyhow::Result<()> {
    let stage = Stage::new("unseen").await?;
    let store = stage.store_of("nothing").await?;
    let (key, phantom) = stage.pushed_by_the_operator("secret/").await?;
    stage.secret(&stage.producer, "source", &[("password", "ours")]).await?;
    stage.push_through(&store, &key).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "PathNotManaged").await?;
    for word in [format!("secret/{phantom}").as_str(), "optional/eso-markers.hcl", "waypost.io/adopt"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    assert_eq!((stage.version().await?, stage.stored().await?), (1, json!({ "password": "one", "note": "theirs" })));
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    assert_eq!(metadata["custom_metadata"], Value::Null);

    stage.install_optional("eso-markers", "nothing").await?;
    let now = json!({ "metadata": { "annotations": { "force-sync": "1" } } });
    stage.api::<PushSecret>(&stage.producer).patch("push", &PatchParams::default(), &Patch::Merge(now)).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "ours", "note": "theirs" }));
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn what_was_pushed_under_such_a_key_goes_with_its_push_secret() -> anyhow::Result<()> {
    let stage = Stage::new("leaving").await?;
    let store = stage.store_of("eso-markers").await?;
    let (key, phantom) = stage.pushed_by_the_operator("secret/").await?;
    // As that operator leaves it when its PushSecret is being deleted, and Waypost takes over: no
    // Waypost claimed anything.
    let push = json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
        "metadata": { "name": "push", "finalizers": ["pushsecret.externalsecrets.io/finalizer"] },
        "spec": {
            "refreshInterval": "24h", "deletionPolicy": "Delete", "secretStoreRefs": [store_ref("nowhere")],
            "selector": { "secret": { "name": "source" } }, "data": [mapping("password", &key, "password")],
        },
    });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.create(&Default::default(), &serde_json::from_value(push)?).await?;
    let line = json!({ format!("{key}/password"): mapping("password", &key, "password") });
    let ledger = json!({ "status": { "syncedPushSecrets": { format!("ClusterSecretStore/{store}"): line } } });
    pushes.patch_status("push", &PatchParams::default(), &Patch::Merge(ledger)).await?;
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt("push").await?.is_none().then_some(())))
        .await?;
    assert_eq!(stage.stored().await?, json!({ "note": "theirs" }));
    stage.marks_nothing(&phantom).await?;
    remove_store(&stage, &store).await
}

impl Stage {
    /// Sends what that operator sends, with the key spelled so; gives the key and the place of its
    /// mark below the mount.
    async fn pushed_by_the_operator(&self, spelling: &str) -> anyhow::Result<(String, String)> {
        let key = format!("{spelling}{}", self.path());
        self.vault.write_custom_metadata("secret", &key, &json!({ "managed-by": "external-secrets" })).await?;
        self.vault.write("secret", &self.path(), &json!({ "password": "one", "note": "theirs" })).await?;
        Ok((key.clone(), key))
    }

    /// What stands at the wrong place has no label any more, and never had data.
    async fn marks_nothing(&self, phantom: &str) -> anyhow::Result<()> {
        let left = self.vault.metadata("secret", phantom).await?.unwrap_or_default();
        let labels = left["custom_metadata"].as_object().map_or(0, serde_json::Map::len);
        ensure!(labels == 0 && left["current_version"] == 0, "{left}");
        Ok(())
    }

    async fn push_through(&self, store: &str, key: &str) -> anyhow::Result<()> {
        let more = json!({ "secretStoreRefs": [store_ref(store)], "data": [mapping("password", key, "password")] });
        self.push("push", "source", &[], more).await.map(drop)
    }

    async fn install_optional(&self, policy: &str, named: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(repository().join(format!("policies/vault/optional/{policy}.hcl")))?;
        self.vault.put_policy(&format!("{}-{named}", self.word), &text.replace("{{mount}}", "secret")).await
    }

    /// A store whose role has the shipped policy, and this optional one if there is one of that
    /// name.
    async fn store_of(&self, optional: &str) -> anyhow::Result<String> {
        let (lab, name) = (Lab::shared().await?, format!("{}-store", self.word));
        if repository().join(format!("policies/vault/optional/{optional}.hcl")).is_file() {
            self.install_optional(optional, optional).await?;
        }
        let role = json!({
            "bound_service_account_names": "external-secrets", "bound_service_account_namespaces": "external-secrets",
            "token_policies": ["waypost-combined", format!("{}-{optional}", self.word)], "token_no_default_policy": true,
        });
        self.vault.post(&format!("auth/kubernetes/role/{name}"), &role).await?;
        let mut store = cluster_secret_store(&name, lab.vault_addr(), lab.vault_ca_pem());
        store["spec"]["provider"]["vault"]["auth"]["kubernetes"]["role"] = json!(name);
        let stores: Api<ClusterSecretStore> = Api::all(self.client.clone());
        stores.patch(&name, &PatchParams::apply("gitops").force(), &Patch::Apply(store)).await?;
        store_says(self, &name, "True", "Valid", &[]).await?;
        Ok(name)
    }
}
