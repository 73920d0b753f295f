//! Who may read a value is decided by whoever wrote it: no request leaves it to a consent of
//! somebody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::bench::{Bench, TEMPORAL, at, both, mapping, spec};
use super::protocol::{data, metadata_keys, names, owner, path, push, push_among, set, texts};
use crate::cluster::in_memory::Fault::LoseReply;
use crate::domain::claim;
use crate::domain::consent::{self, Consent};
use crate::feed::Pushed;
use crate::push::step::{Existing, Goal};
use crate::store::StoreError;
use crate::store::fake::{Counting, FakeStore, Fault, Operation};

pub(super) fn only(namespaces: &[&str]) -> Consent {
    Consent { namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(), ..Consent::default() }
}

/// A password that these namespaces may read; anybody, if there are none.
pub(super) fn password(value: &str, namespaces: &[&str]) -> Goal {
    let consents = match namespaces {
        [] => BTreeMap::new(),
        _ => BTreeMap::from([("password".to_owned(), only(namespaces))]),
    };
    Goal { consents, ..set(&[("password", value)]) }
}

fn on(counting: Counting) -> FakeStore {
    FakeStore::new().with_counting(counting)
}

/// The entry at each request: its value, and who might read it.
type Story = Arc<Mutex<Vec<(Option<String>, Option<Consent>)>>>;

fn watched(store: &FakeStore) -> Story {
    let story = Story::default();
    let told = story.clone();
    store.after_each(move |store, _| {
        let consent = consent::of(&store.peek(&path()).custom_metadata, "password");
        told.lock().push((texts(store).remove("password"), consent));
    });
    story
}

pub(super) fn may_read(consent: Option<&Consent>, namespace: &str) -> bool {
    consent.is_none_or(|consent| consent.judge(namespace, &BTreeMap::new()) == consent::Word::Yes)
}

#[tokio::test]
async fn a_consent_stands_before_the_value_that_it_is_about_and_goes_with_its_claim() {
    for counting in [Counting::Offered, Counting::Refused] {
        let store = on(counting);
        let story = watched(&store);
        push(&store, "a", &password("one", &["shop", "both"])).await.unwrap();
        push(&store, "a", &password("two", &["bank", "both"])).await.unwrap();
        for (value, consent) in story.lock().drain(..) {
            let reads = |namespace| value.is_some() && may_read(consent.as_ref(), namespace);
            assert!(!reads("other"), "{value:?} {consent:?}");
            assert!(!reads("shop") || value.as_deref() == Some("one"), "{value:?} {consent:?}");
            assert!(!reads("bank") || value.as_deref() == Some("two"), "{value:?} {consent:?}");
            assert!(value.is_none() || reads("both"), "{value:?} {consent:?}");
        }
        let key = consent::key("password");
        let now = |store: &FakeStore| consent::of(&store.peek(&path()).custom_metadata, "password");
        assert_eq!(now(&store), Some(only(&["bank", "both"])));
        let versions = store.peek(&path()).cas();
        push(&store, "a", &password("two", &["shop"])).await.unwrap();
        assert_eq!((now(&store), store.peek(&path()).cas()), (Some(only(&["shop"])), versions));
        push(&store, "a", &password("two", &[])).await.unwrap();
        assert!(!metadata_keys(&store).contains(&key), "whoever says nothing lets everybody read");
        push(&store, "a", &password("two", &["shop"])).await.unwrap();
        let release = Goal { release: names(&["password"]), ..Goal::default() };
        push(&store, "a", &release).await.unwrap();
        assert_eq!(metadata_keys(&store), [key.as_str(), claim::MARKER], "the value stays, for nobody else");
        push(&store, "d", &password("mine", &[])).await.unwrap();
        assert_eq!(now(&store), None, "its next owner lets everybody read its own value");
    }
}

