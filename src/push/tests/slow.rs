//! A store that answers late: what rests on an intent is never done after others may take that
//! intent for dead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant as Moment;

use super::bench::{Bench, PUSH, both};
use super::protocol::{Living, applier, data, expect, metadata_keys, names, no_offers, owner, path, set, site, texts};
use crate::cluster::ClusterError;
use crate::controller::report::{Report, Requeue};
use crate::domain::object_name::Name;
use crate::push::entry::{Access, Applied, ApplyError, Recorder, Sight};
use crate::push::intents::Intents;
use crate::push::offers::{Offers, Waiter};
use crate::push::step::{Goal, Removals};
use crate::store::fake::{FakeStore, Operation};

/// A ledger that takes this long.
struct Slowly(Duration);

#[async_trait]
impl Recorder for Slowly {
    async fn ensure(&self, _properties: &BTreeSet<String>, _sight: Sight) -> Result<(), ClusterError> {
        tokio::time::sleep(self.0).await;
        Ok(())
    }
}

async fn push(store: &FakeStore, goal: &Goal, ledger: Duration) -> Result<Applied, ApplyError> {
    push_among(store, goal, ledger, &no_offers()).await
}

/// The same where others offer properties.
async fn push_among(store: &FakeStore, goal: &Goal, ledger: Duration, offers: &Offers) -> Result<Applied, ApplyError> {
    let (me, owners, intents, path) = (owner("a"), Living(names(&["a", "b"])), Intents::default(), path());
    let access =
        Access { client: store, path: &path, site: &site(), ledger: &Slowly(ledger), announce: &|_version| {} };
    let applier = applier(&me, &owners, &intents, offers);
    applier.converge(&access, goal, Removals::Now).await
}

fn operations(store: &FakeStore) -> Vec<Operation> {
    store.requests().iter().map(|request| request.operation).collect()
}

