//! What becomes of an entry whose last property goes: its versions, its custom metadata, and
//! whatever somebody writes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::lifecycle::{Bench, PUSH, TEMPORAL, at, both};
use super::protocol::{data, expect, metadata_keys, owner, path, push, remove, set, texts};
use crate::controller::report::{Report, Requeue};
use crate::domain::claim;
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::remote::EntryState;
use crate::feed::{News, Pushed};
use crate::metrics::LetGo;
use crate::push::entry::ApplyError;
use crate::push::step::Goal;
use crate::store::fake::{Counting, FakeStore, Fault, Operation};
use crate::store::{StoreClient, StoreError};

fn gone(earlier: EarlierVersions) -> Goal {
    Goal { earlier, ..remove(&["password"]) }
}

/// A store in which `uid` pushed two values, one after the other.
async fn pushed_by(uid: &str, counting: Counting) -> FakeStore {
    let store = FakeStore::new().with_counting(counting);
    for value in ["1", "2"] {
        push(&store, uid, &set(&[("password", value)])).await.unwrap();
    }
    store
}

async fn kept(store: &FakeStore) -> Vec<u64> {
    store.metadata(&path()).await.unwrap().map(|metadata| metadata.kept).unwrap_or_default()
}

#[tokio::test]
async fn earlier_versions_stay_unless_they_are_to_be_destroyed_or_purged() {
    for counting in [Counting::Refused, Counting::Offered] {
        let store = pushed_by("a", counting).await;
        push(&store, "a", &gone(EarlierVersions::Keep)).await.unwrap();
        assert!(matches!(store.peek(&path()).state, EntryState::Deleted { version: 3 }));
        assert_eq!((kept(&store).await, metadata_keys(&store)), (vec![1, 2, 3], vec!["managed-by".to_owned()]));

        let store = pushed_by("a", counting).await;
        push(&store, "a", &gone(EarlierVersions::Destroy)).await.unwrap();
        assert!(matches!(store.peek(&path()).state, EntryState::Deleted { version: 3 }));
        assert_eq!((kept(&store).await, metadata_keys(&store)), (vec![], vec!["managed-by".to_owned()]));

        let store = pushed_by("a", counting).await;
        push(&store, "a", &gone(EarlierVersions::Purge)).await.unwrap();
        assert!(matches!(store.peek(&path()).state, EntryState::Absent));
        let again = push(&store, "a", &set(&[("password", "3")])).await.unwrap();
        assert_eq!(again.settled.version, Some(1));
    }
}

#[tokio::test]
async fn what_others_own_or_wrote_keeps_its_history() {
    for earlier in [EarlierVersions::Destroy, EarlierVersions::Purge] {
        let store = pushed_by("a", Counting::Refused).await;
        push(&store, "b", &set(&[("note", "theirs")])).await.unwrap();
        push(&store, "a", &gone(earlier)).await.unwrap();
        assert_eq!((texts(&store), kept(&store).await), (expect(&[("note", "theirs")]), vec![1, 2, 3, 4]));
        // A person deleted everything; its owner will write it again.
        push(&store, "a", &set(&[("password", "3")])).await.unwrap();
        store.soft_delete(&path());
        push(&store, "a", &gone(earlier)).await.unwrap();
        assert_eq!(kept(&store).await, [1, 2, 3, 4, 5]);
        assert_eq!(metadata_keys(&store), ["claim.waypost.io/note", "managed-by"]);
    }
}

/// Somebody without a claim writes before request `k`, for every `k`. What is lost is what the ADR
/// says: a write in the moment between the last look and the purge.
#[tokio::test]
async fn a_persons_write_survives_wherever_it_comes_but_for_the_last_moment_of_a_purge() {
    for earlier in [EarlierVersions::Destroy, EarlierVersions::Purge] {
        for crossing in 0..10 {
            let store = pushed_by("a", Counting::Refused).await;
            let (mut seen, met) = (0, Arc::new(Mutex::new(None)));
            let note = met.clone();
            store.before_each(move |store, request| {
                if seen == crossing {
                    store.put(&path(), data(&[("note", "theirs")]));
                    *note.lock() = Some(request.operation);
                }
                seen += 1;
                None
            });
            push(&store, "a", &gone(earlier)).await.unwrap();
            let left = match *met.lock() {
                None | Some(Operation::Purge) => expect(&[]),
                Some(_in_time) => expect(&[("note", "theirs")]),
            };
            assert_eq!(texts(&store), left, "{earlier:?}, before request {crossing}");
        }
    }
}

