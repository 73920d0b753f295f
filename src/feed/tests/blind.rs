//! Logins that may see no metadata, and so no consents where there is no data.

use super::*;
use crate::store::fake::Sight;

const AT: &str = "platform-data/redis/a";

/// A path with consents, and a consumer with a login that sees them and one with a login that does
/// not.
struct Two {
    feed: Arc<Feed>,
    store: FakeStore,
    consumers: Vec<(Name, Source)>,
    wakeups: mpsc::UnboundedReceiver<Name>,
}

impl Two {
    async fn of(versions: u64, pinned: Option<u64>, sights: [Sight; 2]) -> Self {
        let (feed, store) = (Feed::new(), FakeStore::new());
        store.put_metadata(&path(AT), BTreeMap::from([(consent::key("password"), "{}".to_owned())]));
        for _ in 0..versions {
            store.put(&path(AT), data("1"));
        }
        let (mut consumers, wakeups) = (Vec::new(), feed.wakeups().unwrap());
        for (number, sight) in sights.into_iter().enumerate() {
            let client = store.with_identity(&format!("login-{number}")).with_sight(sight);
            let source = source(&client, AT).await;
            consumers.push(served(&feed, &format!("{number}"), &source, pinned, Follow::Every(HOUR)).await);
        }
        Two { feed, store, consumers, wakeups }
    }

    /// Lets them reconcile until nobody is woken, and returns how often each did.
    async fn settle(&mut self) -> Vec<usize> {
        let mut reconciles = vec![0; self.consumers.len()];
        for _ in 0..10 {
            let woken = drained(&mut self.wakeups);
            if woken.is_empty() {
                return reconciles;
            }
            for (number, (name, source)) in
                self.consumers.iter().enumerate().filter(|(_, (name, _))| woken.contains(name))
            {
                reconciles[number] += 1;
                if self.feed.is_behind(name) {
                    self.feed.read(name, source, Freshness::Shared).await.unwrap();
                }
            }
        }
        panic!("they wake each other without end: {reconciles:?}");
    }
}

/// Where there is nothing to read: no version at all, or not the pinned one.
#[tokio::test]
async fn who_sees_no_consents_contradicts_nobody_who_does() {
    for (versions, pinned) in [(0, None), (0, Some(1)), (1, Some(3))] {
        for sights in [[Sight::All, Sight::DataAlone], [Sight::DataAlone, Sight::All]] {
            // Who waits for a version hears at each check that there is another one.
            let waits = if pinned > Some(versions) && versions > 0 { [1, 1] } else { [0, 0] };
            let case = format!("{versions} versions, {pinned:?}, {sights:?}");
            let mut two = Two::of(versions, pinned, sights).await;
            assert!(two.settle().await.into_iter().all(|reconciles| reconciles <= 1), "{case}");
            for _ in 0..3 {
                two.feed.clone().check_all().await;
                assert_eq!(two.settle().await, waits, "{case}: a check shows nothing new");
            }
            // A change reaches both, once.
            two.store.patch_metadata(&path(AT), &consents("{ }")).await.unwrap();
            two.feed.announce(&two.consumers[0].1.site(), Pushed::Consent);
            assert_eq!(two.settle().await, [1, 1], "{case}");
            two.feed.pass(Duration::from_secs(10));
            two.feed.clone().check_all().await;
            assert_eq!(two.settle().await, waits, "{case}");
        }
    }
}

/// One who sees nothing of a change may read first, or last. The other one's read shows it.
#[tokio::test]
async fn who_sees_no_consents_hides_no_change_of_them() {
    for sights in [[Sight::All, Sight::DataAlone], [Sight::DataAlone, Sight::All]] {
        let mut two = Two::of(1, Some(3), sights).await;
        two.settle().await;
        two.store.patch_metadata(&path(AT), &consents("{ }")).await.unwrap();
        for (name, source) in &two.consumers {
            two.feed.read(name, source, Freshness::Since(Instant::now())).await.unwrap();
        }
        let seeing = sights.iter().position(|sight| *sight == Sight::All).unwrap();
        let woken = two.settle().await;
        assert!(woken[seeing] <= 1 && woken[1 - seeing] == 1, "{sights:?}: {woken:?}");
    }
}
