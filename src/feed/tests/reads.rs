//! What a read tells those who did not make it, and what it leaves to the checks.

use futures::poll;

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

/// The reconcile of the last one who shares a read is stopped, as is one that fails at another path.
#[tokio::test]
async fn who_is_stopped_while_it_shares_a_read_takes_no_news_along() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    store.yield_at_each_request();
    let mut wakeups = feed.wakeups().unwrap();
    store.put(&source.path, data("2"));
    let since = Freshness::Since(Instant::now());
    let names = [consumer(0), consumer(1)];
    let [mut first, mut second] = names.each_ref().map(|name| Box::pin(feed.read(name, &source, since)));
    assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
    first.await.unwrap();
    assert_eq!(drained(&mut wakeups), [], "the other one has it in a moment");
    drop(second);
    assert_eq!(drained(&mut wakeups).len(), 8);
}

/// A read shows news and is made again, because another address announced something. Meanwhile it is
/// stopped.
#[tokio::test(start_paused = true)]
async fn what_a_read_showed_before_it_was_cut_off_the_others_are_told() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let there = Site { address: "there".into(), ..source.site() };
    let mut wakeups = feed.wakeups().unwrap();
    feed.announce(&there, Pushed::Version(9, None));
    let woken = drained(&mut wakeups);
    assert!(woken.iter().all(|name| feed.is_behind(name)));
    store.put(&source.path, data("2"));
    let name = consumer(0);
    let mut read = Box::pin(feed.read(&name, &source, Freshness::Shared));
    assert!(poll!(read.as_mut()).is_pending());
    drop(read);
    assert_eq!(drained(&mut wakeups).len(), 9);
    assert!(feed.shelf.is_empty());
}

/// Nobody knows what it would have shown. Whoever is stopped each time brings no check after another,
/// although each of them wakes it.
#[tokio::test]
async fn a_read_that_is_cut_off_is_made_up_for_by_one_check_per_interval() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    store.yield_at_each_request();
    let mut wakeups = feed.wakeups().unwrap();
    store.put(&source.path, data("2"));
    let name = consumer(0);
    for checks in [1, 1] {
        let mut read = Box::pin(feed.read(&name, &source, Freshness::Since(Instant::now())));
        assert!(poll!(read.as_mut()).is_pending());
        drop(read);
        assert!(feed.shelf.is_empty());
        feed.clone().check_due(Instant::now(), exactly).await;
        assert_eq!(store.count(Operation::Head), checks);
        assert!((0..10).all(|number| feed.is_behind(&consumer(number))));
    }
    assert_eq!(drained(&mut wakeups).len(), 10);
    let (mut index, now, site) = (feed.index(), Instant::now(), source.site());
    let after = |minutes: u64| now + Duration::from_secs(60 * minutes);
    index.postpone(&site, after(30), after(30), exactly);
    for (minutes, is_due) in [(50, false), (61, true)] {
        index.cut_off(&site, after(minutes));
        assert_eq!(index.next_due().unwrap() <= after(minutes), is_due, "after {minutes} minutes");
    }
}
