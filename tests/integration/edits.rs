//! Edits around a PushSecret: nothing that was pushed is removed before its successor is written,
//! and nothing is left without being named.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use waypost::api::names::FINALIZER_PUSH_SECRET;
use waypost::api::{ClusterPushSecret, ExternalSecret, PushSecret};
use waypost_e2e::lab::{Bao, Signal};
use waypost_e2e::wait;

use crate::fan_out::{fan_out, in_place, label, spec};
use crate::stage::{LATER, STORE, Stage};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];

fn to(stores: &[&str]) -> Value {
    let stores: Vec<Value> = stores.iter().map(|name| json!({ "kind": "ClusterSecretStore", "name": name })).collect();
    json!({ "deletionPolicy": "Delete", "secretStoreRefs": stores })
}

async fn has_finalizer(stage: &Stage, namespace: &str, name: &str, wanted: bool) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(namespace);
    wait::until(&format!("the finalizer to be there: {wanted}"), LATER, async || {
        let push = pushes.get(name).await?;
        let found = push.finalizers().iter().any(|finalizer| finalizer == FINALIZER_PUSH_SECRET);
        ensure!(found == wanted, "its finalizers are {:?}", push.finalizers());
        Ok(Some(()))
    })
    .await
}

async fn goes(stage: &Stage, name: &str) -> anyhow::Result<()> {
    stage.delete::<PushSecret>(&stage.producer, name).await?;
    is_gone(stage, name).await
}

async fn is_gone(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("the PushSecret to go", LATER, async || Ok(pushes.get_opt(name).await?.is_none().then_some(()))).await
}

/// A PushSecret whose value is in the shared store, and a target that would go with it.
async fn published(test: &str) -> anyhow::Result<Stage> {
    let stage = Stage::new(test).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, to(&[STORE])).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.pull("pull", PASSWORD, json!({ "target": { "deletionPolicy": "Delete" } })).await?;
    stage.holds(&stage.consumer, "pull", &[("password", "one")]).await?;
    Ok(stage)
}

/// The PushSecret is refused for this reason; the value is still in the shared store, and the target
/// with it.
async fn nothing_goes(stage: &Stage, reason: &str) -> anyhow::Result<()> {
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", reason).await?;
    ensure!(said.ends_with(&format!("what was pushed to ClusterSecretStore/{STORE} stays")), "{said}");
    ensure!(stage.stored().await? == json!({ "password": "one" }));
    let target = stage.api::<Secret>(&stage.consumer).get("pull").await?;
    ensure!(target.metadata.deletion_timestamp.is_none());
    stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    Ok(())
}

/// The next store gets the value, and then the shared one loses it.
async fn moves(stage: &Stage, next: &Bao) -> anyhow::Result<()> {
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let moved = next.admin()?.read("secret", &stage.path()).await?.and_then(|entry| entry.data);
    ensure!(moved == Some(json!({ "password": "one" })), "{moved:?}");
    ensure!(stage.stored().await? == Value::Null);
    Ok(())
}

/// The lines of the ledger: store, and path with property.
async fn lines(stage: &Stage) -> anyhow::Result<BTreeSet<(String, String)>> {
    let status = stage.api::<PushSecret>(&stage.producer).get("push").await?.status.unwrap_or_default();
    let of_store = |(store, lines): (String, BTreeMap<String, _>)| {
        lines.into_keys().map(move |line| (store.clone(), line)).collect::<Vec<_>>()
    };
    Ok(status.synced_push_secrets.into_iter().flat_map(of_store).collect())
}

/// Whether no claim and no intent is left at this test's path.
async fn no_claims(stage: &Stage) -> anyhow::Result<bool> {
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    let custom = metadata["custom_metadata"].as_object().cloned().unwrap_or_default();
    Ok(!custom.keys().any(|key| key.contains("waypost.io/")))
}

#[tokio::test]
async fn a_store_that_does_not_exist_yet_takes_nothing_from_the_one_before_nor_from_a_target() -> anyhow::Result<()> {
    let stage = published("nextstore").await?;
    stage.push("push", "source", PASSWORD, to(&[&format!("{}-store", stage.word)])).await?;
    nothing_goes(&stage, "StoreNotFound").await?;
    let (bao, _) = stage.own_store().await?;
    moves(&stage, &bao).await
}

