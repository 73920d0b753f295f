//! Consumers that read metadata, which changes at the same version.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::fake::Sight;

const AT: &str = "platform-data/redis/a";
const SECOND: Duration = Duration::from_secs(1);

fn team(name: &str) -> BTreeMap<String, Option<String>> {
    BTreeMap::from([("team".to_owned(), Some(name.to_owned()))])
}

/// A path with a consumer of its metadata, and one of its data.
struct Described {
    feed: Arc<Feed>,
    store: FakeStore,
    metadata: (Name, Source),
    data: (Name, Source),
    wakeups: mpsc::UnboundedReceiver<Name>,
}

impl Described {
    async fn new() -> Self {
        let (feed, store) = (Feed::new(), FakeStore::new());
        store.put(&path(AT), data("1"));
        store.patch_metadata(&path(AT), &team("one")).await.unwrap();
        let source = source(&store, AT).await;
        let metadata = (consumer(0), Source { what: What::Metadata, ..source.clone() });
        let described =
            Described { wakeups: feed.wakeups().unwrap(), feed, store, metadata, data: (consumer(1), source) };
        for (name, source) in [&described.metadata, &described.data] {
            described.feed.subscribe(name, vec![source.clone()], Follow::Every(HOUR));
            described.feed.read(name, source, Freshness::Shared).await.unwrap();
        }
        described
    }

    /// Whom something woke.
    fn woken(&mut self) -> Vec<Name> {
        let woken = drained(&mut self.wakeups);
        for name in &woken {
            assert!(self.feed.is_behind(name), "it is woken for something");
        }
        woken
    }

    /// The team that the consumer of metadata has read.
    async fn read(&self) -> String {
        let (name, source) = &self.metadata;
        self.feed.is_behind(name);
        let entry = self.feed.read(name, source, Freshness::Shared).await.unwrap();
        entry.custom_metadata["team"].clone()
    }
}

#[tokio::test]
async fn what_a_push_changed_reaches_those_who_read_metadata_and_nobody_else() {
    let mut described = Described::new().await;
    described.store.patch_metadata(&path(AT), &team("two")).await.unwrap();
    for address in [None, Some("https://elsewhere:8200")] {
        let site = match address {
            None => described.data.1.site(),
            Some(address) => Site { address: address.into(), ..described.data.1.site() },
        };
        described.feed.announce(&site, Pushed::CustomMetadata);
        assert_eq!(described.woken(), [described.metadata.0.clone()], "{address:?}");
        assert_eq!(described.read().await, "two");
        assert!(!described.feed.is_behind(&described.metadata.0));
    }
    assert!(!described.feed.is_behind(&described.data.0));
}

#[tokio::test]
async fn a_push_of_another_version_reaches_those_who_read_metadata_too() {
    let mut described = Described::new().await;
    let version = described.store.put(&path(AT), data("2"));
    described.feed.announce(&described.data.1.site(), Pushed::Version(version, None));
    assert_eq!(described.woken().len(), 2);
    let (name, source) = &described.metadata;
    assert_eq!(described.feed.read(name, source, Freshness::Shared).await.unwrap().cas(), version);
}

#[tokio::test]
async fn what_a_person_changed_is_found_by_the_next_check() {
    let mut described = Described::new().await;
    described.store.patch_metadata(&path(AT), &team("two")).await.unwrap();
    described.feed.clone().check_all().await;
    assert_eq!(described.woken(), [described.metadata.0.clone()]);
    assert_eq!(described.read().await, "two");
    described.feed.clone().check_all().await;
    assert_eq!(described.woken(), [], "it has it");
    // Claims and consents are not shown.
    let consent = BTreeMap::from([(consent::key("other"), Some("{}".to_owned()))]);
    described.store.patch_metadata(&path(AT), &consent).await.unwrap();
    let (name, source) = described.metadata.clone();
    described.feed.clone().check_all().await;
    described.woken();
    described.feed.read(&name, &source, Freshness::Shared).await.unwrap();
    assert_eq!(described.store.count(Operation::Read), 1, "data is read by the consumer of data alone");
}

