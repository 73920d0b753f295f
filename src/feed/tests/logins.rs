//! Checks with several logins: one that fails hides nothing from the others. Reads with a credential
//! that was rotated.

use super::*;
use crate::store::error::Transport;

/// A path with two consumers, each with a login of its own. The first one's login is tried first.
struct Two {
    store: FakeStore,
    feed: Arc<Feed>,
    wakeups: mpsc::UnboundedReceiver<Name>,
    now: Instant,
}

impl Two {
    async fn at(first: &str, second: &str) -> Self {
        let store = FakeStore::new();
        store.put(&path("platform-data/redis/a"), data("1"));
        let feed = Feed::new();
        let wakeups = feed.wakeups().unwrap();
        let two = Two { store, feed, wakeups, now: Instant::now() + 2 * HOUR };
        for (number, address) in [first, second].into_iter().enumerate() {
            let source = two.source(number, address).await;
            two.feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
            two.feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
        }
        two
    }

    async fn source(&self, number: usize, address: &str) -> Source {
        let client = self.store.with_identity(&format!("s@{number}")).with_address(address);
        source(&client, "platform-data/redis/a").await
    }

    /// Every check of the first login fails like this.
    fn first_fails(&self, error: StoreError) {
        self.store.before_each(move |_, request| {
            (request.identity == Identity("s@0".into())).then(|| Fault::Refuse(error.clone()))
        });
    }

    /// Somebody writes a version and announces nothing. Returns whom the next check wakes.
    async fn written(&mut self) -> Vec<Name> {
        self.store.put(&path("platform-data/redis/a"), data("2"));
        self.window().await
    }

    async fn window(&mut self) -> Vec<Name> {
        self.feed.clone().check_due(self.now, exactly).await;
        self.now += 2 * HOUR;
        let mut woken = drained(&mut self.wakeups);
        woken.sort();
        woken
    }
}

fn unreachable() -> StoreError {
    StoreError::Unreachable { server: "first".into(), cause: Transport::Connect }
}

#[tokio::test]
async fn a_session_that_has_ended_hides_no_edit_from_another_login() {
    let mut two = Two::at("fake", "fake").await;
    two.first_fails(StoreError::SessionClosed { server: "fake".into() });
    assert_eq!(two.written().await, [consumer(0), consumer(1)]);
}