/// The owner of a value is gone, and another PushSecret has the property now: whom the former owner
/// shut out does not read its value, even if the new one's is not written.
#[tokio::test]
async fn i4_a_new_owner_opens_no_value_of_the_former_one() {
    for (counting, wanted, fails) in [Counting::Offered, Counting::Refused].into_iter().flat_map(|counting| {
        let wishes: [&[&str]; 2] = [&[], &["other"]];
        wishes.into_iter().flat_map(move |wanted| [false, true].map(|fails| (counting, wanted, fails)))
    }) {
        let store = on(counting);
        push(&store, "a", &password("theirs", &["shop"])).await.unwrap();
        let story = watched(&store);
        if fails {
            store.before_each(|_, request| {
                let refused = || StoreError::Sealed { server: "fake".into() };
                (request.operation == Operation::Write).then(|| Fault::Refuse(refused()))
            });
        }
        let pushed = push_among(&store, "b", &password("mine", wanted), &["b"]).await;
        assert_eq!(pushed.is_err(), fails);
        for (value, consent) in story.lock().drain(..) {
            let reads = value.as_deref() == Some("theirs") && may_read(consent.as_ref(), "other");
            assert!(!reads, "{counting:?} {wanted:?} {fails}: {consent:?}");
        }
        if !fails {
            let now = consent::of(&store.peek(&path()).custom_metadata, "password");
            assert_eq!(now, (!wanted.is_empty()).then(|| only(wanted)));
        }
    }
}

/// Two claim a property at once where nobody counts changes of custom metadata: the one that loses
/// leaves no word about who may read it.
#[tokio::test]
async fn a_claimant_that_loses_leaves_the_winners_consent_alone() {
    for existing in [Existing::Replace, Existing::Keep] {
        let store = on(Counting::Refused);
        let story = Arc::new(Mutex::new(None));
        let (won, wins) = (story.clone(), store.clone());
        // Just before the loser's first change of custom metadata, the other does all that it has
        // to do.
        store.before_each(move |store, request| {
            if request.operation == Operation::PatchMetadata && won.lock().is_none() {
                *won.lock() = Some(());
                let claimed = claim::confirm(["password"], &owner("b")).into_iter();
                let mut held: BTreeMap<_, _> = claimed.filter_map(|(key, value)| Some((key, value?))).collect();
                held.insert(claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned());
                held.insert(consent::key("password"), only(&["shop"]).encode());
                wins.put(&path(), data(&[("password", "theirs")]));
                store.put_metadata(&path(), held);
            }
            None
        });
        let goal = Goal { existing, ..password("mine", &["other"]) };
        let lost = push(&store, "a", &goal).await;
        assert!(lost.is_err() || existing == Existing::Keep);
        assert_eq!(texts(&store)["password"], "theirs");
        let now = consent::of(&store.peek(&path()).custom_metadata, "password");
        assert_eq!(now, Some(only(&["shop"])), "{existing:?}");
    }
}

/// An announced claim is given up: what was said about its readers goes with it.
#[tokio::test]
async fn a_withdrawn_intent_leaves_no_consent() {
    let store = on(Counting::Refused);
    let theirs = store.clone();
    let mut crosses = true;
    store.before_each(move |_, request| {
        if request.operation == Operation::Write && std::mem::take(&mut crosses) {
            theirs.put(&path(), data(&[("password", "theirs")]));
        }
        None
    });
    let goal = Goal { existing: Existing::Keep, ..password("mine", &["other"]) };
    push(&store, "a", &goal).await.unwrap();
    assert_eq!(texts(&store)["password"], "theirs");
    assert_eq!(metadata_keys(&store), [claim::MARKER]);
}

/// The value is never written, and another reconcile, which knows nothing of the first one, finds that
/// it is not wanted any more.
#[tokio::test]
async fn an_intent_that_another_reconcile_withdraws_leaves_no_consent() {
    for goal in [
        Goal { remove: names(&["password"]), ..Goal::default() },
        Goal { release: names(&["password"]), ..Goal::default() },
    ] {
        let store = on(Counting::Refused);
        store.before_each(|_, request| {
            let down = StoreError::Sealed { server: "fake".into() };
            (request.operation == Operation::Write).then_some(Fault::Refuse(down))
        });
        assert!(push(&store, "a", &password("mine", &["other"])).await.is_err());
        assert!(metadata_keys(&store).contains(&consent::key("password")));
        store.before_each(|_, _| None);
        push(&store, "a", &goal).await.unwrap();
        assert_eq!(metadata_keys(&store), [claim::MARKER]);
    }
}

