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
