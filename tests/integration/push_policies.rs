//! What a PushSecret's policies and strategies promise: what is overwritten, what is deleted, how
//! keys are read, and how often.

use serde_json::{Value, json};
use waypost::api::PushSecret;
use waypost_e2e::lab::VaultAdmin;
use waypost_e2e::wait;

use crate::bad_store::store_ref;
use crate::stage::{LATER, SOON, STORE, Stage, mapping, store};

const PASSWORD: &[(&str, &str)] = &[("password", "password")];
const BOTH: &[(&str, &str)] = &[("password", "password"), ("username", "username")];

async fn synced(stage: &Stage) -> anyhow::Result<()> {
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await.map(drop)
}

/// The data of a path; `Value::Null` where there is none.
async fn data(vault: &VaultAdmin, path: &str) -> anyhow::Result<Value> {
    Ok(vault.read("secret", path).await?.and_then(|entry| entry.data).unwrap_or_default())
}

/// The properties of this test's path that Waypost claims.
async fn claimed(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let metadata = stage.vault.metadata("secret", &stage.path()).await?.unwrap_or_default();
    let labels = metadata["custom_metadata"].as_object().cloned().unwrap_or_default();
    Ok(labels.keys().filter_map(|key| key.strip_prefix("claim.waypost.io/")).map(str::to_owned).collect())
}

/// What the ledger lists of this test's path.
async fn listed(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let status = stage.api::<PushSecret>(&stage.producer).get("push").await?.status.unwrap_or_default();
    let lines = status.synced_push_secrets.values().flat_map(|lines| lines.keys());
    Ok(lines.filter_map(|line| line.strip_prefix(&format!("{}/", stage.path()))).map(str::to_owned).collect())
}

#[tokio::test]
async fn if_not_exists_claims_nothing_that_is_there_and_deletes_only_what_it_wrote() -> anyhow::Result<()> {
    let stage = Stage::new("careful").await?;
    // What an External Secrets Operator left: marked as managed, and nobody's.
    stage.vault.write("secret", &stage.path(), &json!({ "password": "theirs" })).await?;
    let mark = json!({ "managed-by": "external-secrets" });
    stage.vault.write_custom_metadata("secret", &stage.path(), &mark).await?;
    stage.secret(&stage.producer, "source", &[("password", "ours"), ("username", "one")]).await?;
    let careful = || json!({ "updatePolicy": "IfNotExists", "deletionPolicy": "Delete" });
    stage.push("push", "source", BOTH, careful()).await?;
    synced(&stage).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "theirs", "username": "one" }));
    assert_eq!(
        (claimed(&stage).await?, listed(&stage).await?),
        (vec!["username".to_owned()], vec!["username".to_owned()])
    );
    // A mapping that is removed takes along what we wrote, and not what was there.
    stage.push("push", "source", PASSWORD, careful()).await?;
    wait::until("our property to go", SOON, async || {
        Ok((stage.stored().await? == json!({ "password": "theirs" })).then_some(()))
    })
    .await?;
    stage.push("push", "source", &[("username", "username")], careful()).await?;
    synced(&stage).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "theirs", "username": "one" }));
    // The other policy takes over what nobody owns.
    stage.push("push", "source", BOTH, json!({ "updatePolicy": "Replace", "deletionPolicy": "Delete" })).await?;
    synced(&stage).await?;
    assert_eq!(stage.stored().await?, json!({ "password": "ours", "username": "one" }));
    assert_eq!(claimed(&stage).await?, ["password", "username"]);
    Ok(())
}

#[tokio::test]
async fn es6_without_a_deletion_policy_what_is_no_longer_mapped_stays_and_is_free() -> anyhow::Result<()> {
    let stage = Stage::new("es6stays").await?;
    stage.secret(&stage.producer, "source", &[("password", "one"), ("username", "two")]).await?;
    stage.push("push", "source", BOTH, json!({})).await?;
    synced(&stage).await?;
    // A mapping is removed.
    stage.push("push", "source", PASSWORD, json!({})).await?;
    synced(&stage).await?;
    assert_eq!(
        (claimed(&stage).await?, listed(&stage).await?),
        (vec!["password".to_owned()], vec!["password".to_owned()])
    );
    // A key is renamed.
    let new = format!("{}-new", stage.path());
    stage.push("push", "source", &[], json!({ "data": [mapping("password", &new, "password")] })).await?;
    synced(&stage).await?;
    assert_eq!(data(&stage.vault, &new).await?, json!({ "password": "one" }));
    assert_eq!((claimed(&stage).await?, listed(&stage).await?), (vec![], vec![]));
    // A store is changed.
    let (bao, own) = stage.own_store().await?;
    let there = json!({ "secretStoreRefs": [store_ref(&own)], "data": [mapping("password", &new, "password")] });
    stage.push("push", "source", &[], there).await?;
    synced(&stage).await?;
    assert_eq!(data(&bao.admin()?, &new).await?, json!({ "password": "one" }));
    assert_eq!(data(&stage.vault, &new).await?, json!({ "password": "one" }));
    assert_eq!(stage.stored().await?, json!({ "password": "one", "username": "two" }));
    Ok(())
}