/// Before request `k` of one PushSecret, another runs as far as it can, for every `k`, in both
/// roles. The value of each that was told so is there.
#[tokio::test]
async fn a_purge_takes_no_other_owners_value_wherever_they_cross() {
    use Counting::{Offered, Refused};
    let sights = [[Refused, Refused], [Offered, Offered], [Offered, Refused], [Refused, Offered]];
    let purge = || gone(EarlierVersions::Purge);
    let theirs = || set(&[("note", "theirs")]);
    for (purger, writer) in [("a", "b"), ("b", "a")] {
        for (sight, crossing) in sights.into_iter().flat_map(|sight| (0..14).map(move |crossing| (sight, crossing))) {
            for purger_first in [true, false] {
                let place = format!("{purger} purges, crossing {crossing}, {sight:?}, {purger_first}");
                let store = pushed_by(purger, sight[0]).await;
                let other = store.with_identity("crossing").with_counting(sight[1]);
                let outcome: Arc<Mutex<Option<bool>>> = Arc::default();
                let (told, mut seen) = (outcome.clone(), 0);
                let (goal, uid) = if purger_first { (theirs(), writer) } else { (purge(), purger) };
                store.before_each(move |_, request| {
                    seen += usize::from(request.identity.0.as_ref() == "fake");
                    if seen == crossing + 1 && told.lock().is_none() {
                        // Where it would pause, it counts as stopped, and its intent stays.
                        let done = push(&other, uid, &goal).now_or_never();
                        *told.lock() = Some(matches!(done, Some(Ok(_))));
                    }
                    None
                });
                let (goal, uid) = if purger_first { (purge(), purger) } else { (theirs(), writer) };
                let done = push(&store, uid, &goal).await.is_ok();
                let wrote = if purger_first { outcome.lock().unwrap_or(false) } else { done };
                if wrote {
                    assert_eq!(texts(&store).get("note").map(String::as_str), Some("theirs"), "{place}");
                }
                for (uid, goal) in [(purger, purge()), (writer, theirs()), (purger, purge()), (writer, theirs())] {
                    push(&store, uid, &goal).await.ok();
                }
                assert_eq!(texts(&store), expect(&[("note", "theirs")]), "{place}");
                assert_eq!(metadata_keys(&store), ["claim.waypost.io/note", "managed-by"], "{place}");
            }
        }
    }
}

#[tokio::test]
async fn a_missing_right_is_told_and_leaves_no_intent_behind() {
    for (earlier, refused, policy) in [
        (EarlierVersions::Destroy, Operation::DestroyVersions, "destroy.hcl"),
        (EarlierVersions::Purge, Operation::Purge, "purge.hcl"),
    ] {
        let store = pushed_by("a", Counting::Refused).await;
        store.before_each(move |_, request| {
            let error = StoreError::Forbidden { operation: "do it at", path: "secret".into() };
            (request.operation == refused).then_some(Fault::Refuse(error))
        });
        let told = push(&store, "a", &gone(earlier)).await.unwrap_err();
        assert!(matches!(told, ApplyError::MayNot { .. }) && told.to_string().contains(policy), "{told}");
        assert_eq!(metadata_keys(&store), ["claim.waypost.io/password", "managed-by"]);
        assert!(texts(&store).is_empty(), "the value is gone for readers all the same");
        store.before_each(|_, _| None);
        push(&store, "a", &gone(earlier)).await.unwrap();
        assert!(kept(&store).await.is_empty());
    }
}

/// As for any other chain of steps, for every request at which it may stop.
#[tokio::test]
async fn a_stop_at_any_request_of_an_ending_is_repaired_by_the_next_reconcile() {
    let faults: [fn(StoreError) -> Fault; 2] = [Fault::Refuse, Fault::LoseReply];
    for (fault, earlier) in faults
        .into_iter()
        .flat_map(|fault| [EarlierVersions::Destroy, EarlierVersions::Purge].map(|earlier| (fault, earlier)))
    {
        for stop in 0..16 {
            let store = pushed_by("a", Counting::Refused).await;
            let mut seen = 0;
            store.before_each(move |_, _| {
                seen += 1;
                (seen == stop + 1).then(|| fault(StoreError::Standby { server: "fake".into() }))
            });
            if push(&store, "a", &gone(earlier)).await.is_err() {
                push(&store, "a", &gone(earlier)).await.unwrap();
            }
            store.before_each(|_, _| None);
            let entry = store.peek(&path());
            match earlier {
                EarlierVersions::Purge => assert!(matches!(entry.state, EntryState::Absent), "stopped at {stop}"),
                EarlierVersions::Keep | EarlierVersions::Destroy => {
                    assert!(matches!(entry.state, EntryState::Deleted { version: 3 }), "stopped at {stop}");
                    assert_eq!(metadata_keys(&store), ["managed-by"], "stopped at {stop}");
                }
            }
            assert!(kept(&store).await.is_empty(), "stopped at {stop}");
        }
    }
}

