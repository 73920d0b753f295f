//! Paths whose consumers follow no value of them: their consents are checked.

use super::*;

const CASES: [(Option<u64>, Follow); 3] =
    [(Some(1), Follow::Every(HOUR)), (None, Follow::Never), (Some(1), Follow::Never)];

#[tokio::test]
async fn rf2_a_withdrawal_made_elsewhere_is_found_where_nobody_follows_values() {
    for (version, follow) in CASES {
        let (feed, store) = (Feed::new(), FakeStore::new());
        store.put(&path("platform-data/redis/a"), data("1"));
        let source = source(&store, "platform-data/redis/a").await;
        let (name, source) = served(&feed, "alone", &source, version, follow).await;
        let (mut wakeups, reads) = (feed.wakeups().unwrap(), store.count(Operation::Read));
        store.put(&source.path, data("2"));
        feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
        assert_eq!((drained(&mut wakeups), feed.is_behind(&name)), (vec![], false), "another value is no news");
        // Another cluster's producer, or a person: nobody announces it.
        store.patch_metadata(&source.path, &consents("{}")).await.unwrap();
        feed.clone().check_due(Instant::now() + 4 * HOUR, exactly).await;
        assert_eq!(drained(&mut wakeups), std::slice::from_ref(&name), "{version:?} {follow:?}");
        assert!(feed.is_behind(&name));
        assert_eq!((store.count(Operation::Read), store.count(Operation::Head)), (reads, 2), "a check reads no value");
    }
}

#[tokio::test]
async fn a_consumer_that_follows_shortens_the_interval_and_its_end_prolongs_it() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    let source = source(&store, "platform-data/redis/a").await;
    let due_in = |feed: &Feed| {
        let left = feed.index().next_due().unwrap().saturating_duration_since(Instant::now());
        left.as_secs_f64() / 60.0
    };
    feed.subscribe(&consumer(0), vec![source.clone()], Follow::Never);
    assert!(due_in(&feed) > 50.0);
    feed.subscribe(&consumer(1), vec![source.clone()], Follow::Every(Duration::from_secs(60)));
    assert!(due_in(&feed) < 2.0);
    feed.clone().check_due(Instant::now() + Duration::from_secs(90), exactly).await;
    feed.forget(&consumer(1));
    feed.clone().check_due(Instant::now() + Duration::from_secs(180), exactly).await;
    assert!(due_in(&feed) > 50.0, "{}", due_in(&feed));
    feed.forget(&consumer(0));
    assert_eq!(feed.index().next_due(), None);
}

/// A pinned version that is not there yet is looked for whenever the path has another one, and never
/// again once it is there.
#[tokio::test]
async fn kg4_who_waits_for_a_pinned_version_hears_of_each_push_and_check_until_it_is_there() {
    for announced in [true, false] {
        let (feed, store) = (Feed::new(), FakeStore::new());
        let version = store.put(&path("platform-data/redis/a"), data("1"));
        assert_eq!(version, 1);
        let source = source(&store, "platform-data/redis/a").await;
        let mut waiting = Vec::new();
        for name in ["one", "two"] {
            waiting.push(served(&feed, name, &source, Some(3), Follow::Every(HOUR)).await);
        }
        let mut wakeups = feed.wakeups().unwrap();
        let mut later = Instant::now();
        for (version, woken) in [(2, 2), (3, 2), (4, 0)] {
            store.put(&source.path, data("next"));
            later += 2 * HOUR;
            match announced {
                true => feed.announce(&source.site(), Pushed::Version(version, None)),
                false => feed.clone().check_due(later, exactly).await,
            }
            assert_eq!(drained(&mut wakeups).len(), woken, "{announced}, {version}");
            for (name, pinned) in &waiting {
                assert_eq!(feed.is_behind(name), woken > 0, "{announced}, {version}");
                let entry = feed.read(name, pinned, Freshness::Shared).await.unwrap();
                assert_eq!(entry.data().is_some(), version >= 3, "{announced}, {version}");
            }
        }
    }
}

#[tokio::test]
async fn a_read_that_lacks_a_pinned_version_is_not_shared_once_it_is_published() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    store.put(&path("platform-data/redis/a"), data("1"));
    let source = source(&store, "platform-data/redis/a").await;
    let (one, pinned) = served(&feed, "one", &source, Some(3), Follow::Every(HOUR)).await;
    let (two, _) = served(&feed, "two", &source, Some(3), Follow::Every(HOUR)).await;
    let (three, _) = served(&feed, "three", &source, Some(3), Follow::Every(HOUR)).await;
    let push = |version| {
        store.put(&source.path, data("next"));
        feed.announce(&source.site(), Pushed::Version(version, None));
    };
    push(2);
    assert!(feed.is_behind(&one));
    feed.read(&one, &pinned, Freshness::Shared).await.unwrap();
    // Whoever waits for it shares what was read after the last news.
    let reads = store.count(Operation::Read);
    feed.read(&two, &pinned, Freshness::Shared).await.unwrap();
    assert_eq!(store.count(Operation::Read), reads);
    // It is held for the third.
    push(3);
    assert!(feed.is_behind(&three));
    let entry = feed.read(&three, &pinned, Freshness::Shared).await.unwrap();
    assert!(entry.data().is_some());
}

/// The reconcile that it woke fails before it reads anything, for example because its status is owed
/// and the API server does not answer.
#[tokio::test]
async fn what_is_announced_once_a_reconcile_has_started_queues_it_again() {
    let (store, started) = (FakeStore::new(), consumer(3));
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    feed.announce(&source.site(), Pushed::Version(2, None));
    assert_eq!(drained(&mut wakeups).len(), 10);
    drop(feed.take_up(&started));
    feed.announce(&source.site(), Pushed::Version(3, None));
    assert_eq!(drained(&mut wakeups), [started], "the others are queued still");
}
