//! Two leaders at once: one removes what the other lets another PushSecret take.

use std::sync::atomic::{AtomicBool, Ordering};

use super::bench::{Bench, TEMPORAL, at, both, mapping, spec};
use super::renames::two;
use crate::cluster::in_memory::ApiServer;
use crate::domain::claim;
use crate::domain::object_name::Name;
use crate::push::offers::Offers;
use crate::store::fake::Operation;

/// Another leader, who asked it, let it take everything while this one, who asked nobody, removes it.
#[tokio::test]
async fn who_took_over_what_another_leader_removes_is_woken_and_writes_it_again() {
    let mut bench = Bench::new();
    two(&bench).await;
    bench.drop("old");
    let woken = bench.woken.clone();
    bench.offers = Offers::new(Box::new(ApiServer::default()), Box::new(move |name| woken.lock().push(name)));
    let was_taken = AtomicBool::new(false);
    bench.store.before_each(move |store, request| {
        if request.operation == Operation::Write && !was_taken.swap(true, Ordering::Relaxed) {
            let mut metadata = store.peek(&at(TEMPORAL)).custom_metadata;
            for property in ["username", "password"] {
                let key = claim::claim_key(property);
                let taken = metadata[&key].replace("name=old uid=uid-old", "name=new uid=uid-new");
                metadata.insert(key, taken);
            }
            store.put_metadata(&at(TEMPORAL), metadata);
        }
        None
    });
    bench.one("old").await;
    assert_eq!(bench.woken.lock().first(), Some(&Name::new("db", "new")), "nobody tells it what it lost");
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
