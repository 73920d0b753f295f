//! Checks that must show something that happened, and fail.

use super::*;

const AT: &str = "platform-data/redis/a";

/// How a check of the path comes to be asked for.
type Ask = fn(&Feed, &Source);

const ASKED: [(&str, Ask); 4] = [
    ("a removal whose reply was lost", |feed, source| feed.announce(&source.site(), News::Uncertain)),
    ("a read that was cut off", |feed, source| feed.index().cut_off(&source.site(), Instant::now())),
    ("a standby that lags behind consents", |feed, source| feed.announce(&source.site(), Pushed::Consent)),
    ("a standby that lags behind another address", |feed, source| {
        feed.announce(&Site { address: "there".into(), ..source.site() }, Pushed::Consent);
    }),
];

fn sealed() -> StoreError {
    StoreError::Sealed { server: "fake".into() }
}

/// A consumer that nothing but a check wakes, and that has read the path after what was asked for.
async fn asking(ask: Ask) -> (Arc<Feed>, FakeStore, Name, Source) {
    let (feed, store) = (Feed::new(), FakeStore::new());
    store.put(&path(AT), data("1"));
    let (name, source) = served(&feed, "once", &source(&store, AT).await, None, Follow::Never).await;
    ask(&feed, &source);
    if feed.is_behind(&name) {
        feed.read(&name, &source, Freshness::Shared).await.unwrap();
    }
    (feed, store, name, source)
}

fn due_in(feed: &Feed) -> Duration {
    feed.index().next_due().unwrap().saturating_duration_since(Instant::now())
}

/// Whatever comes first shows it: another check, or somebody's read.
#[tokio::test(start_paused = true)]
async fn what_a_failed_check_was_to_show_is_looked_for_again_soon_and_then_no_more() {
    for (case, ask) in ASKED {
        for is_read in [false, true] {
            looked_for(case, ask, is_read).await;
        }
    }
}

async fn looked_for(case: &str, ask: Ask, is_read: bool) {
    let (feed, store, name, source) = asking(ask).await;
    let mut wakeups = feed.wakeups().unwrap();
    drained(&mut wakeups);
    store.put_metadata(&source.path, BTreeMap::from([(consent::key("password"), "{}".to_owned())]));
    for _ in 0..2 {
        assert!(due_in(&feed) < Duration::from_secs(60), "{case}: {:?}", due_in(&feed));
        check_in_vain(&feed, &store).await;
    }
    assert_eq!((store.count(Operation::Head), drained(&mut wakeups).len()), (2, 0), "{case}");
    feed.pass(Duration::from_secs(10));
    if is_read {
        feed.read(&name, &source, Freshness::Since(Instant::now())).await.unwrap();
    } else {
        let due = feed.index().next_due().unwrap();
        feed.clone().check_due(due, exactly).await;
        assert_eq!(drained(&mut wakeups), [name], "{case}");
    }
    assert!(due_in(&feed) > HOUR / 2, "{case}, {is_read}: it was shown, {:?}", due_in(&feed));
    check_in_vain(&feed, &store).await;
    assert!(due_in(&feed) > HOUR / 2, "{case}, {is_read}: nothing is owed, {:?}", due_in(&feed));
}

async fn check_in_vain(feed: &Arc<Feed>, store: &FakeStore) {
    store.before_each(|_, _| Some(Fault::Refuse(sealed())));
    let due = feed.index().next_due().unwrap();
    feed.clone().check_due(due, exactly).await;
    store.before_each(|_, _| None);
}

#[tokio::test]
async fn what_no_check_can_show_is_looked_for_less_and_less_often() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    let source = source(&store, AT).await;
    feed.subscribe(&consumer(0), vec![source.clone()], Follow::Every(24 * HOUR));
    let (mut index, began) = (feed.index(), Instant::now());
    index.announce(&source.site(), News::Uncertain, began);
    let mut checks = Vec::new();
    while let Some(now) = index.next_due().filter(|at| at.duration_since(began) < 24 * HOUR) {
        index.take_due(now, exactly);
        index.retry(&source.site(), now);
        checks.push(now.duration_since(began).as_secs());
    }
    assert!(checks.starts_with(&[0, 30, 60, 120]) && checks.len() < 20, "{checks:?}");
}

/// The server answers another login at the same time.
#[tokio::test]
async fn what_another_login_was_shown_is_not_looked_for_again() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    store.put(&path(AT), data("1"));
    for number in 0..2 {
        let source = source(&store.with_identity(&format!("s@{number}")), AT).await;
        feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
        feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
    }
    let site = source(&store, AT).await.site();
    feed.announce(&site, News::Uncertain);
    store.before_each(|_, request| {
        let denied = StoreError::Forbidden { operation: "read", path: AT.into() };
        (request.identity == Identity("s@0".into())).then_some(Fault::Refuse(denied))
    });
    feed.clone().check_due(Instant::now(), exactly).await;
    assert_eq!(store.count(Operation::Head), 2);
    assert!(due_in(&feed) > HOUR / 2, "{:?}", due_in(&feed));
}

/// The listing lacks it, and its own check fails.
#[tokio::test]
async fn what_a_listing_left_out_is_still_looked_for_when_the_paths_own_check_fails() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    for number in 0..10 {
        let at = format!("platform-data/redis/{number}");
        store.put(&path(&at), data("1"));
        let source = source(&store, &at).await;
        feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
        feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
    }
    let left_out = source(&store, "platform-data/redis/5").await;
    store.hide(&left_out.path);
    let hidden = left_out.path.to_string();
    store.before_each(move |_, request| {
        let failing = request.operation == Operation::Head && request.path == hidden;
        failing.then(|| Fault::Refuse(sealed()))
    });
    // The single path is the one that is due first.
    for first in [source(&store, "platform-data/redis/0").await, left_out] {
        feed.announce(&first.site(), News::Uncertain);
    }
    feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
    assert_eq!(store.count(Operation::Heads), 1);
    assert!(due_in(&feed) < Duration::from_secs(60), "{:?}", due_in(&feed));
}
