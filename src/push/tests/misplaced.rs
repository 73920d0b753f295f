//! Marks that External Secrets Operator put at another place than the data: found, believed, put
//! right, and never more.

use std::collections::BTreeSet;

use super::protocol::{data, expect, marked, metadata_keys, path, push, remove, set, texts};
use crate::domain::claim;
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::path::RemotePath;
use crate::push::entry::{ApplyError, Wrote};
use crate::push::refusal::Refusal;
use crate::push::step::{Existing, Goal};
use crate::store::StoreError;
use crate::store::fake::{Counting, FakeStore, Fault, Operation};

const KEY: &str = "secret/platform-data/postgres/temporal";

fn spelled(goal: Goal) -> Goal {
    Goal { spellings: BTreeSet::from([KEY.to_owned()]), ..goal }
}

fn phantom() -> RemotePath {
    RemotePath::with_misplaced_metadata("secret", KEY).unwrap()
}

/// As that operator leaves it.
fn left_behind(counting: Counting) -> FakeStore {
    let store = FakeStore::new().with_counting(counting);
    store.put(&path(), data(&[("password", "p"), ("username", "u")]));
    store.put_metadata(&phantom(), marked());
    store
}

#[tokio::test]
async fn a_path_that_is_marked_elsewhere_is_claimed_without_a_version_and_looked_at_once() {
    for counting in [Counting::Refused, Counting::Offered] {
        let store = left_behind(counting);
        let applied = push(&store, "a", &spelled(set(&[("password", "p")]))).await.unwrap();
        assert_eq!((applied.settled.version, applied.wrote), (Some(1), Wrote::Nothing));
        assert_eq!(metadata_keys(&store), ["claim.waypost.io/password", "managed-by"]);
        assert_eq!(texts(&store), expect(&[("password", "p"), ("username", "u")]));
        assert!(store.peek(&phantom()).custom_metadata.is_empty());
        let before = store.requests().len();
        push(&store, "a", &spelled(set(&[("password", "p")]))).await.unwrap();
        assert_eq!(store.requests().len() - before, 1, "silence costs one read");
    }
}

#[tokio::test]
async fn a_property_that_was_pushed_before_the_mark_was_put_right_goes_with_its_mapping() {
    let store = left_behind(Counting::Refused);
    push(&store, "a", &spelled(remove(&["password"]))).await.unwrap();
    assert_eq!((texts(&store), metadata_keys(&store)), (expect(&[("username", "u")]), vec![claim::MARKER.to_owned()]));
}

/// `IfNotExists` leaves what existed as it was, and so it leaves the only mark of its path.
#[tokio::test]
async fn the_only_mark_of_a_path_stays_where_it_is() {
    for counting in [Counting::Refused, Counting::Offered] {
        let store = left_behind(counting);
        let dropped = Goal { existing: Existing::Keep, ..spelled(remove(&["password"])) };
        let settled = push(&store, "a", &dropped).await.unwrap().settled;
        assert_eq!((settled.left.len(), store.mutations()), (1, 0));
        assert!(claim::is_marked(&store.peek(&phantom()).custom_metadata));
        push(&store, "a", &spelled(set(&[("password", "q")]))).await.expect("the path is no foreign one");
    }
}

/// A path that is purged needs no mark anywhere.
#[tokio::test]
async fn the_misplaced_mark_of_a_purged_path_goes() {
    let store = left_behind(Counting::Refused);
    let gone = Goal { earlier: EarlierVersions::Purge, ..spelled(remove(&["password", "username"])) };
    push(&store, "a", &gone).await.unwrap();
    assert_eq!(metadata_keys(&store), Vec::<String>::new());
    assert!(store.peek(&phantom()).custom_metadata.is_empty());
}

#[tokio::test]
async fn whatever_is_no_misplaced_mark_is_not_believed_and_costs_one_request() {
    let owned = claim::confirm(["password"], &super::protocol::owner("b"));
    let owned = owned.into_iter().filter_map(|(key, value)| Some((key, value?))).chain(marked()).collect();
    let stores = [
        // Nothing there, another's entry with data of its own, and one with claims.
        FakeStore::new(),
        FakeStore::new(),
        FakeStore::new(),
    ];
    stores[1].put(&phantom(), data(&[("x", "y")]));
    stores[1].put_metadata(&phantom(), marked());
    stores[2].put_metadata(&phantom(), owned);
    for store in stores {
        store.put(&path(), data(&[("password", "theirs")]));
        let refused = push(&store, "a", &spelled(set(&[("password", "p")]))).await.unwrap_err();
        assert!(matches!(refused, ApplyError::Refused { refusal: Refusal::NotManaged { .. }, .. }), "{refused}");
        assert_eq!((store.mutations(), store.count(Operation::Metadata)), (0, 1));
    }
}

#[tokio::test]
async fn a_mark_beside_others_metadata_is_believed_and_stays() {
    let store = left_behind(Counting::Refused);
    let mut metadata = marked();
    metadata.insert("team".into(), "shop".into());
    store.put_metadata(&phantom(), metadata);
    push(&store, "a", &spelled(set(&[("password", "p")]))).await.unwrap();
    assert!(claim::is_marked(&store.peek(&phantom()).custom_metadata));
}

#[tokio::test]
async fn a_place_that_may_not_be_seen_is_named_and_one_that_may_not_be_removed_stays() {
    let forbidden = || StoreError::Forbidden { operation: "read", path: "secret".into() };
    for refused in [Operation::Metadata, Operation::PatchMetadata] {
        let store = left_behind(Counting::Refused);
        let phantom_url = phantom().to_string();
        store.before_each(move |_, request| {
            (request.operation == refused && request.path == phantom_url).then(|| Fault::Refuse(forbidden()))
        });
        let outcome = push(&store, "a", &spelled(set(&[("password", "p")]))).await;
        assert!(claim::is_marked(&store.peek(&phantom()).custom_metadata));
        match refused {
            Operation::PatchMetadata => assert!(outcome.is_ok()),
            _look => {
                let told = outcome.unwrap_err().to_string();
                assert!(told.contains(&phantom().to_string()) && told.contains("eso-markers.hcl"), "{told}");
            }
        }
    }
}

/// Somebody writes a first version there, of their own, at the very moment at which the mark is
/// taken away.
#[tokio::test]
async fn what_somebody_writes_at_the_wrong_place_meanwhile_stays() {
    let store = left_behind(Counting::Refused);
    store.before_each(|store, request| {
        if request.operation.mutates() && request.path == phantom().to_string() {
            store.put(&phantom(), data(&[("x", "theirs")]));
        }
        None
    });
    push(&store, "a", &spelled(set(&[("password", "p")]))).await.unwrap();
    assert!(store.peek(&phantom()).data().is_some_and(|data| data.contains_key("x")));
}
