//! The ledger lists whatever of ours is in a store: through edits, old caches, replaced custom
//! metadata, and lines of other controllers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::lifecycle::{Bench, PUSH, TEMPORAL, at, both, expect, mapping};
use super::protocol::{data, marked, owner};
use crate::api::names::FINALIZER_PUSH_SECRET;
use crate::cluster::in_memory::Fault;
use crate::controller::report::{Report, Requeue};
use crate::domain::claim;
use crate::domain::remote::EntryState;
use crate::metrics::LetGo;
use crate::store::fake::FakeStore;

fn policy(of: &str) -> Value {
    let mut spec = both();
    spec["deletionPolicy"] = json!(of);
    spec
}

fn finalizers(bench: &Bench) -> Vec<String> {
    bench.server.push_secret(PUSH).unwrap().metadata.finalizers.unwrap_or_default()
}

/// Replaces the custom metadata of the path, with these claims of another PushSecret among them.
fn replace_metadata(bench: &Bench, mark: bool, taken: &[&str]) {
    let mut metadata = if mark { marked() } else { claim::CustomMetadata::new() };
    let claims = claim::confirm(taken.iter().copied(), &owner("b"));
    metadata.extend(claims.into_iter().filter_map(|(key, value)| Some((key, value?))));
    bench.store.put_metadata(&at(TEMPORAL), metadata);
    let rival = json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
        "metadata": { "name": "push-b", "namespace": "db", "uid": "b" }, "spec": both() });
    bench.server.put("/namespaces/db/pushsecrets/push-b", rival);
}

#[tokio::test]
async fn the_finalizer_follows_the_deletion_policy_and_comes_back_when_it_is_stripped() {
    let bench = Bench::new();
    bench.spec(1, policy("None"));
    bench.turn().await;
    assert_eq!(finalizers(&bench), Vec::<String>::new());
    bench.spec(2, policy("Delete"));
    let (kube, mutations) = (bench.server.requests().len(), bench.store.mutations());
    bench.turn().await;
    assert_eq!(finalizers(&bench), [FINALIZER_PUSH_SECRET]);
    let requests = bench.server.requests()[kube..].to_vec();
    let place = |request: &str| requests.iter().position(|seen| *seen == request);
    assert!(place(&format!("PATCH {PUSH}")) < place(&format!("PATCH {PUSH}/status")), "{requests:?}");
    assert!(bench.ready().0 && bench.store.mutations() == mutations);
    let mut stripped = json!(bench.server.push_secret(PUSH).unwrap());
    stripped["metadata"]["finalizers"] = json!(null);
    bench.server.put(PUSH, stripped);
    bench.turn().await;
    assert_eq!(finalizers(&bench), [FINALIZER_PUSH_SECRET]);
    bench.spec(3, policy("None"));
    bench.turn().await;
    assert_eq!(finalizers(&bench), Vec::<String>::new());
    assert_eq!(bench.texts(TEMPORAL).len(), 2);
}

/// Every spec that cannot be carried out, as long as something pushed is there.
#[tokio::test]
async fn the_finalizer_comes_even_while_the_rest_of_the_spec_cannot_be_carried_out() {
    let template = json!({ "data": { "a": "{{ now }}" } });
    for (pointer, value) in [("refreshInterval", json!("1d")), ("secretStoreRefs", json!([])), ("template", template)] {
        let bench = Bench::new();
        bench.spec(1, policy("None"));
        bench.turn().await;
        let mut broken = policy("Delete");
        broken[pointer] = value;
        bench.spec(2, broken);
        bench.turn().await;
        assert!(!bench.ready().0, "{pointer}");
        assert_eq!(finalizers(&bench), [FINALIZER_PUSH_SECRET], "{pointer}");
    }
}

/// The cache shows the PushSecret as it was before our own last write, at every point of its life.
#[tokio::test]
async fn a_reconcile_that_starts_from_an_old_copy_pushes_nothing_that_is_not_listed() {
    let bench = Bench::new();
    bench.spec(1, both());
    let mut copies = vec![bench.server.push_secret(PUSH).unwrap()];
    bench.turn().await;
    copies.push(bench.server.push_secret(PUSH).unwrap());
    bench.server.remove("/namespaces/db/secrets/source");
    bench.turn().await;
    assert!(bench.ledger().is_empty());
    bench.source(&[("user", b"u"), ("pass", b"p")]);
    for copy in copies {
        bench.turn_with(copy).await;
        let in_store = bench.texts(TEMPORAL).len();
        assert_eq!(bench.ledger().len(), in_store, "{:?}", bench.ledger());
        bench.turn().await;
        assert!(bench.ready().0, "{:?}", bench.ready());
        assert_eq!((bench.texts(TEMPORAL).len(), bench.ledger().len()), (2, 2));
        bench.server.remove("/namespaces/db/secrets/source");
        bench.turn().await;
        bench.source(&[("user", b"u"), ("pass", b"p")]);
    }
}

