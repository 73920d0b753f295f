//! Consents that a push changed at the same version, and standbys that still show the former ones.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const AT: &str = "platform-data/redis/a";
const TAKEN: &str = r#"{"onWithdrawal":"Delete"}"#;

/// How each consumer reads the path.
const WAYS: [(Option<u64>, Follow); 3] =
    [(None, Follow::Every(HOUR)), (Some(1), Follow::Every(HOUR)), (None, Follow::Never)];

fn custom(consents: &[&str]) -> BTreeMap<String, String> {
    consents.iter().map(|text| (consent::key("password"), (*text).to_owned())).collect()
}

/// A path with a consumer, whose consents a push changes.
struct Lagging {
    feed: Arc<Feed>,
    store: FakeStore,
    source: Source,
    name: Name,
    wakeups: mpsc::UnboundedReceiver<Name>,
    /// How many of the next requests a standby answers that still has the former consents.
    lags: Arc<AtomicUsize>,
}

impl Lagging {
    /// One whose consumer has read what is there before the change.
    async fn of(way: (Option<u64>, Follow), before: &'static [&str], after: &'static [&str]) -> Self {
        let (feed, store) = (Feed::new(), FakeStore::new());
        store.put(&path(AT), data("1"));
        store.put_metadata(&path(AT), custom(before));
        let (name, source) = served(&feed, "one", &source(&store, AT).await, way.0, way.1).await;
        let (wakeups, lags) = (feed.wakeups().unwrap(), Arc::new(AtomicUsize::new(0)));
        store.put_metadata(&path(AT), custom(after));
        let left = lags.clone();
        store.before_each(move |store, _| {
            let is_behind = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            store.put_metadata(&path(AT), custom(if is_behind { before } else { after }));
            None
        });
        feed.announce(&source.site(), Pushed::Consent);
        let mut lagging = Lagging { feed, store, source, name, wakeups, lags };
        assert_eq!(lagging.woken(), 1);
        lagging
    }

    fn lags_for(&self, requests: usize) {
        self.lags.store(requests, Ordering::Relaxed);
    }

    /// What the consumer reads in a reconcile, and with how many requests.
    async fn read(&self) -> (Vec<String>, usize) {
        self.feed.is_behind(&self.name);
        let before = self.store.count(Operation::Read);
        let entry = self.feed.read(&self.name, &self.source, Freshness::Since(Instant::now())).await.unwrap();
        let consents = entry.custom_metadata.values().cloned().collect();
        (consents, self.store.count(Operation::Read) - before)
    }

    /// A check at this time after the change, of which so many were made before.
    async fn check(&self, after: Duration) -> usize {
        let before = self.store.count(Operation::Head);
        self.feed.clone().check_due(Instant::now() + after, exactly).await;
        self.store.count(Operation::Head) - before
    }

    /// Every consumer that is woken, as often as it is.
    fn woken(&mut self) -> usize {
        drained(&mut self.wakeups).len()
    }
}

#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_is_read_again_until_a_standby_that_lags_shows_it() {
    for way in WAYS {
        let mut lagging = Lagging::of(way, &[], &[TAKEN]).await;
        lagging.lags_for(2);
        assert_eq!(lagging.read().await, (vec![TAKEN.to_owned()], 3), "{way:?}");
        assert_eq!((lagging.woken(), lagging.check(Duration::from_secs(60)).await), (0, 0), "{way:?}: it has it");
    }
}

