//! What an ExternalSecret renders, and how a change arrives.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::{try_join, try_join_all};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use waypost::api::{ExternalSecret, PushSecret, names};
use waypost_e2e::lab::{Lab, Request};
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, Stage};

/// ES1 promises the store this much after a source change.
const PUBLISHED: Duration = Duration::from_secs(2);
/// For so long a read serves those that one announcement wakes.
const READ_SERVES: Duration = Duration::from_secs(5);

#[tokio::test]
async fn es1_a_source_change_reaches_the_store_and_all_targets_with_both_intervals_at_a_day() -> anyhow::Result<()> {
    let stage = Stage::new("es1").await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    for name in ["one", "two", "three"] {
        stage.pull(name, &[("PGPASSWORD", "password")], json!({})).await?;
        stage.holds(&stage.consumer, name, &[("PGPASSWORD", "first")]).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
    }
    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    let published = wait::until("the store has the new value", PUBLISHED, async || {
        Ok((stage.stored().await? == json!({ "password": "second" })).then_some(()))
    });
    let targets = ["one", "two", "three"];
    let held = targets.map(|name| stage.holds(&stage.consumer, name, &[("PGPASSWORD", "second")]));
    try_join(published, try_join_all(held)).await?;
    Ok(())
}

#[tokio::test]
async fn es8_ten_consumers_of_one_path_share_its_read() -> anyhow::Result<()> {
    let stage = Stage::new("es8").await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let names: Vec<String> = (0..10).map(|number| format!("pull-{number}")).collect();
    for name in &names {
        stage.pull(name, &[("password", "password")], json!({})).await?;
    }
    for name in &names {
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
    }
    for value in ["second", "third"] {
        let audit = Lab::shared().await?.bao()?.audit();
        let (began, mark) = (Instant::now(), audit.mark()?);
        stage.secret(&stage.producer, "source", &[("password", value)]).await?;
        for name in &names {
            stage.holds(&stage.consumer, name, &[("password", value)]).await?;
        }
        let entry = format!("secret/data/{}", stage.path());
        let requests = audit.since_under(mark, &entry)?;
        let written = requests.iter().position(Request::is_write);
        let reads = requests.iter().skip(written.map_or(0, |at| at + 1)).filter(|request| !request.is_write());
        // One serves all who come before it is as old as that.
        let most = 1 + began.elapsed().as_secs() / READ_SERVES.as_secs();
        assert!((1..=most).contains(&(reads.count() as u64)), "at most {most} after the write: {requests:?}");
    }
    Ok(())
}

