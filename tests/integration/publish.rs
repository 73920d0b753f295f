//! What a PushSecret does to the store: whole versions, as few as changes, and nothing where
//! nothing changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};
use waypost::api::{ExternalSecret, PushSecret};
use waypost_e2e::lab::{Lab, Mark};
use waypost_e2e::wait;

use crate::stage::{LATER, SOON, STORE, Stage, mapping};

#[tokio::test]
async fn es2_a_change_is_one_version_with_all_mapped_keys_and_silence_none() -> anyhow::Result<()> {
    const INTERVALS: usize = 24;
    let stage = Stage::new("es2").await?;
    let keys: Vec<String> = (1..=20).map(|n| format!("key-{n}")).collect();
    let data = |value: &str| keys.iter().map(|key| (key.clone(), format!("{value}-{key}").into_bytes())).collect();
    let stored = |value: &str| keys.iter().map(|key| (key.clone(), json!(format!("{value}-{key}")))).collect::<Value>();
    let mut first: BTreeMap<String, Vec<u8>> = data("one");
    first.insert("unmapped".into(), b"three".to_vec());
    stage.secret_bytes(&stage.producer, "source", first).await?;
    let mappings: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), key.as_str())).collect();
    stage.push("push", "source", &mappings, json!({ "refreshInterval": "1s" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!((stage.version().await?, stage.stored().await?), (1, stored("one")));

    stage.secret_bytes(&stage.producer, "source", data("two")).await?;
    wait::until("the second version", SOON, async || Ok((stage.version().await? == 2).then_some(()))).await?;
    assert_eq!(stage.stored().await?, stored("two"));

    let pushes = stage.api::<PushSecret>(&stage.producer);
    wait::until("status to say version 2 and who has it", SOON, async || {
        let paths = pushes.get("push").await?.status.unwrap_or_default().paths;
        let Some(path) = paths.first() else { bail!("it says nothing") };
        Ok((path.version == Some(2) && path.consumers.is_some()).then_some(()))
    })
    .await?;
    let before = pushes.get("push").await?.resource_version();
    let (began, mark) = (Instant::now(), Lab::shared().await?.bao()?.audit().mark()?);
    let reads = await_reads(&stage, mark, INTERVALS).await?;
    let elapsed = began.elapsed();
    // One an interval of a second, within 5 %, and the one that was due.
    assert!(reads as f64 <= elapsed.as_secs_f64() / 0.95 + 1.0, "{reads} reads in {elapsed:?}");
    let requests = Lab::shared().await?.bao()?.audit().since(mark)?;
    let writes: Vec<_> =
        requests.iter().filter(|request| request.path.ends_with(&stage.word) && request.is_write()).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(stage.version().await?, 2);
    assert_eq!(pushes.get("push").await?.resource_version(), before, "an unchanged status is not written");
    Ok(())
}

#[tokio::test]
async fn es3_bytes_that_are_no_text_are_refused_by_name_and_other_paths_go_on() -> anyhow::Result<()> {
    let stage = Stage::new("es3").await?;
    let other = format!("platform-data/redis/{}", stage.word);
    let data = BTreeMap::from([("binary".to_owned(), vec![0xff, 0xfe, 0x00]), ("text".to_owned(), b"fine".to_vec())]);
    stage.secret_bytes(&stage.producer, "source", data).await?;
    let more = json!({ "data": [mapping("binary", &stage.path(), "password"), mapping("text", &other, "password")] });
    stage.push("push", "source", &[], more).await?;
    let message = stage.ready::<PushSecret>(&stage.producer, "push", "False", "SourceInvalid").await?;
    assert!(message.contains("\"binary\"") && message.contains(&stage.path()), "{message}");
    assert_eq!(stage.version().await?, 0, "nothing of the refused path is written");
    let written = stage.vault.read("secret", &other).await?.and_then(|entry| entry.data);
    assert_eq!(written, Some(json!({ "password": "fine" })));

    stage.secret(&stage.producer, "source", &[("binary", "text now"), ("text", "fine")]).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert_eq!(stage.stored().await?, json!({ "password": "text now" }));
    Ok(())
}

#[tokio::test]
async fn r16_an_empty_value_arrives_and_both_sides_name_it() -> anyhow::Result<()> {
    let stage = Stage::new("r16").await?;
    stage.secret(&stage.producer, "source", &[("password", "")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({})).await?;
    let pushed = stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    assert!(pushed.contains("key \"password\" of") && pushed.contains("is empty: fill it"), "{pushed}");
    assert_eq!(stage.stored().await?, json!({ "password": "" }));
    stage.pull("pull", &[("PASSWORD", "password")], json!({})).await?;
    let pulled = stage.ready::<ExternalSecret>(&stage.consumer, "pull", "True", "SecretSynced").await?;
    assert!(pulled.contains("the value of key \"PASSWORD\" is empty"), "{pulled}");
    stage.holds(&stage.consumer, "pull", &[("PASSWORD", "")]).await.map(drop)
}

#[tokio::test]
async fn ks6_nothing_is_written_on_the_source() -> anyhow::Result<()> {
    let stage = Stage::new("ks6").await?;
    let source = stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({ "deletionPolicy": "Delete" })).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let pushes = stage.api::<PushSecret>(&stage.producer);
    pushes.delete("push", &Default::default()).await?;
    wait::until("the PushSecret to go", SOON, async || Ok(pushes.get_opt("push").await?.is_none().then_some(())))
        .await?;
    let after = stage.api::<Secret>(&stage.producer).get("source").await?;
    assert_eq!(after.resource_version(), source.resource_version());
    Ok(())
}

#[tokio::test]
async fn i6_and_i8_a_storm_of_rotations_costs_no_more_versions_than_changes_and_mixes_none() -> anyhow::Result<()> {
    const CHANGES: u64 = 100;
    let stage = Stage::new("i6").await?;
    stage.secret(&stage.producer, "source", &[("user", "0"), ("pass", "0")]).await?;
    stage.push("push", "source", &[("user", "username"), ("pass", "password")], json!({})).await?;
    stage.ready::<PushSecret>(&stage.producer, "push", "True", "Synced").await?;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    for change in 1..=CHANGES {
        clock.tick().await;
        let value = change.to_string();
        stage.secret(&stage.producer, "source", &[("user", &value), ("pass", &value)]).await?;
    }
    let last = json!({ "username": CHANGES.to_string(), "password": CHANGES.to_string() });
    wait::until("the last value", SOON, async || Ok((stage.stored().await? == last).then_some(()))).await?;
    let version = stage.version().await?;
    assert!((2..=CHANGES + 1).contains(&version), "{version} versions");
    for version in version.saturating_sub(9).max(1)..=version {
        let entry = stage.vault.read_version("secret", &stage.path(), version).await?;
        let data = entry.and_then(|entry| entry.data).unwrap_or_default();
        assert_eq!(data["username"], data["password"], "version {version} mixes two states of the source");
    }
    Ok(())
}

#[tokio::test]
async fn f46_a_target_that_is_pushed_to_the_path_it_came_from_comes_to_rest() -> anyhow::Result<()> {
    let stage = Stage::new("f46").await?;
    stage.secret(&stage.producer, "source", &[("password", "one")]).await?;
    stage.push("push", "source", &[("password", "password")], json!({ "refreshInterval": "1s" })).await?;
    stage.pull("target", &[("password", "password")], json!({ "refreshInterval": "1s" })).await?;
    stage.holds(&stage.consumer, "target", &[("password", "one")]).await?;
    let back = json!({
        "refreshInterval": "1s",
        "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": STORE }],
        "selector": { "secret": { "name": "target" } },
        "data": [mapping("password", &stage.path(), "copy")],
    });
    stage.apply::<PushSecret>(&stage.consumer, "back", back).await?;
    stage.ready::<PushSecret>(&stage.consumer, "back", "True", "Synced").await?;
    stage.ready::<ExternalSecret>(&stage.consumer, "target", "True", "SecretSynced").await?;
    let (version, target) = (stage.version().await?, stage.api::<Secret>(&stage.consumer).get("target").await?);
    assert_eq!(version, 2, "one for each writer");
    let mark = Lab::shared().await?.bao()?.audit().mark()?;
    await_reads(&stage, mark, 6).await?;
    assert_eq!(stage.version().await?, version);
    assert_eq!(stage.stored().await?, json!({ "password": "one", "copy": "one" }));
    let now = stage.api::<Secret>(&stage.consumer).get("target").await?;
    assert_eq!(now.resource_version(), target.resource_version());
    Ok(())
}

/// Waits until this test's path was read so many times, and gives how many times that was.
async fn await_reads(stage: &Stage, mark: Mark, wanted: usize) -> anyhow::Result<usize> {
    let audit = Lab::shared().await?.bao()?.audit();
    let path = format!("secret/data/{}", stage.path());
    wait::until("refreshes of the path", LATER, async || {
        let requests = audit.since_under(mark, &path)?;
        let reads = requests.iter().filter(|request| request.operation == "read").count();
        Ok((reads >= wanted).then_some(reads))
    })
    .await
}
