//! A resource that reads more than its target could hold.

use super::*;
use crate::pull::observe::ObserveError;
use crate::store::fake::Operation;

const MIB: usize = 1024 * 1024;

/// Reads so many paths that hold a MiB each; how many were read.
async fn read(paths: usize) -> (Result<usize, ObserveError>, usize) {
    let entry = |number: usize| json!({ "secretKey": format!("k-{number}"), "remoteRef": { "key": format!("secret/{number}") } });
    let desired = desired(spec_with("/data", (0..paths).map(entry).collect()));
    let store = FakeStore::new();
    for number in 0..paths {
        let value = RemoteValue::text(&"x".repeat(MIB - 9));
        let path = RemotePath::parse(Some("secret"), &number.to_string()).unwrap();
        store.put(&path, BTreeMap::from([("value".to_owned(), value)]));
    }
    let client: Arc<dyn StoreClient> = Arc::new(store.clone());
    let opened = OpenStores::from([(observe::store_of(&desired, &desired.entries[0].from), client)]);
    let located = observe::locate(&desired, &opened).await.unwrap();
    let (feed, name) = (Feed::new(), Name::new("team", "db"));
    observe::subscribe(&feed, &name, &located, Follow::Never);
    let read = observe::read(&feed, &name, &located, Freshness::Shared, Past::default(), observe::deadline()).await;
    (read.map(|read| read.snapshots.len()), store.count(Operation::Read))
}

#[tokio::test]
async fn paths_that_hold_too_much_together_are_not_read_to_the_end() {
    assert_eq!(read(15).await, (Ok(15), 15));
    let (error, requests) = read(200).await;
    assert!(requests < 100, "{requests}");
    let error = error.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the paths that it reads hold more than 16 MiB together"), "{text}");
    assert!(text.contains("ClusterSecretStore/vault secret/") && text.contains("1023 KiB"), "{text}");
    let report = report::failure(&object(spec()), None, &Failure::Observe(error), Holding::Nothing, &moment(0));
    let Report::Verdict { verdict, requeue, .. } = report else { panic!("{report:?}") };
    assert_eq!((verdict.reason, requeue.is_failure()), (Reason::TooLarge, false), "only an edit helps");
}