#[tokio::test]
async fn an_announced_purge_of_somebody_who_is_gone_holds_nobody_up() {
    let store = FakeStore::new();
    let dead = owner("0");
    let announced = claim::intend_purge(&dead).into_iter().filter_map(|(key, value)| Some((key, value?)));
    store.put_metadata(&path(), announced.collect());
    push(&store, "a", &set(&[("password", "p")])).await.unwrap();
    assert_eq!(metadata_keys(&store), ["claim.waypost.io/password", "managed-by"]);
}

fn annotate(bench: &Bench, earlier: &str, more: Value) {
    let mut push = json!(bench.server.push_secret(PUSH).unwrap());
    push["metadata"]["annotations"] = json!({ "waypost.io/earlier-versions": earlier });
    for (field, value) in more.as_object().unwrap() {
        push["metadata"][field] = value.clone();
    }
    bench.server.put(PUSH, push);
}

#[tokio::test]
async fn a_renamed_key_and_a_deleted_push_secret_leave_no_earlier_versions_where_that_is_asked() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    annotate(&bench, "Destroy", json!({}));
    let mut renamed = both();
    for entry in renamed["data"].as_array_mut().unwrap() {
        entry["match"]["remoteRef"]["remoteKey"] = json!("platform-data/postgres/renamed");
    }
    bench.spec(2, renamed);
    bench.turn().await;
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert!(bench.store.metadata(&at(TEMPORAL)).await.unwrap().unwrap().kept.is_empty());
    annotate(&bench, "Purge", json!({ "deletionTimestamp": Timestamp::now() }));
    assert_eq!(bench.turn().await, Report::Gone);
    assert!(matches!(bench.store.peek(&at("platform-data/postgres/renamed")).state, EntryState::Absent));
}

#[tokio::test]
async fn an_annotation_that_says_nothing_stops_everything_until_it_is_corrected() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    let mutations = bench.store.mutations();
    annotate(&bench, "purge", json!({}));
    bench.spec(
        2,
        json!({ "deletionPolicy": "Delete", "secretStoreRefs": both()["secretStoreRefs"],
        "selector": both()["selector"], "data": [both()["data"][0]] }),
    );
    bench.turn().await;
    let (ready, reason, message) = bench.ready();
    assert!(!ready && reason == "InvalidSpec" && message.contains("Keep, Destroy or Purge"), "{reason}: {message}");

    annotate(&bench, "purge", json!({ "deletionTimestamp": Timestamp::now() }));
    bench.turn().await;
    let (_, reason, message) = bench.ready();
    assert!(reason == "CleanupPending" && message.contains("earlier-versions"), "{reason}: {message}");
    assert_eq!((bench.store.mutations(), bench.texts(TEMPORAL).len()), (mutations, 2));
    // As long as what cannot be read at all; then it goes, and what it pushed stays.
    bench.pass(Duration::from_secs(600));
    assert!(matches!(bench.turn().await, Report::LetGo { why: LetGo::Unreadable, .. }));
    assert_eq!(bench.store.mutations(), mutations);
}

/// The push does not know whether it happened: consumers learn it by a check.
#[tokio::test]
async fn a_removal_whose_reply_is_lost_makes_its_path_due() {
    for (earlier, removal) in [
        ("Keep", Operation::DeleteVersions),
        ("Destroy", Operation::DestroyVersions),
        ("Purge", Operation::DestroyVersions),
        ("Purge", Operation::Purge),
    ] {
        for (error, is_told) in [
            (StoreError::Standby { server: "fake".into() }, true),
            (StoreError::Forbidden { operation: "do it at", path: "secret".into() }, false),
        ] {
            let bench = Bench::new();
            bench.spec(1, both());
            bench.turn().await;
            annotate(&bench, earlier, json!({ "deletionTimestamp": Timestamp::now() }));
            bench.store.before_each(move |_, request| {
                (request.operation == removal).then(|| match is_told {
                    true => Fault::LoseReply(error.clone()),
                    false => Fault::Refuse(error.clone()),
                })
            });
            bench.turn().await;
            assert_eq!(bench.ready().1, "CleanupPending");
            assert_eq!(bench.announced.lock().contains(&News::Uncertain), is_told, "{earlier}, {removal:?}");
        }
    }
}