/// Somebody deleted the version of a value that its owner had released, and may undelete it. Another
/// one announces the property, and gives up in a reconcile that knows nothing of the first one.
#[tokio::test]
async fn a_consent_of_a_version_that_can_be_undeleted_outlives_an_intent() {
    let store = on(Counting::Refused);
    push(&store, "a", &password("theirs", &["shop"])).await.unwrap();
    push(&store, "a", &Goal { release: names(&["password"]), ..Goal::default() }).await.unwrap();
    store.soft_delete(&path());
    let mut metadata = store.peek(&path()).custom_metadata;
    let announced = claim::intend(&metadata, ["password"], &owner("b"), &claim::Inquiry::default());
    metadata.extend(announced.into_iter().filter_map(|(key, value)| Some((key, value?))));
    store.put_metadata(&path(), metadata);
    push(&store, "b", &Goal { release: names(&["password"]), ..Goal::default() }).await.unwrap();
    assert_eq!(consent::of(&store.peek(&path()).custom_metadata, "password"), Some(only(&["shop"])));
    assert!(!metadata_keys(&store).iter().any(|key| key.starts_with("intent.")));
}

/// Another takes a property of the same path meanwhile, so that the path is refused.
#[tokio::test]
async fn who_gives_up_leaves_the_consent_as_it_was() {
    let kept: [&[&str]; 2] = [&[], &["shop"]];
    for (kept, wanted) in kept.into_iter().flat_map(|kept| [&[][..], &["other"]].map(|wanted| (kept, wanted))) {
        let store = on(Counting::Refused);
        push(&store, "a", &password("theirs", kept)).await.unwrap();
        push(&store, "a", &Goal { release: names(&["password"]), ..Goal::default() }).await.unwrap();
        let story = watched(&store);
        let (taken, mut takes) = (store.clone(), true);
        store.before_each(move |_, request| {
            if request.operation == Operation::Write && std::mem::take(&mut takes) {
                let claimed = claim::confirm(["username"], &owner("c")).into_iter();
                let claimed = claimed.filter_map(|(key, value)| Some((key, value?)));
                let metadata = taken.peek(&path()).custom_metadata.into_iter().chain(claimed);
                taken.put_metadata(&path(), metadata.collect());
                taken.put(&path(), data(&[("password", "theirs"), ("username", "theirs")]));
            }
            None
        });
        let mut goal = password("mine", wanted);
        goal.set.extend(set(&[("username", "mine")]).set);
        assert!(push_among(&store, "b", &goal, &["b", "c"]).await.is_err());
        let before = (!kept.is_empty()).then(|| only(kept));
        assert_eq!(consent::of(&store.peek(&path()).custom_metadata, "password"), before, "{kept:?} {wanted:?}");
        for (_, consent) in story.lock().drain(..) {
            assert!(kept.is_empty() || !may_read(consent.as_ref(), "other"), "{kept:?} {wanted:?}: {consent:?}");
        }
    }
}

/// A PushSecret whose password these namespaces may read; anybody, if there are none.
pub(super) fn read_by(namespaces: &[&str]) -> Value {
    let mut mapping = mapping("pass", TEMPORAL, "password");
    if !namespaces.is_empty() {
        mapping["metadata"] = json!({
            "apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata",
            "spec": { "consumers": { "namespaces": namespaces } },
        });
    }
    spec(&[mapping])
}

/// How many announcements there were when the consents at the store changed last.
pub(super) fn when_changed(bench: &Bench) -> Arc<Mutex<Option<usize>>> {
    let changed = Arc::<Mutex<Option<usize>>>::default();
    let (noted, announced) = (changed.clone(), bench.announced.clone());
    let digest = |store: &FakeStore| consent::digest(&store.peek(&at(TEMPORAL)).custom_metadata);
    let mut before = digest(&bench.store);
    bench.store.after_each(move |store, _| {
        let after = digest(store);
        if std::mem::replace(&mut before, after) != after {
            *noted.lock() = Some(announced.lock().len());
        }
    });
    changed
}

pub(super) fn is_told(bench: &Bench, changed: &Mutex<Option<usize>>) -> bool {
    let since = changed.lock().expect("the consents changed");
    bench.announced.lock()[since..].contains(&Pushed::Consent.into())
}

