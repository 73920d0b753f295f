//! Values that are gone: by a push, or by somebody.

use super::*;

#[tokio::test]
async fn what_a_push_removed_unseen_is_told_from_what_somebody_deleted() {
    let presence = async |labels: &[String], version: Option<i64>| {
        let store = FakeStore::new();
        let path = RemotePath::parse(Some("secret"), "db").unwrap();
        let data = BTreeMap::from([("password".to_owned(), RemoteValue::text("1"))]);
        store.put(&path, data);
        store.put(&path, BTreeMap::new());
        store.soft_delete(&path);
        let labels = labels.iter().map(|key| (key.clone(), claim::MARKER_VALUE.to_owned())).collect();
        store.put_metadata(&path, labels);
        let desired = desired(spec_with("/data/0/remoteRef/key", json!("db")));
        let client: Arc<dyn StoreClient> = Arc::new(store);
        let opened = OpenStores::from([(observe::store_of(&desired, &desired.entries[0].from), client)]);
        let located = observe::locate(&desired, &opened).await.unwrap();
        let (feed, name) = (Feed::new(), Name::new("team", "db"));
        observe::subscribe(&feed, &name, &located, Follow::Never);
        let before = PulledPath {
            store: "ClusterSecretStore/vault".into(),
            path: "secret/db".into(),
            version,
            ..PulledPath::default()
        };
        let past = Past { paths: &[before], rendering: None };
        let read = observe::read(&feed, &name, &located, Freshness::Shared, past, observe::deadline()).await.unwrap();
        read.snapshots[0].1.presence
    };
    let (marker, password) = (claim::MARKER.to_owned(), claim::claim_key("password"));
    let vacated = std::slice::from_ref(&marker);
    assert_eq!(presence(vacated, Some(1)).await, Presence::Removed);
    assert_eq!(presence(vacated, Some(2)).await, Presence::Missing, "the version that was read was deleted");
    assert_eq!(presence(vacated, None).await, Presence::Missing, "nobody knows what was read");
    assert_eq!(presence(&[marker.clone(), password], Some(1)).await, Presence::Missing, "its owner still claims it");
    assert_eq!(presence(&[], Some(1)).await, Presence::Missing, "nobody of ours kept it");
}
