//! Wake-ups, shared reads and the schedule, on the store in memory and paused time.

mod blind;
mod created_again;
mod lagging_consents;
mod listings;
mod logins;
mod metadata;
mod owed;
mod reads;
mod sites;
mod slow;
mod unfollowed;
mod went_back;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::*;
use crate::domain::remote::{RemoteData, RemoteValue};
use crate::store::fake::{FakeStore, Fault, Operation};
use crate::telemetry::trail;

const HOUR: Duration = Duration::from_secs(3600);

fn path(path: &str) -> RemotePath {
    RemotePath::parse(Some("secret"), path).unwrap()
}

fn data(password: &str) -> RemoteData {
    BTreeMap::from([("password".to_owned(), RemoteValue::raw(RawValue::from_string(format!("{password:?}")).unwrap()))])
}

async fn source(store: &FakeStore, at: &str) -> Source {
    let path = path(at);
    let key = store.path_key(&path).await.unwrap();
    Source {
        client: Arc::new(store.clone()),
        kind: StoreKind::ClusterSecretStore,
        key,
        path,
        version: None,
        what: What::Data,
    }
}

/// What a PushSecret publishes where this source reads.
fn published(source: &Source) -> Published {
    Published { site: source.site(), kind: source.kind }
}

fn consumer(number: usize) -> Name {
    Name::new("team", format!("consumer-{number}"))
}

fn exactly(window: Duration) -> Duration {
    window
}

/// Ten consumers of one path that all have its first version.
async fn ten_served(store: &FakeStore) -> (Arc<Feed>, Source) {
    let feed = Feed::new();
    store.put(&path("platform-data/redis/a"), data("1"));
    let source = source(store, "platform-data/redis/a").await;
    for number in 0..10 {
        feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
        feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
    }
    (feed, source)
}

fn drained(receiver: &mut mpsc::UnboundedReceiver<Name>) -> Vec<Name> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

#[tokio::test]
async fn consumers_woken_together_share_one_read_and_leave_nothing_held() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    let before = store.count(Operation::Read);
    let version = store.put(&source.path, data("2"));

    feed.announce(&source.site(), Pushed::Version(version, None));
    let woken = drained(&mut wakeups);
    assert_eq!(woken.len(), 10);
    for name in &woken {
        assert!(feed.is_behind(name));
        feed.subscribe(name, vec![source.clone()], Follow::Every(HOUR));
        let entry = feed.read(name, &source, Freshness::Shared).await.unwrap();
        assert_eq!(entry.cas(), version);
        assert!(!feed.is_behind(name));
    }
    assert_eq!(store.count(Operation::Read) - before, 1);
    assert!(feed.shelf.is_empty(), "bytes stay on the shelf after the last consumer was served");
}

#[tokio::test]
async fn an_announcement_wakes_each_follower_once_and_nobody_else() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let once = Name::new("team", "once");
    feed.subscribe(&once, vec![source.clone()], Follow::Never);
    feed.read(&once, &source, Freshness::Shared).await.unwrap();
    let mut wakeups = feed.wakeups().unwrap();
    feed.announce(&source.site(), Pushed::Version(2, None));
    feed.announce(&source.site(), Pushed::Version(3, None));
    let woken = drained(&mut wakeups);
    assert_eq!(woken.len(), 10);
    assert!(!woken.contains(&once));
    assert!(!feed.is_behind(&once));
}

#[tokio::test]
async fn a_read_older_than_the_announcement_is_repeated() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut lag = 2;
    let at = source.path.clone();
    store.before_each(move |store, request| {
        if request.operation == Operation::Read {
            lag -= 1;
            if lag == 0 {
                store.put(&at, data("2"));
            }
        }
        None
    });
    feed.announce(&source.site(), Pushed::Version(2, None));
    let entry = feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    assert_eq!(entry.cas(), 2);
}

#[tokio::test]
async fn identities_never_share_bytes() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let other = store.with_identity("other");
    let theirs = self::source(&other, "platform-data/redis/a").await;
    let stranger = Name::new("other", "consumer");
    feed.subscribe(&stranger, vec![theirs.clone()], Follow::Every(HOUR));
    feed.announce(&source.site(), Pushed::Version(1, None));
    let before = store.count(Operation::Read);
    feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    feed.read(&stranger, &theirs, Freshness::Shared).await.unwrap();
    assert_eq!(store.count(Operation::Read) - before, 2);
}

