//! Who is asked whether they want what another leaves, and what is remembered of their answers.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::http::Method;
use futures::future::{MaybeDone, maybe_done};
use futures::poll;
use serde_json::{Value, json};

use super::bench::{Bench, TEMPORAL, at, both, mapping, spec, unusable};
use super::protocol::site;
use super::renames::{two, url};
use crate::api::PushSecret;
use crate::api::names::FINALIZER_PUSH_SECRET;
use crate::cluster::in_memory::{self, ApiServer};
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::guarded::Guarded;
use crate::controller::report::{Report, Requeue};
use crate::controller::undecodable::Fate;
use crate::domain::claim::Owner;
use crate::domain::object_name::Name;
use crate::push::Pusher;
use crate::push::offers::{Offers, Others, Patience};
use crate::store::StoreError;
use crate::store::fake::{self, FakeStore, Operation};

/// One that waits, and can take nothing: it has no source.
fn sourceless() -> Value {
    let mut spec = both();
    spec["selector"]["secret"]["name"] = json!("nowhere");
    spec
}

pub(super) fn owner_of(name: &str) -> Owner {
    Owner { uid: format!("uid-{name}"), cluster: "here".into(), namespace: "db".into(), name: name.into() }
}

/// What was declined is not asked again while it cannot be removed: they would wake each other
/// without end.
#[tokio::test]
async fn who_has_declined_is_asked_once_however_often_the_removal_fails() {
    let bench = Bench::new();
    bench.apply("old", both());
    bench.one("old").await;
    bench.apply("other", sourceless());
    let refuses = Arc::new(AtomicBool::new(true));
    let still = refuses.clone();
    bench.store.before_each(move |_, request| {
        let forbidden = || StoreError::Sealed { server: "fake".into() };
        let removes = request.operation == Operation::Write;
        (removes && still.load(Ordering::Relaxed)).then(|| fake::Fault::Refuse(forbidden()))
    });
    bench.drop("old");
    bench.one("old").await;
    bench.settle().await;
    for _ in 0..3 {
        let report = bench.one("old").await;
        assert_eq!(report.requeue(), Some(Requeue::BackOff), "{:?}", bench.says("old"));
        assert!(bench.woken.lock().is_empty(), "somebody is asked again");
    }
    refuses.store(false, Ordering::Relaxed);
    bench.one("old").await;
    assert!(bench.get("old").is_none() && bench.texts(TEMPORAL).is_empty());
}

