//! Windows of many paths: one listing in place of their checks, and every path by itself where that
//! cannot be believed.

use super::*;
use crate::feed::schedule::Checks;
use crate::store::error::Transport;
use crate::store::fake::{Listing, Request};

/// Twenty paths in two folders, each with a consumer that has its first version.
async fn twenty_served(store: &FakeStore) -> (Arc<Feed>, Vec<Source>) {
    let feed = Feed::new();
    let mut sources = Vec::new();
    for number in 0..20 {
        let at = format!("platform-data/{}/{number}", if number < 10 { "redis" } else { "postgres" });
        store.put(&path(&at), data("1"));
        let source = source(store, &at).await;
        feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
        feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
        sources.push(source);
    }
    (feed, sources)
}

/// How many listings and checks a window makes.
async fn window(feed: &Arc<Feed>, store: &FakeStore, now: Instant) -> [usize; 2] {
    let count = || [Operation::Heads, Operation::Head].map(|operation| store.count(operation));
    let before = count();
    feed.clone().check_due(now, exactly).await;
    let after = count();
    [after[0] - before[0], after[1] - before[1]]
}

/// Makes the next window of these paths begin a minute after `now`.
fn hasten(feed: &Feed, sources: &[Source], now: Instant) {
    for source in sources {
        feed.index().postpone(&source.site(), now, now, |_| Duration::from_secs(60));
    }
}

fn sealed() -> StoreError {
    StoreError::Sealed { server: "fake".into() }
}

#[tokio::test]
async fn an_unchanged_window_of_many_paths_costs_one_listing_and_one_check() {
    let store = FakeStore::new();
    let (feed, sources) = twenty_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    let mut now = Instant::now() + 2 * HOUR;
    for _ in 0..3 {
        assert_eq!(window(&feed, &store, now).await, [1, 1]);
        assert!(feed.index().take_due(now, exactly).is_empty());
        now += 2 * HOUR;
    }
    assert_eq!(drained(&mut wakeups), []);
    store.put(&sources[3].path, data("2"));
    store.soft_delete(&sources[17].path);
    assert_eq!(window(&feed, &store, now).await, [1, 1]);
    let mut woken = drained(&mut wakeups);
    woken.sort();
    assert_eq!(woken, [consumer(17), consumer(3)]);
    assert!(feed.is_behind(&consumer(3)) && feed.is_behind(&consumer(17)));
}

#[tokio::test]
async fn the_first_due_path_takes_the_others_along_and_all_windows_begin_anew() {
    let store = FakeStore::new();
    let (feed, sources) = twenty_served(&store).await;
    let began = Instant::now();
    feed.index().postpone(&sources[5].site(), began, began, |window| window / 2);
    assert_eq!(window(&feed, &store, began + HOUR / 2).await, [1, 1]);
    let next = feed.index().next_due().unwrap();
    assert!(next > began + HOUR - Duration::from_secs(1), "the next window is a whole one");
}

#[tokio::test]
async fn what_a_listing_leaves_out_is_asked_for_by_itself() {
    let store = FakeStore::new();
    let (feed, sources) = twenty_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    // The path that is checked on its own is the one that is due first, and the jitter would choose
    // it.
    hasten(&feed, &sources[..1], Instant::now());
    let now = Instant::now() + 2 * HOUR;
    store.hide(&sources[4].path);
    assert_eq!(window(&feed, &store, now).await, [1, 2]);
    assert_eq!(drained(&mut wakeups), [], "what is hidden is not gone");
    store.purge(&sources[5].path);
    assert_eq!(window(&feed, &store, now + 2 * HOUR).await, [1, 3]);
    let asked = store.requests().into_iter().filter(|request| request.operation == Operation::Head);
    assert!(asked.map(|request| request.path).any(|path| path == sources[5].path.to_string()));
}

#[tokio::test]
async fn without_the_right_to_list_each_path_is_checked_and_the_right_is_noticed_when_it_comes() {
    let store = FakeStore::new();
    let (feed, sources) = twenty_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    store.set_listing(Listing::Refused);
    let now = Instant::now() + 2 * HOUR;
    assert_eq!(window(&feed, &store, now).await, [1, 20]);
    store.put(&sources[3].path, data("2"));
    hasten(&feed, &sources, now);
    assert_eq!(window(&feed, &store, now + HOUR / 2).await, [0, 20], "a refusal is remembered");
    assert_eq!(drained(&mut wakeups), [consumer(3)]);
    store.set_listing(Listing::Offered);
    assert_eq!(window(&feed, &store, now + 2 * HOUR).await, [1, 1]);
}

