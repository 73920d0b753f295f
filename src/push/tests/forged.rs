//! One place at two addresses: the same server, or another that calls itself the same and has the
//! same claims, as one that was restored from a snapshot has. What is left at one is handed over
//! there, whatever somebody does at the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, TEMPORAL, at, both, mapping};
use super::protocol::site;
use super::renames::two;
use crate::domain::claim::Owner;
use crate::domain::object_name::Name;
use crate::push::offers::{Patience, Reached};
use crate::store::fake::{Counting, FakeStore, Fault};
use crate::store::{Site, StoreError};

fn through(store: &str, kind: &str) -> Value {
    let mut spec = both();
    spec["secretStoreRefs"] = json!([{ "name": store, "kind": kind }]);
    spec
}

fn owner_of(namespace: &str, name: &str) -> Owner {
    Owner { uid: format!("uid-{name}"), cluster: "here".into(), namespace: namespace.into(), name: name.into() }
}

fn elsewhere() -> Site {
    Site { address: "theirs".into(), ..site() }
}

impl Bench {
    /// A server like ours in all that it says and has, and a PushSecret that pushes there what
    /// `old` has pushed here.
    fn forge(&mut self, kind: &str) -> FakeStore {
        let theirs = FakeStore::new().with_address("theirs").with_identity("theirs");
        let ours = self.store.peek(&at(TEMPORAL));
        theirs.put(&at(TEMPORAL), super::protocol::data(&[("username", "u"), ("password", "p")]));
        theirs.put_metadata(&at(TEMPORAL), ours.custom_metadata);
        self.stores.clients.insert("theirs", theirs.clone());
        self.apply("forger", through("theirs", kind));
        theirs
    }
}

#[tokio::test]
async fn what_is_taken_on_a_server_that_calls_itself_the_same_is_still_left_to_who_waits_here() {
    let mut bench = Bench::new();
    two(&bench).await;
    bench.forge("ClusterSecretStore");
    bench.one("forger").await;
    let holds = bench.guard();
    bench.drop("old");
    bench.one("old").await;
    bench.one("forger").await;
    assert!(bench.says("forger").0, "it takes over what is claimed there: {:?}", bench.says("forger"));
    bench.one("old").await;
    assert_eq!(bench.texts(TEMPORAL).len(), 2);
    bench.settle().await;
    bench.is_handed_over("old", "new");
    assert!(holds.load(Ordering::Relaxed));
}

/// Nobody waits for it here: its word is one answer, and the removal follows, also if it fails
/// with something else and so declines nothing.
#[tokio::test]
async fn who_takes_it_elsewhere_has_answered_and_is_not_waited_for() {
    for fails in [false, true] {
        let mut bench = Bench::new();
        bench.apply("old", both());
        bench.one("old").await;
        let theirs = bench.forge("ClusterSecretStore");
        let mut more = through("theirs", "ClusterSecretStore");
        more["data"].as_array_mut().unwrap().push(mapping("pass", "platform-data/redis/temporal", "password"));
        bench.apply("forger", more);
        theirs.before_each(move |_, request| {
            let refused = fails && request.operation.mutates() && request.path.ends_with("redis/temporal");
            refused.then(|| Fault::Refuse(StoreError::Sealed { server: "theirs".into() }))
        });
        bench.drop("old");
        bench.one("old").await;
        bench.settle().await;
        assert!(bench.get("old").is_none() && bench.texts(TEMPORAL).is_empty(), "fails: {fails}");
        assert!(bench.says("forger").0 != fails && theirs.peek(&at(TEMPORAL)).data().is_some());
    }
}

#[tokio::test]
async fn who_owns_it_on_a_server_that_calls_itself_the_same_has_not_taken_it_here() {
    let bench = Bench::new();
    two(&bench).await;
    bench.drop("old");
    bench.one("old").await;
    let forger = bench.offers.begin(&owner_of("db", "forger"), 1).await;
    let owned = BTreeSet::from(["username", "password"].map(str::to_owned));
    let reached =
        Reached { site: elsewhere(), owned, refused_for: BTreeSet::new(), taken: BTreeSet::new(), is_final: true };
    bench.offers.reached(&forger, &[reached]);
    bench.hands_over("old", "new").await;
}

/// It holds it in hand for as long as its server likes.
#[tokio::test]
async fn who_takes_it_elsewhere_holds_nobody_here() {
    let bench = Bench::new();
    two(&bench).await;
    bench.drop("old");
    bench.one("old").await;
    let from = BTreeMap::from(["username", "password"].map(|property| (property.to_owned(), "uid-old".to_owned())));
    let forger = owner_of("db", "forger");
    let _in_hand = bench.offers.take(&forger, &elsewhere(), &from).expect("it is offered, wherever it is asked for");
    let goes_on = bench.hands_over("old", "new");
    tokio::time::timeout(Duration::from_secs(60), goes_on).await.expect("nobody waits for another server");
}

/// Another namespace's own server refuses it for the sake of `old`: that one is asked nothing. At
/// our server it would be.
#[tokio::test]
async fn a_refusal_by_another_namespaces_own_server_delays_nobody() {
    for (kind, at, is_asked) in
        [("SecretStore", elsewhere(), false), ("SecretStore", site(), true), ("ClusterSecretStore", elsewhere(), true)]
    {
        let bench = Bench::new();
        let mut spec = through("theirs", kind);
        spec["data"] = json!([]);
        spec["dataTo"] = json!([{}]);
        bench.server.put(
            "/namespaces/other/pushsecrets/forger",
            json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": spec,
                "metadata": { "name": "forger", "namespace": "other", "uid": "uid-forger", "generation": 1 } }),
        );
        let attempt = bench.offers.begin(&owner_of("other", "forger"), 1).await;
        let refused_for = BTreeSet::from([Name::new("db", "old")]);
        bench.offers.reached(
            &attempt,
            &[Reached { site: at, owned: BTreeSet::new(), refused_for, taken: BTreeSet::new(), is_final: true }],
        );
        let (old, now) = (owner_of("db", "old"), std::time::Instant::now());
        let search = bench.offers.search(&old, Patience { now, most: Duration::from_secs(600) });
        let asked = search.waiters(&site(), &super::bench::at(TEMPORAL), "username");
        assert_eq!(!asked.is_empty(), is_asked, "{kind} {asked:?}");
    }
}

/// Two stores with other addresses of one server: what is left is handed over as ever.
#[tokio::test]
async fn a_rename_to_another_address_of_the_same_server_hands_everything_over() {
    for counted in [Counting::Offered, Counting::Refused] {
        for (first, second) in [("vault", "alias"), ("alias", "vault")] {
            let mut bench = Bench::new();
            bench.store = bench.store.with_counting(counted);
            bench.stores.clients.insert("vault", bench.store.clone());
            let alias = bench.store.with_address("theirs").with_identity("alias");
            bench.stores.clients.insert("alias", alias);
            bench.apply("old", through(first, "ClusterSecretStore"));
            bench.one("old").await;
            bench.apply("new", through(second, "ClusterSecretStore"));
            bench.one("new").await;
            assert_eq!(bench.says("new").1, "PathConflict");
            bench.drop("old");
            bench.hands_over("old", "new").await;
            assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 1, "no version is written: {counted:?} {first}");
        }
    }
}
