//! A resource that reads more than its target could hold.

use tokio::time::Instant;

use super::*;
use crate::domain::consent::{self, OnWithdrawal};
use crate::pull::consent::check;
use crate::pull::observe::ReadPaths;
use crate::store::fake::Operation;

const MIB: usize = 1024 * 1024;

/// A resource that reads so many paths, which hold a MiB each. Reading one takes a second.
async fn read(paths: usize) -> (Desired, ReadPaths) {
    let entry = |number: usize| json!({ "secretKey": format!("k-{number}"), "remoteRef": { "key": format!("secret/p{number:03}") } });
    let desired = desired(spec_with("/data", (0..paths).map(entry).collect()));
    let store = FakeStore::new();
    store.slow(Operation::Read, Duration::from_secs(1));
    for number in 0..paths {
        let value = RemoteValue::text(&"x".repeat(MIB - 7));
        let path = RemotePath::parse(Some("secret"), &format!("p{number:03}")).unwrap();
        store.put(&path, BTreeMap::from([("value".to_owned(), value)]));
        // The last one is withdrawn.
        if number + 1 == paths {
            let withdrawn = (consent::key("value"), r#"{"onWithdrawal":"Delete"}"#.to_owned());
            store.put_metadata(&path, BTreeMap::from([withdrawn]));
        }
    }
    let client: Arc<dyn StoreClient> = Arc::new(store.clone());
    let opened = OpenStores::from([(observe::store_of(&desired, &desired.entries[0].from), client)]);
    let located = observe::locate(&desired, &opened).await.unwrap();
    let (feed, name) = (Feed::new(), Name::new("team", "db"));
    observe::subscribe(&feed, &name, &located, Follow::Never);
    let read = observe::read(&feed, &name, &located, Freshness::Shared, Past::default(), observe::deadline()).await;
    (desired, read.unwrap())
}

fn held(read: &ReadPaths) -> usize {
    read.snapshots.iter().map(|(_, snapshot)| snapshot.entry.bytes()).sum()
}

#[tokio::test(start_paused = true)]
async fn of_paths_that_hold_too_much_together_only_the_consents_are_used() {
    let (_, little) = read(16).await;
    assert_eq!((little.unusable.is_none(), held(&little)), (true, 16 * MIB));
    let began = Instant::now();
    let (desired, much) = read(200).await;
    assert!(began.elapsed() > Duration::from_secs(5), "so many are not read at once: {:?}", began.elapsed());
    assert!(held(&much) < 17 * MIB && much.snapshots.len() == 200);
    let Err(Refusal::NotPermitted(denial)) = check(&desired, &much.snapshots, &Consumer::default()) else {
        panic!("a withdrawal is not hidden by the size")
    };
    assert_eq!((denial.path.as_str(), denial.on_withdrawal), ("secret/p199", OnWithdrawal::Delete));
    let failure = Failure::Observe(much.unusable.unwrap());
    let report = report::failure(&object(spec()), Some(&desired), &failure, Holding::Nothing, &moment(0));
    let Report::Verdict { verdict, requeue, .. } = report else { panic!("{report:?}") };
    assert_eq!((verdict.reason, requeue), (Reason::TooLarge, Requeue::After(Duration::from_secs(3600))));
    let text =
        "the paths that it reads hold more than 16 MiB together, most of it secret/p199 of ClusterSecretStore/vault";
    assert!(verdict.message.starts_with(text), "{}", verdict.message);
}
