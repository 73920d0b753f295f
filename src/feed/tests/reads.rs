//! What a read tells those who did not make it, and what it leaves to the checks.

use super::*;

/// A read of one version shows nothing of later ones.
#[tokio::test]
async fn a_read_of_a_pinned_version_is_no_check_of_its_path() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let (pinned, its_source) = served(&feed, "pinned", &source, Some(1), Follow::Every(HOUR)).await;
    let due = feed.index().next_due();
    feed.read(&pinned, &its_source, Freshness::Since(Instant::now())).await.unwrap();
    assert_eq!(feed.index().next_due(), due, "others wait for the check");
    feed.read(&consumer(0), &source, Freshness::Since(Instant::now())).await.unwrap();
    assert_ne!(feed.index().next_due(), due, "a read of the latest version is one");
}

/// Somebody writes, and nobody announces it. One consumer reads for a reason of its own, as one does
/// that is refused and tries again: this postpones the check that would wake the others.
#[tokio::test]
async fn what_one_consumer_reads_the_others_read_once() {
    type Write = fn(&FakeStore, &RemotePath);
    let edits: [Write; 3] = [
        |store, path| {
            store.put(path, data("2"));
        },
        |store, path| store.soft_delete(path),
        |store, path| {
            store.purge(path);
            store.put(path, data("again"));
        },
    ];
    for edit in edits {
        let store = FakeStore::new();
        let (feed, source) = ten_served(&store).await;
        let deaf = [
            served(&feed, "once", &source, None, Follow::Never).await.0,
            served(&feed, "pinned", &source, Some(1), Follow::Every(HOUR)).await.0,
        ];
        let (mut wakeups, before) = (feed.wakeups().unwrap(), store.count(Operation::Read));
        edit(&store, &source.path);
        feed.read(&consumer(0), &source, Freshness::Since(Instant::now())).await.unwrap();
        let woken = drained(&mut wakeups);
        assert_eq!(woken.len(), 9, "{woken:?}");
        assert!(!woken.contains(&consumer(0)) && !deaf.iter().any(|deaf| woken.contains(deaf)));
        for name in &woken {
            assert!(feed.is_behind(name));
            feed.read(name, &source, Freshness::Shared).await.unwrap();
        }
        assert_eq!(store.count(Operation::Read) - before, 1);
        feed.read(&consumer(1), &source, Freshness::Since(Instant::now())).await.unwrap();
        assert_eq!(drained(&mut wakeups), [], "it is news once");
        assert!(feed.shelf.is_empty());
    }
}

#[tokio::test]
async fn who_shares_a_read_that_shows_news_is_not_woken_for_it() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    store.yield_at_each_request();
    let (mut wakeups, before) = (feed.wakeups().unwrap(), store.count(Operation::Read));
    store.put(&source.path, data("2"));
    let since = Freshness::Since(Instant::now());
    let reads = (0..9).map(|number| {
        let (feed, source) = (feed.clone(), source.clone());
        async move { feed.read(&consumer(number), &source, since).await.is_ok() }
    });
    assert!(futures::future::join_all(reads).await.into_iter().all(|read| read));
    assert_eq!((drained(&mut wakeups), store.count(Operation::Read) - before), (vec![consumer(9)], 1));
}

/// Two are refused and try again and again; a third has the version before.
#[tokio::test]
async fn whoever_reads_again_and_again_hides_no_edit_from_a_follower() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    store.put(&source.path, data("2"));
    let mut woken = Vec::new();
    for _ in 0..3 {
        for number in [0, 1] {
            feed.is_behind(&consumer(number));
            feed.read(&consumer(number), &source, Freshness::Since(Instant::now())).await.unwrap();
        }
        woken.extend(drained(&mut wakeups));
    }
    assert_eq!(woken.iter().filter(|name| **name == consumer(2)).count(), 1);
    assert!(!woken.contains(&consumer(0)));
}

/// A read shows news, and is made again, because another address announced something. That fails.
#[tokio::test(start_paused = true)]
async fn who_could_not_read_is_not_woken_by_what_it_saw() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let there = Site { address: "there".into(), ..source.site() };
    let mut wakeups = feed.wakeups().unwrap();
    feed.announce(&there, Pushed::Version(9, None));
    assert_eq!(drained(&mut wakeups).len(), 10);
    store.put(&source.path, data("2"));
    let mut reads = 0;
    store.before_each(move |_, request| {
        reads += u32::from(request.operation == Operation::Read);
        (reads == 2).then(|| Fault::Refuse(StoreError::Sealed { server: "fake".into() }))
    });
    for number in 0..2 {
        assert!(feed.is_behind(&consumer(number)));
    }
    assert!(feed.read(&consumer(0), &source, Freshness::Shared).await.is_err());
    assert_eq!(drained(&mut wakeups), [consumer(1)], "all others are queued already");
}