/// The next try finds the consents as wanted: whoever reads the value hears of them anyhow.
#[tokio::test]
async fn rf2_a_consent_is_announced_whatever_reply_is_lost() {
    let changes: [(&[&str], &[&str]); 3] = [(&[], &["shop"]), (&["shop"], &[]), (&["shop"], &["bank"])];
    for (before, after) in changes {
        for (counting, stop) in
            [Counting::Offered, Counting::Refused].into_iter().flat_map(|counting| (0..16).map(move |k| (counting, k)))
        {
            let mut bench = Bench::new();
            bench.stores.clients.insert("vault", bench.store.with_counting(counting));
            bench.spec(1, read_by(before));
            bench.turn().await;
            let changed = when_changed(&bench);
            bench.fail_at(stop, LoseReply);
            bench.spec(2, read_by(after));
            for _ in 0..2 {
                bench.turn().await;
            }
            bench.fail_at(usize::MAX, LoseReply);
            bench.turn().await;
            assert!(bench.ready().0, "{:?}", bench.ready());
            assert!(is_told(&bench, &changed), "{before:?} {after:?} {counting:?}: lost at {stop}");
        }
    }
}

/// A request that takes too long is given up, and may have been carried out.
#[tokio::test(start_paused = true)]
async fn rf2_a_consent_is_announced_if_its_request_is_given_up() {
    let bench = Bench::new();
    bench.spec(1, read_by(&[]));
    bench.turn().await;
    let changed = when_changed(&bench);
    bench.store.slow(Operation::PatchMetadata, Duration::from_secs(3600));
    bench.spec(2, read_by(&["shop"]));
    bench.turn().await;
    assert!(!bench.ready().0, "it was given up: {:?}", bench.ready());
    assert!(is_told(&bench, &changed));
}

/// What the server refuses changes nothing, however often it is tried.
#[tokio::test]
async fn a_consent_that_is_refused_is_not_announced() {
    let bench = Bench::new();
    bench.spec(1, read_by(&[]));
    bench.turn().await;
    bench.store.before_each(|_, request| {
        let forbidden = || StoreError::Forbidden { operation: "patch metadata of", path: request.path.clone() };
        (request.operation == Operation::PatchMetadata).then(|| Fault::Refuse(forbidden()))
    });
    bench.spec(2, read_by(&["shop"]));
    bench.turn().await;
    assert!(!bench.ready().0 && !bench.announced.lock().contains(&Pushed::Consent.into()));
}

/// A push that drops a property: the write is done, and the first release of its claim fails.
async fn half_dropped(mut second: impl FnMut() -> Option<Fault> + Send + 'static) -> Bench {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    let mut patches = 0;
    bench.store.before_each(move |_, request| {
        let down = || StoreError::Standby { server: "fake".into() };
        patches += u32::from(request.operation == Operation::PatchMetadata);
        match (request.operation, patches) {
            (Operation::PatchMetadata, 1) => Some(Fault::Refuse(down())),
            (Operation::PatchMetadata, 2) => second(),
            _other => None,
        }
    });
    bench.spec(2, spec(&[mapping("user", TEMPORAL, "username")]));
    bench.turn().await;
    assert!(is_claimed(&bench));
    bench
}

fn is_claimed(bench: &Bench) -> bool {
    bench.store.peek(&at(TEMPORAL)).custom_metadata.contains_key(&claim::claim_key("password"))
}

/// Until they know of it, consumers expect that its owner restores the property.
#[tokio::test]
async fn a_released_claim_is_announced_if_its_reply_is_lost() {
    let bench = half_dropped(|| Some(Fault::LoseReply(StoreError::Standby { server: "fake".into() }))).await;
    let told = bench.announced.lock().len();
    bench.turn().await;
    assert!(!is_claimed(&bench));
    assert_eq!(bench.announced.lock()[told..], [Pushed::Release.into()]);
}

#[tokio::test(start_paused = true)]
async fn a_released_claim_is_announced_if_its_request_is_given_up() {
    let bench = half_dropped(|| None).await;
    let told = bench.announced.lock().len();
    bench.store.slow(Operation::PatchMetadata, Duration::from_secs(3600));
    bench.turn().await;
    assert_eq!(bench.announced.lock()[told..], [Pushed::Release.into()]);
}