#[tokio::test]
async fn kg4_a_consumer_that_was_there_before_the_source_syncs_once_it_is() -> anyhow::Result<()> {
    let stage = Stage::new("kg4").await?;
    stage.pull("early", &[("password", "password")], json!({})).await?;
    let message = stage.ready::<ExternalSecret>(&stage.consumer, "early", "False", "PathNotFound").await?;
    assert!(message.contains(&stage.path()), "{message}");
    stage.secret(&stage.producer, "source", &[("password", "there")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "early", &[("password", "there")]).await?;
    stage.pull("late", &[("password", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "late", &[("password", "there")]).await?;
    Ok(())
}

#[tokio::test]
async fn a_path_into_nested_json_selects_one_value_and_all_its_digits() -> anyhow::Result<()> {
    let stage = Stage::new("nested").await?;
    let users = json!([{ "name": "app", "id": "9007199254740993" }, { "name": "ops", "tls.crt": "<pem>" }]);
    stage.vault.write("secret", &stage.path(), &json!({ "db": { "users": users }, "a.b": "literal" })).await?;
    let paths = [
        ("ID", "db.users.0.id"),
        ("COUNT", "db.users.#"),
        ("NAMES", "db.users.#.name"),
        ("CERT", r#"db.users.#(name=="ops").tls\.crt"#),
        ("LITERAL", "a.b"),
        ("WILD", "d?.*.1.name"),
    ];
    stage.pull("pull", &paths, json!({})).await?;
    let values = [
        ("ID", "9007199254740993"),
        ("COUNT", "2"),
        ("NAMES", r#"["app","ops"]"#),
        ("CERT", "<pem>"),
        ("LITERAL", "literal"),
        ("WILD", "ops"),
    ];
    stage.holds(&stage.consumer, "pull", &values).await?;
    Ok(())
}

#[tokio::test]
async fn all_properties_are_followed_as_they_come_and_go() -> anyhow::Result<()> {
    let stage = Stage::new("extracted").await?;
    stage.secret(&stage.producer, "source", &[("user", "app"), ("password", "first")]).await?;
    let (user, password) = (("user", "db.user"), ("password", "db.password"));
    stage.push("push", "source", &[user, password], json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let rewrite = json!([{ "regexp": { "source": "\\.", "target": "_" } }, { "transform": { "template": "{{ .value | upper }}" } }]);
    let entry = json!({ "extract": { "key": stage.path() }, "rewrite": rewrite });
    stage.pull("pull", &[], json!({ "data": [], "dataFrom": [entry] })).await?;
    stage.holds(&stage.consumer, "pull", &[("DB_USER", "app"), ("DB_PASSWORD", "first")]).await?;
    // A key that the first write made goes as soon as its property does.
    let only_user =
        json!([{ "match": { "secretKey": user.0, "remoteRef": { "remoteKey": stage.path(), "property": user.1 } } }]);
    let patch = Patch::Merge(json!({ "spec": { "data": only_user } }));
    stage.api::<PushSecret>(&stage.producer).patch("push", &PatchParams::default(), &patch).await?;
    stage.holds(&stage.consumer, "pull", &[("DB_USER", "app")]).await?;
    stage.push("more", "source", &[password], json!({ "deletionPolicy": "Delete" })).await?;
    stage.holds(&stage.consumer, "pull", &[("DB_USER", "app"), ("DB_PASSWORD", "first")]).await?;
    stage.secret(&stage.producer, "source", &[("user", "app"), ("password", "second")]).await?;
    stage.holds(&stage.consumer, "pull", &[("DB_USER", "app"), ("DB_PASSWORD", "second")]).await?;
    stage.api::<PushSecret>(&stage.producer).delete("more", &DeleteParams::default()).await?;
    stage.holds(&stage.consumer, "pull", &[("DB_USER", "app")]).await?;
    Ok(())
}

#[tokio::test]
async fn a_target_is_rendered_from_its_template_and_what_changes_by_itself_stays() -> anyhow::Result<()> {
    let stage = Stage::new("templated").await?;
    stage.secret(&stage.producer, "source", &[("user", "app"), ("password", "first")]).await?;
    stage.push("push", "source", &[("user", "user"), ("password", "password")], json!({})).await?;
    let template = json!({
        "type": "example.com/connection",
        "metadata": { "labels": { "team": "{{ .user }}" } },
        "templateFrom": [{ "literal": "user: '{{ .user | upper }}'\nurl: replaced" }],
        "data": { "url": "pg://{{ .user }}:{{ .password }}@db", "salt": "{{ randAlphaNum 16 }}" },
    });
    let names = [("user", "user"), ("password", "password")];
    stage.pull("pull", &names, json!({ "target": { "template": template } })).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    let read = async || anyhow::Ok(secrets.get("pull").await?);
    let text = |secret: &Secret, key: &str| {
        secret
            .data
            .iter()
            .flatten()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned())
    };
    let first = read().await?;
    ensure!(first.type_.as_deref() == Some("example.com/connection"), "{:?}", first.type_);
    ensure!(first.labels()["team"] == "app" && text(&first, "user").as_deref() == Some("APP"));
    ensure!(text(&first, "url").as_deref() == Some("pg://app:first@db"));
    let asked = Patch::Merge(json!({ "metadata": { "annotations": { names::ANNOTATION_FORCE_SYNC: "now" } } }));
    stage.api::<ExternalSecret>(&stage.consumer).patch("pull", &PatchParams::default(), &asked).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    stage.secret(&stage.producer, "source", &[("user", "app"), ("password", "second")]).await?;
    let second = wait::until("the target to be rendered anew", SOON, async || {
        let secret = read().await?;
        Ok((text(&secret, "url").as_deref() == Some("pg://app:second@db")).then_some(secret))
    })
    .await?;
    ensure!(text(&second, "salt") != text(&first, "salt"), "other values make another salt");
    let generations = secrets.get_metadata("pull").await?.metadata.resource_version;
    let again = Patch::Merge(json!({ "metadata": { "annotations": { names::ANNOTATION_FORCE_SYNC: "again" } } }));
    stage.api::<ExternalSecret>(&stage.consumer).patch("pull", &PatchParams::default(), &again).await?;
    wait::until("the request to be answered", SOON, async || {
        let pull = stage.api::<ExternalSecret>(&stage.consumer).get("pull").await?;
        let is_answered = pull.status.as_ref().and_then(|status| status.synced_resource_version.clone());
        let now = waypost::pull::desired::synced_resource_version(&pull);
        Ok((is_answered == Some(now)).then_some(()))
    })
    .await?;
    ensure!(
        secrets.get_metadata("pull").await?.metadata.resource_version == generations,
        "a refresh makes no new value"
    );
    Ok(())
}

#[tokio::test]
async fn kg1_retargeting_creates_the_new_secret_before_it_removes_the_old() -> anyhow::Result<()> {
    let stage = Stage::new("kg1").await?;
    stage.secret(&stage.producer, "source", &[("password", "same")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    stage.pull("pull", &[("password", "password")], json!({ "target": { "name": "old" } })).await?;
    stage.holds(&stage.consumer, "old", &[("password", "same")]).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;

    // The new name is taken: nothing may be removed before that is cleared.
    stage.secret(&stage.consumer, "new", &[("theirs", "x")]).await?;
    stage.pull("pull", &[("password", "password")], json!({ "target": { "name": "new" } })).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "TargetNotOwned").await?;
    stage.holds(&stage.consumer, "old", &[("password", "same")]).await?;
    stage.delete::<Secret>(&stage.consumer, "new").await?;
    stage.holds(&stage.consumer, "new", &[("password", "same")]).await?;
    let secrets = stage.api::<Secret>(&stage.consumer);
    wait::until("the old target is gone", SOON, async || Ok(secrets.get_opt("old").await?.is_none().then_some(())))
        .await?;
    Ok(())
}

#[tokio::test]
async fn rp4_a_key_dropped_from_the_mapping_disappears_from_the_target() -> anyhow::Result<()> {
    let stage = Stage::new("rp4").await?;
    stage.secret(&stage.producer, "source", &[("user", "u"), ("pass", "p")]).await?;
    stage.push("push", "source", &[("user", "username"), ("pass", "password")], json!({})).await?;
    stage.pull("pull", &[("u", "username"), ("p", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "pull", &[("u", "u"), ("p", "p")]).await?;
    stage.pull("pull", &[("p", "password")], json!({})).await?;
    stage.holds(&stage.consumer, "pull", &[("p", "p")]).await?;
    Ok(())
}

#[tokio::test]
async fn sc10_what_makes_other_controllers_act_is_not_carried_over() -> anyhow::Result<()> {
    let stage = Stage::new("sc10").await?;
    stage.secret(&stage.producer, "source", &[("password", "p")]).await?;
    let secrets = stage.api::<Secret>(&stage.producer);
    let labelled = json!({ "metadata": { "labels": { "source": "only" } } });
    secrets.patch("source", &PatchParams::default(), &Patch::Merge(labelled)).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    let marked = json!({ "metadata": {
        "labels": { "team": "ours", "app.kubernetes.io/instance": "argo", "argocd.argoproj.io/instance": "argo" },
        "annotations": {
            "note": "kept", "argocd.argoproj.io/sync-wave": "3", "cert-manager.io/issuer": "x",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        },
    } });
    stage.pull("pull", &[("password", "password")], json!({})).await?;
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    let pull = pulls.patch("pull", &PatchParams::default(), &Patch::Merge(marked)).await?;
    let targets = stage.api::<Secret>(&stage.consumer);
    let target = wait::until("the target has the labels of its own", SOON, async || {
        Ok(targets.get_opt("pull").await?.filter(|target| target.labels().contains_key("team")))
    })
    .await?;
    let labels: Vec<&String> = target.labels().keys().collect();
    assert_eq!(labels, [names::LABEL_CREATED_BY, names::LABEL_MANAGED, "team"]);
    let annotations: Vec<&String> = target.annotations().keys().collect();
    assert_eq!(annotations, ["note", names::ANNOTATION_DATA_HASH, names::ANNOTATION_ORIGIN]);
    let owners: Vec<&str> = target.owner_references().iter().map(|owner| owner.uid.as_str()).collect();
    assert_eq!(owners, [pull.uid().unwrap_or_default()], "the ExternalSecret owns it, and nobody else");
    Ok(())
}

#[tokio::test]
async fn rp6_the_owner_references_of_a_source_reach_neither_the_store_nor_a_target() -> anyhow::Result<()> {
    let stage = Stage::new("rp6").await?;
    let owners = stage.api::<ConfigMap>(&stage.producer);
    let metadata = ObjectMeta { name: Some("operator-object".to_owned()), ..ObjectMeta::default() };
    let owner = owners.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await?;
    let uid = owner.uid().context("it has a UID")?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let owned = json!({ "metadata": { "ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "operator-object", "uid": uid, "blockOwnerDeletion": true,
    }] } });
    let sources = stage.api::<Secret>(&stage.producer);
    sources.patch("source", &PatchParams::default(), &Patch::Merge(owned)).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    let pull = stage.pull("pull", &[("password", "password")], json!({})).await?;
    let (before, mut target) = (pull.uid().context("it has a UID")?, Secret::default());
    for password in ["one", "two"] {
        stage.secret(&stage.producer, "source", &[("password", password)]).await?;
        target = stage.holds(&stage.consumer, "pull", &[("password", password)]).await?;
        let owners: Vec<&str> = target.owner_references().iter().map(|owner| owner.uid.as_str()).collect();
        assert_eq!(owners, [&before], "the ExternalSecret owns it, and nobody else");
        let entry = (stage.stored().await?, stage.vault.metadata("secret", &stage.path()).await?);
        let (entry, target) = (format!("{entry:?}"), serde_json::to_string(&target)?);
        for told in [&uid, "operator-object"] {
            assert!(!entry.contains(told) && !target.contains(told), "{told}: {entry} {target}");
        }
    }
    // The garbage collector takes what the owner owned: the source, and nothing that was made of
    // it.
    owners.delete("operator-object", &DeleteParams::default()).await?;
    wait::until("the source to go", LATER, async || Ok(sources.get_opt("source").await?.is_none().then_some(())))
        .await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceGone").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "two" }));
    let after = stage.holds(&stage.consumer, "pull", &[("password", "two")]).await?;
    assert_eq!(after.uid(), target.uid(), "it was not made anew");
    Ok(())
}

#[tokio::test]
async fn rp8_a_denied_consumer_sees_it_in_kubectl_get() -> anyhow::Result<()> {
    let stage = Stage::new("rp8").await?;
    let lab = Lab::shared().await?;
    let store = format!("store-{}", stage.word);
    let only = json!([{ "namespaces": [stage.producer] }]);
    crate::stage::store(lab, &store, lab.vault_addr(), lab.vault_ca_pem()).await?;
    stage.admit(&store, only).await?;
    let reference = json!({ "secretStoreRef": { "kind": "ClusterSecretStore", "name": store } });
    stage.pull("pull", &[("password", "password")], reference).await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "False", "NotPermitted").await?;
    let mut kubectl = lab.kubectl();
    let shown = kubectl.args(["get", "externalsecret", "pull", "--no-headers", "-n", &stage.consumer]).output()?;
    let columns = String::from_utf8(shown.stdout)?;
    let words: Vec<&str> = columns.split_whitespace().collect();
    ensure!(words.contains(&"NotPermitted") && words.contains(&"False"), "kubectl shows {columns:?}");

    stage.secret(&stage.producer, "source", &[("password", "p")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    stage.admit(&store, json!([{ "namespaces": [stage.consumer] }])).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "p")]).await?;
    Ok(())
}