/// The same where another entry of its own hinders the removal: nobody's condition goes back and forth.
#[tokio::test]
async fn who_has_declined_is_not_asked_again_while_the_owner_is_hindered() {
    let bench = Bench::new();
    let redis = "platform-data/redis/temporal";
    let map = |pairs: &[(&str, &str)]| {
        spec(&pairs.iter().map(|(path, property)| mapping("pass", path, property)).collect::<Vec<_>>())
    };
    bench.apply("two", map(&[(redis, "password")]));
    bench.one("two").await;
    bench.apply("one", map(&[(TEMPORAL, "username"), (redis, "username"), (redis, "password")]));
    bench.one("one").await;
    bench.apply("two", map(&[(TEMPORAL, "username"), (redis, "username")]));
    bench.one("two").await;
    bench.settle().await;
    let mut said = Vec::new();
    for _ in 0..4 {
        for name in ["one", "two"] {
            bench.one(name).await;
            assert!(bench.woken.lock().is_empty(), "{name} asks again");
        }
        said.push((bench.says("one"), bench.says("two")));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:#?}");
}

/// Goes on with a reconcile until something has happened.
async fn until<T>(mut run: Pin<&mut impl Future<Output = T>>, has_happened: impl Fn() -> bool) {
    poll_fn(|context| {
        if has_happened() {
            return Poll::Ready(());
        }
        assert!(run.as_mut().poll(context).is_pending(), "it ended, and that has not happened");
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether a reconcile has ended after so many steps.
async fn is_done_after<F: Future>(mut run: Pin<&mut MaybeDone<F>>, steps: usize) -> bool {
    for _ in 0..steps {
        if poll!(run.as_mut()).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// A bench on which requests can cross, where `old` has just offered everything to those who wait.
async fn offered(waiting: &[&str]) -> Bench {
    let bench = Bench::new();
    bench.store.yield_at_each_request();
    bench.server.yield_at_each_request();
    two(&bench).await;
    for name in waiting {
        bench.apply(name, both());
        bench.one(name).await;
    }
    bench.drop("old");
    bench.one("old").await;
    bench
}

/// The former owner sees that it was taken before the taker has said so of itself: nobody is woken
/// once more.
#[tokio::test]
async fn what_was_taken_is_not_offered_again() {
    let bench = offered(&[]).await;
    bench.woken.lock().clear();
    let is_woken = |name: &str| bench.woken.lock().contains(&Name::new("db", name));
    let mut taking = pin!(bench.one("new"));
    until(taking.as_mut(), || is_woken("old")).await;
    bench.one("old").await;
    assert!(bench.get("old").is_none(), "{:?}", bench.says("old"));
    assert!(!is_woken("new"));
    taking.await;
    bench.is_handed_over("old", "new");
}

/// Its taker could not set its claim: who read meanwhile is asked again, and has declined nothing.
#[tokio::test]
async fn what_is_put_down_again_is_offered_anew() {
    let bench = offered(&["third"]).await;
    let from = BTreeMap::from([("password".to_owned(), "uid-old".to_owned())]);
    let in_hand = bench.offers.take(&owner_of("third"), &site(), &from).expect("it is offered");
    bench.woken.lock().clear();
    let mut reading = pin!(bench.one("new"));
    // It asks after the owner in its way once it has read the entry.
    let asks = || bench.server.requests().iter().filter(|request| request.ends_with(&url("old"))).count();
    let before = asks();
    until(reading.as_mut(), || asks() > before).await;
    drop(in_hand);
    let woken: Vec<String> = bench.woken.lock().iter().map(|name| name.name.to_string()).collect();
    assert_eq!(woken, ["new"], "whoever put it down is not woken by that");
    reading.await;
    assert!(bench.says("old").2.contains("is offered to db/new"), "{:?}", bench.says("old"));
    bench.hands_over("old", "new").await;
}

/// The former owner has waited long enough just while its property is taken. However much faster
/// than the taker it is, it waits for it.
#[tokio::test]
async fn an_owner_removes_nothing_that_somebody_has_in_hand() {
    for steps in 0..60 {
        let bench = offered(&[]).await;
        let holds = bench.guard();
        let mut taking = pin!(bench.one("new"));
        let sets_claim = |request: &fake::Request| request.operation.mutates();
        let changes = || bench.store.requests().iter().filter(|request| sets_claim(request)).count();
        let before = changes();
        until(taking.as_mut(), || changes() > before).await;
        bench.pass(Duration::from_secs(600));
        let mut leaving = pin!(maybe_done(bench.one("old")));
        assert!(!is_done_after(leaving.as_mut(), steps).await, "it did not wait");
        tokio::join!(taking, leaving);
        bench.settle().await;
        bench.is_handed_over("old", "new");
        assert!(holds.load(Ordering::Relaxed), "a value was gone for a while");
    }
}

/// It may not change custom metadata, and never will: it has declined what it put down.
#[tokio::test]
async fn a_taker_that_is_denied_for_good_declines() {
    let mut bench = Bench::new();
    bench.awaited_by_another_login().await;
    bench.store.before_each(move |_, request| {
        let denied = || StoreError::Forbidden { operation: "patch metadata of", path: TEMPORAL.into() };
        (request.operation.mutates() && &*request.identity.0 == "second").then(|| fake::Fault::Refuse(denied()))
    });
    bench.drop("old");
    bench.one("old").await;
    bench.settle().await;
    bench.one("new").await;
    bench.settle().await;
    assert!(bench.get("old").is_none(), "{:?} {:?}", bench.says("old"), bench.says("new"));
}

/// A store of the waiter is shown late: that one has not tried, and has declined nothing.
#[tokio::test]
async fn a_waiter_whose_store_is_shown_late_has_not_declined() {
    let mut bench = Bench::new();
    let second = crate::store::fake::FakeStore::on("second");
    bench.stores.clients.insert("second", second.clone());
    bench.apply("old", both());
    bench.one("old").await;
    let mut before = spec(&[mapping("pass", "platform-data/redis/temporal", "password")]);
    before["secretStoreRefs"][0]["name"] = json!("second");
    bench.apply("new", before);
    bench.one("new").await;
    bench.apply("new", both());
    bench.stores.behind.insert("vault");
    bench.drop("old");
    bench.one("old").await;
    for _ in 0..2 {
        bench.settle().await;
        bench.one("new").await;
        bench.one("old").await;
    }
    assert!(!bench.says("new").0 && bench.get("old").is_some() && bench.texts(TEMPORAL).len() == 2);
    bench.stores.behind.clear();
    bench.one("new").await;
    bench.settle().await;
    bench.is_handed_over("old", "new");
}

/// The API server does not answer just when others are to be asked: that is no reason to wait for a
/// minute.
#[tokio::test]
async fn who_cannot_be_asked_now_is_asked_soon() {
    let bench = Bench::new();
    two(&bench).await;
    bench.drop("old");
    let mut fails = true;
    bench.server.before_each(move |method, at| {
        let is_it = *method == Method::GET && at.contains(&url("old"));
        (is_it && std::mem::take(&mut fails)).then_some(in_memory::Fault::Refuse)
    });
    let report = bench.one("old").await;
    assert_eq!(report.requeue(), Some(Requeue::BackOff));
    bench.hands_over("old", "new").await;
}

/// One in another namespace whose own SecretStore may lead anywhere, and fails, holds nobody's removal.
#[tokio::test]
async fn a_secret_store_of_another_namespace_is_not_waited_for() {
    for (kind, is_asked) in [("SecretStore", false), ("ClusterSecretStore", true)] {
        let bench = Bench::new();
        bench.apply("old", both());
        bench.one("old").await;
        let mut stranger = both();
        stranger["secretStoreRefs"] = json!([{ "name": "down", "kind": kind }]);
        bench.server.put(
            "/namespaces/other/pushsecrets/stranger",
            json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": stranger,
                "metadata": { "name": "stranger", "namespace": "other", "uid": "stranger", "generation": 1 } }),
        );
        bench.drop("old");
        bench.one("old").await;
        assert_eq!(bench.get("old").is_some(), is_asked, "{kind}");
    }
}

/// The properties that it takes over need no room; for the others there is some once the rest of
/// the former owner's are gone.
#[tokio::test]
async fn one_for_which_there_is_no_room_yet_takes_over_what_is_left_to_it() {
    let bench = Bench::new();
    let properties = |numbers: std::ops::Range<usize>| -> Vec<Value> {
        numbers.map(|number| mapping("pass", TEMPORAL, &format!("p{number}"))).collect()
    };
    bench.apply("old", spec(&properties(0..60)));
    bench.one("old").await;
    bench.apply("new", spec(&[properties(0..30), properties(60..70)].concat()));
    bench.one("new").await;
    let stands = Arc::new(AtomicBool::new(true));
    let seen = stands.clone();
    bench.store.after_each(move |store, _| {
        let entry = store.peek(&at(TEMPORAL));
        let all = (0..30).all(|number| entry.data().is_some_and(|data| data.contains_key(&format!("p{number}"))));
        seen.fetch_and(all, Ordering::Relaxed);
    });
    bench.drop("old");
    bench.one("old").await;
    bench.settle().await;
    assert!(bench.get("old").is_none(), "{:?}", bench.says("old"));
    assert!(bench.says("new").0, "{:?}", bench.says("new"));
    assert!(stands.load(Ordering::Relaxed), "a value was gone for a while");
    assert_eq!(bench.texts(TEMPORAL).len(), 40);
}

/// It is deleted, and does not decode: what was offered, and since when, is remembered from one
/// reconcile to the next.
#[tokio::test]
async fn one_that_does_not_decode_goes_on_offering() {
    let bench = Bench::new();
    two(&bench).await;
    bench.drop("old");
    bench.one("old").await;
    let mut broken = json!(bench.get("old").unwrap());
    broken["spec"]["data"] = json!("garbage");
    bench.server.put(&url("old"), broken);
    let name = Name::new("db", "old");
    let context = Context::on(bench.server.cluster());
    let pusher = Pusher::new(context, Arc::new(bench.stores), bench.offers);
    assert!(matches!(pusher.undecodable(&name).await, Ok(Fate::Ends(_))));
    assert_eq!(pusher.offers.at(&site()).len(), 2);
}

/// The PushSecrets of a cluster, and how often somebody walked them.
struct Counted(ApiServer, Arc<AtomicUsize>);

impl Others for Counted {
    fn find(&self, is_meant: &dyn Fn(&PushSecret) -> bool) -> Vec<Arc<Guarded<PushSecret>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.find(is_meant)
    }
}

#[tokio::test]
async fn however_much_goes_the_others_are_looked_at_once_a_reconcile() {
    let mut bench = Bench::new();
    let walks = Arc::new(AtomicUsize::new(0));
    let (counted, woken) = (Counted(bench.server.clone(), walks.clone()), bench.woken.clone());
    bench.offers = Offers::new(Box::new(counted), Box::new(move |name| woken.lock().push(name)));
    two(&bench).await;
    assert_eq!(walks.load(Ordering::Relaxed), 0, "nothing goes");
    bench.drop("old");
    bench.one("old").await;
    assert_eq!(walks.load(Ordering::Relaxed), 1);
    bench.settle().await;
    bench.is_handed_over("old", "new");
}

/// The patience with who waits neither passes nor begins again while the store cannot be used.
#[tokio::test]
async fn patience_stands_still_while_nothing_can_be_decided() {
    let mut bench = Bench::new();
    bench.awaited_by_another_login().await;
    bench.drop("old");
    bench.one("old").await;
    bench.pass(Duration::from_secs(400));
    bench.one("old").await;
    let vault = bench.stores.clients.remove("vault").unwrap();
    bench.stores.refusal = unusable;
    for _ in 0..2 {
        bench.one("old").await;
        bench.pass(Duration::from_secs(1000));
    }
    bench.stores.clients.insert("vault", vault);
    bench.one("old").await;
    bench.pass(Duration::from_secs(199));
    bench.one("old").await;
    assert_eq!((bench.says("old").1.as_str(), bench.texts(TEMPORAL).len()), ("CleanupPending", 2));
    bench.pass(Duration::from_secs(1));
    bench.one("old").await;
    assert!(bench.get("old").is_none() && bench.texts(TEMPORAL).is_empty(), "{:?}", bench.says("old"));
}

/// The store is down for everybody, and comes back for the owner first.
#[tokio::test]
async fn an_owner_that_could_remove_nothing_has_not_waited_for_anybody() {
    let bench = Bench::new();
    two(&bench).await;
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    bench.store.before_each(move |_, _| {
        let sealed = StoreError::Sealed { server: "fake".into() };
        down.load(Ordering::Relaxed).then_some(fake::Fault::Refuse(sealed))
    });
    bench.drop("old");
    for _ in 0..15 {
        bench.one("old").await;
        bench.one("new").await;
        bench.pass(Duration::from_secs(60));
    }
    is_down.store(false, Ordering::Relaxed);
    bench.one("old").await;
    assert_eq!(bench.texts(TEMPORAL).len(), 2, "{:?}", bench.says("old"));
    bench.settle().await;
    bench.is_handed_over("old", "new");
}

/// What it still has to write itself is another's for long.
#[tokio::test]
async fn an_owner_that_waits_for_its_own_writes_has_not_waited_for_anybody() {
    const REDIS: &str = "platform-data/redis/temporal";
    let mut bench = Bench::new();
    bench.awaited_through_a_store_that_is_down().await;
    let redis = mapping("pass", REDIS, "password");
    bench.apply("third", spec(std::slice::from_ref(&redis)));
    bench.one("third").await;
    // Of one path it keeps a property, and gives the other one up.
    bench.apply("old", spec(&[mapping("user", TEMPORAL, "username"), redis]));
    bench.one("old").await;
    for _ in 0..12 {
        bench.pass(Duration::from_secs(60));
        bench.one("old").await;
    }
    assert_eq!(bench.says("old").1, "PathConflict");
    bench.drop("third");
    bench.one("third").await;
    bench.one("old").await;
    assert!(bench.says("old").0, "{:?}", bench.says("old"));
    assert_eq!(bench.texts(TEMPORAL).len(), 2);
}

/// Another store of the one that goes does not exist any more. Who waits fails for ever.
#[tokio::test]
async fn a_store_that_is_gone_is_no_reason_to_wait_longer() {
    let mut bench = Bench::new();
    bench.stores.clients.insert("third", FakeStore::on("third.example"));
    bench.awaited_through_a_store_that_is_down().await;
    let mut wider = both();
    wider["secretStoreRefs"].as_array_mut().unwrap().push(json!({ "name": "third", "kind": "ClusterSecretStore" }));
    bench.apply("old", wider);
    bench.one("old").await;
    assert!(bench.says("old").0, "{:?}", bench.says("old"));
    bench.stores.clients.remove("third");
    bench.drop("old");
    bench.one("old").await;
    assert_eq!(bench.texts(TEMPORAL).len(), 2);
    bench.pass(Duration::from_secs(600));
    bench.one("old").await;
    assert!(bench.texts(TEMPORAL).is_empty(), "{:?}", bench.says("old"));
}

/// What was wanted again in between is offered for the whole time once more, and what was offered
/// all along is not.
#[tokio::test]
async fn patience_is_kept_for_each_property() {
    let mut bench = Bench::new();
    bench.awaited_by_another_login().await;
    let none = || spec(&[mapping("pass", "platform-data/redis/temporal", "password")]);
    let username =
        || spec(&[mapping("pass", "platform-data/redis/temporal", "password"), mapping("user", TEMPORAL, "username")]);
    for (wanted, seconds) in [(none(), 400), (username(), 100), (none(), 100)] {
        bench.apply("old", wanted);
        bench.one("old").await;
        assert_eq!(bench.texts(TEMPORAL).len(), 2);
        bench.pass(Duration::from_secs(seconds));
    }
    bench.one("old").await;
    assert_eq!(bench.texts(TEMPORAL).into_keys().collect::<Vec<_>>(), ["username"]);
}

/// Each generation answers for itself, and only the last answer is remembered.
#[tokio::test]
async fn who_has_declined_is_asked_again_after_an_edit() {
    let bench = Bench::new();
    bench.apply("new", both());
    let (old, now) = (owner_of("old"), std::time::Instant::now());
    let patience = Patience { now, most: Duration::from_secs(600) };
    let ask = || bench.offers.search(&old, patience).waiters(&site(), &at(TEMPORAL), "username");
    let offer = |waiters| {
        let asking = BTreeMap::from([((site(), "username".to_owned()), waiters)]);
        bench.offers.open(&old, asking, &|_, _| false);
    };
    let first = ask();
    assert_eq!(first.iter().map(|waiter| waiter.generation).collect::<Vec<_>>(), [1]);
    offer(first.clone());
    for generation in [1, 2] {
        let attempt = bench.offers.begin(&owner_of("new"), generation).await;
        bench.woken.lock().clear();
        bench.offers.end(&attempt, true);
        assert_eq!(*bench.woken.lock(), [Name::new("db", "old")], "it has answered");
        assert_eq!(ask(), [], "at generation {generation}");
        bench.apply("new", both());
        let next = ask();
        assert_eq!(next.iter().map(|waiter| waiter.generation).collect::<Vec<_>>(), [generation + 1]);
        offer(next);
    }
    offer(first);
    let attempt = bench.offers.begin(&owner_of("new"), 1).await;
    bench.woken.lock().clear();
    bench.offers.end(&attempt, true);
    assert_eq!(bench.woken.lock().len(), 1, "what an earlier generation said is forgotten");
}

/// It was refused there, but it goes as well.
#[tokio::test]
async fn who_is_being_deleted_is_not_asked() {
    let bench = Bench::new();
    two(&bench).await;
    let mut going = json!(bench.get("new").unwrap());
    going["metadata"]["deletionTimestamp"] = json!("2023-11-14T22:13:20Z");
    going["metadata"]["finalizers"] = json!([FINALIZER_PUSH_SECRET]);
    bench.server.put(&url("new"), going);
    bench.drop("old");
    assert_eq!(bench.one("old").await, Report::Gone);
    assert!(bench.texts(TEMPORAL).is_empty());
}
