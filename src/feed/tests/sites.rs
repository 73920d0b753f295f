//! One place at two addresses: the same server, or another that calls itself the same. An
//! announcement wakes at both, and what is known of one judges nothing at the other.

use super::*;
use crate::feed::index::Progress;

const AT: &str = "platform-data/redis/a";
const LAST: u64 = 1_000_000_000;

/// A consumer of the place at each of two addresses, which has its first version.
struct Two {
    feed: Arc<Feed>,
    wakeups: mpsc::UnboundedReceiver<Name>,
    ours: (FakeStore, Source),
    theirs: (FakeStore, Source),
}

impl Two {
    async fn of(ours: FakeStore, theirs: FakeStore) -> Self {
        let feed = Feed::new();
        let wakeups = feed.wakeups().unwrap();
        let [ours, theirs] = [(ours, "ours"), (theirs, "theirs")]
            .map(|(store, address)| store.with_address(address).with_identity(address));
        let sources = [source(&ours, AT).await, source(&theirs, AT).await];
        assert_eq!(sources[0].key, sources[1].key, "both call the place the same");
        for (number, source) in sources.iter().enumerate() {
            feed.subscribe(&consumer(number), vec![source.clone()], Follow::Every(HOUR));
            feed.read(&consumer(number), source, Freshness::Shared).await.unwrap();
        }
        let [our_source, their_source] = sources;
        Two { feed, wakeups, ours: (ours, our_source), theirs: (theirs, their_source) }
    }

    /// One server at two addresses.
    async fn same() -> Self {
        let store = FakeStore::new();
        store.put(&path(AT), data("1"));
        Two::of(store.clone(), store).await
    }

    /// Two servers that call themselves the same.
    async fn forged() -> Self {
        let (ours, theirs) = (FakeStore::new(), FakeStore::new());
        ours.put(&path(AT), data("1"));
        theirs.put(&path(AT), data("forged"));
        Two::of(ours, theirs).await
    }

    /// What our consumer reads now, and with how many requests.
    async fn read(&self, freshness: Freshness) -> (Result<u64, ReadError>, usize) {
        let (store, source) = &self.ours;
        let before = store.count(Operation::Read);
        let read = self.feed.read(&consumer(0), source, freshness).await;
        (read.map(|entry| entry.cas()), store.count(Operation::Read) - before)
    }

    fn woken(&mut self) -> Vec<Name> {
        let mut woken = drained(&mut self.wakeups);
        woken.sort();
        woken
    }
}

#[tokio::test]
async fn a_push_through_another_address_wakes_and_one_read_shows_it() {
    let mut two = Two::same().await;
    let version = two.theirs.0.put(&path(AT), data("2"));
    two.feed.announce(&two.theirs.1.site(), Pushed::Version(version, None));
    assert_eq!(two.woken(), [consumer(0), consumer(1)]);
    assert!(two.feed.is_behind(&consumer(0)));
    assert_eq!(two.read(Freshness::Shared).await, (Ok(2), 1));
    assert!(!two.feed.is_behind(&consumer(0)));
    assert!(two.feed.take_announced(&consumer(0)).is_some(), "how long it took is measured");
}

/// A push that wrote nothing wakes nobody who has that version, and nobody at another address.
#[tokio::test]
async fn what_a_push_found_unchanged_wakes_nobody() {
    let mut two = Two::same().await;
    let created = two.ours.0.peek(&path(AT)).created;
    two.feed.announce(&two.theirs.1.site(), News::Found(1, created));
    assert!(two.woken().is_empty());
}

/// A push says at its end what it read at its beginning, also to those who cannot read now.
#[tokio::test]
async fn what_a_push_found_some_time_ago_takes_nothing_newer_back() {
    let mut two = Two::same().await;
    let (store, site) = (two.ours.0.clone(), two.ours.1.site());
    let first = store.peek(&path(AT)).created;
    let version = store.put(&path(AT), data("2"));
    two.feed.announce(&site, Pushed::Version(version, store.peek(&path(AT)).created));
    assert_eq!(two.read(Freshness::Shared).await, (Ok(2), 1));
    two.woken();
    let late = Instant::now() + Duration::from_secs(60);
    assert_eq!(two.feed.index().announce(&site, News::Found(1, first), late), []);
    assert!(!two.feed.is_behind(&consumer(0)));
    two.feed.subscribe(&consumer(2), vec![two.ours.1.clone()], Follow::Every(HOUR));
    two.woken();
    two.feed.announce(&site, News::Found(2, store.peek(&path(AT)).created));
    assert_eq!(two.woken(), [], "who has read nothing is not woken");
}