/// The standby lags for longer than reads are repeated. It is asked again when it cannot lag any more,
/// and what other reads and checks of it show meanwhile is no news.
#[tokio::test(start_paused = true)]
async fn rf2_a_withdrawal_behind_a_standby_that_lags_for_long_is_heard_when_it_lags_no_longer() {
    for way in WAYS {
        let mut lagging = Lagging::of(way, &[], &[TAKEN]).await;
        lagging.lags_for(usize::MAX);
        let (seen, requests) = lagging.read().await;
        assert!(seen.is_empty() && requests == 6, "{way:?}: {seen:?} by {requests}");
        assert!(lagging.feed.may_lack_consents(&lagging.name, None), "{way:?}");
        assert_eq!(lagging.read().await, (vec![], 1), "{way:?}: it is given time once");
        assert_eq!((lagging.check(Duration::from_secs(9)).await, lagging.woken()), (0, 0), "{way:?}");
        lagging.lags_for(0);
        lagging.feed.pass(Duration::from_secs(10));
        assert_eq!(lagging.check(Duration::from_secs(10)).await, 1, "{way:?}");
        assert_eq!(lagging.woken(), 1, "{way:?}");
        assert!(lagging.feed.is_behind(&lagging.name), "{way:?}");
        assert_eq!(lagging.read().await, (vec![TAKEN.to_owned()], 1), "{way:?}");
        assert!(!lagging.feed.may_lack_consents(&lagging.name, None), "{way:?}");
        assert_eq!((lagging.check(Duration::from_secs(60)).await, lagging.woken()), (0, 0), "{way:?}: once");
    }
}

/// Another path of the consumer may be read for longer than a standby lags.
#[tokio::test(start_paused = true)]
async fn rf2_a_read_that_may_show_former_consents_is_not_believed_because_time_passes() {
    for way in WAYS {
        let lagging = Lagging::of(way, &[TAKEN], &[]).await;
        lagging.lags_for(usize::MAX);
        assert_eq!(lagging.read().await.0, [TAKEN], "{way:?}");
        lagging.feed.pass(Duration::from_secs(11));
        assert!(lagging.feed.may_lack_consents(&lagging.name, None), "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rf2_a_read_from_before_a_change_of_consents_is_not_believed() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    store.put(&path(AT), data("1"));
    let source = source(&store, AT).await;
    let names = [consumer(0), consumer(1)];
    for name in &names {
        feed.subscribe(name, vec![source.clone()], Follow::Every(HOUR));
        feed.is_behind(name);
        feed.read(name, &source, Freshness::Shared).await.unwrap();
    }
    assert!(!feed.may_lack_consents(&names[0], None));
    // Nobody announces the change; the other one's read shows it.
    store.put_metadata(&path(AT), custom(&[TAKEN]));
    feed.read(&names[1], &source, Freshness::Since(Instant::now())).await.unwrap();
    assert_eq!(names.each_ref().map(|name| feed.may_lack_consents(name, None)), [true, false]);
}

/// Labels of its namespace, or another version, change after the read. What was read since then is not
/// concerned.
#[tokio::test(start_paused = true)]
async fn rf2_a_read_that_something_outdated_is_not_believed() {
    for is_relabelled in [true, false] {
        let (feed, store) = (Feed::new(), FakeStore::new());
        store.put(&path(AT), data("1"));
        let (source, name) = (source(&store, AT).await, consumer(0));
        feed.subscribe(&name, vec![source.clone()], Follow::Every(HOUR));
        feed.judged_by(&name, Labels::Decisive);
        feed.read(&name, &source, Freshness::Shared).await.unwrap();
        assert!(!feed.may_lack_consents(&name, None));
        match is_relabelled {
            true => feed.labels_changed(|_| true),
            false => {
                store.put(&path(AT), data("2"));
                feed.clone().check_all().await;
            }
        }
        assert!(feed.may_lack_consents(&name, None));
        assert!(!feed.may_lack_consents(&name, Some(Instant::now() + HOUR)), "of what is read later");
        feed.read(&name, &source, Freshness::Since(Instant::now())).await.unwrap();
        assert!(!feed.may_lack_consents(&name, None));
    }
}

/// The same of paths that it reads for their consents alone, because its spec cannot be carried out.
#[tokio::test(start_paused = true)]
async fn rf2_labels_outdate_what_was_read_for_an_earlier_spec_too() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    store.put(&path(AT), data("1"));
    let (source, name) = (source(&store, AT).await, consumer(0));
    feed.subscribe(&name, Vec::new(), Follow::Never);
    feed.heed(&name, BTreeSet::from([source.site()]));
    feed.judged_by(&name, Labels::Decisive);
    feed.read(&name, &source, Freshness::Since(Instant::now())).await.unwrap();
    assert!(!feed.may_lack_consents(&name, None));
    feed.labels_changed(|_| true);
    assert!(feed.may_lack_consents(&name, None));
}

/// Nobody had read the former consents in this process, so nothing shows whether a read has them.
#[tokio::test(start_paused = true)]
async fn rf2_consents_that_nobody_had_read_are_checked_when_no_standby_lags() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    store.put(&path(AT), data("1"));
    let source = source(&store, AT).await;
    let name = consumer(0);
    feed.subscribe(&name, vec![source.clone()], Follow::Every(HOUR));
    feed.announce(&source.site(), Pushed::Consent);
    feed.is_behind(&name);
    feed.read(&name, &source, Freshness::Shared).await.unwrap();
    store.put_metadata(&path(AT), custom(&[TAKEN]));
    feed.pass(Duration::from_secs(10));
    let mut wakeups = feed.wakeups().unwrap();
    drained(&mut wakeups);
    feed.clone().check_due(Instant::now() + Duration::from_secs(10), exactly).await;
    assert_eq!(drained(&mut wakeups), [name]);
}

