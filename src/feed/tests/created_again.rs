//! Entries that were purged and created again: their version numbers begin anew.

use super::*;

#[tokio::test]
async fn after_a_purge_an_earlier_numbering_counts_for_nothing() {
    let store = FakeStore::new();
    let feed = Feed::new();
    let (push, spelled) = (Name::new("db", "push"), Spelled { store: "SecretStore/s".into(), path: "secret/p".into() });
    for password in 1..=5 {
        store.put(&path("p"), data(&password.to_string()));
    }
    let source = source(&store, "p").await;
    served(&feed, "reader", &source, None, Follow::Every(HOUR)).await;
    feed.record(&Name::new("team", "reader"), SyncState::Synced);
    feed.publishes(&push, BTreeMap::from([(spelled.clone(), Some(published(&source)))]));
    let version = |feed: &Feed| feed.followers(&push, &spelled).unwrap()[0].version;
    assert_eq!(version(&feed), Some(5));
    let now = Instant::now();
    feed.announce(&source.site(), Pushed::Purge);
    assert_eq!(version(&feed), None);
    // Where somebody else purged it, the first version that is pushed tells.
    let mut index = feed.index();
    index.announce(&source.site(), Pushed::Version(5, None), now);
    drop(index);
    store.put(&path("p"), data("5"));
    let late = now + Duration::from_secs(60);
    feed.index().taken(&Name::new("team", "reader"), &source.read_key(), seen(5), now, now);
    feed.record(&Name::new("team", "reader"), SyncState::Synced);
    assert_eq!(version(&feed), Some(5));
    feed.index().announce(&source.site(), Pushed::Version(1, None), late);
    assert_eq!(version(&feed), None);
}

/// Somebody purged it, and it was created again between two looks: the number is the same.
#[tokio::test]
async fn the_first_version_of_another_entry_is_not_the_one_that_a_consumer_has() {
    let (push, spelled) = (Name::new("db", "push"), Spelled { store: "SecretStore/s".into(), path: "secret/p".into() });
    let reader = Name::new("team", "reader");
    for pushed in [None, Some(Pushed::Version as Announcement), Some(Pushed::Found)] {
        let (store, feed) = (FakeStore::new(), Feed::new());
        store.put(&path("p"), data("1"));
        let source = source(&store, "p").await;
        served(&feed, "reader", &source, None, Follow::Every(HOUR)).await;
        feed.record(&reader, SyncState::Synced);
        feed.publishes(&push, BTreeMap::from([(spelled.clone(), Some(published(&source)))]));
        store.purge(&path("p"));
        store.put(&path("p"), data("2"));
        let pushed = pushed.map(|pushed| pushed(1, store.peek(&path("p")).created));
        match pushed {
            Some(pushed) => feed.announce(&source.site(), pushed),
            None => feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await,
        }
        assert_eq!(feed.followers(&push, &spelled).unwrap()[0].version, None, "announced: {pushed:?}");
        assert!(feed.is_behind(&reader), "announced: {pushed:?}");
    }
}

type Announcement = fn(u64, Option<Timestamp>) -> Pushed;
