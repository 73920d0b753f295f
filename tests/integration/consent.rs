//! Consent: a producer names the namespaces that may read its properties, others get nothing, and
//! consent can be withdrawn.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::wait;

use crate::stage::{SOON, STORE, Stage, mapping};

/// A source with a password that is pushed for these consumers; `Value::Null` names none.
async fn pushed(stage: &Stage, consumers: Value) -> anyhow::Result<()> {
    let mut entry = mapping("password", &stage.path(), "password");
    if !consumers.is_null() {
        entry["metadata"] = json!({
            "apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata",
            "spec": { "consumers": consumers },
        });
    }
    stage.push("push", "source", &[], json!({ "data": [entry] })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
}

/// A source, what is pushed from it, and a target in sync.
async fn in_sync(test: &str, consumers: impl Fn(&Stage) -> Value) -> anyhow::Result<Stage> {
    let stage = Stage::new(test).await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    pushed(&stage, consumers(&stage)).await?;
    pull(&stage, &stage.consumer).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "first")]).await?;
    Ok(stage)
}

async fn pull(stage: &Stage, namespace: &str) -> anyhow::Result<()> {
    let spec = json!({
        "refreshInterval": "24h",
        "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE },
        "data": [{ "secretKey": "PASSWORD", "remoteRef": { "key": stage.path(), "property": "password" } }],
    });
    stage.apply::<ExternalSecret>(namespace, "pull", spec).await.map(drop)
}

/// It says who decides, and what to ask for.
async fn is_refused(stage: &Stage, namespace: &str) -> anyhow::Result<()> {
    let said = stage.ready::<ExternalSecret>(namespace, "pull", "False", "NotPermitted").await?;
    let producer = format!("PushSecret {}/push", stage.producer);
    for word in [&producer, namespace, "metadata.spec.consumers", &stage.path()] {
        assert!(said.contains(word), "{word}: {said}");
    }
    Ok(())
}

async fn target(stage: &Stage, namespace: &str) -> anyhow::Result<Option<Secret>> {
    Ok(stage.api::<Secret>(namespace).get_opt("pull").await?)
}

#[tokio::test]
async fn rf1_who_is_not_named_gets_no_secret_and_is_told_whom_to_ask() -> anyhow::Result<()> {
    let stage = in_sync("rf1n", |stage| json!({ "namespaces": [stage.consumer] })).await?;
    let stranger = format!("{}-stranger", stage.word);
    stage.namespace(&stranger).await?;
    pull(&stage, &stranger).await?;
    is_refused(&stage, &stranger).await?;
    assert!(target(&stage, &stranger).await?.is_none());

    // A whole entry is read only by who may read all of it.
    let whole = json!({
        "secretStoreRef": { "kind": "ClusterSecretStore", "name": STORE },
        "data": [{ "secretKey": "ALL", "remoteRef": { "key": stage.path() } }],
    });
    stage.apply::<ExternalSecret>(&stranger, "pull", whole).await?;
    is_refused(&stage, &stranger).await?;

    // Once named, at once: no interval passes.
    pushed(&stage, json!({ "namespaces": [stage.consumer, stranger] })).await?;
    stage.ready::<ExternalSecret>(&stranger, "pull", "True", "SecretSynced").await?;
    assert_eq!(stage.version().await?, 1, "a consent is no new version");
    Ok(())
}

#[tokio::test]
async fn rp1_expressions_match_whole_names_and_selectors_match_labels() -> anyhow::Result<()> {
    let stage = in_sync("rp1m", |stage| {
        json!({
            "namespaceRegexes": [format!("{}-con[a-z]+", stage.word)],
            "namespaceSelector": { "matchLabels": { "reads": stage.word } },
        })
    })
    .await?;
    for (namespace, value, admitted) in [
        (format!("x{}-consumer", stage.word), None, false),
        (format!("{}-consumer2", stage.word), None, false),
        (format!("{}-labelled", stage.word), Some(stage.word.as_str()), true),
        (format!("{}-mislabelled", stage.word), Some("other"), false),
    ] {
        stage.namespace(&namespace).await?;
        label(&stage, &namespace, value).await?;
        pull(&stage, &namespace).await?;
        match admitted {
            true => drop(stage.ready::<ExternalSecret>(&namespace, "pull", "True", "SecretSynced").await?),
            false => is_refused(&stage, &namespace).await?,
        }
        assert_eq!(target(&stage, &namespace).await?.is_some(), admitted, "{namespace}");
    }
    Ok(())
}

