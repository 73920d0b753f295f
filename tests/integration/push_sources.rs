//! The sources of a PushSecret: one Secret, or several by their labels, as they change.

use std::ops::Range;
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::lab::Lab;
use waypost_e2e::turns::heavy;
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, Stage, mapping};

const PUBLISHED: &str = "publish";
/// What the watch promises for a change of a source.
const AT_ONCE: Duration = Duration::from_secs(5);

impl Stage {
    /// The name of a source, which is a word of this test's paths as well.
    fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.word)
    }

    /// Applies a Secret of the producer with these labels and this password.
    async fn labelled(&self, name: &str, labels: Value, password: &str) -> anyhow::Result<()> {
        let name = self.named(name);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "labels": labels },
            "stringData": { "password": password },
        });
        let params = PatchParams::apply("operator").force();
        self.api::<Secret>(&self.producer).patch(&name, &params, &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// Publishes every Secret with the label to a path that its metadata makes.
    async fn push_labelled(&self, remote_key: &str, more: Value) -> anyhow::Result<()> {
        let mut spec = json!({
            "deletionPolicy": "Delete",
            "selector": { "secret": { "selector": { "matchLabels": { PUBLISHED: "yes" } } } },
            "data": [mapping("password", remote_key, "password")],
        });
        let (Value::Object(spec_fields), Value::Object(more)) = (&mut spec, more) else { unreachable!("two objects") };
        spec_fields.extend(more);
        self.push("push", "unused", &[], spec).await.map(drop)
    }

    /// The password at the path of a source, with its version.
    async fn published(&self, name: &str) -> anyhow::Result<Option<(u64, String)>> {
        let path = format!("platform-data/postgres/{}", self.named(name));
        let Some(entry) = self.vault.read("secret", &path).await? else { return Ok(None) };
        let Some(password) = entry.data.and_then(|data| data["password"].as_str().map(str::to_owned)) else {
            return Ok(None);
        };
        let metadata = self.vault.metadata("secret", &path).await?.unwrap_or_default();
        Ok(Some((metadata["current_version"].as_u64().unwrap_or_default(), password)))
    }

    async fn is_published(&self, name: &str, wanted: Option<(u64, &str)>) -> anyhow::Result<()> {
        let what = format!("{name} to be {wanted:?}");
        wait::until(&what, AT_ONCE, async || {
            let found = self.published(name).await?;
            let found = found.as_ref().map(|(version, password)| (*version, password.as_str()));
            anyhow::ensure!(found == wanted, "it is {found:?}");
            Ok(Some(()))
        })
        .await
    }
}

const BY_NAME: &str = "platform-data/postgres/{{ .metadata.name }}";