#[tokio::test]
async fn at_the_start_consumers_far_apart_share_one_read() {
    let store = FakeStore::new();
    store.put(&path("platform-data/redis/a"), data("1"));
    let source = source(&store, "platform-data/redis/a").await;
    let feed = Feed::new();
    let now = Instant::now();
    feed.index().started(Timestamp::now(), now);
    for number in 0..10 {
        feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
        feed.read(&consumer(number), &source, Freshness::Shared).await.unwrap();
    }
    assert_eq!(store.count(Operation::Read), 1);
    feed.shelf.expire(&feed.index, now + HOUR);
    assert!(feed.shelf.is_empty());
}

#[tokio::test]
async fn an_unchanged_window_costs_one_check_a_path_and_wakes_nobody() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    let mut now = Instant::now() + 2 * HOUR;
    for window in 1..=3 {
        feed.clone().check_due(now, exactly).await;
        assert_eq!(store.count(Operation::Head), window);
        assert!(feed.index().take_due(now, exactly).is_empty());
        now += HOUR;
    }
    assert_eq!(drained(&mut wakeups), []);
    store.put(&source.path, data("2"));
    feed.clone().check_due(now, exactly).await;
    assert_eq!(drained(&mut wakeups).len(), 10);
}

#[tokio::test]
async fn a_failing_check_is_told_once_and_so_is_its_recovery() {
    let store = FakeStore::new();
    let (feed, _) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    let mut now = Instant::now() + 2 * HOUR;
    let mut window = async |now: Instant| {
        feed.clone().check_due(now, exactly).await;
        let woken = drained(&mut wakeups);
        for name in &woken {
            assert!(feed.is_behind(name));
        }
        woken.len()
    };
    store.fail_next(2, StoreError::Sealed { server: "fake".into() });
    assert_eq!(window(now).await, 10);
    now += HOUR;
    assert_eq!(window(now).await, 0);
    now += HOUR;
    assert_eq!(window(now).await, 10);
}

#[tokio::test]
async fn ten_consumers_of_a_dead_server_ask_it_once() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let before = store.count(Operation::Read);
    store.fail_next(10, StoreError::Sealed { server: "fake".into() });
    let reads = (0..10).map(|number| {
        let (feed, source) = (feed.clone(), source.clone());
        async move { feed.read(&consumer(number), &source, Freshness::Shared).await.is_err() }
    });
    assert!(futures::future::join_all(reads).await.into_iter().all(|failed| failed));
    assert_eq!(store.count(Operation::Read) - before, 1);
}

#[tokio::test]
async fn history_that_went_back_is_refused_until_a_person_says_so() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    feed.index().announce(&source.site(), Pushed::Version(7, None), long_ago);
    let name = consumer(0);
    let error = feed.read(&name, &source, Freshness::Since(Instant::now())).await.err().unwrap();
    let now = Box::new(store.peek(&source.path).outline());
    assert_eq!(error, ReadError::WentBack { path: "secret/platform-data/redis/a".into(), from: 7, now });
    feed.shelf.expire(&feed.index, Instant::now() + HOUR);
    let entry = feed.read(&name, &source, Freshness::Asked(Instant::now())).await.unwrap();
    assert_eq!(entry.cas(), 1);
}

#[tokio::test]
async fn a_version_that_is_written_while_a_person_asks_is_read_too() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let name = consumer(0);
    // A standby answers with the old version although the new one was announced already.
    let (at, mut reads) = (source.path.clone(), 0);
    store.before_each(move |store, request| {
        if request.operation == Operation::Read {
            reads += 1;
            if reads == 2 {
                store.put(&at, data("2"));
            }
        }
        None
    });
    feed.announce(&source.site(), Pushed::Version(2, None));
    let entry = feed.read(&name, &source, Freshness::Asked(Instant::now())).await.unwrap();
    assert_eq!(entry.cas(), 2);
    assert!(!feed.is_behind(&name));
}

#[tokio::test]
async fn a_changed_consent_is_read_anew_at_the_same_version() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    let consent = BTreeMap::from([(consent::key("password"), Some("{}".to_owned()))]);
    store.patch_metadata(&source.path, &consent).await.unwrap();
    let before = store.count(Operation::Read);
    feed.announce(&source.site(), Pushed::Consent);
    let woken = drained(&mut wakeups);
    assert_eq!(woken.len(), 10);
    for name in &woken {
        assert!(feed.is_behind(name));
        let entry = feed.read(name, &source, Freshness::Shared).await.unwrap();
        assert!(entry.custom_metadata.contains_key(&consent::key("password")));
        assert!(!feed.is_behind(name));
    }
    assert_eq!(store.count(Operation::Read) - before, 1, "one read serves all");
    // Where nobody announces it, as from another cluster, a check finds it. What was there before is
    // believed when no standby can lag any more.
    let consent = BTreeMap::from([(consent::key("password"), None)]);
    store.patch_metadata(&source.path, &consent).await.unwrap();
    feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
    assert_eq!(drained(&mut wakeups), []);
    feed.pass(Duration::from_secs(10));
    feed.clone().check_due(Instant::now() + Duration::from_secs(10), exactly).await;
    assert_eq!(drained(&mut wakeups).len(), 10);
}

