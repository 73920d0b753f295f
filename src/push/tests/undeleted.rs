//! A version that somebody deleted, and that anybody may undelete: its value and its readers are still
//! those of whoever wrote it.

use super::consents::{may_read, only, password};
use super::protocol::{announced, names, owner, path, push, push_among, remove};
use crate::domain::consent::{self, Consent};
use crate::domain::earlier_versions::EarlierVersions;
use crate::push::step::{Existing, Goal};
use crate::store::StoreError;
use crate::store::fake::{Counting, FakeStore, Fault, Operation};

fn release() -> Goal {
    Goal { release: names(&["password"]), ..Goal::default() }
}

/// What the value's readers are, once the version is undeleted.
fn consent(store: &FakeStore) -> Option<Consent> {
    consent::of(&store.peek(&path()).custom_metadata, "password")
}

#[tokio::test]
async fn who_may_read_it_stays_when_its_owner_releases_it() {
    for counting in [Counting::Offered, Counting::Refused] {
        let store = FakeStore::new().with_counting(counting);
        push(&store, "a", &password("one", &["shop"])).await.unwrap();
        store.soft_delete(&path());
        push(&store, "a", &release()).await.unwrap();
        assert_eq!(consent(&store), Some(only(&["shop"])), "{counting:?}");
    }
}

#[tokio::test]
async fn i4_who_may_read_it_stays_until_its_next_owner_has_written() {
    for (counting, wanted) in [Counting::Offered, Counting::Refused].into_iter().flat_map(|counting| {
        let wishes: [&[&str]; 2] = [&[], &["other"]];
        wishes.map(|wanted| (counting, wanted))
    }) {
        let store = FakeStore::new().with_counting(counting);
        push(&store, "a", &password("theirs", &["shop"])).await.unwrap();
        store.soft_delete(&path());
        store.before_each(|_, request| {
            let down = StoreError::Sealed { server: "fake".into() };
            (request.operation == Operation::Write).then_some(Fault::Refuse(down))
        });
        assert!(push_among(&store, "b", &password("mine", wanted), &["b"]).await.is_err());
        assert!(!may_read(consent(&store).as_ref(), "other"), "{counting:?} {wanted:?}: {:?}", consent(&store));
    }
}

/// It announced the property, and its write failed. Then it gives the property up.
#[tokio::test]
async fn who_only_announced_a_property_destroys_and_purges_nothing() {
    for earlier in [EarlierVersions::Destroy, EarlierVersions::Purge] {
        for existing in [Existing::Replace, Existing::Keep, Existing::Claimed] {
            let store = FakeStore::new();
            push(&store, "a", &password("theirs", &["shop"])).await.unwrap();
            push(&store, "a", &release()).await.unwrap();
            store.soft_delete(&path());
            announced(&store, &[(owner("b"), "password".to_owned())]);
            push(&store, "b", &Goal { earlier, existing, ..remove(&["password"]) }).await.unwrap();
            let ended = [Operation::DestroyVersions, Operation::Purge].map(|operation| store.count(operation));
            assert_eq!(ended, [0, 0], "{earlier:?} {existing:?}");
        }
    }
}