#[tokio::test]
async fn rp2_a_namespace_that_loses_its_label_loses_its_secret_at_once_and_gets_it_back_with_the_label()
-> anyhow::Result<()> {
    let stage = Stage::new("rp2l").await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    let selector = json!({ "namespaceSelector": { "matchLabels": { "reads": stage.word } }, "onWithdrawal": "Delete" });
    pushed(&stage, selector).await?;
    label(&stage, &stage.consumer, Some(&stage.word)).await?;
    pull(&stage, &stage.consumer).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "first")]).await?;
    label(&stage, &stage.consumer, None).await?;
    wait::until("the target to go with the label", SOON, async || {
        Ok(target(&stage, &stage.consumer).await?.is_none().then_some(()))
    })
    .await?;
    is_refused(&stage, &stage.consumer).await?;
    label(&stage, &stage.consumer, Some(&stage.word)).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "first")]).await.map(drop)
}

async fn label(stage: &Stage, namespace: &str, value: Option<&str>) -> anyhow::Result<()> {
    let labels = json!({ "metadata": { "labels": { "reads": value } } });
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(labels)).await?;
    Ok(())
}

#[tokio::test]
async fn rf2_what_is_withdrawn_gets_no_more_updates_and_keeps_what_it_has() -> anyhow::Result<()> {
    let stage = in_sync("rf2k", |stage| json!({ "namespaces": [stage.consumer] })).await?;
    let before = target(&stage, &stage.consumer).await?;
    let other = format!("{}-other", stage.word);
    stage.namespace(&other).await?;
    pushed(&stage, json!({ "namespaces": [other] })).await?;
    is_refused(&stage, &stage.consumer).await?;
    pull(&stage, &other).await?;
    stage.secret(&stage.producer, "source", &[("password", "second")]).await?;
    stage.holds(&other, "pull", &[("PASSWORD", "second")]).await?;
    is_reconciled_again(&stage).await?;
    is_refused(&stage, &stage.consumer).await?;
    let after = target(&stage, &stage.consumer).await?;
    assert_eq!(after.as_ref().and_then(Secret::resource_version), before.and_then(|before| before.resource_version()));

    // A mapping that says nothing any more lets everybody read again.
    pushed(&stage, Value::Null).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "second")]).await?;
    Ok(())
}

/// The consumer is asked to look again, and has.
async fn is_reconciled_again(stage: &Stage) -> anyhow::Result<()> {
    let its = format!("namespace=\"{}\"", stage.consumer);
    let reconciles = async || stage.controller.metric("externalsecret_sync_calls_total", &[&its]).await;
    let before = reconciles().await?;
    let ask = json!({ "metadata": { "annotations": { "waypost.io/force-sync": "now" } } });
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(ask)).await?;
    wait::until("the consumer to be reconciled", SOON, async || Ok((reconciles().await? > before).then_some(()))).await
}

#[tokio::test]
async fn rf2_and_rp2_narrowing_removes_the_secrets_that_no_longer_qualify_where_that_is_asked() -> anyhow::Result<()> {
    let regex = |stage: &Stage, ends: &str| {
        json!({
            "namespaceRegexes": [format!("{}-({ends})", stage.word)], "onWithdrawal": "Delete",
        })
    };
    let stage = in_sync("rp2d", |stage| regex(stage, "consumer|other")).await?;
    let other = format!("{}-other", stage.word);
    stage.namespace(&other).await?;
    pull(&stage, &other).await?;
    stage.holds(&other, "pull", &[("PASSWORD", "first")]).await?;
    let kept = target(&stage, &stage.consumer).await?;

    pushed(&stage, regex(&stage, "consumer")).await?;
    wait::until("the target that no longer qualifies to go", SOON, async || {
        Ok(target(&stage, &other).await?.is_none().then_some(()))
    })
    .await?;
    is_refused(&stage, &other).await?;
    let now = target(&stage, &stage.consumer).await?;
    assert_eq!(now.as_ref().map(ResourceExt::uid), kept.as_ref().map(ResourceExt::uid));
    Ok(())
}

#[tokio::test]
async fn where_consent_is_required_silence_lets_nobody_read() -> anyhow::Result<()> {
    let stage = Stage::new("strict").await?;
    let _controller = stage.class_controller(&["--require-consent"]).await?;
    let name = stage.class_store().await?;
    stage.secret(&stage.producer, "source", &[("password", "first")]).await?;
    pushed(&stage, Value::Null).await?;
    let through = json!({ "secretStoreRef": { "kind": "ClusterSecretStore", "name": name } });
    stage.pull("pull", &[("PASSWORD", "password")], through).await?;
    is_refused(&stage, &stage.consumer).await?;
    assert!(target(&stage, &stage.consumer).await?.is_none());
    pushed(&stage, json!({ "namespaces": [stage.consumer] })).await?;
    annotate(&stage).await?;
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "first")]).await?;
    Ok(())
}