#[tokio::test]
async fn a_folder_full_of_what_nobody_follows_is_not_listed() {
    let store = FakeStore::new();
    let (feed, sources) = twenty_served(&store).await;
    for number in 0..500 {
        store.put(&path(&format!("platform-data/mysql/{number}")), data("1"));
    }
    let now = Instant::now() + 2 * HOUR;
    assert_eq!(window(&feed, &store, now).await, [1, 20], "too large");
    // The folders in it, where everything is followed, are listed instead.
    hasten(&feed, &sources, now);
    let before = store.requests().len();
    assert_eq!(window(&feed, &store, now + HOUR / 2).await, [2, 2]);
    let asked: Vec<Request> = store.requests().split_off(before);
    let folders: Vec<_> = asked.iter().filter(|one| one.operation == Operation::Heads).map(|one| &*one.path).collect();
    assert_eq!(folders, ["secret/platform-data/postgres", "secret/platform-data/redis"]);
}

#[tokio::test]
async fn a_login_that_may_list_and_no_longer_read_is_told_for_each_path() {
    let store = FakeStore::new();
    let (feed, _) = twenty_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    store.before_each(|_, request| {
        let error = StoreError::Forbidden { operation: "read", path: request.path.clone() };
        (request.operation == Operation::Head).then_some(Fault::Refuse(error))
    });
    let now = Instant::now() + 2 * HOUR;
    assert_eq!(window(&feed, &store, now).await, [0, 20]);
    assert_eq!(drained(&mut wakeups).len(), 20);
    // Only its own check shows that a path can be read again.
    store.before_each(|_, _| None);
    assert_eq!(window(&feed, &store, now + 2 * HOUR).await, [0, 20]);
    assert_eq!(drained(&mut wakeups).len(), 0, "they were told and have not come yet");
    assert_eq!(window(&feed, &store, now + 4 * HOUR).await, [1, 1]);
}

#[tokio::test]
async fn a_listing_that_fails_alarms_nobody_whose_path_is_well() {
    let store = FakeStore::new();
    let (feed, _) = twenty_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    store.before_each(|_, request| {
        let error = StoreError::Unreachable { server: "fake".into(), cause: Transport::Timeout };
        (request.operation == Operation::Heads).then_some(Fault::Refuse(error))
    });
    let now = Instant::now() + 2 * HOUR;
    assert_eq!(window(&feed, &store, now).await, [1, 20]);
    assert_eq!(drained(&mut wakeups), []);
}

#[tokio::test]
async fn a_server_that_is_sealed_is_not_asked_for_listings() {
    let store = FakeStore::new();
    let (feed, _) = twenty_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    store.fail_next(100, sealed());
    assert_eq!(window(&feed, &store, Instant::now() + 2 * HOUR).await, [0, 20]);
    assert_eq!(drained(&mut wakeups).len(), 20);
}

#[tokio::test]
async fn each_login_lists_for_itself() {
    let store = FakeStore::new();
    let (feed, _) = twenty_served(&store).await;
    let other = store.with_identity("other");
    for number in 0..3 {
        let at = format!("platform-data/mysql/{number}");
        store.put(&path(&at), data("1"));
        let theirs = source(&other, &at).await;
        feed.subscribe(&Name::new("other", at), vec![theirs], Follow::Every(HOUR));
    }
    assert_eq!(window(&feed, &store, Instant::now() + 2 * HOUR).await, [2, 2]);
    let who = |identity: &str| store.requests().iter().filter(|one| &*one.identity.0 == identity).count();
    assert_eq!(who("other"), 2);
}

/// What became due as usual is in a listing that is under way. What happened since it began is not,
/// whoever read the path meanwhile.
#[tokio::test(start_paused = true)]
async fn what_is_asked_for_during_a_listing_is_checked_after_it() {
    let store = FakeStore::new();
    let (feed, sources) = twenty_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    store.slow(Operation::Heads, HOUR);
    let mut checks = Checks::default();
    let due = |checks: &mut Checks, now| {
        for (identity, plan) in feed.plan(now, exactly) {
            checks.start(&feed, identity, plan, now);
        }
    };
    due(&mut checks, Instant::now() + 2 * HOUR);
    while store.count(Operation::Heads) == 0 {
        tokio::task::yield_now().await;
    }
    let (asked, usual, began) = (&sources[3], &sources[17], Instant::now());
    store.put(&asked.path, data("2"));
    feed.announce(&asked.site(), News::Uncertain);
    feed.index().postpone(&asked.site(), began, Instant::now(), exactly);
    feed.index().postpone(&usual.site(), began, began, |_| Duration::ZERO);
    let before = store.requests().len();
    due(&mut checks, Instant::now());
    assert_eq!(store.requests().len(), before, "they wait for the listing");
    while let Some(ended) = checks.running.join_next().await {
        checks.ended(&feed, ended);
    }
    let after = store.requests().split_off(before).into_iter();
    let checked: Vec<String> =
        after.filter(|request| request.operation == Operation::Head).map(|request| request.path).collect();
    assert_eq!(checked, [asked.path.to_string()]);
    assert_eq!(drained(&mut wakeups), [consumer(3)]);
}
