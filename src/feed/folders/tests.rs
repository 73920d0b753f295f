//! Who hears of which entry, and what it costs, on the store in memory.

use super::*;
use crate::domain::path::RemotePath;
use crate::domain::remote::RemoteData;
use crate::store::fake::{FakeStore, Operation};
use tokio::sync::mpsc::UnboundedReceiver;

const HOUR: Duration = Duration::from_secs(3600);

struct Bench {
    store: FakeStore,
    feed: Arc<Feed>,
    woken: UnboundedReceiver<Name>,
}

impl Bench {
    fn new() -> Self {
        let feed = Feed::new();
        let woken = feed.wakeups().unwrap();
        Bench { store: FakeStore::new(), feed, woken }
    }

    fn put(&self, at: &str) -> RemotePath {
        let path = RemotePath::parse(Some("secret"), at).unwrap();
        self.store.put(&path, RemoteData::new());
        path
    }

    async fn source(&self, store: &FakeStore, folder: &str, detail: Detail) -> FolderSource {
        let folder = RemoteFolder::parse(Some("secret"), Some(folder)).unwrap();
        let PathKey { server, mount, .. } = store.path_key(&folder.entry("any").unwrap()).await.unwrap();
        let place = PathKey { server, mount, path: folder.path().into() };
        FolderSource { client: Arc::new(store.clone()), folder, place, detail }
    }

    async fn names(&self, folder: &str) -> FolderSource {
        self.source(&self.store, folder, Detail::Names).await
    }

    /// So many consumers that look into a folder, each of which has its list.
    async fn look(&self, consumers: usize, source: &FolderSource) -> Vec<Name> {
        let names: Vec<Name> = (0..consumers).map(|number| Name::new("team", format!("consumer-{number}"))).collect();
        for name in &names {
            self.feed.look_into(name, vec![source.clone()], Follow::Every(HOUR));
            assert!(self.feed.folders().is_behind(name));
            self.take(name, source).await;
        }
        names
    }

    async fn take(&self, name: &Name, source: &FolderSource) -> Vec<String> {
        let entries = self.feed.entries_below(name, source, Freshness::Shared).await.unwrap();
        assert!(!self.feed.folders().is_behind(name));
        entries.keys().cloned().collect()
    }

    async fn announce(&self, path: &RemotePath, pushed: Pushed) {
        let place = self.store.path_key(path).await.unwrap();
        self.feed.announce(&Site::of(&self.store, place), pushed);
    }

    fn woken(&mut self) -> BTreeSet<Name> {
        std::iter::from_fn(|| self.woken.try_recv().ok()).collect()
    }

    fn lists(&self) -> usize {
        self.store.count(Operation::List)
    }
}

#[tokio::test]
async fn a_push_below_a_folder_wakes_who_looks_into_it_and_one_list_serves_them_all() {
    let mut bench = Bench::new();
    bench.put("platform-data/redis/a");
    let source = bench.names("platform-data/redis").await;
    let names = bench.look(10, &source).await;
    assert_eq!(bench.lists(), 1, "they share the first list");
    let deep = bench.put("platform-data/redis/b/c");
    bench.announce(&deep, Pushed::Version(1, None)).await;
    assert_eq!(bench.woken(), names.iter().cloned().collect());
    for name in &names {
        assert!(bench.feed.is_behind(name));
        assert_eq!(bench.take(name, &source).await, ["platform-data/redis/a", "platform-data/redis/b/c"]);
    }
    assert_eq!(bench.lists(), 2);
    for elsewhere in ["platform-data/redis-2/a", "platform-data/redis", "platform-data/a"] {
        let path = bench.put(elsewhere);
        bench.announce(&path, Pushed::Version(1, None)).await;
        assert_eq!(bench.woken(), BTreeSet::new(), "{elsewhere}");
    }
}

#[tokio::test]
async fn whatever_a_push_does_there_is_followed_also_at_another_address() {
    let mut bench = Bench::new();
    let path = bench.put("platform-data/redis/a");
    let elsewhere = bench.store.with_address("elsewhere");
    let source = bench.source(&elsewhere, "", Detail::CustomMetadata).await;
    let [name] = bench.look(1, &source).await.try_into().unwrap();
    for pushed in [Pushed::Purge, Pushed::CustomMetadata] {
        bench.announce(&path, pushed).await;
        assert_eq!(bench.woken().len(), 1, "{pushed}");
        bench.take(&name, &source).await;
    }
    for pushed in [Pushed::Version(2, None), Pushed::Removal(2), Pushed::Consent, Pushed::Release] {
        bench.announce(&path, pushed).await;
        assert_eq!(bench.woken().len(), 0, "{pushed} of what is listed concerns who reads it");
    }
    let names = bench.names("platform-data").await;
    let other = Name::new("team", "other");
    bench.feed.look_into(&other, vec![names.clone(), names.clone()], Follow::Every(HOUR));
    bench.take(&other, &names).await;
    bench.announce(&path, Pushed::CustomMetadata).await;
    assert_eq!(bench.woken(), [name].into(), "names alone have no labels");
}

