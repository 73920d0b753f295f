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

/// A removal is ours as long as nothing else is known of the path. However it becomes known that
/// somebody wrote again, what is gone after that is a loss.
#[tokio::test]
async fn what_was_written_after_a_removal_by_a_push_is_not_removed_by_it() {
    for is_purged in [false, true] {
        for learnt in [Learnt::Announced, Learnt::Read, Learnt::Checked] {
            let store = FakeStore::new();
            let (feed, source) = ten_served(&store).await;
            let removed = match is_purged {
                true => {
                    store.purge(&source.path);
                    feed.announce(&source.site(), Pushed::Purge);
                    0
                }
                false => {
                    store.soft_delete(&source.path);
                    feed.announce(&source.site(), Pushed::Removal(1));
                    // Another removes the entry and creates it again.
                    store.purge(&source.path);
                    1
                }
            };
            assert!(feed.is_removed_by_push(&source.site(), removed));
            store.put(&source.path, data("again"));
            let created = store.peek(&source.path).created;
            match learnt {
                Learnt::Announced => feed.announce(&source.site(), Pushed::Version(1, created)),
                Learnt::Read => drop(feed.read(&consumer(0), &source, Freshness::Since(Instant::now())).await),
                Learnt::Checked => feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await,
            }
            assert!(!feed.is_removed_by_push(&source.site(), removed), "{is_purged} {learnt:?}");
        }
    }
}

/// How the feed learns of a version.
#[derive(Clone, Copy, Debug)]
enum Learnt {
    Announced,
    Read,
    Checked,
}

/// A consumer may have asked for the version that a push removed, and reads it after the next one
/// was written.
#[tokio::test]
async fn a_version_that_a_push_removed_stays_removed_by_it_below_later_ones() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    store.soft_delete(&source.path);
    feed.announce(&source.site(), Pushed::Removal(1));
    let version = store.put(&source.path, data("2"));
    feed.announce(&source.site(), Pushed::Version(version, None));
    assert!(feed.is_removed_by_push(&source.site(), 1));
}
