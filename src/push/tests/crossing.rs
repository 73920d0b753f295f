//! Two leaders at once: one removes what the other lets another PushSecret take.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bench::{Bench, TEMPORAL, at, both, expect, mapping, spec};
use super::renames::two;
use crate::cluster::in_memory::ApiServer;
use crate::controller::report::Report;
use crate::domain::claim;
use crate::domain::object_name::Name;
use crate::domain::remote::RemoteValue;
use crate::metrics::LetGo;
use crate::push::offers::Offers;
use crate::store::fake::{FakeStore, Operation};

/// "old" is deleted by a leader that asks nobody. Before its first such request, another leader lets
/// "new" take everything, and `more` happens.
async fn crossed(before: Operation, more: impl Fn(&FakeStore) + Send + 'static) -> Bench {
    let mut bench = Bench::new();
    two(&bench).await;
    bench.drop("old");
    let woken = bench.woken.clone();
    bench.offers = Offers::new(Box::new(ApiServer::default()), Box::new(move |name| woken.lock().push(name)));
    let was_taken = AtomicBool::new(false);
    bench.store.before_each(move |store, request| {
        if request.operation == before && !was_taken.swap(true, Ordering::Relaxed) {
            let mut metadata = store.peek(&at(TEMPORAL)).custom_metadata;
            for property in ["username", "password"] {
                let key = claim::claim_key(property);
                let taken = metadata[&key].replace("name=old uid=uid-old", "name=new uid=uid-new");
                metadata.insert(key, taken);
            }
            store.put_metadata(&at(TEMPORAL), metadata);
            more(store);
        }
        None
    });
    // What it leaves to who took it is said before it goes.
    let report = bench.one("old").await;
    assert!(matches!(report, Report::LetGo { why: LetGo::Declined, .. }), "{report:?}");
    assert_eq!(bench.one("old").await, Report::Gone);
    bench
}

#[tokio::test]
async fn what_another_leader_let_be_taken_is_put_back_and_who_took_it_is_woken() {
    let bench = crossed(Operation::Write, |_| {}).await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]), "only a refresh finds it");
    assert_eq!(bench.woken.lock().first(), Some(&Name::new("db", "new")), "nobody tells it");
    bench.settle().await;
    bench.is_handed_over("old", "new");
}

/// Whoever was slow confirms its claim between our last read and our write. Its value is replaced by
/// then, and only it can write it again.
#[tokio::test]
async fn whose_value_is_replaced_by_who_took_it_for_dead_is_woken_and_writes_it_again() {
    let bench = Bench::new();
    bench.apply("slow", both());
    bench.one("slow").await;
    let claimed = bench.store.peek(&at(TEMPORAL)).custom_metadata;
    bench.store.put_metadata(&at(TEMPORAL), super::protocol::marked());
    let confirms = AtomicBool::new(true);
    bench.store.before_each(move |store, request| {
        if request.operation == Operation::Write && confirms.swap(false, Ordering::Relaxed) {
            let mut metadata = store.peek(&at(TEMPORAL)).custom_metadata;
            metadata.extend(claimed.clone());
            store.put_metadata(&at(TEMPORAL), metadata);
        }
        None
    });
    bench.apply("quick", spec(&[mapping("user", TEMPORAL, "password")]));
    bench.one("quick").await;
    assert_eq!((bench.says("quick").1.as_str(), &*bench.texts(TEMPORAL)["password"]), ("PathConflict", "u"));
    assert!(bench.woken.lock().contains(&Name::new("db", "slow")), "nobody tells it what it lost");
    bench.settle().await;
    assert_eq!(bench.texts(TEMPORAL)["password"], "p");
}

/// It was taken between the removal and the release of the claims, which releases the taker's too
/// where metadata has no check-and-set.
#[tokio::test]
async fn what_another_wrote_after_a_removal_is_not_removed_because_nobody_claims_it() {
    let bench = crossed(Operation::PatchMetadata, |store| {
        let values = [("username", "u"), ("password", "p")];
        let data = values.map(|(property, text)| (property.to_owned(), RemoteValue::text(text)));
        store.put(&at(TEMPORAL), BTreeMap::from(data));
    })
    .await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
    bench.one("new").await;
    bench.is_handed_over("old", "new");
}