#[tokio::test]
async fn an_address_that_nobody_serves_any_more_hides_no_edit_from_another() {
    let mut two = Two::at("first", "second").await;
    two.first_fails(unreachable());
    assert_eq!(two.written().await, [consumer(0), consumer(1)]);
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_once_and_a_login_that_fails_alone_delays_others_by_one_check() {
    let mut two = Two::at("fake", "fake").await;
    two.first_fails(unreachable());
    assert_eq!(two.written().await, [consumer(0)], "the server may be down");
    assert_eq!(two.store.count(Operation::Head), 1);
    assert_eq!(two.window().await, [consumer(1)], "it is not");
}

#[tokio::test]
async fn nothing_is_checked_with_the_logins_of_who_lost_access_until_it_is_back() {
    let mut two = Two::at("fake", "fake").await;
    two.feed.lost_access(&consumer(0));
    assert_eq!(two.written().await, [consumer(0), consumer(1)], "both follow it");
    let logins = |two: &Two| -> Vec<Identity> {
        two.store
            .requests()
            .into_iter()
            .filter(|request| request.operation == Operation::Head)
            .map(|head| head.identity)
            .collect()
    };
    assert_eq!(logins(&two), [Identity("s@1".into())]);

    two.feed.lost_access(&consumer(1));
    assert_eq!(two.window().await, [], "nobody can ask");
    assert_eq!((logins(&two).len(), two.feed.index().next_due()), (1, None));

    let source = two.source(0, "fake").await;
    two.feed.subscribe(&consumer(0), vec![source], Follow::Every(HOUR));
    two.window().await;
    assert_eq!(logins(&two)[1..], [Identity("s@0".into())]);
}

/// Who is not read again hears of a withdrawal by a check alone, also after its store was refused
/// for a while.
#[tokio::test]
async fn whoever_gets_its_access_back_is_checked_for_again_however_it_reads() {
    let ways = [Follow::Every(HOUR), Follow::Never].map(|follow| [(None, follow), (Some(1), follow)]);
    for (version, follow) in ways.into_iter().flatten() {
        let (feed, store) = (Feed::new(), FakeStore::new());
        store.put(&path("platform-data/redis/a"), data("1"));
        let source = source(&store, "platform-data/redis/a").await;
        let (name, source) = served(&feed, "one", &source, version, follow).await;
        feed.announce(&source.site(), News::Uncertain);
        feed.lost_access(&name);
        assert_eq!(feed.index().next_due(), None, "{version:?} {follow:?}: nobody can ask");
        let mut wakeups = feed.wakeups().unwrap();
        store.patch_metadata(&source.path, &consents("{}")).await.unwrap();
        feed.subscribe(&name, vec![source.clone()], follow);
        // What was asked for before is still owed.
        feed.clone().check_due(Instant::now() + Duration::from_secs(60), exactly).await;
        assert_eq!(drained(&mut wakeups), [name], "{version:?} {follow:?}");
        feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
        assert_eq!(store.count(Operation::Head), 2, "{version:?} {follow:?}: and once per interval");
    }
}

/// Each edit of a store makes another login of it.
#[tokio::test]
async fn of_a_login_that_reads_a_path_no_more_nothing_is_kept_there() {
    for at in ["platform-data/redis/a", "without-folder"] {
        let (feed, store) = (Feed::new(), FakeStore::new());
        store.before_each(|_, _| Some(Fault::Refuse(unreachable())));
        let login = async |generation: usize| source(&store.with_identity(&format!("s@{generation}")), at).await;
        let (first, mut later) = (login(0).await, Instant::now());
        let site = first.site();
        for number in 0..2 {
            feed.subscribe(&consumer(number), vec![first.clone()], Follow::Every(HOUR));
        }
        for generation in 0..5 {
            // The second consumer keeps the first login until the end.
            feed.subscribe(&consumer(0), vec![login(generation).await], Follow::Every(HOUR));
            later += 2 * HOUR;
            feed.clone().check_due(later, exactly).await;
            let failing = feed.index().failing(&site);
            assert!(failing.len() <= 2 && failing[0] == Identity("s@0".into()), "{failing:?}");
        }
        feed.subscribe(&consumer(1), vec![login(4).await], Follow::Every(HOUR));
        assert_eq!(feed.index().failing(&site), [Identity("s@4".into())]);
        // A check that is under way may fail later.
        assert_eq!(feed.index().check_failed(&site, &Identity("s@3".into()), later), []);
        assert_eq!(feed.index().failing(&site), [Identity("s@4".into())]);
    }
}

#[tokio::test]
async fn a_read_by_a_credential_that_was_rotated_serves_nobody_who_has_the_new_one() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let rotated = super::source(&store, "platform-data/redis/a").await;
    assert_eq!(rotated.client.identity(), source.client.identity());
    feed.subscribe(&consumer(1), vec![rotated.clone()], Follow::Every(HOUR));
    feed.announce(&source.site(), Pushed::Version(1, None));
    let before = store.count(Operation::Read);
    feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    feed.read(&consumer(1), &rotated, Freshness::Shared).await.unwrap();
    assert_eq!(store.count(Operation::Read) - before, 2, "a value");
    store.before_each(|_, _| Some(Fault::Refuse(StoreError::Standby { server: "fake".into() })));
    feed.announce(&source.site(), Pushed::Version(2, None));
    assert!(feed.read(&consumer(0), &source, Freshness::Shared).await.is_err());
    store.before_each(|_, _| None);
    store.put(&rotated.path, data("2"));
    let own = feed.read(&consumer(1), &rotated, Freshness::Shared).await;
    assert!(own.is_ok(), "an error of the old credential is not shared");
}