#[tokio::test]
async fn a_deleted_version_is_a_change_of_the_same_number() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    store.soft_delete(&source.path);
    feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
    assert_eq!(drained(&mut wakeups).len(), 10);
}

#[tokio::test]
async fn an_entry_that_was_purged_is_noticed_by_the_check() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    feed.index().announce(&source.site(), Pushed::Version(1, None), long_ago);
    store.purge(&source.path);
    feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
    let woken = drained(&mut wakeups);
    assert_eq!(woken.len(), 10);
    for name in &woken {
        assert!(feed.is_behind(name));
        let entry = feed.read(name, &source, Freshness::Shared).await.unwrap();
        assert!(matches!(entry.state, EntryState::Absent));
        assert!(!feed.is_behind(name));
    }
}

#[tokio::test]
async fn a_forgotten_consumer_is_neither_woken_nor_checked_for() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    feed.announce(&source.site(), Pushed::Version(2, None));
    assert_eq!(drained(&mut wakeups).len(), 10);
    for number in 0..10 {
        feed.forget(&consumer(number));
    }
    assert_eq!(feed.consumers(), 0, "and nothing else is left");
    feed.announce(&source.site(), Pushed::Version(3, None));
    assert_eq!(drained(&mut wakeups), []);
    assert_eq!(feed.index().next_due(), None);
}

#[tokio::test]
async fn a_read_that_is_held_does_not_hide_that_a_login_fails() {
    let store = FakeStore::new();
    let feed = Feed::new();
    feed.index().started(Timestamp::now(), Instant::now());
    store.put(&path("platform-data/redis/a"), data("1"));
    let source = source(&store, "platform-data/redis/a").await;
    feed.subscribe(&consumer(0), vec![source.clone()], Follow::Every(HOUR));
    feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    let mut wakeups = feed.wakeups().unwrap();
    store.fail_next(2, StoreError::Sealed { server: "fake".into() });
    feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
    assert_eq!(drained(&mut wakeups), [consumer(0)]);
    assert!(feed.is_behind(&consumer(0)));
    assert!(feed.read(&consumer(0), &source, Freshness::Shared).await.is_err());
}

#[tokio::test]
async fn a_removal_by_a_push_wakes_its_followers_and_is_told_from_any_other() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut wakeups = feed.wakeups().unwrap();
    store.soft_delete(&source.path);
    assert!(!feed.is_removed_by_push(&source.site(), 1));
    feed.announce(&source.site(), Pushed::Removal(1));
    assert_eq!(drained(&mut wakeups).len(), 10);
    assert!(feed.is_behind(&consumer(0)));
    assert!(feed.is_removed_by_push(&source.site(), 1));
    // Whoever writes and deletes after that is another.
    assert!(!feed.is_removed_by_push(&source.site(), 2));
}

#[tokio::test]
async fn after_a_purge_by_a_push_the_first_version_is_no_step_back() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    store.put(&source.path, data("2"));
    feed.announce(&source.site(), Pushed::Version(2, None));
    feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    store.purge(&source.path);
    feed.announce(&source.site(), Pushed::Purge);
    let gone = feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    assert!(matches!(gone.state, EntryState::Absent) && feed.is_removed_by_push(&source.site(), 0));
    store.put(&source.path, data("anew"));
    feed.announce(&source.site(), Pushed::Version(1, None));
    let anew = feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    assert!(matches!(anew.state, EntryState::Live { version: 1, .. }));
}

