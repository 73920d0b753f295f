//! What becomes of earlier versions when the last property of a path goes: kept, destroyed, or
//! purged with the whole entry, with no more rights than the shipped policies give.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use reqwest::Method;
use serde_json::{Value, json};
use waypost::api::{ClusterPushSecret, ClusterSecretStore, ExternalSecret, PushSecret};
use waypost_e2e::lab::{Lab, cluster_secret_store, repository};
use waypost_e2e::wait;

use crate::bad_store::{remove_store, store_ref, store_says};
use crate::between::{self, Between};
use crate::least_rights;
use crate::stage::{LATER, SOON, Stage, condition, mapping};

/// A refusal that may pass is looked at again within a minute.
const BY_ITSELF: Duration = Duration::from_secs(90);

#[tokio::test]
async fn es6_earlier_versions_stay_are_destroyed_or_go_with_the_entry() -> anyhow::Result<()> {
    let stage = Stage::new("earlier").await?;
    let store = stage.store_with(&["destroy", "purge"], None).await?;
    let settings = [("Keep", "postgres"), ("Destroy", "mysql"), ("Purge", "redis")];
    for value in ["one", "two"] {
        stage.secret(&stage.producer, "source", &[("password", value)]).await?;
        for (setting, datasource) in settings {
            let more = json!({ "data": [mapping("password", &stage.path_of(datasource), "password")] });
            stage.push_as(&setting.to_lowercase(), setting, &store, more).await?;
        }
        for (setting, datasource) in settings {
            stage.ready::<PushSecret>(&stage.producer, &setting.to_lowercase(), "True", "Synced").await?;
            wait::until("both values", SOON, async || {
                let entry = stage.vault.read("secret", &stage.path_of(datasource)).await?;
                Ok((entry.and_then(|entry| entry.data) == Some(json!({ "password": value }))).then_some(()))
            })
            .await?;
        }
    }
    let pull = json!({
        "refreshInterval": "24h", "secretStoreRef": store_ref(&store),
        "data": [{ "secretKey": "password", "remoteRef": { "key": stage.path_of("redis"), "property": "password" } }],
    });
    stage.apply::<ExternalSecret>(&stage.consumer, "pull", pull).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "two")]).await?;
    for (setting, _) in settings {
        stage.gone(&setting.to_lowercase(), LATER).await?;
    }
    assert_eq!(stage.versions("postgres").await?, Some(vec![(1, false), (2, false), (3, false)]));
    assert_eq!(
        stage.vault.read_version("secret", &stage.path_of("postgres"), 2).await?.and_then(|old| old.data),
        Some(json!({ "password": "two" }))
    );
    assert_eq!(stage.versions("mysql").await?, Some(vec![(1, true), (2, true), (3, true)]));
    assert_eq!(stage.versions("redis").await?, None);

    // Numbers begin anew, and the consumer goes along.
    stage.secret(&stage.producer, "source", &[("password", "three")]).await?;
    let more = json!({ "data": [mapping("password", &stage.path_of("redis"), "password")] });
    stage.push_as("purge", "Purge", &store, more).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "three")]).await?;
    assert_eq!(stage.versions("redis").await?, Some(vec![(1, false)]));
    stage.gone("purge", LATER).await?;
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_and_the_deletion_goes_on_once_it_is_there() -> anyhow::Result<()> {
    let stage = Stage::new("lacking").await?;
    let store = stage.store_with(&[], None).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push_as("push", "Purge", &store, json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    stage.says("push", "CleanupPending", &["optional/destroy.hcl", "waypost.io/abandon", &stage.path()]).await?;
    assert_eq!(stage.stored().await?, json!({}), "no reader sees it any more");

    stage.install("destroy").await?;
    let now = json!({ "metadata": { "annotations": { "force-sync": "1" } } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(now)).await?;
    stage.says("push", "CleanupPending", &["optional/purge.hcl"]).await?;
    assert_eq!(stage.versions("postgres").await?, Some(vec![(1, true), (2, true)]));
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    ensure!(!metadata.to_string().contains("intent."), "nobody is held up meanwhile: {metadata}");

    stage.install("purge").await?;
    wait::until("the PushSecret to go by itself", BY_ITSELF, async || {
        Ok(pushes.get_opt("push").await?.is_none().then_some(()))
    })
    .await?;
    assert_eq!(stage.versions("postgres").await?, None);
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn an_annotation_that_says_nothing_removes_nothing_until_it_is_corrected() -> anyhow::Result<()> {
    let stage = Stage::new("misspelt").await?;
    let store = stage.store_with(&["destroy"], None).await?;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("username", "u")]).await?;
    let both = json!({ "data": [
        mapping("password", &stage.path(), "password"), mapping("username", &stage.path_of("mysql"), "username"),
    ] });
    stage.push_as("push", "Keep", &store, both).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.push_as("push", "destroy", &store, json!({})).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "InvalidSpec").await?;
    assert!(said.contains("waypost.io/earlier-versions") && said.contains("Keep, Destroy or Purge"), "{said}");
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    stage.says("push", "CleanupPending", &["Keep, Destroy or Purge"]).await?;
    assert_eq!(stage.versions("mysql").await?, Some(vec![(1, false)]));
    assert_eq!(stage.stored().await?, json!({ "password": "one" }));

    let correct = json!({ "metadata": { "annotations": { "waypost.io/earlier-versions": "Destroy" } } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(correct)).await?;
    wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt("push").await?.is_none().then_some(())))
        .await?;
    for datasource in ["postgres", "mysql"] {
        assert_eq!(stage.versions(datasource).await?, Some(vec![(1, true), (2, true)]), "{datasource}");
    }
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn what_somebody_writes_in_between_survives_and_a_purge_gives_way_to_it() -> anyhow::Result<()> {
    for (setting, method, endpoint) in
        [("Destroy", Method::POST, "destroy"), ("Purge", Method::POST, "destroy"), ("Purge", Method::PATCH, "metadata")]
    {
        let stage = Stage::new("between").await?;
        let lab = Lab::shared().await?;
        let before = format!("secret/{endpoint}/{}", stage.path());
        let between = Between { method, before, path: stage.path(), data: json!({ "note": "theirs" }) };
        let (address, trigger) = between::serve(lab, between).await?;
        let store = stage.store_with(&["destroy", "purge"], Some(&address)).await?;
        stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
        stage.push_as("push", setting, &store, json!({})).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        trigger.arm();
        stage.gone("push", LATER).await?;
        assert_eq!(stage.stored().await?, json!({ "note": "theirs" }), "{setting}, {endpoint}");
        assert_eq!(stage.versions("postgres").await?, Some(vec![(1, true), (2, true), (3, false)]));
        remove_store(&stage, &store).await?;
    }
    Ok(())
}

