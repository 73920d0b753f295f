//! A store that answers late: what rests on an intent is never done after others may take that
//! intent for dead.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::protocol::{Living, data, expect, metadata_keys, names, no_offers, owner, path, set, site, texts};
use crate::cluster::ClusterError;
use crate::push::entry::{Access, Applied, Applier, ApplyError, Recorder, Sight};
use crate::push::intents::Intents;
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
    let (me, owners, intents, path) = (owner("a"), Living(names(&["a", "b"])), Intents::default(), path());
    let access =
        Access { client: store, path: &path, site: &site(), ledger: &Slowly(ledger), announce: &|_version| {} };
    let applier = Applier { me: &me, owners: &owners, intents: &intents, offers: &no_offers(), now: Instant::now() };
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