#[tokio::test]
async fn defect_a_many_sources_keep_their_entries_over_refreshes_and_each_loses_only_its_own() -> anyhow::Result<()> {
    let stage = Stage::new("defecta").await?;
    stage.labelled("orders", json!({ PUBLISHED: "yes" }), "one").await?;
    stage.labelled("private", json!({}), "secret").await?;
    stage.push_labelled(BY_NAME, json!({ "refreshInterval": "1s" })).await?;
    stage.is_published("orders", Some((1, "one"))).await?;
    // One that comes later, and one that gets its label later.
    stage.labelled("invoices", json!({ PUBLISHED: "yes" }), "two").await?;
    stage.is_published("invoices", Some((1, "two"))).await?;
    stage.labelled("stock", json!({}), "three").await?;
    stage.labelled("stock", json!({ PUBLISHED: "yes" }), "three").await?;
    stage.is_published("stock", Some((1, "three"))).await?;
    // Three refreshes leave all three as they are.
    let audit = Lab::shared().await?.bao()?.audit();
    let (mark, path) = (audit.mark()?, format!("secret/data/platform-data/postgres/{}", stage.named("orders")));
    wait::until("three refreshes", LATER, async || Ok((audit.since_under(mark, &path)?.len() >= 3).then_some(())))
        .await?;
    for (name, password) in [("orders", "one"), ("invoices", "two"), ("stock", "three")] {
        stage.is_published(name, Some((1, password))).await?;
    }
    assert_eq!(stage.published("private").await?, None);
    // One loses its label, another is deleted: their entries go, the third's stays.
    stage.labelled("orders", json!({ PUBLISHED: "no" }), "one").await?;
    stage.is_published("orders", None).await?;
    stage.api::<Secret>(&stage.producer).delete(&stage.named("stock"), &DeleteParams::default()).await?;
    stage.is_published("stock", None).await?;
    stage.is_published("invoices", Some((1, "two"))).await?;
    let left = format!("platform-data/postgres/{}/password", stage.named("invoices"));
    wait::until("the ledger to list what is left", SOON, async || {
        let status = stage.api::<PushSecret>(&stage.producer).get("push").await?.status.unwrap_or_default();
        let lines: Vec<&String> = status.synced_push_secrets.values().flat_map(|lines| lines.keys()).collect();
        anyhow::ensure!(lines == [&left], "it lists {lines:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn every_change_of_a_labelled_source_is_followed_at_once_without_an_interval() -> anyhow::Result<()> {
    let stage = Stage::new("followed").await?;
    stage.push_labelled(BY_NAME, json!({})).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceNotFound").await?;
    assert!(message.contains("publish=yes"), "{message}");
    stage.labelled("orders", json!({}), "one").await?;
    stage.labelled("orders", json!({ PUBLISHED: "yes" }), "one").await?;
    stage.is_published("orders", Some((1, "one"))).await?;
    stage.labelled("orders", json!({ PUBLISHED: "yes" }), "two").await?;
    stage.is_published("orders", Some((2, "two"))).await?;
    stage.labelled("invoices", json!({ PUBLISHED: "yes" }), "one").await?;
    stage.is_published("invoices", Some((1, "one"))).await?;
    stage.labelled("orders", json!({ PUBLISHED: "no" }), "two").await?;
    stage.is_published("orders", None).await?;
    stage.is_published("invoices", Some((1, "one"))).await
}

#[tokio::test]
async fn defect_n_with_no_matching_source_left_deletion_policy_decides_and_nothing_is_forgotten() -> anyhow::Result<()>
{
    for (deletion, reason) in [("None", "SourceGone"), ("Delete", "SourceDeleted")] {
        let stage = Stage::new("defectn").await?;
        stage.labelled("orders", json!({ PUBLISHED: "yes" }), "one").await?;
        stage.push_labelled(BY_NAME, json!({ "deletionPolicy": deletion })).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        stage.labelled("orders", json!({ PUBLISHED: "no" }), "one").await?;
        let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", reason).await?;
        assert!(message.contains("publish=yes"), "{message}");
        let status = stage.api::<PushSecret>(&stage.producer).get("push").await?.status.unwrap_or_default();
        let stays = deletion == "None";
        assert_eq!(!status.synced_push_secrets.is_empty(), stays, "{:?}", status.synced_push_secrets);
        stage.is_published("orders", stays.then_some((1, "one"))).await?;
        // A deletion after that still knows what to do.
        stage.labelled("orders", json!({ PUBLISHED: "yes" }), "two").await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        assert_eq!(stage.published("orders").await?.map(|(_, password)| password).as_deref(), Some("two"));
    }
    Ok(())
}

#[tokio::test]
async fn two_sources_that_would_write_one_property_are_refused_and_both_are_named() -> anyhow::Result<()> {
    let stage = Stage::new("twosources").await?;
    stage.labelled("orders", json!({ PUBLISHED: "yes" }), "one").await?;
    stage.labelled("invoices", json!({ PUBLISHED: "yes" }), "two").await?;
    stage.push_labelled(&stage.path(), json!({})).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceInvalid").await?;
    for name in ["orders", "invoices"] {
        assert!(message.contains(&format!("Secret {}/{}", stage.producer, stage.named(name))), "{message}");
    }
    assert_eq!(stage.version().await?, 0);
    stage.labelled("orders", json!({ PUBLISHED: "no" }), "one").await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "two" }));
    Ok(())
}

#[tokio::test]
async fn a_source_without_the_label_that_its_key_asks_for_is_named_and_the_others_go_on() -> anyhow::Result<()> {
    let stage = Stage::new("nolabel").await?;
    let named = |name: &str| json!({ PUBLISHED: "yes", "app.kubernetes.io/name": stage.named(name) });
    stage.labelled("orders", named("orders"), "one").await?;
    stage.labelled("invoices", json!({ PUBLISHED: "yes" }), "two").await?;
    let by_label = r#"platform-data/postgres/{{ index .metadata.labels "app.kubernetes.io/name" }}"#;
    stage.push_labelled(by_label, json!({})).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceInvalid").await?;
    let source = format!("Secret {}/{}", stage.producer, stage.named("invoices"));
    assert!(message.contains(&source) && message.contains("app.kubernetes.io/name"), "{message}");
    stage.is_published("orders", Some((1, "one"))).await?;
    stage.labelled("invoices", named("invoices"), "two").await?;
    stage.is_published("invoices", Some((1, "two"))).await?;
    // The key follows its label: the new path is written, the old one goes.
    stage.labelled("orders", named("sales"), "one").await?;
    stage.is_published("sales", Some((1, "one"))).await?;
    stage.is_published("orders", None).await
}