/// A consent is given back, and a check and a read through a standby that lags show the withdrawal.
#[tokio::test(start_paused = true)]
async fn rf2_a_consent_that_was_given_back_is_not_taken_again_by_a_standby_that_lags() {
    for way in WAYS {
        let mut lagging = Lagging::of(way, &[TAKEN], &[]).await;
        assert_eq!(lagging.read().await, (vec![], 1), "{way:?}");
        assert!(!lagging.feed.may_lack_consents(&lagging.name, None));
        lagging.lags_for(usize::MAX);
        lagging.feed.clone().check_all().await;
        assert_eq!((lagging.woken(), lagging.feed.is_behind(&lagging.name)), (0, false), "{way:?}: by a check");
        assert_eq!(lagging.read().await.0, [TAKEN], "{way:?}");
        assert!(lagging.feed.may_lack_consents(&lagging.name, None), "{way:?}: nothing is deleted for it");
        let elsewhere = super::source(&lagging.store, "platform-data/redis/b").await.site();
        assert!(!lagging.feed.lacks_consents(&elsewhere, &lagging.store.peek(&path(AT))), "of this path alone");
        lagging.lags_for(0);
        lagging.feed.pass(Duration::from_secs(10));
        lagging.feed.clone().check_all().await;
        assert!(lagging.woken() == 1 && lagging.feed.is_behind(&lagging.name), "{way:?}");
    }
}

/// The same consents are those of now once no standby lags, or with a later version.
#[tokio::test]
async fn consents_that_are_announced_and_stay_are_believed_in_time() {
    let lagging = Lagging::of(WAYS[0], &[TAKEN], &[TAKEN]).await;
    let lacks = |entry: &Entry| lagging.feed.lacks_consents(&lagging.source.site(), entry);
    let first = lagging.store.peek(&path(AT));
    lagging.store.put(&path(AT), data("2"));
    let second = lagging.store.peek(&path(AT));
    assert_eq!([lacks(&first), lacks(&second)], [true, false], "a standby has all of a version or nothing");
    lagging.feed.pass(Duration::from_secs(9));
    assert!(lacks(&first));
    lagging.feed.pass(Duration::from_secs(1));
    assert!(!lacks(&first));
}

/// To release a claim changes no consent, so the read that follows is made once.
#[tokio::test]
async fn a_claim_that_is_released_is_read_once() {
    for way in WAYS {
        let (feed, store) = (Feed::new(), FakeStore::new());
        store.put(&path(AT), data("1"));
        let (name, source) = served(&feed, "one", &source(&store, AT).await, way.0, way.1).await;
        let (mut wakeups, before) = (feed.wakeups().unwrap(), store.count(Operation::Read));
        feed.announce(&source.site(), Pushed::Release);
        assert!(drained(&mut wakeups) == std::slice::from_ref(&name) && feed.is_behind(&name), "{way:?}");
        feed.read(&name, &source, Freshness::Shared).await.unwrap();
        assert_eq!((store.count(Operation::Read) - before, feed.is_behind(&name)), (1, false), "{way:?}");
        feed.clone().check_due(Instant::now() + Duration::from_secs(60), exactly).await;
        assert_eq!(store.count(Operation::Head), 0, "{way:?}");
    }
}