#[tokio::test(start_paused = true)]
async fn a_standby_behind_another_address_gets_time_to_catch_up() {
    let two = Two::same().await;
    let mut reads = 0;
    two.ours.0.before_each(move |store, request| {
        if request.operation == Operation::Read {
            reads += 1;
            if reads == 3 {
                store.put(&path(AT), data("2"));
            }
        }
        None
    });
    two.feed.announce(&two.theirs.1.site(), Pushed::Version(2, None));
    assert_eq!(two.read(Freshness::Shared).await, (Ok(2), 3));
}

#[tokio::test(start_paused = true)]
async fn what_a_server_that_calls_itself_the_same_says_of_versions_judges_nothing_here() {
    let mut two = Two::forged().await;
    let long_ago = Instant::now().checked_sub(HOUR).unwrap();
    for at in [long_ago, Instant::now()] {
        two.feed.index().announce(&two.theirs.1.site(), Pushed::Version(LAST, None), at);
    }
    let (read, requests) = two.read(Freshness::Shared).await;
    assert_eq!(read, Ok(1), "a hint ends with a read");
    assert!(requests <= 6, "{requests} requests");
    assert!(!two.feed.is_behind(&consumer(0)));
    assert_eq!(two.read(Freshness::Since(Instant::now())).await, (Ok(1), 1), "it is followed once");

    two.woken();
    two.ours.0.put(&path(AT), data("2"));
    two.feed.announce(&two.ours.1.site(), Pushed::Version(2, None));
    assert!(two.woken().contains(&consumer(0)), "no version of theirs overtakes ours");
    assert_eq!(two.read(Freshness::Shared).await, (Ok(2), 1));
    assert!(!two.feed.is_behind(&consumer(0)));
    two.ours.0.put(&path(AT), data("3"));
    two.feed.clone().check_due(Instant::now() + 2 * HOUR, exactly).await;
    assert!(two.woken().contains(&consumer(0)), "nor does it hide an edit from the check");
}

/// A server that announces without end gets one read each time, and no more.
#[tokio::test(start_paused = true)]
async fn announcements_of_another_address_that_nothing_bears_out_cost_one_read_each() {
    let two = Two::forged().await;
    let mut requests = Vec::new();
    for version in 0..10 {
        two.feed.announce(&two.theirs.1.site(), Pushed::Version(LAST + version, None));
        assert!(two.feed.is_behind(&consumer(0)));
        let (read, needed) = two.read(Freshness::Shared).await;
        assert_eq!(read, Ok(1));
        requests.push(needed);
    }
    assert!(requests[0] <= 6 && requests[1..].iter().all(|needed| *needed == 1), "{requests:?}");
}

/// What lagged once lags no longer after a while, and is given time again.
#[tokio::test]
async fn an_announcement_of_another_address_is_given_time_again_after_a_while() {
    let two = Two::forged().await;
    let (now, key, theirs) = (Instant::now(), two.ours.1.read_key(), two.theirs.1.site());
    let mut index = two.feed.index();
    let mut hinted = |seconds| {
        let at = now + Duration::from_secs(seconds);
        index.announce(&theirs, Pushed::Version(LAST, None), at);
        let progress = index.judge(&consumer(0), &key, Seen::of(&two.ours.0.peek(&path(AT))), false, at, at);
        if progress == Progress::Doubted {
            index.disregard_hint(&key.site, at);
        }
        progress
    };
    let progress = [0, 5, 9, 10, 15].map(&mut hinted);
    use Progress::{Doubted, Good};
    assert_eq!(progress, [Doubted, Good, Good, Doubted, Good]);
}