#[tokio::test]
async fn i3_a_purge_takes_nothing_of_an_owner_who_comes_at_that_moment() -> anyhow::Result<()> {
    let stage = Stage::new("coming").await?;
    let store = stage.store_with(&["destroy", "purge"], None).await?;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("username", "u")]).await?;
    let paths: Vec<String> = (0..12).map(|number| format!("{}-{number}", stage.path())).collect();
    for (number, path) in paths.iter().enumerate() {
        let more = json!({ "data": [mapping("password", path, "password")] });
        stage.push_as(&format!("goes-{number}"), "Purge", &store, more).await?;
    }
    for number in 0..paths.len() {
        stage.ready::<PushSecret>(&stage.producer, &format!("goes-{number}"), "True", "Synced").await?;
    }
    for (number, path) in paths.iter().enumerate() {
        let more = json!({ "data": [mapping("username", path, "username")] });
        let (coming, going) = (format!("comes-{number}"), format!("goes-{number}"));
        let (comes, goes) = tokio::join!(
            stage.push_as(&coming, "Purge", &store, more),
            stage.delete::<PushSecret>(&stage.producer, &going)
        );
        comes.and(goes)?;
    }
    for (number, path) in paths.iter().enumerate() {
        stage.gone_already(&format!("goes-{number}"), BY_ITSELF).await?;
        stage.ready::<PushSecret>(&stage.producer, &format!("comes-{number}"), "True", "Synced").await?;
        let entry = stage.vault.read("secret", path).await?.and_then(|entry| entry.data);
        assert_eq!(entry, Some(json!({ "username": "u" })), "{path}");
    }
    remove_store(&stage, &store).await
}

#[tokio::test]
async fn children_of_a_cluster_push_secret_purge_with_the_printed_policy_alone() -> anyhow::Result<()> {
    let stage = Stage::new("purging").await?;
    let store = format!("{}-store", stage.word);
    let spec = json!({
        "namespaceSelectors": [{ "matchLabels": { "kubernetes.io/metadata.name": stage.producer } }],
        "pushSecretMetadata": { "annotations": { "waypost.io/earlier-versions": "Purge" } },
        "pushSecretSpec": {
            "refreshInterval": "24h", "deletionPolicy": "Delete", "secretStoreRefs": [store_ref(&store)],
            "selector": { "secret": { "name": "source" } }, "data": [mapping("password", &stage.path(), "password")],
        },
    });
    let manifest = json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "ClusterPushSecret", "spec": spec,
        "metadata": { "name": stage.word },
    });
    least_rights::login(&stage, &store, "publisher", manifest.clone()).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let all: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    all.patch(&stage.word, &PatchParams::apply("gitops").force(), &Patch::Apply(manifest)).await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("the child", LATER, async || Ok(pushes.get_opt(&stage.word).await?.map(drop))).await?;
    stage.ready::<PushSecret>(&stage.producer, &stage.word, "True", "Synced").await?;
    all.delete(&stage.word, &DeleteParams::foreground()).await?;
    stage.gone_already(&stage.word, LATER).await?;
    assert_eq!(stage.versions("postgres").await?, None);
    remove_store(&stage, &store).await
}