/// An old leader still has what a new one removed, together with the whole PushSecret.
#[tokio::test]
async fn an_old_copy_of_a_push_secret_that_is_gone_or_going_writes_nothing() {
    for gone in [true, false] {
        let bench = Bench::new();
        bench.spec(1, both());
        bench.turn().await;
        let copy = bench.server.push_secret(PUSH).unwrap();
        bench.delete();
        match gone {
            true => assert_eq!(bench.turn().await, Report::Gone),
            false => bench.store.purge(&at(TEMPORAL)),
        }
        let mutations = bench.store.mutations();
        bench.turn_with(copy).await;
        assert_eq!((bench.store.mutations(), bench.texts(TEMPORAL)), (mutations, expect(&[])), "gone: {gone}");
    }
}

/// An old copy knows a line, and not that it was released and is another's by now, or wanted again.
#[tokio::test]
async fn an_old_copy_removes_nothing_that_the_ledger_lists_no_more() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    let mut one = both();
    one["data"] = json!([mapping("user", TEMPORAL, "username")]);
    bench.spec(2, one.clone());
    let copy = bench.server.push_secret(PUSH).unwrap();
    one["deletionPolicy"] = json!("None");
    bench.spec(3, one);
    bench.turn().await;
    assert_eq!(bench.ledger().len(), 1);
    bench.turn_with(copy).await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
}

/// An old copy does not want a property, and does not know that it is wanted again.
#[tokio::test]
async fn an_old_copy_releases_no_claim() {
    for writes in [false, true] {
        let bench = Bench::new();
        bench.spec(1, policy("None"));
        bench.turn().await;
        let mut one = policy("None");
        one["data"] = json!([mapping("user", TEMPORAL, "username")]);
        bench.spec(2, one.clone());
        let copy = bench.server.push_secret(PUSH).unwrap();
        bench.spec(3, policy("None"));
        bench.turn().await;
        let is_claimed = || claim::is_claimed(&bench.store.peek(&at(TEMPORAL)).custom_metadata, "password");
        assert!(is_claimed());
        if writes {
            bench.source(&[("user", b"u2"), ("pass", b"p")]);
        }
        bench.turn_with(copy).await;
        assert!(is_claimed(), "an old copy let the claim go; it has a value to write: {writes}");
        bench.spec(4, one);
        bench.turn().await;
        assert_eq!((is_claimed(), bench.ledger().len()), (false, 1));
    }
}

/// An old copy of the very spec knows a line that the ledger lost since, and the custom metadata
/// still names us.
#[tokio::test]
async fn an_old_copy_of_the_same_spec_removes_nothing_that_the_ledger_lists_no_more() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    let claimed = bench.store.peek(&at(TEMPORAL)).custom_metadata;
    let mut one = both();
    one["data"] = json!([mapping("user", TEMPORAL, "username")]);
    bench.spec(2, one);
    let copy = bench.server.push_secret(PUSH).unwrap();
    bench.turn().await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u")]));
    bench.store.put(&at(TEMPORAL), data(&[("username", "u"), ("password", "theirs")]));
    bench.store.put_metadata(&at(TEMPORAL), claimed);
    bench.turn_with(copy).await;
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "theirs")]));
}

#[tokio::test]
async fn a_first_push_is_listed_without_a_look_and_an_erased_claim_costs_one() {
    let bench = Bench::new();
    bench.spec(1, both());
    let kube = bench.server.requests().len();
    bench.turn().await;
    let gets = |from: usize| {
        let requests = bench.server.requests();
        requests[from..].iter().filter(|request| **request == format!("GET {PUSH}")).count()
    };
    assert_eq!(gets(kube), 0);
    bench.store.put_metadata(&at(TEMPORAL), marked());
    let kube = bench.server.requests().len();
    bench.turn().await;
    assert!(bench.ready().0 && gets(kube) == 1);
    let kube = bench.server.requests().len();
    bench.turn().await;
    assert_eq!(bench.server.requests().len() - kube, 1, "its source alone");
}

#[tokio::test]
async fn what_another_takes_after_the_metadata_was_replaced_takes_no_other_line_along() {
    for mark in [true, false] {
        let bench = Bench::new();
        bench.spec(1, both());
        bench.turn().await;
        replace_metadata(&bench, mark, &["password"]);
        bench.turn().await;
        let (ready, reason, _) = bench.ready();
        assert!(!ready && ["PathConflict", "PathNotManaged"].contains(&reason.as_str()), "{reason}");
        assert_eq!(bench.ledger(), [format!("{TEMPORAL}/username")], "marked: {mark}");
    }
}