/// The standby shows the former metadata as if it were the present one.
#[tokio::test]
async fn a_standby_that_lags_is_asked_again_when_it_cannot_lag_any_more() {
    let mut described = Described::new().await;
    let lags = Arc::new(AtomicBool::new(true));
    let still = lags.clone();
    described.store.before_each(move |store, _| {
        let name = if still.load(Ordering::Relaxed) { "one" } else { "two" };
        store.put_metadata(&path(AT), BTreeMap::from([("team".to_owned(), name.to_owned())]));
        None
    });
    described.feed.announce(&described.data.1.site(), Pushed::CustomMetadata);
    assert_eq!(described.woken().len(), 1);
    assert_eq!(described.read().await, "one");
    lags.store(false, Ordering::Relaxed);
    described.feed.clone().check_due(Instant::now() + 11 * SECOND, exactly).await;
    assert_eq!(described.woken(), [described.metadata.0.clone()], "long before the interval ends");
    assert_eq!(described.read().await, "two");
}

/// What a read that began before the announcement shows may be of before.
#[tokio::test]
async fn a_read_that_a_change_overtakes_is_repeated() {
    let described = Described::new().await;
    let (feed, site, mut announced) = (described.feed.clone(), described.data.1.site(), false);
    described.store.after_each(move |store, request| {
        if request.operation == Operation::Describe && !std::mem::replace(&mut announced, true) {
            store.put_metadata(&path(AT), BTreeMap::from([("team".to_owned(), "two".to_owned())]));
            feed.announce(&site, Pushed::CustomMetadata);
        }
    });
    described.feed.announce(&described.data.1.site(), Pushed::CustomMetadata);
    assert_eq!(described.read().await, "two");
    assert!(!described.feed.is_behind(&described.metadata.0));
}

#[tokio::test]
async fn another_reader_is_told_what_one_read_shows() {
    let mut described = Described::new().await;
    let (other, source) = (consumer(2), described.metadata.1.clone());
    described.feed.subscribe(&other, vec![source.clone()], Follow::Every(HOUR));
    described.feed.read(&other, &source, Freshness::Since(Instant::now())).await.unwrap();
    described.store.patch_metadata(&path(AT), &team("two")).await.unwrap();
    described.feed.read(&other, &source, Freshness::Since(Instant::now())).await.unwrap();
    assert_eq!(described.woken(), [described.metadata.0.clone()]);
    assert_eq!(described.read().await, "two");
}

#[tokio::test]
async fn a_setting_that_a_person_changed_is_found_by_the_next_check_too() {
    let mut described = Described::new().await;
    described.store.expire_versions_after(&path(AT), "1h0m0s");
    described.feed.clone().check_all().await;
    assert_eq!(described.woken(), [described.metadata.0.clone()]);
    let (name, source) = &described.metadata;
    let entry = described.feed.read(name, source, Freshness::Shared).await.unwrap();
    assert_eq!(entry.settings.as_ref().unwrap().delete_version_after, "1h0m0s");
    described.feed.clone().check_all().await;
    assert_eq!(described.woken(), [], "it has it");
}

/// A login that may not see metadata checks the path as well. It shows nothing of it, and is no news.
#[tokio::test]
async fn a_check_by_a_login_that_sees_data_alone_says_nothing_of_metadata() {
    let mut described = Described::new().await;
    let blind = described.store.with_identity("blind").with_sight(Sight::DataAlone);
    let source = Source { client: Arc::new(blind), ..described.data.1.clone() };
    described.feed.subscribe(&consumer(3), vec![source.clone()], Follow::Every(HOUR));
    described.feed.read(&consumer(3), &source, Freshness::Shared).await.unwrap();
    for _ in 0..3 {
        described.feed.clone().check_all().await;
    }
    assert_eq!(described.woken(), []);
}

/// A check shows what a person changed, and the read that it causes is answered by a standby that
/// lags. No push announced anything, and the interval is an hour.
#[tokio::test]
async fn what_a_standby_hid_after_a_persons_change_is_read_when_none_can_lag_any_more() {
    let mut described = Described::new().await;
    described.store.before_each(|store, request| {
        let name = if request.operation == Operation::Head { "two" } else { "one" };
        store.put_metadata(&path(AT), BTreeMap::from([("team".to_owned(), name.to_owned())]));
        None
    });
    described.feed.clone().check_all().await;
    assert_eq!(described.woken(), [described.metadata.0.clone()]);
    assert_eq!(described.read().await, "one");
    described.store.before_each(|store, _| {
        store.put_metadata(&path(AT), BTreeMap::from([("team".to_owned(), "two".to_owned())]));
        None
    });
    described.feed.clone().check_due(Instant::now() + 11 * SECOND, exactly).await;
    assert_eq!(described.woken(), [described.metadata.0.clone()], "long before the interval ends");
    assert_eq!(described.read().await, "two");
}