#[tokio::test]
async fn a_check_finds_what_nobody_announced_and_is_silent_otherwise() {
    let mut bench = Bench::new();
    let path = bench.put("platform-data/redis/a");
    let (named, labelled) =
        (bench.names("platform-data").await, bench.source(&bench.store, "platform-data", Detail::CustomMetadata).await);
    let [name] = bench.look(1, &named).await.try_into().unwrap();
    let other = Name::new("team", "other");
    bench.feed.look_into(&other, vec![labelled.clone()], Follow::Every(HOUR));
    bench.take(&other, &labelled).await;
    bench.feed.check_folders().await;
    assert_eq!(bench.woken(), BTreeSet::new(), "nothing changed");
    bench.store.put_metadata(&path, [("team".to_owned(), "shop".to_owned())].into());
    bench.feed.check_folders().await;
    assert_eq!(bench.woken(), [other.clone()].into(), "labels concern who asks for them");
    let before = bench.lists();
    bench.take(&other, &labelled).await;
    assert_eq!(bench.lists(), before, "it takes the list that woke it");
    bench.put("platform-data/redis/b");
    bench.feed.check_folders().await;
    assert_eq!(bench.woken(), [name, other].into());
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_is_told_once_and_its_return_too() {
    let mut bench = Bench::new();
    bench.put("platform-data/redis/a");
    let source = bench.names("platform-data").await;
    let [name] = bench.look(1, &source).await.try_into().unwrap();
    let denied = StoreError::Forbidden { operation: "list", path: "secret/metadata/platform-data/".into() };
    bench.store.fail_next(3, denied.clone());
    bench.feed.check_folders().await;
    assert_eq!(bench.woken(), [name.clone()].into());
    bench.feed.check_folders().await;
    assert_eq!(bench.woken(), BTreeSet::new());
    assert_eq!(bench.feed.entries_below(&name, &source, Freshness::Shared).await.err(), Some(denied));
    assert!(bench.feed.is_behind(&name));
    bench.feed.check_folders().await;
    assert_eq!(bench.woken(), [name].into());
}

/// What was just pushed is looked for again soon, until no standby can lag any more.
#[tokio::test]
async fn a_list_that_lacks_what_was_pushed_is_repeated_soon() {
    let bench = Bench::new();
    bench.put("platform-data/redis/a");
    let source = bench.names("platform-data").await;
    let [name] = bench.look(1, &source).await.try_into().unwrap();
    let late = bench.put("platform-data/redis/b");
    bench.store.hide(&late);
    bench.announce(&late, Pushed::Version(1, None)).await;
    bench.take(&name, &source).await;
    let soon = bench.feed.folders().next_due().unwrap().saturating_duration_since(Instant::now());
    assert!(soon <= SHORTEST, "{soon:?}");
    let mut folders = bench.feed.folders();
    let (key, _) = folders.take_all().remove(0);
    let later = Instant::now() + LONGEST_LAG + SHORTEST;
    folders.listed(&key, later, &Entries::new(), later);
    assert!(folders.next_due().unwrap() > later + HOUR / 2, "it does not exist");
}

#[tokio::test]
async fn a_change_during_a_list_is_not_lost() {
    let mut bench = Bench::new();
    let path = bench.put("platform-data/redis/a");
    let source = bench.names("platform-data").await;
    let [name] = bench.look(1, &source).await.try_into().unwrap();
    let (feed, place) = (bench.feed.clone(), bench.store.path_key(&path).await.unwrap());
    bench.announce(&path, Pushed::Purge).await;
    let site = Site::of(&bench.store, place);
    bench.store.after_each(move |_, request| {
        if request.operation == Operation::List {
            feed.announce(&site, Pushed::Purge);
        }
    });
    bench.feed.entries_below(&name, &source, Freshness::Shared).await.unwrap();
    assert!(bench.feed.is_behind(&name), "the list was begun before");
    assert_eq!(bench.woken(), [name].into());
}

#[tokio::test]
async fn who_looks_no_longer_leaves_nothing_behind() {
    let bench = Bench::new();
    let source = bench.names("platform-data").await;
    let names = bench.look(3, &source).await;
    assert_eq!(bench.feed.lists(), 1);
    bench.feed.look_into(&names[0], vec![bench.names("other").await], Follow::Every(HOUR));
    assert_eq!(bench.feed.lists(), 2);
    bench.feed.look_into(&names[1], vec![source], Follow::Never);
    names.iter().for_each(|name| bench.feed.forget(name));
    assert_eq!(bench.feed.lists(), 0);
}

#[test]
fn an_entry_is_in_each_folder_above_it() {
    assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["", "a", "a/b"]);
    assert_eq!(parents("a").collect::<Vec<_>>(), [""]);
}