/// What was announced in vain is there at last, so our standby lagged: the next announcement is given
/// time. One that comes before is not, and neither is one after what is never there. Another path has
/// nothing to do with it.
#[tokio::test]
async fn an_announcement_after_one_that_came_true_is_given_time_at_once() {
    use Progress::{Doubted, Good};
    let two = Two::same().await;
    let (ours, theirs) = (&two.ours.1, two.theirs.1.site());
    let now = Instant::now();
    for (in_vain, announced, shown, expected) in
        [(2, 3, 1, Good), (2, 3, 2, Doubted), (2, 3, 3, Good), (LAST, 3, 2, Good), (LAST, LAST + 1, 3, Good)]
    {
        let mut index = Index::default();
        let shows =
            |index: &mut Index, version| index.judge(&consumer(0), &ours.read_key(), seen(version), false, now, now);
        index.subscribe(&consumer(0), vec![ours.clone()], Follow::Every(HOUR), now, exactly);
        assert_eq!(shows(&mut index, 1), Good);
        index.announce(&theirs, Pushed::Version(in_vain, None), now);
        assert_eq!(shows(&mut index, 1), Doubted);
        index.disregard_hint(&ours.site(), now);
        assert_eq!(shows(&mut index, 1), Good);
        index.announce(&theirs, Pushed::Version(announced, None), now);
        assert_eq!(shows(&mut index, shown), expected, "{announced} after {in_vain}, and {shown} is there");
    }
    let other = source(&two.ours.0, "platform-data/redis/b").await;
    two.feed.subscribe(&consumer(2), vec![other.clone()], Follow::Every(HOUR));
    let mut index = two.feed.index();
    index.announce(&theirs, Pushed::Version(LAST, None), now);
    index.disregard_hint(&ours.site(), now);
    let there = Site { address: "theirs".into(), ..other.site() };
    index.announce(&there, Pushed::Version(2, None), now);
    assert_eq!(index.judge(&consumer(2), &other.read_key(), seen(1), false, now, now), Doubted, "of another path");
}

/// Our standby lags for longer than reads are repeated, and nobody announces anything more.
#[tokio::test(start_paused = true)]
async fn a_standby_behind_another_address_that_lags_for_long_is_checked_when_it_lags_no_longer() {
    type Change = fn(&FakeStore, &RemotePath);
    let cases: [(Pushed, Change); 4] = [
        (Pushed::Version(2, None), |store, path| {
            store.put(path, data("2"));
        }),
        (Pushed::Removal(2), |store, path| {
            store.put(path, BTreeMap::new());
            store.soft_delete(path);
        }),
        (Pushed::Purge, FakeStore::purge),
        (Pushed::Consent, |store, path| {
            store.put_metadata(path, BTreeMap::from([(consent::key("password"), "{}".to_owned())]));
        }),
    ];
    for (pushed, change) in cases {
        let mut two = Two::same().await;
        let (store, site) = (two.ours.0.clone(), two.theirs.1.site());
        two.feed.pass(HOUR);
        two.feed.announce(&site, pushed);
        assert_eq!(two.read(Freshness::Shared).await.0, Ok(1));
        assert!(!two.feed.is_behind(&consumer(0)));
        two.woken();
        change(&store, &path(AT));
        let now = Instant::now();
        two.feed.clone().check_due(now + Duration::from_secs(5), exactly).await;
        assert_eq!(two.woken(), [], "{pushed} is given time");
        two.feed.clone().check_due(now + Duration::from_secs(10), exactly).await;
        assert!(two.woken().contains(&consumer(0)) && two.feed.is_behind(&consumer(0)), "{pushed}");
        let checks = store.count(Operation::Head);
        two.feed.clone().check_due(now + Duration::from_secs(60), exactly).await;
        assert_eq!(store.count(Operation::Head), checks, "{pushed} is checked once");
    }
}

/// What a read shows at once needs no check.
#[tokio::test]
async fn a_standby_behind_another_address_that_lags_not_is_not_checked() {
    let two = Two::same().await;
    let version = two.theirs.0.put(&path(AT), data("2"));
    two.feed.announce(&two.theirs.1.site(), Pushed::Version(version, None));
    assert_eq!(two.read(Freshness::Shared).await, (Ok(2), 1));
    two.feed.clone().check_due(Instant::now() + Duration::from_secs(60), exactly).await;
    assert_eq!(two.ours.0.count(Operation::Head), 0);
}

/// A removal whose reply was lost: a check shows whether it happened, at each address.
#[tokio::test]
async fn what_a_push_may_have_removed_is_checked_at_once_and_counts_as_there() {
    let mut two = Two::same().await;
    let (ours, theirs) = (two.ours.1.site(), two.theirs.1.site());
    let checked = async |two: &mut Two| {
        two.feed.announce(&theirs, News::Uncertain);
        assert_eq!(two.woken(), [], "nothing is known yet");
        two.feed.clone().check_due(Instant::now(), exactly).await;
        two.woken()
    };
    assert_eq!(checked(&mut two).await, [], "it did not happen");
    assert_eq!(two.ours.0.count(Operation::Head), 2);
    two.ours.0.soft_delete(&path(AT));
    assert_eq!(checked(&mut two).await, [consumer(0), consumer(1)]);
    assert!(!two.feed.is_removed_by_push(&ours, 1) && !two.feed.is_removed_by_push(&theirs, 1));
}