#[tokio::test]
async fn a_publisher_hears_when_a_consumer_stands_otherwise_and_not_when_it_only_read() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let mut recounts = feed.recounts().unwrap();
    let (push, spelled) = (Name::new("db", "push"), Spelled { store: "SecretStore/s".into(), path: "secret/a".into() });
    assert_eq!(feed.followers(&push, &spelled), None, "nobody knows where the path is");
    let places = BTreeMap::from([(spelled.clone(), Some(published(&source)))]);
    feed.publishes(&push, places.clone());
    assert_eq!(drained(&mut recounts), std::slice::from_ref(&push));
    let versions = |feed: &Feed| -> Vec<Option<u64>> {
        feed.followers(&push, &spelled).unwrap().iter().map(|reader| reader.version).collect()
    };
    assert_eq!(versions(&feed), [None; 10], "they read and wrote nothing yet");

    for number in 0..10 {
        feed.record(&consumer(number), SyncState::Synced);
    }
    assert_eq!(drained(&mut recounts).len(), 10);
    assert_eq!(versions(&feed), [Some(1); 10]);
    feed.record(&consumer(0), SyncState::Synced);
    feed.publishes(&push, places);
    feed.subscribe(&consumer(0), vec![source.clone()], Follow::Every(HOUR));
    assert_eq!(drained(&mut recounts), [], "nothing is otherwise");

    store.put(&source.path, data("2"));
    feed.announce(&source.site(), Pushed::Version(2, None));
    feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    let trouble = Trouble { reason: "TargetImmutable" };
    feed.record(&consumer(0), SyncState::Failing(trouble.clone()));
    assert_eq!(drained(&mut recounts), std::slice::from_ref(&push));
    let first = feed.followers(&push, &spelled).unwrap().remove(0);
    assert_eq!(first, Follower { name: consumer(0), version: Some(1), trouble: Some(trouble) });

    feed.subscribe(&consumer(1), vec![source.clone()], Follow::Never);
    feed.forget(&consumer(2));
    assert_eq!(drained(&mut recounts).len(), 2);
    assert_eq!(versions(&feed).len(), 8, "who does not follow is not counted");
}

/// A consumer that reads this version of the path and follows so, served.
async fn served(feed: &Arc<Feed>, name: &str, source: &Source, version: Option<u64>, follow: Follow) -> (Name, Source) {
    let (name, source) = (Name::new("team", name), Source { version, ..source.clone() });
    feed.subscribe(&name, vec![source.clone()], follow);
    feed.read(&name, &source, Freshness::Shared).await.unwrap();
    (name, source)
}

fn consents(word: &str) -> BTreeMap<String, Option<String>> {
    BTreeMap::from([(consent::key("password"), Some(word.to_owned()))])
}

#[tokio::test]
async fn rf2_a_permission_reaches_who_never_follows_and_who_asked_for_one_version() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let deaf = [
        served(&feed, "once", &source, None, Follow::Never).await,
        served(&feed, "pinned", &source, Some(1), Follow::Every(HOUR)).await,
    ];
    let mut wakeups = feed.wakeups().unwrap();
    store.patch_metadata(&source.path, &consents("{}")).await.unwrap();
    feed.announce(&source.site(), Pushed::Consent);
    let woken = drained(&mut wakeups);
    assert_eq!(woken.len(), 12);
    for (name, source) in &deaf {
        assert!(woken.contains(name) && feed.is_behind(name), "{name}");
        feed.read(name, source, Freshness::Shared).await.unwrap();
        assert!(!feed.is_behind(name), "{name}");
    }
    // Nobody announces what another cluster's producer says: a check finds it, and so does
    // anybody's read.
    store.patch_metadata(&source.path, &consents("{ }")).await.unwrap();
    feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
    let woken = drained(&mut wakeups);
    assert!(deaf.iter().all(|(name, _)| woken.contains(name) && feed.is_behind(name)));
    for (name, source) in &deaf {
        feed.read(name, source, Freshness::Shared).await.unwrap();
    }
    feed.read(&consumer(0), &source, Freshness::Shared).await.unwrap();
    store.patch_metadata(&source.path, &consents("{  }")).await.unwrap();
    feed.read(&consumer(0), &source, Freshness::Since(Instant::now())).await.unwrap();
    let woken = drained(&mut wakeups);
    assert!(deaf.iter().all(|(name, _)| woken.contains(name) && feed.is_behind(name)));
}

/// Ten consumers of a path, of which one reads while this happens to the store and is announced:
/// after the store has answered it, and before it has the answer.
async fn overtaken(happens: impl Fn(&FakeStore, &RemotePath) + Send + 'static, pushed: Pushed) -> (Arc<Feed>, Source) {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let (announcer, at, mut first) = (feed.clone(), source.clone(), true);
    store.after_each(move |store, _| {
        if std::mem::take(&mut first) {
            happens(store, &at.path);
            announcer.announce(&at.site(), pushed);
        }
    });
    feed.read(&consumer(0), &source, Freshness::Since(Instant::now())).await.unwrap();
    (feed, source)
}