#[tokio::test]
async fn a_store_that_refuses_or_fails_takes_nothing_from_the_one_before_nor_from_a_target() -> anyhow::Result<()> {
    let stage = published("refusingstore").await?;
    let (bao, next) = stage.own_store().await?;
    stage.admit(&next, json!([{ "namespaces": ["elsewhere"] }])).await?;
    stage.push("push", "source", PASSWORD, to(&[&next])).await?;
    nothing_goes(&stage, "NotPermitted").await?;
    bao.seal().await?;
    stage.admit(&next, json!([])).await?;
    nothing_goes(&stage, "StoreNotReady").await?;
    bao.unseal().await?;
    moves(&stage, &bao).await
}

#[tokio::test]
async fn a_mapping_that_is_dropped_while_one_of_two_stores_hangs_goes_from_both() -> anyhow::Result<()> {
    const BOTH: &[(&str, &str)] = &[("password", "password"), ("username", "username")];
    let stage = Stage::new("hangdrop").await?;
    let (bao, own) = stage.own_store().await?;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("username", "u")]).await?;
    stage.push("push", "source", BOTH, to(&[STORE, &own])).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    bao.signal(Signal::Stop)?;
    stage.push("push", "source", PASSWORD, to(&[STORE, &own])).await?;
    let kept = json!({ "password": "one" });
    wait::until("the store that answers to lose the username", LATER, async || {
        Ok((stage.stored().await? == kept).then_some(()))
    })
    .await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    let hanging = format!("ClusterSecretStore/{own}");
    let listed = lines(&stage).await?;
    ensure!(listed.contains(&(hanging.clone(), format!("{}/username", stage.path()))), "{listed:?}");
    bao.signal(Signal::Cont)?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let left = bao.admin()?.read("secret", &stage.path()).await?.and_then(|entry| entry.data);
    ensure!(left == Some(kept), "{left:?}");
    let password = format!("{}/password", stage.path());
    let wanted = [hanging, format!("ClusterSecretStore/{STORE}")].map(|store| (store, password.clone()));
    let listed = lines(&stage).await?;
    ensure!(listed == BTreeSet::from(wanted), "{listed:?}");
    Ok(())
}