/// The login that sees data alone is asked first, and its answer does not end the check.
#[tokio::test]
async fn a_check_asks_until_a_login_shows_the_metadata() {
    let mut described = Described::new().await;
    let blind = described.store.with_identity("a login that comes first").with_sight(Sight::DataAlone);
    let source = Source { client: Arc::new(blind), ..described.data.1.clone() };
    described.feed.subscribe(&consumer(1), vec![source.clone()], Follow::Every(HOUR));
    described.feed.read(&consumer(1), &source, Freshness::Shared).await.unwrap();
    described.store.patch_metadata(&path(AT), &team("two")).await.unwrap();
    described.feed.clone().check_all().await;
    assert_eq!(described.woken(), [described.metadata.0.clone()]);
}

/// Whoever reads data again and again postpones no check of the metadata.
#[tokio::test]
async fn a_read_of_data_is_no_check_of_metadata() {
    let described = Described::new().await;
    let due = described.feed.index().last_due();
    let (name, source) = &described.data;
    tokio::time::sleep(Duration::from_millis(5)).await;
    described.feed.read(name, source, Freshness::Since(Instant::now())).await.unwrap();
    assert_eq!(described.feed.index().last_due(), due);
    let (name, source) = &described.metadata;
    described.feed.read(name, source, Freshness::Since(Instant::now())).await.unwrap();
    assert!(described.feed.index().last_due() != due);
}

/// One of two logins is served by a standby that lags. Their readers do not wake each other.
#[tokio::test]
async fn readers_of_two_servers_of_which_one_lags_come_to_rest_and_then_agree() {
    let mut described = Described::new().await;
    let other = (
        consumer(5),
        Source { client: Arc::new(described.store.with_identity("other")), ..described.metadata.1.clone() },
    );
    described.feed.subscribe(&other.0, vec![other.1.clone()], Follow::Every(HOUR));
    described.feed.read(&other.0, &other.1, Freshness::Shared).await.unwrap();
    let mut number = 0;
    described.store.before_each(move |store, request| {
        number += usize::from(request.operation == Operation::Describe);
        let name = if number % 2 == 0 { "one" } else { "two" };
        store.put_metadata(&path(AT), BTreeMap::from([("team".to_owned(), name.to_owned())]));
        None
    });
    described.feed.announce(&described.data.1.site(), Pushed::CustomMetadata);
    assert_eq!(described.woken().len(), 2);
    for (name, source) in [&other, &described.metadata] {
        described.feed.read(name, source, Freshness::Since(Instant::now())).await.unwrap();
    }
    assert_eq!(described.woken(), [], "nobody knows who lags");
    described.store.before_each(|store, _| {
        store.put_metadata(&path(AT), BTreeMap::from([("team".to_owned(), "two".to_owned())]));
        None
    });
    described.feed.clone().check_due(Instant::now() + 11 * SECOND, exactly).await;
    assert!(described.woken().contains(&described.metadata.0), "it has read the former one");
    assert_eq!(described.read().await, "two");
}

/// An entry without versions is gone, and nothing but its metadata showed that it was there.
#[tokio::test]
async fn an_entry_without_versions_that_is_gone_is_noticed() {
    let (feed, store) = (Feed::new(), FakeStore::new());
    store.put_metadata(&path(AT), BTreeMap::from([("team".to_owned(), "one".to_owned())]));
    let (name, source) = (consumer(0), Source { what: What::Metadata, ..source(&store, AT).await });
    feed.subscribe(&name, vec![source.clone()], Follow::Every(HOUR));
    feed.read(&name, &source, Freshness::Shared).await.unwrap();
    let mut wakeups = feed.wakeups().unwrap();
    store.purge(&path(AT));
    feed.clone().check_all().await;
    assert_eq!(drained(&mut wakeups), [name]);
}