impl Stage {
    fn path_of(&self, datasource: &str) -> String {
        format!("platform-data/{datasource}/{}", self.word)
    }

    /// The numbers of all versions, and whether they are destroyed; nothing when there is no entry.
    async fn versions(&self, datasource: &str) -> anyhow::Result<Option<Vec<(u64, bool)>>> {
        let Some(metadata) = self.vault.metadata("secret", &self.path_of(datasource)).await? else { return Ok(None) };
        let versions = metadata["versions"].as_object().context("versions")?;
        let mut versions: Vec<(u64, bool)> = versions
            .iter()
            .map(|(number, state)| anyhow::Ok((number.parse()?, state["destroyed"] == true)))
            .collect::<anyhow::Result<_>>()?;
        versions.sort_unstable();
        Ok(Some(versions))
    }

    /// Applies a PushSecret that deletes, and says this of earlier versions.
    async fn push_as(&self, name: &str, earlier: &str, store: &str, more: Value) -> anyhow::Result<()> {
        let mut spec = json!({
            "refreshInterval": "24h", "deletionPolicy": "Delete", "secretStoreRefs": [store_ref(store)],
            "selector": { "secret": { "name": "source" } }, "data": [mapping("password", &self.path(), "password")],
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let object = json!({
            "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": spec,
            "metadata": { "name": name, "annotations": { "waypost.io/earlier-versions": earlier } },
        });
        let pushes = self.api::<PushSecret>(&self.producer);
        pushes.patch(name, &PatchParams::apply("gitops").force(), &Patch::Apply(object)).await?;
        Ok(())
    }

    async fn gone(&self, name: &str, deadline: Duration) -> anyhow::Result<()> {
        self.delete::<PushSecret>(&self.producer, name).await?;
        self.gone_already(name, deadline).await
    }

    async fn gone_already(&self, name: &str, deadline: Duration) -> anyhow::Result<()> {
        let pushes = self.api::<PushSecret>(&self.producer);
        wait::until(&format!("PushSecret {name} to go"), deadline, async || match pushes.get_opt(name).await? {
            None => Ok(Some(())),
            Some(push) => bail!("it says {:?}", condition(&serde_json::to_value(&push)?)),
        })
        .await
    }

    /// Waits until a PushSecret, which may be going, says this.
    async fn says(&self, name: &str, reason: &str, words: &[&str]) -> anyhow::Result<()> {
        let pushes = self.api::<PushSecret>(&self.producer);
        wait::until(&format!("PushSecret {name} says {reason}"), LATER, async || {
            let object = serde_json::to_value(pushes.get(name).await?)?;
            let Some(ready) = condition(&object) else { bail!("it has no condition") };
            let message = ready["message"].as_str().unwrap_or_default();
            ensure!(ready["reason"] == reason && words.iter().all(|word| message.contains(word)), "it says {ready}");
            Ok(Some(()))
        })
        .await
    }

    /// Installs one of the optional policies for this test's store, whose sessions may be open.
    async fn install(&self, policy: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(repository().join(format!("policies/vault/optional/{policy}.hcl")))?;
        self.vault.put_policy(&format!("{}-{policy}", self.word), &text.replace("{{mount}}", "secret")).await
    }

    /// A store whose role has the shipped policy, and names the optional ones, of which only these
    /// are installed.
    async fn store_with(&self, installed: &[&str], server: Option<&str>) -> anyhow::Result<String> {
        for policy in installed {
            self.install(policy).await?;
        }
        let (lab, name) = (Lab::shared().await?, format!("{}-store", self.word));
        let role = json!({
            "bound_service_account_names": "external-secrets", "bound_service_account_namespaces": "external-secrets",
            "token_policies": ["waypost-combined", format!("{}-destroy", self.word), format!("{}-purge", self.word)],
            "token_no_default_policy": true,
        });
        self.vault.post(&format!("auth/kubernetes/role/{name}"), &role).await?;
        let (server, ca) = match server {
            Some(server) => (server, None),
            None => (lab.vault_addr(), lab.vault_ca_pem()),
        };
        let mut store = cluster_secret_store(&name, server, ca);
        store["spec"]["provider"]["vault"]["auth"]["kubernetes"]["role"] = json!(name);
        let stores: Api<ClusterSecretStore> = Api::all(self.client.clone());
        stores.patch(&name, &PatchParams::apply("gitops").force(), &Patch::Apply(store)).await?;
        store_says(self, &name, "True", "Valid", &[]).await?;
        Ok(name)
    }
}