/// A reconcile that is stopped says nothing: it may be stopped because another store hangs. The next
/// one finds nothing to remove, and lets consumers read again.
#[tokio::test]
async fn a_removal_whose_reconcile_is_stopped_is_announced_by_the_next() {
    for (earlier, stop) in
        ["Keep", "Destroy", "Purge"].into_iter().flat_map(|earlier| (0..40).map(move |k| (earlier, k)))
    {
        let bench = Bench::new();
        bench.spec(1, both());
        bench.turn().await;
        annotate(&bench, earlier, json!({ "deletionTimestamp": Timestamp::now() }));
        let (gone, announced) = (Arc::new(Mutex::new(0)), bench.announced.clone());
        let (noted, mut was_there) = (gone.clone(), true);
        bench.store.after_each(move |store, _| {
            let is_there = matches!(store.peek(&at(TEMPORAL)).state, EntryState::Live { .. });
            if std::mem::replace(&mut was_there, is_there) && !is_there {
                *noted.lock() = announced.lock().len();
            }
        });
        bench.store.yield_at_each_request();
        let mut turn = Box::pin(bench.turn());
        for _ in 0..stop {
            if futures::poll!(turn.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(turn);
        for _ in 0..5 {
            if bench.server.push_secret(PUSH).is_some() {
                bench.turn().await;
            }
        }
        let since = *gone.lock();
        let tells = |news: &News| {
            matches!(news, News::Pushed(Pushed::Removal(_) | Pushed::Purge | Pushed::Consent | Pushed::Release))
        };
        let announced = bench.announced.lock();
        assert!(since > 0 && announced[since..].iter().any(tells), "{earlier}, stopped at {stop}: {announced:?}");
    }
}

/// Somebody keeps a note at the path, so that it gets a version without what was pushed.
#[tokio::test]
async fn a_version_that_a_deleted_push_secret_leaves_is_announced_if_its_reply_is_lost() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    bench.store.put(&at(TEMPORAL), data(&[("username", "u"), ("password", "p"), ("note", "n")]));
    bench.turn().await;
    bench.delete();
    let mut writes = 0;
    bench.store.before_each(move |_, request| {
        writes += u32::from(request.operation == Operation::Write);
        let is_first = request.operation == Operation::Write && writes == 1;
        is_first.then(|| Fault::LoseReply(StoreError::Standby { server: "fake".into() }))
    });
    for _ in 0..2 {
        bench.turn().await;
    }
    assert!(bench.server.push_secret(PUSH).is_none());
    assert_eq!(bench.texts(TEMPORAL), expect(&[("note", "n")]));
    let version = News::from(Pushed::Version(3, bench.store.peek(&at(TEMPORAL)).created));
    assert!(bench.announced.lock().contains(&version), "{:?}", bench.announced.lock());
}

/// What an annotation asks for shows in no generation. The watch of PushSecrets stands still, and that
/// of Secrets does not.
#[tokio::test]
async fn what_only_the_cache_asks_for_is_neither_destroyed_nor_purged() {
    for (shown, live) in [("Destroy", "Keep"), ("Purge", "Keep"), ("Purge", "Destroy"), ("Keep", "Destroy")] {
        let bench = Bench::new();
        bench.spec(1, both());
        bench.turn().await;
        bench.source(&[("user", b"u"), ("pass", b"p2")]);
        annotate(&bench, shown, json!({}));
        bench.turn().await;
        let copy = bench.server.push_secret(PUSH).unwrap();
        annotate(&bench, live, json!({}));
        bench.server.remove("/namespaces/db/secrets/source");
        let report = bench.turn_with(copy).await;
        assert!(report.requeue().is_some_and(Requeue::is_failure), "{shown}, then {live}: {report:?}");
        let kept = async || bench.store.metadata(&at(TEMPORAL)).await.unwrap().map(|metadata| metadata.kept);
        assert_eq!((kept().await, bench.texts(TEMPORAL).len()), (Some(vec![1, 2]), 2), "{shown}, then {live}");
        bench.turn().await;
        let left = if live == "Keep" { vec![1, 2, 3] } else { vec![] };
        assert_eq!((kept().await, bench.ledger().len()), (Some(left), 0), "{shown}, then {live}");
    }
}

#[tokio::test]
async fn a_path_is_not_adopted_by_an_annotation_that_only_the_cache_shows() {
    let bench = Bench::new();
    bench.store.put(&at(TEMPORAL), data(&[("password", "theirs")]));
    bench.spec(1, both());
    bench.server.edit(PUSH, &json!({ "metadata": { "annotations": { "waypost.io/adopt": "true" } } }));
    let copy = bench.server.push_secret(PUSH).unwrap();
    bench.server.edit(PUSH, &json!({ "metadata": { "annotations": { "waypost.io/adopt": null } } }));
    bench.turn_with(copy).await;
    assert_eq!((bench.store.mutations(), bench.texts(TEMPORAL)), (0, expect(&[("password", "theirs")])));
    bench.turn().await;
    assert_eq!((bench.store.mutations(), bench.ready().1.as_str()), (0, "PathNotManaged"));
}