#[tokio::test]
async fn replaced_metadata_is_called_so_loses_no_line_and_adopting_mends_it() {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    bench.store.put_metadata(&at(TEMPORAL), BTreeMap::from([("team".into(), "dba".into())]));
    bench.source(&[("user", b"u"), ("pass", b"p2")]);
    for _ in 0..2 {
        bench.turn().await;
        let (ready, reason, message) = bench.ready();
        assert!(!ready && reason == "PathNotManaged", "{reason}");
        assert!(message.contains("was replaced since version 1") && message.contains("waypost.io/adopt"), "{message}");
        assert_eq!(bench.ledger().len(), 2);
    }
    let mut push = json!(bench.server.push_secret(PUSH).unwrap());
    push["metadata"]["annotations"] = json!({ "waypost.io/adopt": "true" });
    bench.server.put(PUSH, push);
    bench.turn().await;
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p2")]));
}

/// Whatever shows no more that a value is ours: it stays, and that is said wherever it goes from
/// the ledger.
#[tokio::test]
async fn a_removal_that_is_declined_is_told_whether_the_push_secret_stays_or_goes() {
    let only = || {
        let mut spec = both();
        spec["data"] = json!([mapping("user", TEMPORAL, "username")]);
        spec
    };
    type Case = (&'static str, fn(&Bench), &'static str);
    let cases: [Case; 4] = [
        ("Replace", |bench| replace_metadata(bench, false, &[]), "the custom_metadata of the path was replaced"),
        ("IfNotExists", |bench| replace_metadata(bench, true, &[]), "updatePolicy IfNotExists"),
        (
            "Replace",
            |bench| replace_metadata(bench, true, &["password", "username"]),
            "it belongs to PushSecret db/push-b",
        ),
        (
            "Replace",
            |bench| {
                let theirs =
                    claim::intend(&marked(), ["password", "username"], &owner("b"), &claim::Inquiry::default());
                let theirs = theirs.into_iter().filter_map(|(key, value)| Some((key, value?)));
                bench.store.put_metadata(&at(TEMPORAL), marked().into_iter().chain(theirs).collect());
            },
            "announced a claim on it",
        ),
    ];
    for (update, disturb, why) in cases {
        for goes in [true, false] {
            let bench = Bench::new();
            let mut pushed = both();
            pushed["updatePolicy"] = json!(update);
            bench.spec(1, pushed);
            bench.turn().await;
            disturb(&bench);
            let report = match goes {
                true => {
                    bench.delete();
                    bench.turn().await
                }
                false => {
                    // The source goes: what was pushed is withdrawn.
                    bench.server.remove("/namespaces/db/secrets/source");
                    bench.turn().await
                }
            };
            let left = match report {
                Report::LetGo { why: LetGo::Declined, left, .. } if goes => left,
                Report::Orphaned { why: LetGo::Declined, left, .. } if !goes => left,
                other => panic!("{why}: {other:?}"),
            };
            assert!(left.contains(why) && left.contains("\"password\"") && left.contains("\"username\""), "{left}");
            assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
            if !goes {
                assert!(bench.ledger().is_empty() && bench.ready().2.contains(why), "{:?}", bench.ready());
            }
        }
    }
    // Nothing of it is said where nothing is left.
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    bench.store.put(&at(TEMPORAL), data(&[("username", "u")]));
    bench.store.put_metadata(&at(TEMPORAL), marked());
    bench.spec(2, only());
    assert!(matches!(bench.turn().await, Report::Verdict { .. }));
}

/// With `IfNotExists`, a value that is neither claimed nor the wanted one is left, because it may be
/// another writer's. It may also be ours: any request may have failed or lost its reply, and the
/// source has changed since.
#[tokio::test]
async fn a_value_that_if_not_exists_leaves_after_a_lost_reply_stays_listed_until_it_is_named() {
    let mut keep = both();
    keep["updatePolicy"] = json!("IfNotExists");
    let mut named = 0;
    for (fault, stop) in
        [Fault::Refuse, Fault::LoseReply].into_iter().flat_map(|fault| (0..20).map(move |k| (fault, k)))
    {
        let bench = Bench::new();
        bench.spec(1, keep.clone());
        bench.fail_at(stop, fault);
        bench.turn().await;
        bench.source(&[("user", b"u2"), ("pass", b"p2")]);
        for _ in 0..3 {
            bench.turn().await;
        }
        let listed = [format!("{TEMPORAL}/password"), format!("{TEMPORAL}/username")];
        assert_eq!(bench.texts(TEMPORAL).len(), 2, "stopped at {stop}");
        assert_eq!(bench.ledger(), listed, "stopped at {stop}");
        bench.delete();
        let mut said = String::new();
        for _ in 0..3 {
            if bench.server.push_secret(PUSH).is_some()
                && let Report::LetGo { left, .. } = bench.turn().await
            {
                said.push_str(&left);
            }
        }
        for property in bench.texts(TEMPORAL).keys() {
            assert!(
                said.contains(&format!("{property:?}")),
                "stopped at {stop}: {property} stays without a word: {said}"
            );
            named += 1;
        }
    }
    assert!(named > 0, "no reply of a write was lost");
}

