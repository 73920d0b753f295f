//! A login whose checks hang.

use tokio_util::sync::CancellationToken;

use super::*;

/// How long a test waits for what comes within seconds on a usual machine.
const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_login_that_is_slow_keeps_no_others_paths_unchecked_and_no_bytes_held() {
    let stores = [FakeStore::on("slow"), FakeStore::on("quick")];
    let [slow, quick] = &stores;
    let feed = Feed::new();
    let (asked, mut checks) = mpsc::unbounded_channel();
    for (number, store) in stores.iter().enumerate() {
        store.put(&path("a"), data("1"));
        let source = super::source(store, "a").await;
        feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(Duration::from_secs(1)));
        feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
        let asked = asked.clone();
        store.after_each(move |_, request| {
            if request.operation == Operation::Head {
                asked.send(number).unwrap();
            }
        });
    }
    slow.slow(Operation::Head, HOUR);
    let token = CancellationToken::new();
    let running = tokio::spawn(feed.clone().run(token.clone()));
    let mut counts = [0, 0];
    while counts[0] == 0 || counts[1] < 3 {
        let check = tokio::time::timeout(DEADLINE, checks.recv()).await;
        counts[check.unwrap_or_else(|_| panic!("checks of slow and quick: {counts:?}")).unwrap()] += 1;
    }
    assert_eq!(counts[0], 1, "its first check is under way");

    // Two others are woken together, and one of them is deleted before it reads.
    (0..2).for_each(|number| feed.forget(&consumer(number)));
    feed.index().started(Timestamp::now(), Instant::now().checked_sub(Duration::from_secs(60)).unwrap());
    let source = super::source(quick, "a").await;
    for number in 2..4 {
        feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
        feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
    }
    let version = quick.put(&source.path, data("2"));
    feed.announce(&source.site(), Pushed::Version(version, None));
    feed.read(&consumer(2), &source, Freshness::Shared).await.unwrap();
    assert!(!feed.shelf.is_empty(), "the bytes are held for the other one");
    feed.forget(&consumer(3));
    let dropped = async {
        while !feed.shelf.is_empty() {
            // Other paths are read all the time.
            feed.rescheduled.notify_one();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, dropped).await.expect("they are dropped while the check is under way");
    assert_eq!(slow.count(Operation::Head), 1, "it is still under way");
    token.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn logins_that_are_slow_to_be_denied_delay_no_check_of_one_that_works() {
    let store = FakeStore::new();
    let feed = Feed::new();
    let mut wakeups = feed.wakeups().unwrap();
    store.put(&path("a"), data("1"));
    for number in 0..20 {
        let source = super::source(&store.with_identity(&format!("s@{number}")), "a").await;
        feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
        feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
    }
    // All but the last are denied from now on, each after a while.
    let works = Identity("s@19".into());
    store.before_each(move |_, request| {
        let denied = || StoreError::Forbidden { operation: "read", path: "a".into() };
        (request.identity != works).then(|| Fault::Refuse(denied()))
    });
    let mut now = Instant::now();
    for _ in 0..3 {
        now += 2 * HOUR;
        feed.clone().check_due(now, exactly).await;
        drained(&mut wakeups);
    }
    store.slow(Operation::Head, Duration::from_secs(10));
    let began = tokio::time::Instant::now();
    feed.clone().check_due(now + 2 * HOUR, exactly).await;
    assert_eq!(began.elapsed(), Duration::from_secs(10), "each is asked, and none waits for another");
}