#[tokio::test]
async fn rf2_a_read_that_a_withdrawal_overtook_is_repeated() {
    let withdraw = |store: &FakeStore, path: &RemotePath| {
        let labels = BTreeMap::from([(consent::key("password"), "{}".to_owned())]);
        store.put_metadata(path, labels);
    };
    let (feed, source) = overtaken(withdraw, Pushed::Consent).await;
    let held = feed.index().taken_by(&consumer(0), &source.read_key()).unwrap();
    assert_eq!(held.consents, Some(consent::digest(&BTreeMap::from([(consent::key("password"), "{}".to_owned())]))));
    assert!(!feed.is_behind(&consumer(0)));
    assert!(feed.is_behind(&consumer(1)));
}

#[tokio::test]
async fn a_read_that_a_release_overtook_is_repeated() {
    let release = |store: &FakeStore, path: &RemotePath| store.put_metadata(path, BTreeMap::new());
    let (feed, _) = overtaken(release, Pushed::Release).await;
    assert!(!feed.is_behind(&consumer(0)));
    assert!(feed.is_behind(&consumer(1)));
}

#[tokio::test]
async fn a_read_that_a_removal_overtook_is_repeated() {
    let (feed, source) = overtaken(|store, path| store.soft_delete(path), Pushed::Removal(1)).await;
    assert!(!feed.index().taken_by(&consumer(0), &source.read_key()).unwrap().live);
    let (feed, source) = overtaken(|store, path| store.purge(path), Pushed::Purge).await;
    assert_eq!(feed.index().taken_by(&consumer(0), &source.read_key()).unwrap().version, 0);
    assert!(feed.is_behind(&consumer(1)));
}

#[tokio::test]
async fn a_check_that_a_withdrawal_overtook_is_not_believed() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let (announcer, at) = (feed.clone(), source.clone());
    store.after_each(move |store, request| {
        if request.operation == Operation::Head {
            store.put_metadata(&at.path, BTreeMap::from([(consent::key("password"), "{}".to_owned())]));
            announcer.announce(&at.site(), Pushed::Consent);
        }
    });
    feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
    assert!((0..10).all(|number| feed.is_behind(&consumer(number))), "the old consent is not what they have to match");
}

fn seen(version: u64) -> Seen {
    Seen { version, live: true, consents: Some(0), created: None }
}

#[tokio::test]
async fn a_listing_visits_the_paths_of_its_own_login_alone() {
    const LOGINS: usize = 100;
    const PATHS: usize = 10;
    let store = FakeStore::new();
    let feed = Feed::new();
    for login in 0..LOGINS {
        let client = store.with_identity(&format!("tenant-{login}"));
        for number in 0..PATHS {
            let source = source(&client, &format!("platform-data/redis/{login}-{number}")).await;
            let name = Name::new(format!("team-{login}"), format!("consumer-{number}"));
            feed.subscribe(&name, vec![source], Follow::Every(HOUR));
        }
    }
    let mut index = feed.index();
    let due = index.take_due(Instant::now() + 2 * HOUR, exactly);
    assert_eq!(due.len(), LOGINS * PATHS);
    let trees: BTreeSet<listing::Tree> = due.iter().filter_map(listing::Tree::of).collect();
    let visited: usize = trees.iter().map(|tree| index.candidates(tree).count()).sum();
    assert_eq!(
        (trees.len(), visited),
        (LOGINS, LOGINS * PATHS),
        "all paths for each tree would be a hundred times as many"
    );
    let found: usize = trees.iter().map(|tree| index.followed(tree).len()).sum();
    assert_eq!(found, LOGINS * PATHS);
}

#[tokio::test]
async fn the_span_of_an_announcement_is_the_cause_of_each_reconcile_that_it_wakes_and_of_one() {
    let store = FakeStore::new();
    let (feed, source) = ten_served(&store).await;
    let spans = trail::tests::exported(|| {
        trail::announced(&source.path, &2).in_scope(|| feed.announce(&source.site(), Pushed::Version(2, None)));
        for number in [0, 9] {
            drop(trail::reconcile("ExternalSecret", &consumer(number), feed.take_up(&consumer(number))));
        }
        assert!(feed.take_up(&consumer(0)).is_none(), "what comes next has another cause");
    });
    let announced = spans[0].span_context.span_id();
    assert_eq!(spans[0].name, "announce");
    assert!(spans.len() == 3 && spans[1..].iter().all(|span| span.parent_span_id == announced), "{spans:?}");
}