/// Two controllers serve the same PushSecret, as two leaders would; each begins with what its own
/// watch has shown it.
#[tokio::test]
async fn two_controllers_and_many_edits_leave_no_value_without_a_line() -> anyhow::Result<()> {
    let stage = Stage::new("twoleaders").await?;
    let store = stage.class_store().await?;
    let (one, other) = tokio::try_join!(stage.class_controller(&[]), stage.class_controller(&[]))?;
    let names = ["password", "username", "host", "port"];
    for turn in 0..20 {
        let value = format!("value {turn}");
        let data: Vec<(&str, &str)> = names.iter().map(|name| (*name, value.as_str())).collect();
        stage.secret(&stage.producer, "source", &data).await?;
        let mapped: Vec<(&str, &str)> = (0..=turn % 3).map(|at| names[(turn + at) % 4]).map(|n| (n, n)).collect();
        stage.push("push", "source", &mapped, to(&[&store])).await?;
    }
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    // The twentieth edit maps the two names from the last on.
    let last = json!({ "port": "value 19", "password": "value 19" });
    let path = stage.path();
    wait::until("the last edit to be in place, and listed", LATER, async || {
        let (stored, listed) = (stage.stored().await?, lines(&stage).await?);
        let wanted = ["password", "port"].map(|name| (format!("ClusterSecretStore/{store}"), format!("{path}/{name}")));
        ensure!(stored == last && listed == BTreeSet::from(wanted), "{stored}, {listed:?}");
        Ok(Some(()))
    })
    .await?;
    goes(&stage, "push").await?;
    ensure!(stage.stored().await? == Value::Null, "{}", stage.stored().await?);
    ensure!(no_claims(&stage).await?);
    for controller in [one, other] {
        let worked = [r#"controller="pushsecret""#, r#"result="success""#];
        let reconciles = controller.metric("controller_runtime_reconcile_total", &worked).await?;
        let reads = controller.metric("externalsecret_provider_api_calls_count", &[r#"call="ReadSecretData""#]).await?;
        ensure!(reconciles >= 1.0 && reads >= 1.0, "one of the two stood by: {reconciles} reconciles, {reads} reads");
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_policy_that_is_edited_takes_effect_at_once_and_survives_a_stripped_finalizer() -> anyhow::Result<()>
{
    let stage = Stage::new("policy").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    let policy = |of: &str| json!({ "deletionPolicy": of });
    stage.push("push", "source", PASSWORD, policy("None")).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    has_finalizer(&stage, &stage.producer, "push", false).await?;
    stage.push("push", "source", PASSWORD, policy("Delete")).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let push = stage.api::<PushSecret>(&stage.producer).get("push").await?;
    ensure!(push.finalizers() == [FINALIZER_PUSH_SECRET], "it is Ready with {:?}", push.finalizers());
    let strip = json!({ "metadata": { "finalizers": null } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch("push", &PatchParams::default(), &Patch::Merge(strip)).await?;
    has_finalizer(&stage, &stage.producer, "push", true).await?;
    stage.push("push", "source", PASSWORD, policy("None")).await?;
    has_finalizer(&stage, &stage.producer, "push", false).await?;
    stage.push("push", "source", PASSWORD, policy("Delete")).await?;
    has_finalizer(&stage, &stage.producer, "push", true).await?;
    goes(&stage, "push").await?;
    ensure!(stage.stored().await? == Value::Null);
    ensure!(no_claims(&stage).await?);
    Ok(())
}

#[tokio::test]
async fn a_deletion_policy_that_is_edited_in_a_cluster_push_secret_reaches_its_children() -> anyhow::Result<()> {
    let stage = Stage::new("policyof").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    label(&stage, &stage.producer, json!(stage.word)).await?;
    let with = |policy: &str| {
        let mut push = spec(&stage)["pushSecretSpec"].clone();
        push["deletionPolicy"] = json!(policy);
        json!({ "pushSecretSpec": push })
    };
    fan_out(&stage, with("None")).await?;
    in_place(&stage, LATER, &[&stage.producer]).await?;
    stage.ready::<PushSecret>(&stage.producer, &stage.word, "True", "Synced").await?;
    has_finalizer(&stage, &stage.producer, &stage.word, false).await?;
    fan_out(&stage, with("Delete")).await?;
    has_finalizer(&stage, &stage.producer, &stage.word, true).await?;
    let parents: Api<ClusterPushSecret> = Api::all(stage.client.clone());
    parents.delete(&stage.word, &Default::default()).await?;
    wait::until("the value to go with its last child", LATER, async || {
        let stored = stage.stored().await?;
        ensure!(stored == Value::Null, "{stored}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn metadata_that_a_person_replaced_is_called_so_and_what_is_left_then_has_an_event() -> anyhow::Result<()> {
    let stage = Stage::new("relabelled").await?;
    let store = stage.class_store().await?;
    let controller = stage.class_controller(&[]).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, to(&[&store])).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.vault.write_custom_metadata("secret", &stage.path(), &json!({ "team": "dba" })).await?;
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "PathNotManaged").await?;
    ensure!(said.contains("was replaced since version 1") && said.contains("waypost.io/adopt"), "{said}");
    goes(&stage, "push").await?;
    let event = stage.orphaned().await?;
    ensure!(event.contains(&stage.path()) && event.contains("\"password\""), "{event}");
    ensure!(event.contains("the custom_metadata of the path was replaced"), "{event}");
    ensure!(stage.stored().await? == json!({ "password": "one" }));
    let counted = controller.metric("waypost_push_let_go_total", &[r#"reason="Declined""#]).await?;
    ensure!(counted == 1.0, "it was counted {counted} times");
    Ok(())
}

/// The source goes and the PushSecret stays, so the next reconciles could say it again.
#[tokio::test]
async fn what_a_push_secret_that_stays_no_longer_owns_has_one_event_and_one_count() -> anyhow::Result<()> {
    let unmarked = "the custom_metadata of the path was replaced";
    for (test, update, metadata, why) in [
        ("declined", "Replace", json!({ "team": "dba" }), unmarked),
        ("declinedonce", "IfNotExists", json!({ "managed-by": "external-secrets" }), "updatePolicy IfNotExists"),
    ] {
        let stage = Stage::new(test).await?;
        let store = stage.class_store().await?;
        let controller = stage.class_controller(&[]).await?;
        let mut more = to(&[&store]);
        more["updatePolicy"] = json!(update);
        stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
        stage.push("push", "source", PASSWORD, more.clone()).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
        ensure!(!lines(&stage).await?.is_empty(), "it is listed before");
        stage.vault.write_custom_metadata("secret", &stage.path(), &metadata).await?;
        stage.delete::<Secret>(&stage.producer, "source").await?;
        let event = stage.orphaned().await?;
        ensure!(event.contains(&stage.path()) && event.contains("\"password\"") && event.contains(why), "{event}");
        stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceDeleted").await?;
        ensure!(lines(&stage).await?.is_empty(), "{:?}", lines(&stage).await?);
        ensure!(stage.stored().await? == json!({ "password": "one" }));
        // One more reconcile: an edited PushSecret has not had a source yet.
        more["refreshInterval"] = json!("23h");
        stage.push("push", "source", PASSWORD, more).await?;
        stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceNotFound").await?;
        let events = stage.api::<Event>(&stage.producer).list(&ListParams::default()).await?.items;
        let orphaned = events.iter().filter(|event| event.reason.as_deref() == Some("Orphaned"));
        ensure!(orphaned.count() == 1, "{events:?}");
        for labels in [&[r#"reason="Declined""#][..], &[]] {
            let counted = controller.metric("waypost_push_let_go_total", labels).await?;
            ensure!(counted == 1.0, "{update}: it was counted {counted} times");
        }
    }
    Ok(())
}

/// External Secrets Operator pushed a whole Secret, and handed the PushSecret over.
#[tokio::test]
async fn a_whole_secret_that_was_handed_over_goes_property_by_property() -> anyhow::Result<()> {
    let stage = Stage::new("wholeline").await?;
    stage.vault.write("secret", &stage.path(), &json!({ "password": "one" })).await?;
    let marked = json!({ "managed-by": "external-secrets" });
    stage.vault.write_custom_metadata("secret", &stage.path(), &marked).await?;
    stage.push("push", "source", PASSWORD, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceNotFound").await?;
    let line = json!({ (stage.path()): { "match": { "remoteRef": { "remoteKey": stage.path() } } } });
    let ledger = json!({ "status": { "syncedPushSecrets": { format!("ClusterSecretStore/{STORE}"): line } } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch_status("push", &PatchParams::default(), &Patch::Merge(ledger)).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let lines = pushes.get("push").await?.status.unwrap_or_default().synced_push_secrets;
    let lines: Vec<&String> = lines.values().flat_map(|lines| lines.keys()).collect();
    ensure!(lines == [&format!("{}/password", stage.path())], "{lines:?}");
    goes(&stage, "push").await?;
    ensure!(stage.stored().await? == Value::Null);
    Ok(())
}

/// After claims were erased, a rival takes one property: the other one is still listed, and goes with
/// its PushSecret.
#[tokio::test]
async fn a_rival_that_takes_one_property_after_claims_were_erased_takes_no_other_line_along() -> anyhow::Result<()> {
    let stage = Stage::new("erasedtwo").await?;
    let both = [("password", "password"), ("username", "username")];
    stage.secret(&stage.producer, "source", &[("password", "one"), ("username", "u")]).await?;
    stage.push("push", "source", &both, json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    stage.secret(&stage.producer, "rivals", &[("password", "theirs")]).await?;
    stage.push("rival", "rivals", PASSWORD, json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "rival", "False", "PathConflict").await?;
    stage.vault.write_custom_metadata("secret", &stage.path(), &json!({ "managed-by": "external-secrets" })).await?;
    // Whoever looks first has it.
    stage.secret(&stage.producer, "rivals", &[("password", "taken")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "rival", "True", "Synced").await?;
    stage.secret(&stage.producer, "source", &[("password", "two"), ("username", "v")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "PathConflict").await?;
    let listed = lines(&stage).await?;
    ensure!(listed.iter().any(|(_, line)| line.ends_with("/username")), "{listed:?}");
    goes(&stage, "push").await?;
    ensure!(stage.stored().await? == json!({ "password": "taken" }), "{}", stage.stored().await?);
    Ok(())
}

#[tokio::test]
async fn a_line_that_does_not_parse_is_named_and_holds_a_deleted_push_secret_for_no_longer_than_the_deadline()
-> anyhow::Result<()> {
    let stage = Stage::new("oddline").await?;
    let store = stage.class_store().await?;
    let _controller = stage.class_controller(&["--cleanup-deadline=10s"]).await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, to(&[&store])).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let key = "a key/with spaces";
    let line = json!({ (key): { "match": { "remoteRef": { "remoteKey": key, "property": "password" } } } });
    let ledger = json!({ "status": { "syncedPushSecrets": { format!("ClusterSecretStore/{store}"): line } } });
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.patch_status("push", &PatchParams::default(), &Patch::Merge(ledger)).await?;
    stage.delete::<PushSecret>(&stage.producer, "push").await?;
    let said = stage.ready::<PushSecret>(&stage.producer, "push", "False", "CleanupPending").await?;
    ensure!(said.contains(key), "{said}");
    let event = stage.orphaned().await?;
    ensure!(event.contains(key), "{event}");
    is_gone(&stage, "push").await?;
    ensure!(stage.stored().await? == Value::Null, "what could be removed is removed");
    Ok(())
}
