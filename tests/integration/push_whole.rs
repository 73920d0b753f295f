//! Pushes of everything in a source, where the convention only warns: exact, owned by property, and
//! silent when nothing changed.

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::lab::Lab;
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, STORE, Stage, mapping};

/// A producer whose namespace asks for the convention to warn only.
struct Lenient {
    stage: Stage,
}

impl Lenient {
    async fn begin(test: &str) -> anyhow::Result<Self> {
        let stage = Stage::new(test).await?;
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        let label = json!({ "metadata": { "labels": { "waypost.io/path-convention": "warn" } } });
        namespaces.patch(&stage.producer, &PatchParams::default(), &Patch::Merge(label)).await?;
        Ok(Lenient { stage })
    }

    /// Applies a PushSecret with these mappings as soon as admission lets it pass, and waits until
    /// it is in place.
    async fn push(&self, mappings: Value) -> anyhow::Result<String> {
        let mut more = json!({ "refreshInterval": "1s", "deletionPolicy": "Delete", "data": [] });
        more.as_object_mut().context("an object")?.extend(mappings.as_object().context("an object")?.clone());
        wait::until("admission to only warn", SOON, async || {
            self.stage.push("push", "source", &[], more.clone()).await.map(Some)
        })
        .await?;
        self.stage.ready::<PushSecret>(&self.stage.producer, "push", "True", "Synced").await
    }

    async fn data(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.stage.vault.read("secret", path).await?.and_then(|entry| entry.data).unwrap_or_default())
    }

    async fn becomes(&self, path: &str, wanted: Value) -> anyhow::Result<()> {
        wait::until(&format!("{path} to be as wanted"), SOON, async || {
            let found = self.data(path).await?;
            anyhow::ensure!(found == wanted, "it is {found}");
            Ok(Some(()))
        })
        .await
    }

    /// Three refreshes read the path again.
    async fn refreshes(&self, path: &str) -> anyhow::Result<()> {
        let audit = Lab::shared().await?.bao()?.audit();
        let (mark, path) = (audit.mark()?, format!("secret/data/{path}"));
        wait::until("three refreshes", LATER, async || Ok((audit.since_under(mark, &path)?.len() >= 3).then_some(())))
            .await
    }
}