/// The push goes through another controller here, as it may in another cluster: whoever cannot wait
/// for the interval asks.
async fn annotate(stage: &Stage) -> anyhow::Result<()> {
    let ask = json!({ "metadata": { "annotations": { "waypost.io/force-sync": "now" } } });
    let pulls = stage.api::<ExternalSecret>(&stage.consumer);
    pulls.patch("pull", &PatchParams::default(), &Patch::Merge(ask)).await?;
    Ok(())
}

#[tokio::test]
async fn rf2_a_withdrawal_reaches_who_is_read_once_on_change_never_or_at_one_version() -> anyhow::Result<()> {
    let here = |namespace: &str| json!({ "namespaces": [namespace], "onWithdrawal": "Delete" });
    let stage = in_sync("rf2all", |stage| here(&stage.consumer)).await?;
    let deaf = [
        ("once", json!({ "refreshPolicy": "CreatedOnce" })),
        ("onchange", json!({ "refreshPolicy": "OnChange" })),
        ("never", json!({ "refreshInterval": "0" })),
        (
            "pinned",
            json!({ "data": [{ "secretKey": "PASSWORD",
                "remoteRef": { "key": stage.path(), "property": "password", "version": "1" } }] }),
        ),
    ];
    for (name, more) in &deaf {
        let mut more = more.clone();
        more["target"] = json!({ "name": name });
        stage.pull(name, &[("PASSWORD", "password")], more).await?;
        stage.holds(&stage.consumer, name, &[("PASSWORD", "first")]).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
    }
    pushed(&stage, here("somebody-else")).await?;
    for (name, _) in &deaf {
        wait::until(&format!("the target of {name} to go"), SOON, async || {
            Ok(stage.api::<Secret>(&stage.consumer).get_opt(name).await?.is_none().then_some(()))
        })
        .await?;
        let said = stage.ready::<ExternalSecret>(&stage.consumer, name, "False", "NotPermitted").await?;
        assert!(said.contains("metadata.spec.consumers"), "{name}: {said}");
    }
    // The permission comes back, and with it the target.
    pushed(&stage, here(&stage.consumer)).await?;
    for (name, _) in &deaf {
        stage.holds(&stage.consumer, name, &[("PASSWORD", "first")]).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
    }
    Ok(())
}

/// What a target holds is its producer's, whatever its spec names by now: one that is not read again,
/// and one whose spec cannot be carried out.
#[tokio::test]
async fn rf2_a_withdrawal_reaches_who_was_edited_after_it_was_read() -> anyhow::Result<()> {
    let here = |namespace: &str| json!({ "namespaces": [namespace], "onWithdrawal": "Delete" });
    let stage = in_sync("rf2edit", |stage| here(&stage.consumer)).await?;
    let reads = |key: &str, property: &str| json!({ "data": [{ "secretKey": "PASSWORD", "remoteRef": { "key": key, "property": property } }] });
    let missing = format!("{}-missing", stage.path());
    let edited = [
        ("once", json!({ "refreshPolicy": "CreatedOnce" }), reads(&missing, "password"), "True", "SecretSynced"),
        ("path", json!({}), reads(&missing, "password"), "False", "PathNotFound"),
        ("property", json!({}), reads(&stage.path(), "missing"), "False", "PropertyNotFound"),
        ("spec", json!({}), reads("../escapes", "password"), "False", "InvalidSpec"),
    ];
    for (name, policy, edit, status, reason) in &edited {
        let mut spec = policy.clone();
        spec["target"] = json!({ "name": name });
        stage.pull(name, &[("PASSWORD", "password")], spec).await?;
        stage.holds(&stage.consumer, name, &[("PASSWORD", "first")]).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, name, "True", "SecretSynced").await?;
        let pulls = stage.api::<ExternalSecret>(&stage.consumer);
        pulls.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": edit }))).await?;
        stage.ready::<ExternalSecret>(&stage.consumer, name, status, reason).await?;
        stage.holds(&stage.consumer, name, &[("PASSWORD", "first")]).await?;
    }
    pushed(&stage, here("somebody-else")).await?;
    for (name, ..) in &edited {
        wait::until(&format!("the target of {name} to go"), SOON, async || {
            Ok(stage.api::<Secret>(&stage.consumer).get_opt(name).await?.is_none().then_some(()))
        })
        .await?;
        wait::until(&format!("{name} to say so"), SOON, async || {
            let status = stage.api::<ExternalSecret>(&stage.consumer).get(name).await?.status.unwrap_or_default();
            let said = status.conditions.into_iter().filter_map(|condition| condition.message);
            Ok(said.into_iter().any(|said| said.contains("took back what it held")).then_some(()))
        })
        .await?;
    }
    Ok(())
}