#[tokio::test(start_paused = true)]
async fn a_read_that_grew_old_is_made_anew_before_the_write_that_rests_on_it() {
    let store = FakeStore::new();
    let late = push(&store, &set(&[("password", "p")]), Duration::from_secs(30)).await;
    // The ledger is always too slow here, so that it never comes to a write: each time the entry is
    // read again.
    assert_eq!(late.unwrap_err(), ApplyError::Busy);
    assert_eq!((store.count(Operation::Write), texts(&store)), (0, expect(&[])));
    push(&store, &set(&[("password", "p")]), Duration::from_secs(10)).await.unwrap();
    assert_eq!(metadata_keys(&store), ["claim.waypost.io/password", "managed-by"]);
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_not_confirmed_on_the_word_of_an_old_reply() {
    use Operation::{CreateEntry, PatchMetadata, Read, Write};
    let store = FakeStore::new();
    store.slow(Write, Duration::from_secs(30));
    push(&store, &set(&[("password", "p")]), Duration::ZERO).await.unwrap();
    assert_eq!(operations(&store), [Read, CreateEntry, PatchMetadata, Read, Write, Read, PatchMetadata, Read]);
    assert_eq!(metadata_keys(&store), ["claim.waypost.io/password", "managed-by"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_would_come_too_late_is_given_up() {
    for (slow, done) in [(Operation::Write, expect(&[("password", "p")])), (Operation::Purge, expect(&[]))] {
        let store = FakeStore::new();
        let goal = match slow {
            Operation::Purge => {
                push(&store, &set(&[("password", "p")]), Duration::ZERO).await.unwrap();
                let earlier = crate::domain::earlier_versions::EarlierVersions::Purge;
                Goal { earlier, ..super::protocol::remove(&["password"]) }
            }
            _write => set(&[("password", "p")]),
        };
        store.slow(slow, Duration::from_secs(300));
        let began = tokio::time::Instant::now();
        assert_eq!(push(&store, &goal, Duration::ZERO).await.unwrap_err(), ApplyError::Slow, "{slow:?}");
        assert!(began.elapsed() < Duration::from_secs(50), "{slow:?}: {:?}", began.elapsed());
        assert_eq!(texts(&store), done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_answers_late_confirms_no_release_and_purges_nothing() {
    let claimed = |property: &str| {
        let claims = crate::domain::claim::confirm([property], &owner("a"));
        claims.into_iter().filter_map(|(key, value)| Some((key, value?)))
    };
    let announced = || {
        let intents = crate::domain::claim::intend_purge(&owner("a"));
        intents.into_iter().filter_map(|(key, value)| Some((key, value?)))
    };
    let purge = crate::domain::earlier_versions::EarlierVersions::Purge;
    for earlier in [purge, Default::default()] {
        let store = FakeStore::new();
        let metadata = super::protocol::marked().into_iter().chain(claimed("password")).chain(announced());
        store.put_metadata(&path(), metadata.collect());
        let goal = Goal { earlier, ..super::protocol::remove(&["password"]) };
        // Each look at the ledger takes so long that what was read of the entry is old after it.
        assert_eq!(push(&store, &goal, Duration::from_secs(30)).await.unwrap_err(), ApplyError::Busy);
        assert!(operations(&store).iter().all(|operation| *operation == Operation::Read), "{earlier:?}");
        push(&store, &goal, Duration::from_secs(10)).await.unwrap();
        assert!(!metadata_keys(&store).iter().any(|key| key.contains("password")), "{earlier:?}");
    }
}

/// Where the server has no check-and-set for metadata, nothing else shows what became of the property.
#[tokio::test(start_paused = true)]
async fn nothing_is_taken_over_on_the_word_of_an_old_read() {
    let store = FakeStore::new();
    let theirs = crate::domain::claim::confirm(["password"], &owner("b"));
    let theirs = theirs.into_iter().filter_map(|(key, value)| Some((key, value?)));
    store.put_metadata(&path(), super::protocol::marked().into_iter().chain(theirs).collect());
    store.put(&path(), data(&[("password", "p")]));
    let offers = no_offers();
    let waiter = Waiter { name: Name::new("db", "push-a"), uid: "a".into(), generation: 1 };
    let asking = BTreeMap::from([((site(), "password".to_owned()), vec![waiter])]);
    offers.open(&owner("b"), asking, &|_, _| false);
    let goal = set(&[("password", "p")]);
    let late = push_among(&store, &goal, Duration::from_secs(30), &offers).await;
    assert_eq!((late.unwrap_err(), store.mutations()), (ApplyError::Busy, 0));
    push_among(&store, &goal, Duration::from_secs(10), &offers).await.unwrap();
    assert_eq!(crate::domain::claim::owner(&store.peek(&path()).custom_metadata, "password"), Some(owner("a")));
}

const ALL: [Operation; 7] = [
    Operation::Read,
    Operation::Metadata,
    Operation::Write,
    Operation::PatchMetadata,
    Operation::DeleteVersions,
    Operation::DestroyVersions,
    Operation::Purge,
];

/// A PushSecret that has pushed to a store which takes two seconds for each request from now on, is
/// deleted, and is asked for this.
async fn deleted(earlier: &str) -> Bench {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    ALL.iter().for_each(|operation| bench.store.slow(*operation, Duration::from_secs(2)));
    bench.delete();
    bench.server.edit(PUSH, &json!({ "metadata": { "annotations": { "waypost.io/earlier-versions": earlier } } }));
    bench
}

#[tokio::test(start_paused = true)]
async fn before_each_request_that_takes_something_away_the_push_secret_is_looked_at() {
    for earlier in ["Keep", "Destroy", "Purge"] {
        let bench = deleted(earlier).await;
        let (looked, late) = (Arc::new(Mutex::new(None::<Moment>)), Arc::<Mutex<Vec<Operation>>>::default());
        let seen = looked.clone();
        bench.server.before_each(move |_, url| {
            if url.contains(PUSH) {
                *seen.lock() = Some(Moment::now());
            }
            None
        });
        let noted = late.clone();
        bench.store.before_each(move |_, request| {
            let takes_away = match request.operation {
                // Where it is to be purged, a purge is announced by it, and no claim is released.
                Operation::PatchMetadata => earlier != "Purge",
                operation => operation.mutates(),
            };
            let is_late = looked.lock().is_none_or(|looked| looked.elapsed() > Duration::from_secs(1));
            noted.lock().extend((takes_away && is_late).then_some(request.operation));
            None
        });
        assert_eq!(bench.turn().await, Report::Gone, "{earlier}");
        assert_eq!(*late.lock(), [], "{earlier}");
    }
}

/// A person takes the request for it back while it is carried out.
#[tokio::test(start_paused = true)]
async fn what_is_not_asked_for_any_more_is_neither_destroyed_nor_purged() {
    use Operation::{DestroyVersions, Metadata, PatchMetadata, Purge, Write};
    for (earlier, back) in [
        ("Destroy", Write),
        ("Destroy", Metadata),
        ("Purge", Write),
        ("Purge", Metadata),
        ("Purge", DestroyVersions),
        ("Purge", PatchMetadata),
    ] {
        let (bench, case) = (deleted(earlier).await, format!("{earlier}, taken back at {back:?}"));
        let before = bench.store.requests().len();
        let server = bench.server.clone();
        bench.store.before_each(move |_, request| {
            if request.operation == back {
                let keep = json!({ "waypost.io/earlier-versions": "Keep" });
                server.edit(PUSH, &json!({ "metadata": { "annotations": keep } }));
            }
            None
        });
        let report = bench.turn().await;
        assert!(report.requeue().is_some_and(Requeue::is_failure), "{case}: {report:?}");
        let requests = bench.store.requests().split_off(before);
        let since = requests.into_iter().skip_while(|request| request.operation != back).skip(1);
        let destroys = |operation| matches!(operation, DestroyVersions | Purge);
        assert!(!since.into_iter().any(|request| destroys(request.operation)), "{case}");
    }
}

/// While we wait for our ledger, another takes our intent for dead and the property for itself.
#[tokio::test(start_paused = true)]
async fn whoever_was_slow_gives_way_to_whoever_took_it_for_dead() {
    let store = FakeStore::new();
    let rival = store.clone();
    let takes = async {
        tokio::time::sleep(Duration::from_secs(65)).await;
        let claims = crate::domain::claim::confirm(["password"], &owner("b"));
        let claims = claims.into_iter().filter_map(|(key, value)| Some((key, value?)));
        rival.put_metadata(&path(), super::protocol::marked().into_iter().chain(claims).collect());
        rival.put(&path(), data(&[("password", "theirs")]));
    };
    let goal = set(&[("password", "ours")]);
    let (ours, ()) = futures::join!(push(&store, &goal, Duration::from_secs(70)), takes);
    assert!(matches!(ours, Err(ApplyError::Refused { .. })), "{ours:?}");
    assert_eq!(texts(&store), expect(&[("password", "theirs")]));
}