#[tokio::test]
async fn es6_a_store_that_is_changed_or_removed_loses_its_value_once_the_others_have_it() -> anyhow::Result<()> {
    let stage = Stage::new("es6store").await?;
    let (bao, own) = stage.own_store().await?;
    let unreachable = format!("{}-unreachable", stage.word);
    // Port 9 is the discard service, which nobody runs.
    store(waypost_e2e::lab::Lab::shared().await?, &unreachable, "https://127.0.0.1:9", None).await?;
    let (admin, password) = (bao.admin()?, json!({ "password": "one" }));
    let to = |names: &[&str]| {
        let refs: Value = names.iter().map(|name| store_ref(name)).collect();
        json!({ "secretStoreRefs": refs, "deletionPolicy": "Delete" })
    };
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, to(&[&own])).await?;
    synced(&stage).await?;
    // Changed to one that cannot be written: the value stays where it is.
    stage.push("push", "source", PASSWORD, to(&[&unreachable])).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "False", "StoreNotReady").await?;
    assert_eq!(data(&admin, &stage.path()).await?, password);
    // Changed to one that can.
    stage.push("push", "source", PASSWORD, to(&[STORE])).await?;
    synced(&stage).await?;
    assert_eq!((data(&admin, &stage.path()).await?, stage.stored().await?), (Value::Null, password.clone()));
    // One is added, and one removed.
    stage.push("push", "source", PASSWORD, to(&[STORE, &own])).await?;
    synced(&stage).await?;
    assert_eq!((data(&admin, &stage.path()).await?, stage.stored().await?), (password.clone(), password.clone()));
    stage.push("push", "source", PASSWORD, to(&[&own])).await?;
    synced(&stage).await?;
    assert_eq!((data(&admin, &stage.path()).await?, stage.stored().await?), (password, Value::Null));
    Ok(())
}

#[tokio::test]
async fn reverse_unicode_reads_a_key_as_it_was_meant() -> anyhow::Result<()> {
    let stage = Stage::new("unicode").await?;
    let keys = [("db_U002f_password", "slash"), ("db_U1f511_", "beyond the first plane"), ("plain", "as it is")];
    stage.secret(&stage.producer, "source", &keys).await?;
    let read = |key: &str, property: &str, strategy: Option<&str>| {
        let mut entry = mapping(key, &stage.path(), property);
        entry["conversionStrategy"] = json!(strategy);
        if strategy.is_none() {
            entry.as_object_mut().map(|entry| entry.remove("conversionStrategy"));
        }
        entry
    };
    let entries = json!([
        read("db/password", "password", Some("ReverseUnicode")),
        read("db\u{1f511}", "token", Some("ReverseUnicode")),
        read("plain", "note", Some("None")),
        read("db_U002f_password", "username", None),
    ]);
    stage.push("push", "source", &[], json!({ "data": entries })).await?;
    synced(&stage).await?;
    let stored =
        json!({ "password": "slash", "token": "beyond the first plane", "note": "as it is", "username": "slash" });
    assert_eq!(stage.stored().await?, stored);
    Ok(())
}

#[tokio::test]
async fn with_interval_zero_an_edit_in_the_store_stays_until_the_source_changes() -> anyhow::Result<()> {
    let stage = Stage::new("intervalzero").await?;
    let beside = format!("{}-beside", stage.path());
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", PASSWORD, json!({ "refreshInterval": "0" })).await?;
    let each_second = json!({ "refreshInterval": "1s", "data": [mapping("password", &beside, "password")] });
    stage.push("beside", "source", &[], each_second).await?;
    synced(&stage).await?;
    stage.ready::<PushSecret>(&stage.producer, "beside", "True", "Synced").await?;
    let edited = json!({ "password": "edited" });
    let stays = async || {
        stage.vault.write("secret", &stage.path(), &edited).await?;
        // Twice the other one is repaired, each time at its interval.
        for _ in 0..2 {
            stage.vault.write("secret", &beside, &edited).await?;
            wait::until("the other path to be repaired", LATER, async || {
                Ok((data(&stage.vault, &beside).await? == json!({ "password": "one" })).then_some(()))
            })
            .await?;
        }
        anyhow::Ok(stage.stored().await? == edited)
    };
    // On a busy machine the watch may show the source only now, or the store have been away for a
    // moment: both are reasons to look once more, and an interval is one each time.
    assert!(stays().await? || stays().await? || stays().await?, "it is repaired each time");
    stage.secret(&stage.producer, "source", &[("password", "two")]).await?;
    wait::until("the changed source to be pushed", SOON, async || {
        Ok((stage.stored().await? == json!({ "password": "two" })).then_some(()))
    })
    .await
}
