//! Versions that went back, because a snapshot was restored: who takes them, and who may read them.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Ten consumers that have had the seventh version for a minute, and now the fifth is there.
async fn restored() -> (FakeStore, Arc<Feed>, Source) {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    for version in 2..=7 {
        store.put(&source.path, data(&version.to_string()));
    }
    for number in 0..10 {
        assert_eq!(read(&feed, number, &source, anew()).await, Ok(7));
    }
    // They were woken by the first of these reads.
    assert!((0..10).all(|number| !feed.is_behind(&consumer(number))));
    feed.pass(MINUTE);
    store.restore(&source.path, 5);
    (store, feed, source)
}

/// The version that a consumer reads; which one is there, if it is refused.
async fn read(feed: &Arc<Feed>, number: usize, source: &Source, freshness: Freshness) -> Result<u64, u64> {
    match feed.read(&consumer(number), source, freshness).await {
        Ok(entry) => Ok(entry.cas()),
        Err(ReadError::WentBack { now, .. }) => Err(now.version),
        Err(ReadError::Store(error)) => panic!("{error}"),
    }
}

fn confirmed() -> Freshness {
    Freshness::Asked(Instant::now())
}

fn anew() -> Freshness {
    Freshness::Since(Instant::now())
}

#[tokio::test]
async fn i4_what_one_consumer_accepts_changes_nothing_for_the_others() {
    let (store, feed, source) = restored().await;
    let mut wakeups = feed.wakeups().unwrap();
    drained(&mut wakeups);
    for freshness in [Freshness::Shared, anew()] {
        assert_eq!(read(&feed, 0, &source, freshness).await, Err(5));
    }
    assert_eq!(read(&feed, 0, &source, confirmed()).await, Ok(5), "a refusal a moment ago hides no confirmation");
    assert_eq!(drained(&mut wakeups), [], "and nobody is woken for it");
    for freshness in [Freshness::Shared, anew()] {
        assert_eq!(read(&feed, 1, &source, freshness).await, Err(5));
        assert!(!feed.is_behind(&consumer(0)), "it has what it accepted");
        assert_eq!(read(&feed, 0, &source, freshness).await, Ok(5), "and reads it again");
    }
    // It takes part in a later write of the restored entry, but not in another restore.
    feed.subscribe(&consumer(0), vec![source.clone()], Follow::Every(HOUR));
    store.restore(&source.path, 4);
    assert_eq!(read(&feed, 0, &source, anew()).await, Err(4));
    store.put(&source.path, data("written"));
    for number in 0..2 {
        assert_eq!(read(&feed, number, &source, anew()).await, Ok(5), "it was created later");
    }
}

/// Its values count for nobody, but its consents do.
#[tokio::test]
async fn rf2_the_consents_of_a_version_that_went_back_can_be_outdated_too() {
    let (_, feed, source) = restored().await;
    assert_eq!(read(&feed, 0, &source, anew()).await, Err(5));
    assert!(!feed.may_lack_consents(&consumer(0), None));
    feed.announce(&source.site(), Pushed::Consent);
    assert!(feed.may_lack_consents(&consumer(0), None));
}

/// Once all have accepted it, it is what is known: whoever comes then has nothing to confirm.
#[tokio::test]
async fn what_all_consumers_accepted_is_known() {
    let (_, feed, source) = restored().await;
    for number in 0..10 {
        let newcomer = consumer(10);
        feed.subscribe(&newcomer, vec![source.clone()], Follow::Every(HOUR));
        assert_eq!(read(&feed, 10, &source, anew()).await, Err(5), "{number} have accepted it");
        feed.forget(&newcomer);
        assert_eq!(read(&feed, number, &source, confirmed()).await, Ok(5));
    }
    feed.subscribe(&consumer(10), vec![source.clone()], Follow::Every(HOUR));
    for number in 0..=10 {
        assert_eq!(read(&feed, number, &source, Freshness::Shared).await, Ok(5));
        assert!(!feed.is_behind(&consumer(number)));
    }
}

/// What was accepted instead of one version says nothing of the next one that is lost.
#[tokio::test]
async fn what_was_accepted_ends_with_what_is_known() {
    let (store, feed, source) = restored().await;
    for number in 0..2 {
        assert_eq!(read(&feed, number, &source, confirmed()).await, Ok(5));
    }
    for version in 6..=8 {
        store.put(&source.path, data(&version.to_string()));
    }
    feed.announce(&source.site(), Pushed::Version(8, None));
    // The other one has not read it when it is lost.
    assert_eq!(read(&feed, 0, &source, Freshness::Shared).await, Ok(8));
    feed.pass(MINUTE);
    store.restore(&source.path, 6);
    for number in 0..2 {
        assert_eq!(read(&feed, number, &source, anew()).await, Err(6));
    }
}

#[tokio::test]
async fn rf2_consents_are_heeded_although_the_version_went_back() {
    let (store, feed, source) = restored().await;
    let mut wakeups = feed.wakeups().unwrap();
    assert_eq!(read(&feed, 0, &source, anew()).await, Err(5));
    drained(&mut wakeups);
    // Nobody announces it.
    let consent = BTreeMap::from([(consent::key("password"), Some("{}".to_owned()))]);
    store.patch_metadata(&source.path, &consent).await.unwrap();
    assert_eq!(read(&feed, 0, &source, anew()).await, Err(5));
    assert_eq!(drained(&mut wakeups).len(), 10);
    // A refusal from before an announcement is shared with nobody who was woken by it.
    let consent = BTreeMap::from([(consent::key("password"), Some("{\"a\":1}".to_owned()))]);
    store.patch_metadata(&source.path, &consent).await.unwrap();
    feed.announce(&source.site(), Pushed::Consent);
    for number in 0..10 {
        let refused = feed.read(&consumer(number), &source, Freshness::Shared).await.err();
        let Some(ReadError::WentBack { now, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(now.custom_metadata[&consent::key("password")], "{\"a\":1}");
        assert_eq!(now.properties, BTreeSet::from(["password".to_owned()]));
    }
}

/// After a restart each has what its own status shows, and no other.
#[tokio::test(start_paused = true)]
async fn i4_a_read_that_one_may_use_is_none_for_another_that_had_a_later_version() {
    let (store, _, source) = restored().await;
    for order in [[0, 1, 0, 2], [1, 0, 1, 2]] {
        let feed = Feed::new();
        for number in 0..3 {
            feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
        }
        // The second one had the version that is lost, and the third none.
        let created = store.peek(&source.path).created;
        feed.recall(&consumer(0), &source, 5, created);
        feed.recall(&consumer(1), &source, 7, created);
        feed.pass(MINUTE);
        for number in order {
            let expected = if number == 1 { Err(5) } else { Ok(5) };
            assert_eq!(read(&feed, number, &source, Freshness::Shared).await, expected, "{order:?}, {number}");
        }
    }
}