/// Whoever holds something of a path that it does not read is woken by its consents, and by nothing
/// else, is not counted there, and leaves nothing behind.
#[tokio::test]
async fn rf2_whoever_heeds_a_path_hears_of_its_consents_alone() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    let mut wakeups = feed.wakeups().unwrap();
    store.put(&path(AT), data("1"));
    let (theirs, ours) = (source(&store, AT).await, source(&store, "platform-data/redis/b").await);
    let (push, spelled) = (Name::new("db", "push"), Spelled { store: "SecretStore/s".into(), path: "secret/a".into() });
    feed.publishes(&push, BTreeMap::from([(spelled.clone(), Some(published(&theirs)))]));
    for subscribed in [true, false] {
        let name = consumer(0);
        if subscribed {
            feed.subscribe(&name, vec![ours.clone()], Follow::Every(HOUR));
        }
        feed.heed(&name, BTreeSet::from([theirs.site()]));
        feed.announce(&theirs.site(), Pushed::Version(2, None));
        assert_eq!(drained(&mut wakeups), [], "{subscribed}: a version");
        assert_eq!(feed.followers(&push, &spelled).unwrap(), [], "{subscribed}");
        feed.announce(&theirs.site(), Pushed::Consent);
        assert_eq!(drained(&mut wakeups), std::slice::from_ref(&name), "{subscribed}");
        assert_eq!(feed.is_behind(&name), subscribed, "{subscribed}: of what it reads");
        feed.heed(&name, BTreeSet::from([ours.site()]));
        feed.announce(&theirs.site(), Pushed::Consent);
        assert_eq!(drained(&mut wakeups), [], "{subscribed}: it heeds another path now");
        feed.heed(&name, BTreeSet::from([theirs.site()]));
        feed.subscribe(&name, vec![ours.clone()], Follow::Every(HOUR));
        feed.announce(&theirs.site(), Pushed::Consent);
        assert_eq!(drained(&mut wakeups), std::slice::from_ref(&name), "{subscribed}: whatever it reads");
        feed.is_behind(&name);
        feed.heed(&name, BTreeSet::from([ours.site(), theirs.site()]));
        feed.heed(&name, BTreeSet::new());
        feed.announce(&theirs.site(), Pushed::Consent);
        assert_eq!(drained(&mut wakeups), [], "{subscribed}: it heeds nothing else");
        feed.announce(&ours.site(), Pushed::Consent);
        assert_eq!(drained(&mut wakeups), std::slice::from_ref(&name), "{subscribed}: it reads that path");
        feed.heed(&name, BTreeSet::from([theirs.site()]));
        feed.forget(&name);
        assert_eq!(feed.consumers(), 0);
    }
}

/// A consent is given back before the consumer has read anything of the path. Then nobody knows what a
/// standby shows that lags.
#[tokio::test(start_paused = true)]
async fn while_a_standby_may_lag_nothing_is_taken_by_consents_that_nobody_has_read_before() {
    let (feed, store, name) = (Feed::new(), FakeStore::new(), consumer(0));
    store.put(&path(AT), data("1"));
    store.put_metadata(&path(AT), custom(&[TAKEN]));
    let source = source(&store, AT).await;
    feed.subscribe(&name, vec![source.clone()], Follow::Every(HOUR));
    feed.announce(&source.site(), Pushed::Consent);
    feed.read(&name, &source, Freshness::Since(Instant::now())).await.unwrap();
    assert!(feed.may_lack_consents(&name, None));
    feed.pass(Duration::from_secs(10));
    feed.read(&name, &source, Freshness::Since(Instant::now())).await.unwrap();
    assert!(!feed.may_lack_consents(&name, None), "it shows the same when no standby lags any more");
}