#[tokio::test]
async fn defects_d_e_m_a_json_object_keeps_every_digit_and_an_unchanged_one_costs_no_version() -> anyhow::Result<()> {
    let lenient = Lenient::begin("wholejson").await?;
    let (stage, path) = (&lenient.stage, lenient.stage.path());
    let config =
        r#"{"serial": 9007199254740993, "rate": 1.50, "limits": {"zeta": [1, 2.0], "alpha": "<&>"}, "half": "\ud800"}"#;
    stage.secret(&stage.producer, "source", &[("config", config)]).await?;
    let fields = json!({ "data": [{ "match": { "secretKey": "config", "remoteRef": { "remoteKey": path } } }] });
    let message = lenient.push(fields).await?;
    assert!(message.contains("P2"), "{message}");
    // The server would read this number into a float, and half of a surrogate pair into U+FFFD: it
    // would give back others.
    let stored = |serial: &str| json!({ "serial": serial, "rate": 1.5, "limits": { "zeta": [1, 2], "alpha": "<&>" }, "half": r#""\ud800""# });
    assert_eq!(lenient.data(&path).await?, stored("9007199254740993"));
    stage.pull("pull", &[("serial", "serial"), ("limits", "limits")], json!({})).await?;
    let limits = r#"{"alpha":"\u003c\u0026\u003e","zeta":[1,2]}"#;
    stage.holds(&stage.consumer, "pull", &[("serial", "9007199254740993"), ("limits", limits)]).await?;
    lenient.refreshes(&path).await?;
    assert_eq!(stage.version().await?, 1);
    let changed = config.replace("9007199254740993", "9007199254740995");
    stage.secret(&stage.producer, "source", &[("config", &changed)]).await?;
    lenient.becomes(&path, stored("9007199254740995")).await?;
    assert_eq!(stage.version().await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_whole_secret_is_owned_property_by_property_and_loses_what_its_source_loses() -> anyhow::Result<()> {
    let lenient = Lenient::begin("wholesecret").await?;
    let (stage, path) = (&lenient.stage, lenient.stage.path());
    stage.secret(&stage.producer, "theirs", &[("note", "kept")]).await?;
    let other = json!({
        "refreshInterval": "24h",
        "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
        "selector": { "secret": { "name": "theirs" } },
        "data": [mapping("note", &path, "note")],
    });
    stage.apply::<PushSecret>(&stage.producer, "other", other).await?;
    stage.ready::<PushSecret>(&stage.producer, "other", "True", "Synced").await?;
    stage.secret(&stage.producer, "source", &[("username", "u"), ("password", "one")]).await?;
    lenient.push(json!({ "data": [{ "match": { "remoteRef": { "remoteKey": path } } }] })).await?;
    lenient.becomes(&path, json!({ "note": "kept", "username": "u", "password": "one" })).await?;
    let before = stage.version().await?;
    lenient.refreshes(&path).await?;
    assert_eq!(stage.version().await?, before);
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    lenient.becomes(&path, json!({ "note": "kept", "password": "two" })).await?;

    let text = json!({ "data": [{ "match": { "remoteRef": { "remoteKey": path, "property": "all" } } }] });
    lenient.push(text).await?;
    lenient.becomes(&path, json!({ "note": "kept", "all": r#"{"password":"two"}"# })).await
}

#[tokio::test]
async fn defect_l_data_to_gives_each_key_a_path_whatever_its_value_and_a_bundle_gives_all_one() -> anyhow::Result<()> {
    let lenient = Lenient::begin("datato").await?;
    let (stage, word) = (&lenient.stage, &lenient.stage.word);
    let path = |name: &str| format!("platform-data/postgres/{word}-{name}");
    let source = [("db-user", "u"), ("db-pool", r#"{"size": 10}"#), ("other", "x")];
    stage.secret(&stage.producer, "source", &source).await?;
    let each = json!({ "dataTo": [{
        "storeRef": { "kind": "ClusterSecretStore", "name": STORE },
        "match": { "regexp": "^db-" },
        "rewrite": [{ "regexp": { "source": "^db-(.*)$", "target": format!("platform-data/postgres/{word}-$1") } }],
    }] });
    lenient.push(each).await?;
    lenient.becomes(&path("user"), json!({ "value": "u" })).await?;
    lenient.becomes(&path("pool"), json!({ "size": 10 })).await?;
    lenient.refreshes(&path("user")).await?;
    for name in ["user", "pool"] {
        let metadata = stage.vault.metadata("secret", &path(name)).await?.unwrap_or_default();
        assert_eq!(metadata["current_version"], 1, "{name}");
    }
    stage.secret(&stage.producer, "source", &source[1..]).await?;
    lenient.becomes(&path("user"), Value::Null).await?;

    lenient.push(json!({ "dataTo": [{ "remoteKey": path("all"), "match": { "regexp": "^(db-|other)" } }] })).await?;
    lenient.becomes(&path("all"), json!({ "db-pool": r#"{"size": 10}"#, "other": "x" })).await?;
    lenient.becomes(&path("pool"), Value::Null).await
}

#[tokio::test]
async fn data_to_goes_to_the_stores_that_its_labels_select_at_paths_that_its_template_makes() -> anyhow::Result<()> {
    let lenient = Lenient::begin("datatostore").await?;
    let (stage, word) = (&lenient.stage, &lenient.stage.word);
    let (bao, own) = stage.own_store().await?;
    let path = format!("platform-data/postgres/{word}-user");
    stage.secret(&stage.producer, "source", &[("user", "u")]).await?;
    let selector = json!({ "kind": "ClusterSecretStore", "labelSelector": { "matchLabels": { (word): "yes" } } });
    let more = json!({
        "secretStoreRefs": [
            { "kind": "ClusterSecretStore", "name": STORE }, { "kind": "ClusterSecretStore", "name": own },
        ],
        "dataTo": [{
            "storeRef": selector,
            "rewrite": [{ "transform": { "template": format!("platform-data/postgres/{word}-{{{{ .value }}}}") } }],
        }],
    });
    stage.label_store(&own, Some("yes")).await?;
    lenient.push(more.clone()).await?;
    let admin = bao.admin()?;
    let there = async || {
        let entry = admin.read("secret", &path).await?;
        anyhow::Ok(entry.and_then(|entry| entry.data).unwrap_or_default())
    };
    let wanted = json!({ "value": "u" });
    assert_eq!((there().await?, lenient.data(&path).await?), (wanted.clone(), Value::Null));

    // The label moves, and the value with it; where nothing has the label, nobody knows, and
    // nothing goes.
    stage.label_store(STORE, Some("yes")).await?;
    lenient.becomes(&path, wanted.clone()).await?;
    stage.label_store(&own, None).await?;
    wait::until("the first store to lose it", SOON, async || Ok((there().await? == Value::Null).then_some(()))).await?;
    stage.label_store(STORE, None).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotFound").await?;
    assert!(message.contains("spec.dataTo[0].storeRef"), "{message}");
    assert_eq!(lenient.data(&path).await?, wanted);
    Ok(())
}

/// Each expansion is capped, so that no rewrite makes a key that fills the memory.
#[tokio::test]
async fn s13_a_rewrite_that_multiplies_its_key_is_refused_and_the_controller_lives() -> anyhow::Result<()> {
    let lenient = Lenient::begin("bomb").await?;
    let stage = &lenient.stage;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("bomb", "x")]).await?;
    let kept = json!([mapping("password", &stage.path(), "password")]);
    lenient.push(json!({ "data": kept })).await?;
    let multiply = json!({ "regexp": { "source": ".", "target": "$0".repeat(500) } });
    let bomb = json!({ "match": { "regexp": "^bomb$" }, "rewrite": [multiply, multiply, multiply, multiply] });
    let more = json!({ "refreshInterval": "1s", "deletionPolicy": "Delete", "data": kept, "dataTo": [bomb] });
    stage.push("push", "source", &[], more).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceInvalid").await?;
    assert!(said.contains("rewrite["), "{said}");
    stage.secret(&stage.producer, "source", &[("password", "two"), ("bomb", "x")]).await?;
    lenient.becomes(&stage.path(), json!({ "password": "two" })).await?;
    assert_eq!(stage.controller.health("livez").await?, 200);
    Ok(())
}