fn as_a_whole(bench: &Bench, key: &str) {
    let mut push = json!(bench.server.push_secret(PUSH).unwrap());
    let line = json!({ "match": { "remoteRef": { "remoteKey": key } } });
    push["status"] = json!({ "syncedPushSecrets": { "ClusterSecretStore/vault": { key: line } } });
    push["metadata"]["finalizers"] = json!([FINALIZER_PUSH_SECRET]);
    bench.server.put(PUSH, push);
}

#[tokio::test]
async fn a_line_for_a_whole_path_becomes_lines_of_its_properties() {
    let bench = Bench::new();
    bench.store.put(&at(TEMPORAL), data(&[("username", "u"), ("password", "p")]));
    bench.store.put_metadata(&at(TEMPORAL), marked());
    bench.spec(1, both());
    as_a_whole(&bench, TEMPORAL);
    bench.store.fail_next(1, crate::store::StoreError::Sealed { server: "fake".into() });
    bench.turn().await;
    assert_eq!(bench.ledger(), [TEMPORAL], "nothing is published yet");
    bench.turn().await;
    assert!(bench.ready().0, "{:?}", bench.ready());
    assert_eq!(bench.ledger(), [format!("{TEMPORAL}/password"), format!("{TEMPORAL}/username")]);
    bench.delete();
    assert_eq!(bench.turn().await, Report::Gone);
    assert!(matches!(bench.store.peek(&at(TEMPORAL)).state, EntryState::Deleted { .. }));
}

#[tokio::test]
async fn a_line_that_says_too_little_is_named_and_holds_a_deleted_push_secret_until_the_deadline() {
    for key in [TEMPORAL, "a key/with spaces"] {
        let bench = Bench::new();
        bench.spec(1, both());
        as_a_whole(&bench, key);
        bench.delete();
        let Report::Verdict { requeue: Requeue::After(pause), .. } = bench.turn().await else { panic!("{key}") };
        assert!(pause <= Duration::from_secs(60));
        let (_, reason, message) = bench.ready();
        assert!(reason == "CleanupPending" && message.contains(key) && message.contains("abandon"), "{message}");
        bench.pass(Duration::from_secs(600));
        let left = format!("{key} in ClusterSecretStore/vault");
        let report = bench.turn().await;
        assert!(
            matches!(&report, Report::LetGo { why: LetGo::Unreadable, left: said, .. } if *said == left),
            "{report:?}"
        );
        assert_eq!(bench.turn().await, Report::Gone);
    }
}

/// A clock that is behind, or ahead, of the API server's ends no wait.
#[tokio::test]
async fn the_deadline_of_a_clean_up_is_counted_from_when_the_deletion_was_seen() {
    for stamp in ["2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"] {
        let mut bench = Bench::new();
        bench.spec(1, both());
        bench.turn().await;
        bench.stores.clients.clear();
        let mut push = json!(bench.server.push_secret(PUSH).unwrap());
        push["metadata"]["deletionTimestamp"] = json!(stamp);
        bench.server.put(PUSH, push);
        for (passed, is_held) in [(0, true), (599, true), (1, false)] {
            bench.pass(Duration::from_secs(passed));
            let held = matches!(bench.turn().await, Report::Verdict { .. });
            assert_eq!(held, is_held, "{stamp}");
        }
    }
}

/// One store is gone for good, and another is only down: nobody is let go while the second may come
/// back.
#[tokio::test]
async fn a_store_that_is_down_is_waited_for_past_the_deadline_even_beside_one_that_is_gone() {
    let mut bench = Bench::new();
    for name in ["second", "down"] {
        bench.stores.clients.insert(name, FakeStore::on(name));
    }
    let mut spec = both();
    let named = |name: &str| json!({ "name": name, "kind": "ClusterSecretStore" });
    spec["secretStoreRefs"] = ["vault", "second", "down"].into_iter().map(named).collect();
    bench.spec(1, spec);
    bench.turn().await;
    bench.stores.clients.remove("second");
    bench.stores.clients.remove("down");
    bench.delete();
    bench.turn().await;
    bench.pass(Duration::from_secs(3600));
    let report = bench.turn().await;
    assert!(matches!(report, Report::Verdict { .. }), "one that is down comes back: {report:?}");
    assert!(bench.texts(TEMPORAL).is_empty());
}
