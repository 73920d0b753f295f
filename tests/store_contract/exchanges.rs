//! Custom metadata that changes only if nobody else changed it.

use std::collections::BTreeMap;

use serde_json::json;
use waypost::domain::path::RemotePath;
use waypost::domain::remote::EntryState;
use waypost::store::fake::{Counting, FakeStore};
use waypost::store::{Exchange, StoreClient, StoreError};

use crate::{Bench, changes_of, path, text};

/// Labels change only while they are what they were, and an entry comes to be with them only once.
pub async fn contract(store: &dyn StoreClient) {
    for entry in [path("platform-data/contract-x/first"), path("platform-data/contract-x/second")] {
        let absent = store.read(&entry, None).await.unwrap();
        let changes = changes_of(&[("a", Some("1")), ("b", Some("2"))]);
        // Of the first entry the count may only be seen once it is there.
        let mut exchanged = store.exchange_metadata(&entry, &absent, &changes).await.unwrap();
        assert_eq!(exchanged, Exchange::Done);
        exchanged = store.exchange_metadata(&entry, &absent, &changes_of(&[("a", Some("3"))])).await.unwrap();
        assert_eq!(exchanged, Exchange::Crossed, "it is not absent any more");
        let empty = store.read(&entry, None).await.unwrap();
        assert!(matches!(empty.state, EntryState::Empty) && empty.custom_metadata.len() == 2);

        let changes = changes_of(&[("a", None), ("c", Some("3"))]);
        assert_eq!(store.exchange_metadata(&entry, &empty, &changes).await.unwrap(), Exchange::Done);
        assert_eq!(store.exchange_metadata(&entry, &empty, &changes).await.unwrap(), Exchange::Crossed);
        let written = store.write(&entry, &text("x"), 0).await.unwrap();
        let kept = BTreeMap::from([("b", "2"), ("c", "3")].map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(written.custom_metadata, kept);
        // A version is no change of custom metadata.
        let live = store.read(&entry, None).await.unwrap();
        let changes = changes_of(&[("c", Some("4"))]);
        assert_eq!(store.exchange_metadata(&entry, &live, &changes).await.unwrap(), Exchange::Done);
    }
    // An entry of somebody who set no label.
    let entry = path("platform-data/contract-x/unlabelled");
    store.write(&entry, &text("x"), 0).await.unwrap();
    let live = store.read(&entry, None).await.unwrap();
    let changes = changes_of(&[("c", Some("4"))]);
    assert_eq!(store.exchange_metadata(&entry, &live, &changes).await.unwrap(), Exchange::Done);
    assert_eq!(store.read(&entry, None).await.unwrap().custom_metadata.len(), 1);
}

/// Labels of an entry whose every change has to carry the count: all of them can be changed, and
/// what others set stays.
pub async fn required(store: &dyn StoreClient, entry: &RemotePath) {
    store.patch_metadata(entry, &changes_of(&[("a", Some("1")), ("b", Some("2"))])).await.unwrap();
    store.patch_metadata(entry, &changes_of(&[("a", Some("3")), ("b", None)])).await.unwrap();
    store.create_entry(entry).await.unwrap();
    let written = store.write(entry, &text("x"), 0).await.unwrap();
    let left = BTreeMap::from([("a".to_owned(), "3".to_owned())]);
    assert_eq!(written.custom_metadata, left);
    let live = store.read(entry, None).await.unwrap();
    assert_eq!(store.exchange_metadata(entry, &live, &changes_of(&[("c", Some("4"))])).await.unwrap(), Exchange::Done);
    store.patch_metadata(entry, &changes_of(&[("a", None)])).await.unwrap();
    assert_eq!(store.read(entry, None).await.unwrap().custom_metadata.len(), 1, "only `c` is left");
}

#[tokio::test]
async fn where_metadata_needs_check_and_set_every_change_of_it_carries_it() {
    let entry = path("platform-data/required/entry");
    let fake = FakeStore::new().with_counting(Counting::Offered);
    fake.create_entry(&entry).await.unwrap();
    fake.require_metadata_cas();
    required(&fake, &entry).await;
    let changes = changes_of(&[("d", Some("1"))]);
    let blind = fake.with_counting(Counting::Refused).patch_metadata(&entry, &changes).await.unwrap_err();
    assert!(matches!(blind, StoreError::MetadataNeedsCas { .. }), "{blind}");

    let bench = Bench::on_extra().await;
    let admin = bench.bao().admin().unwrap();
    admin.post("secret/config", &json!({ "metadata_cas_required": true })).await.unwrap();
    let client = bench.kubernetes("required", json!({})).await;
    client.create_entry(&entry).await.unwrap();
    required(&*client, &entry).await;
    // A write that lost its race is told from one that lacked the count.
    let crossed = client.write(&entry, &text("y"), 7).await.unwrap_err();
    assert!(matches!(crossed, StoreError::CasMismatch { .. }), "{crossed}");
    let blind = r#"path "secret/metadata/platform-data/*" { capabilities = ["create", "update", "patch"] }
        path "sys/internal/ui/mounts/secret" { capabilities = ["read"] }"#;
    admin.put_policy("blind-patch", blind).await.unwrap();
    let token = admin.create_token(&["blind-patch"], "10m").await.unwrap();
    bench.secret("blind-patch", "token", &token).await;
    let client = bench.client("blind-patch", bench.provider(bench.token_auth("blind-patch"), json!({}))).await;
    let error = client.patch_metadata(&entry, &changes).await.unwrap_err();
    assert!(matches!(error, StoreError::MetadataNeedsCas { .. }), "{error}");
}

#[tokio::test]
async fn a_login_that_may_not_see_metadata_exchanges_none() {
    let bench = Bench::on_extra().await;
    let admin = bench.bao().admin().unwrap();
    let rules = r#"
path "secret/data/platform-data/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/platform-data/*" { capabilities = ["create", "update", "patch"] }
path "sys/internal/ui/mounts/secret" { capabilities = ["read"] }
"#;
    admin.put_policy("blind", rules).await.unwrap();
    let token = admin.create_token(&["blind"], "10m").await.unwrap();
    bench.secret("blind", "token", &token).await;
    let client = bench.client("blind", bench.provider(bench.token_auth("blind"), json!({}))).await;
    let (entry, changes) = (path("platform-data/blind/entry"), changes_of(&[("a", Some("1"))]));
    let absent = client.read(&entry, None).await.unwrap();
    assert_eq!(client.exchange_metadata(&entry, &absent, &changes).await.unwrap(), Exchange::Unavailable);
    let written = client.write(&entry, &text("x"), 0).await.unwrap();
    assert!(written.custom_metadata.is_empty(), "nothing was changed");
    let mark = bench.audit().mark().unwrap();
    let live = client.read(&entry, None).await.unwrap();
    assert_eq!(client.exchange_metadata(&entry, &live, &changes).await.unwrap(), Exchange::Unavailable);
    assert!(bench.audit().since_under(mark, "secret/metadata/").unwrap().is_empty(), "it is remembered");
}
