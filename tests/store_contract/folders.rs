//! Everything below a folder, complete or not at all.

use std::collections::BTreeMap;

use waypost::domain::folder::RemoteFolder;
use waypost::store::{Detail, Entries, StoreClient, StoreError};

use crate::{Bench, changes_of, path, text};

fn folder(at: &str) -> RemoteFolder {
    RemoteFolder::parse(Some("secret"), Some(at)).unwrap()
}

/// Entries at any depth are listed, whether they have a version or not; their neighbours are not.
pub async fn contract(store: &dyn StoreClient) {
    let (below, deep, beside) =
        ("platform-data/contract-f/a", "platform-data/contract-f/b/c", "platform-data/contract-ff/d");
    for entry in [below, deep, beside] {
        store.write(&path(entry), &text("x"), 0).await.unwrap();
    }
    store.create_entry(&path("platform-data/contract-f/empty")).await.unwrap();
    store.patch_metadata(&path(deep), &changes_of(&[("team", Some("shop"))])).await.unwrap();
    let names = ["platform-data/contract-f/a", deep, "platform-data/contract-f/empty"].map(str::to_owned);
    let listed = store.list(&folder("platform-data/contract-f"), Detail::Names).await.unwrap();
    assert_eq!(listed, names.iter().map(|name| (name.clone(), BTreeMap::new())).collect::<Entries>());
    let labelled = store.list(&folder("platform-data/contract-f"), Detail::CustomMetadata).await.unwrap();
    assert!(labelled.keys().eq(&names), "{labelled:?}");
    assert_eq!(labelled[deep], BTreeMap::from([("team".to_owned(), "shop".to_owned())]));
    assert_eq!(labelled[below], BTreeMap::new());
    let nothing = store.list(&folder("platform-data/contract-g"), Detail::CustomMetadata).await.unwrap();
    assert_eq!(nothing, Entries::new());
    let elsewhere = RemoteFolder::parse(Some("nowhere"), None).unwrap();
    let error = store.list(&elsewhere, Detail::Names).await.unwrap_err();
    assert!(matches!(error, StoreError::MountMissing { .. }), "{error}");
}

/// As on Vault, which has no list of everything at once.
#[tokio::test]
async fn without_the_right_to_scan_it_lists_folder_by_folder() {
    let bench = Bench::on_extra().await;
    let token = bench.bao().admin().unwrap().create_token(&["waypost-combined"], "10m").await.unwrap();
    bench.secret("walk", "token", &token).await;
    let client = bench.client("walk", bench.provider(bench.token_auth("walk"), serde_json::json!({}))).await;
    contract(&*client).await;
    let root = RemoteFolder::parse(Some("secret"), None).unwrap();
    let error = client.list(&root, Detail::Names).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "permission denied to list secret/metadata/: let the role's policy allow `list` there (see policies/vault)"
    );
}
