//! Entries that were purged and created again: their version numbers begin anew.

use super::*;
use crate::feed::index::Progress;

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
    feed.index().taken(&Name::new("team", "reader"), &source.read_key(), seen(5), now);
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
    for learnt in [Learnt::Announced, Learnt::Found, Learnt::Read, Learnt::Checked] {
        let (store, feed) = (FakeStore::new(), Feed::new());
        store.put(&path("p"), data("1"));
        let source = source(&store, "p").await;
        let theirs = super::source(&store.with_identity("other"), "p").await;
        served(&feed, "reader", &source, None, Follow::Every(HOUR)).await;
        let (other, theirs) = served(&feed, "other", &theirs, None, Follow::Every(HOUR)).await;
        feed.record(&reader, SyncState::Synced);
        feed.publishes(&push, BTreeMap::from([(spelled.clone(), Some(published(&source)))]));
        store.purge(&path("p"));
        store.put(&path("p"), data("2"));
        let mut wakeups = feed.wakeups().unwrap();
        learnt.by(&feed, &other, &theirs, store.peek(&path("p")).created).await;
        let followers = feed.followers(&push, &spelled).unwrap();
        let version = followers.iter().find(|follower| follower.name == reader).unwrap().version;
        assert_eq!(version, None, "{learnt:?}");
        assert!(drained(&mut wakeups).contains(&reader) && feed.is_behind(&reader), "{learnt:?}");
    }
}

/// A removal is ours as long as nothing else is known of the path. However it becomes known that
/// somebody wrote again, what is gone after that is a loss.
#[tokio::test]
async fn what_was_written_after_a_removal_by_a_push_is_not_removed_by_it() {
    for is_purged in [false, true] {
        for learnt in [Learnt::Announced, Learnt::Found, Learnt::Read, Learnt::Checked] {
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
            learnt.by(&feed, &consumer(0), &source, created).await;
            assert!(!feed.is_removed_by_push(&source.site(), removed), "{is_purged} {learnt:?}");
        }
    }
}

/// How the feed learns of the first version of an entry.
#[derive(Clone, Copy, Debug)]
enum Learnt {
    Announced,
    Found,
    Read,
    Checked,
}

impl Learnt {
    async fn by(self, feed: &Arc<Feed>, reader: &Name, source: &Source, created: Option<Timestamp>) {
        match self {
            Learnt::Announced => feed.announce(&source.site(), Pushed::Version(1, created)),
            Learnt::Found => feed.announce(&source.site(), News::Found(1, created)),
            Learnt::Read => drop(feed.read(reader, source, Freshness::Since(Instant::now())).await),
            Learnt::Checked => feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await,
        }
    }
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

/// A standby lags and still shows an entry that was removed, by a push or by somebody else, when
/// the removal is known already, and when the next entry is.
#[tokio::test]
async fn a_standby_that_lags_brings_no_removed_entry_back() {
    for is_ours in [true, false] {
        let store = FakeStore::new();
        let (feed, source) = ten_served(&store).await;
        let (key, site) = (source.read_key(), source.site());
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let judged = |seen, seconds| feed.index().judge(&consumer(0), &key, seen, false, at(seconds), at(seconds));
        let checked = |seen, seconds| feed.index().checked(&site, &key.identity, seen, None, at(seconds), at(seconds));
        let current = || {
            let latest = store.peek(&source.path);
            Seen { consents: Some(consent::digest(&latest.custom_metadata)), ..Seen::of(&latest) }
        };
        for password in 2..=5 {
            store.put(&source.path, data(&password.to_string()));
        }
        let removed = current();
        assert_eq!(judged(removed, 0), Progress::Good);
        store.purge(&source.path);
        match is_ours {
            true => drop(feed.index().announce(&site, Pushed::Purge, at(60))),
            false => assert_eq!(judged(current(), 60), Progress::Good),
        }
        assert_eq!(judged(removed, 61), Progress::Behind);
        assert_eq!(checked(removed, 61), []);
        assert_eq!(judged(current(), 62), Progress::Good);
        assert_eq!(feed.is_removed_by_push(&site, 0), is_ours);

        store.put(&source.path, data("again"));
        feed.index().announce(&site, Pushed::Version(1, current().created), at(63));
        assert_eq!(judged(removed, 64), Progress::Behind);
        assert_eq!(checked(removed, 64), []);
        assert_eq!(judged(current(), 65), Progress::Good);
        // No standby lags so long: the clock of another server that took over may be behind.
        assert_eq!(judged(removed, 80), Progress::Good);
    }
}

/// A standby lags and still shows a version with its data that was deleted since.
#[tokio::test]
async fn a_standby_that_lags_brings_no_deleted_version_back() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let now = Instant::now();
    let judged = |after| {
        let at = now + Duration::from_secs(after);
        feed.index().judge(&consumer(0), &source.read_key(), Seen::of(&store.peek(&source.path)), false, at, at)
    };
    // The store as it was, after the announcement.
    feed.index().announce(&source.site(), Pushed::Removal(1), now);
    assert_eq!(judged(1), Progress::Behind);
    assert!(feed.is_removed_by_push(&source.site(), 1));
    assert_eq!(judged(11), Progress::Good, "it was undeleted");
}

/// The clock of another server that took over is behind, and a push wrote there.
#[tokio::test]
async fn what_a_push_wrote_counts_whatever_the_clock_of_its_server_says() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let earlier = store.peek(&source.path).created.map(|created| created - jiff::SignedDuration::from_secs(5));
    let now = Instant::now();
    let mut index = feed.index();
    index.announce(&source.site(), Pushed::Version(2, earlier), now);
    let written = Seen { created: earlier, ..seen(2) };
    assert_eq!(index.judge(&consumer(0), &source.read_key(), written, false, now, now), Progress::Good);
}