#[tokio::test]
async fn p4_a_source_that_comes_late_goes_comes_back_changes_its_type_and_shrinks_is_followed() -> anyhow::Result<()> {
    let stage = Stage::new("source").await?;
    let both = [("username", "username"), ("password", "password")];
    stage.push("push", "source", &both, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceNotFound").await?;
    let first = stage.secret(&stage.producer, "source", &[("username", "u"), ("password", "one")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "username": "u", "password": "one" }));

    let secrets = stage.api::<Secret>(&stage.producer);
    secrets.delete("source", &DeleteParams::default()).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceDeleted").await?;
    assert_eq!(stage.stored().await?, Value::Null);
    let typed = json!({
        "metadata": { "name": "source" }, "type": "kubernetes.io/basic-auth",
        "stringData": { "username": "u", "password": "two" },
    });
    let second = secrets.create(&Default::default(), &serde_json::from_value(typed)?).await?;
    assert_ne!(first.uid(), second.uid());
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "username": "u", "password": "two" }));

    stage.secret(&stage.producer, "source", &[("username", "u")]).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceInvalid").await?;
    assert!(message.contains("\"password\"") && message.contains("source"), "{message}");
    assert_eq!(
        stage.stored().await?,
        json!({ "username": "u", "password": "two" }),
        "a path is written whole or not at all"
    );
    stage.secret(&stage.producer, "source", &[("username", "u"), ("password", "three")]).await?;
    wait::until("the third password", SOON, async || Ok((stage.stored().await?["password"] == "three").then_some(())))
        .await
}

#[tokio::test]
async fn a_config_map_is_a_source_like_any_other() -> anyhow::Result<()> {
    let stage = Stage::new("cmsource").await?;
    let more = json!({
        "selector": { "configMap": { "name": "endpoint" } }, "deletionPolicy": "Delete",
        "data": [
            mapping("host", &format!("platform-config/postgres/{}", stage.word), "host"),
            mapping("blob", &format!("platform-config/postgres/{}", stage.word), "blob"),
        ],
    });
    stage.push("push", "unused", &[], more).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceNotFound").await?;
    assert!(message.contains("ConfigMap") && message.contains("endpoint"), "{message}");
    let endpoint = async |host: &str| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "endpoint" },
            "data": { "host": host }, "binaryData": { "blob": "dGV4dA==" },
        });
        let params = PatchParams::apply("operator").force();
        stage.api::<ConfigMap>(&stage.producer).patch("endpoint", &params, &Patch::Apply(map)).await
    };
    let published = async |wanted: Value| {
        let path = format!("platform-config/postgres/{}", stage.word);
        wait::until("the endpoint to be published", AT_ONCE, async || {
            let data = stage.vault.read("secret", &path).await?.and_then(|entry| entry.data).unwrap_or_default();
            Ok((data == wanted).then_some(()))
        })
        .await
    };
    endpoint("one.db.svc").await?;
    published(json!({ "host": "one.db.svc", "blob": "text" })).await?;
    endpoint("two.db.svc").await?;
    published(json!({ "host": "two.db.svc", "blob": "text" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.api::<ConfigMap>(&stage.producer).delete("endpoint", &DeleteParams::default()).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceDeleted").await?;
    published(Value::Null).await?;
    endpoint("three.db.svc").await?;
    published(json!({ "host": "three.db.svc", "blob": "text" })).await
}

#[tokio::test]
async fn i9_more_sources_than_the_bound_are_refused_by_their_count_and_nothing_is_lost() -> anyhow::Result<()> {
    let _turn = heavy().await?;
    let stage = Stage::new("manysources").await?;
    stage.labelled("orders", json!({ PUBLISHED: "yes" }), "one").await?;
    stage.push_labelled(BY_NAME, json!({})).await?;
    stage.is_published("orders", Some((1, "one"))).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let tenants = async |numbers: Range<usize>, published: &str| {
        let names: Vec<String> = numbers.map(|number| format!("tenant{number}")).collect();
        try_join_all(names.iter().map(|name| stage.labelled(name, json!({ PUBLISHED: published }), "two"))).await
    };
    tenants(0..100, "yes").await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "TooLarge").await?;
    assert!(message.contains("101 Secrets") && message.contains("takes 100"), "{message}");
    // Neither a change nor a source that goes is followed meanwhile.
    stage.labelled("orders", json!({ PUBLISHED: "yes" }), "three").await?;
    stage.labelled("one-more", json!({ PUBLISHED: "yes" }), "two").await?;
    wait::until("the count to be told", SOON, async || {
        let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "TooLarge").await?;
        Ok(message.contains("102 Secrets").then_some(()))
    })
    .await?;
    assert_eq!(stage.published("orders").await?, Some((1, "one".to_owned())));
    // Few are left: how many sources it takes is told by a unit test, which waits for no server.
    stage.labelled("one-more", json!({ PUBLISHED: "no" }), "two").await?;
    tenants(5..100, "no").await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.published("orders").await?, Some((2, "three".to_owned())));
    assert_eq!(stage.published("tenant4").await?, Some((1, "two".to_owned())));
    Ok(())
}