#[tokio::test]
async fn a_removal_at_another_address_is_none_here() {
    let two = Two::forged().await;
    let (ours, theirs) = (two.ours.1.site(), two.theirs.1.site());
    two.feed.announce(&theirs, Pushed::Removal(1));
    assert!(two.feed.is_removed_by_push(&theirs, 1) && !two.feed.is_removed_by_push(&ours, 1));
    two.feed.announce(&theirs, Pushed::Purge);
    assert!(two.feed.is_removed_by_push(&theirs, 0) && !two.feed.is_removed_by_push(&ours, 0));
    assert!(two.feed.is_behind(&consumer(0)), "it reads for itself");
}

#[tokio::test]
async fn rf2_a_consent_that_changed_at_another_address_is_read_anew_by_who_never_follows() {
    let mut two = Two::same().await;
    let once = served(&two.feed, "once", &two.ours.1, None, Follow::Never).await.0;
    two.feed.announce(&two.theirs.1.site(), Pushed::Consent);
    assert!(two.woken().contains(&once) && two.feed.is_behind(&once));
    let before = two.ours.0.count(Operation::Read);
    two.feed.read(&once, &two.ours.1, Freshness::Shared).await.unwrap();
    assert_eq!(two.ours.0.count(Operation::Read) - before, 1);
    assert!(!two.feed.is_behind(&once));
}

#[tokio::test]
async fn the_consumers_at_another_address_are_counted_where_the_cluster_chose_both() {
    use StoreKind::{ClusterSecretStore, SecretStore};
    let (push, spelled) = (Name::new("db", "push"), Spelled { store: "SecretStore/s".into(), path: "secret/a".into() });
    let both = [consumer(0), consumer(1)];
    for (ours, theirs, counted) in [
        (ClusterSecretStore, ClusterSecretStore, both.as_slice()),
        (ClusterSecretStore, SecretStore, &both[..1]),
        (SecretStore, ClusterSecretStore, &both[..1]),
        (SecretStore, SecretStore, &both[..1]),
    ] {
        let two = Two::same().await;
        let their_source = Source { kind: theirs, ..two.theirs.1.clone() };
        two.feed.subscribe(&consumer(1), vec![their_source], Follow::Every(HOUR));
        let published = Published { kind: ours, ..published(&two.ours.1) };
        two.feed.publishes(&push, BTreeMap::from([(spelled.clone(), Some(published))]));
        let followers = two.feed.followers(&push, &spelled).unwrap();
        let names: Vec<Name> = followers.into_iter().map(|follower| follower.name).collect();
        assert_eq!(names, counted, "{ours} and {theirs}");
    }
}

/// What happens at our server after a version was read there.
enum Then {
    PurgedAndCreatedAgain,
    Restored,
    RestoredAndWritten,
}

/// Our consumer has read version 5 long ago. Then this happens.
async fn five_versions_and(then: Then) -> Two {
    let two = Two::same().await;
    let (server, source) = &two.ours;
    for password in 2..=5 {
        server.put(&path(AT), data(&password.to_string()));
    }
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    let read = source.client.read(&source.path, None).await.unwrap();
    assert_eq!(
        two.feed.index().judge(&consumer(0), &source.read_key(), Seen::of(&read), false, long_ago, long_ago),
        Progress::Good
    );
    match then {
        Then::PurgedAndCreatedAgain => {
            server.purge(&path(AT));
            server.put(&path(AT), data("anew"));
        }
        Then::Restored => server.restore(&path(AT), 3),
        Then::RestoredAndWritten => {
            server.restore(&path(AT), 3);
            server.put(&path(AT), data("after the restore"));
        }
    }
    two
}

/// Whoever did it, and whether anybody said so: it is a new entry, or the newest write of a restored
/// one.
#[tokio::test]
async fn a_lower_version_that_was_created_later_is_read_at_once() {
    for (then, to) in [(Then::PurgedAndCreatedAgain, 1), (Then::RestoredAndWritten, 4)] {
        let two = five_versions_and(then).await;
        assert_eq!(two.read(Freshness::Since(Instant::now())).await, (Ok(to), 1));
    }
}

/// A purge that another address announces is no reason by itself: what our server says is.
#[tokio::test]
async fn an_older_version_is_not_accepted_because_another_address_announced_a_purge() {
    let two = five_versions_and(Then::Restored).await;
    two.feed.announce(&two.theirs.1.site(), Pushed::Purge);
    let now = Box::new(two.ours.0.peek(&path(AT)).outline());
    let back = ReadError::WentBack { path: format!("secret/{AT}"), from: 5, now };
    assert_eq!(two.read(Freshness::Shared).await.0, Err(back));
}
