//! A PushSecret that is released although it leaves something: that is said first, and once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::bench::{Bench, PUSH, TEMPORAL, at, both, expect, missing, unusable};
use super::protocol;
use crate::api::names::{ANNOTATION_ABANDON, FINALIZER_PUSH_SECRET};
use crate::cluster::in_memory::Fault;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::{Report, Requeue};
use crate::controller::undecodable::Fate;
use crate::domain::claim::CustomMetadata;
use crate::domain::object_name::Name;
use crate::metrics::LetGo;
use crate::push::Pusher;
use crate::push::deletions::Deletions;
use crate::store::fake::Operation;
use crate::store::{StoreName, StoreRefusal};

const DEADLINE: Duration = Duration::from_secs(600);

/// Why a store cannot be used.
type Refuse = fn(StoreName) -> StoreRefusal;
/// What hinders a clean-up.
type Disturb = fn(&mut Bench);

fn not_allowed(store: StoreName) -> StoreRefusal {
    StoreRefusal::NotAllowed { store, namespace: "db".into() }
}

fn invalid(store: StoreName) -> StoreRefusal {
    StoreRefusal::Invalid { store, what: "no server".into() }
}

fn unsupported(store: StoreName) -> StoreRefusal {
    StoreRefusal::Unsupported { store, what: "another provider".into() }
}

/// Another leader lets a PushSecret take what this one removes, and that one writes it. The claims are
/// released all the same, so nothing but the ledger keeps another process from removing it once more.
#[tokio::test]
async fn what_reappeared_after_a_removal_is_removed_by_no_other_process_either() {
    let mut bench = deleted().await;
    let writes = AtomicBool::new(true);
    bench.store.before_each(move |store, request| {
        if request.operation == Operation::PatchMetadata && writes.swap(false, Ordering::Relaxed) {
            store.put(&at(TEMPORAL), protocol::data(&[("password", "theirs")]));
        }
        None
    });
    let report = bench.turn().await;
    assert!(matches!(report, Report::LetGo { why: LetGo::Declined, .. }), "{report:?}");
    bench.deletions = Deletions::default();
    assert_eq!(bench.turn().await, Report::Gone);
    assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "theirs")]));
}

/// Nobody can use its store any more.
fn refused(bench: &mut Bench, refusal: Refuse) {
    bench.stores.clients.clear();
    bench.stores.refusal = refusal;
}

/// One that has pushed, and is deleted.
async fn deleted() -> Bench {
    let bench = Bench::new();
    bench.spec(1, both());
    bench.turn().await;
    bench.delete();
    bench
}

fn is_held(bench: &Bench) -> bool {
    let finalizers = bench.server.push_secret(PUSH).and_then(|push| push.metadata.finalizers).unwrap_or_default();
    finalizers == [FINALIZER_PUSH_SECRET]
}

#[tokio::test]
async fn a_store_that_only_an_edit_opens_is_waited_for_until_the_deadline() {
    let refusals: [(Refuse, Option<LetGo>); 5] = [
        (missing, Some(LetGo::StoreGone)),
        (not_allowed, Some(LetGo::StoreRefused)),
        (invalid, Some(LetGo::StoreRefused)),
        (unsupported, Some(LetGo::StoreRefused)),
        (unusable, None),
    ];
    for (refusal, reason) in refusals {
        let mut bench = deleted().await;
        refused(&mut bench, refusal);
        for passes in [Duration::ZERO, DEADLINE - Duration::from_secs(1)] {
            bench.pass(passes);
            assert!(matches!(bench.turn().await, Report::Verdict { .. }), "{reason:?}");
            assert_eq!(bench.ready().1, "CleanupPending");
        }
        bench.pass(Duration::from_secs(1));
        let said = match bench.turn().await {
            Report::LetGo { why, left, .. } => Some((why, left.contains(&format!("{TEMPORAL}/password")))),
            Report::Verdict { .. } => None,
            other => panic!("{reason:?}: {other:?}"),
        };
        assert_eq!(said, reason.map(|reason| (reason, true)));
        // It can be corrected until the last moment.
        if reason.is_none() {
            bench.stores.clients.insert("vault", bench.store.clone());
            assert_eq!(bench.turn().await, Report::Gone);
            assert!(bench.texts(TEMPORAL).is_empty());
        }
    }
}

#[tokio::test]
async fn what_a_push_secret_leaves_is_said_before_its_finalizer_goes_and_once() {
    let cases: [(LetGo, Disturb); 6] = [
        (LetGo::Abandoned, |bench| {
            refused(bench, unusable);
            bench.server.edit(PUSH, &json!({ "metadata": { "annotations": { ANNOTATION_ABANDON: "true" } } }));
        }),
        (LetGo::StoreGone, |bench| refused(bench, missing)),
        (LetGo::StoreRefused, |bench| refused(bench, not_allowed)),
        (LetGo::NamespaceGone, |bench| {
            refused(bench, unusable);
            bench
                .server
                .edit("/namespaces/db", &json!({ "metadata": { "deletionTimestamp": "1970-01-01T00:00:00Z" } }));
        }),
        (LetGo::Declined, |bench| bench.store.put_metadata(&at(TEMPORAL), CustomMetadata::new())),
        (LetGo::Unreadable, |bench| {
            bench.server.edit(PUSH, &json!({ "metadata": { "annotations": { "waypost.io/earlier-versions": "x" } } }));
        }),
    ];
    for (reason, disturb) in cases {
        let mut bench = deleted().await;
        disturb(&mut bench);
        let fails = Arc::new(AtomicBool::new(true));
        let refuses = fails.clone();
        bench.server.before_each(move |method, url| {
            let is_of_finalizer = *method == "PATCH" && url.contains(PUSH) && !url.contains("/status");
            (is_of_finalizer && refuses.load(Ordering::Relaxed)).then_some(Fault::Refuse)
        });
        let is_said = async |bench: &Bench| {
            for _ in 0..2 {
                match bench.turn().await {
                    Report::LetGo { why, left, .. } => {
                        assert_eq!((why, left.contains(TEMPORAL)), (reason, true), "{left}");
                        return true;
                    }
                    _waits => bench.pass(DEADLINE),
                }
            }
            false
        };
        assert!(is_said(&bench).await && is_held(&bench), "{reason:?}");
        for _ in 0..3 {
            let report = bench.turn().await;
            assert!(report.requeue().is_some_and(Requeue::is_failure), "{reason:?}: {report:?}");
            assert!(!matches!(report, Report::LetGo { .. }) && is_held(&bench), "{reason:?}");
        }
        // Another process does not know whether it was said, unless it has left the ledger.
        bench.deletions = Deletions::default();
        assert_eq!(is_said(&bench).await, reason != LetGo::Declined, "{reason:?}");
        assert!(is_held(&bench), "{reason:?}");
        fails.store(false, Ordering::Relaxed);
        let cached = bench.server.push_secret(PUSH).unwrap();
        assert_eq!(bench.turn().await, Report::Gone, "{reason:?}");
        assert!(bench.server.push_secret(PUSH).is_none(), "{reason:?}");
        if reason != LetGo::Declined {
            assert_eq!(bench.turn_with(cached).await, Report::Gone, "{reason:?}: a cache that lags");
        }
    }
}

/// Everything is removed, and the finalizer stays for a while. What somebody writes there meanwhile,
/// without a claim, is not ours.
#[tokio::test]
async fn what_is_written_before_the_finalizer_goes_stays() {
    let bench = deleted().await;
    let fails = Arc::new(AtomicBool::new(true));
    let refuses = fails.clone();
    bench.server.before_each(move |method, url| {
        let is_of_finalizer = *method == "PATCH" && url.contains(PUSH) && !url.contains("/status");
        (is_of_finalizer && refuses.load(Ordering::Relaxed)).then_some(Fault::Refuse)
    });
    let report = bench.turn().await;
    assert!(report.requeue().is_some_and(Requeue::is_failure) && is_held(&bench), "{report:?}");
    bench.store.put(&at(TEMPORAL), protocol::data(&[("password", "theirs")]));
    fails.store(false, Ordering::Relaxed);
    assert_eq!(bench.turn().await, Report::Gone);
    assert_eq!(bench.texts(TEMPORAL), expect(&[("password", "theirs")]));
}

#[tokio::test]
async fn one_that_does_not_decode_is_counted_once_however_often_its_release_fails() {
    let bench = deleted().await;
    let mut broken = json!(bench.server.push_secret(PUSH).unwrap());
    broken["spec"]["deletionPolicy"] = json!("Sometimes");
    bench.server.put(PUSH, broken.clone());
    let (name, server, mut context) =
        (Name::new("db", "push"), bench.server.clone(), Context::on(bench.server.cluster()));
    Arc::get_mut(&mut context).unwrap().settings.cleanup_deadline = Duration::ZERO;
    let pusher = Pusher::new(context.clone(), Arc::new(bench.stores), bench.offers);
    let counted = || context.metrics.encode().contains("waypost_push_let_go_total{reason=\"Unreadable\"} 1\n");
    for fails in [true, true, false] {
        let Ok(Fate::Ends(rest)) = pusher.undecodable(&name).await else { panic!("it is not released") };
        server.before_each(move |method, _| (fails && *method == "PATCH").then_some(Fault::Refuse));
        let report = pusher.reconcile(Arc::from(rest), &name).await;
        assert_eq!(report == Report::Gone, !fails, "{report:?}");
        assert!(counted());
    }
    // The finalizer of somebody else still holds it: for this process, and for the next one.
    broken["metadata"]["finalizers"] = json!(["example.org/backup"]);
    server.put(PUSH, broken);
    for _ in 0..2 {
        let Ok(Fate::Ends(rest)) = pusher.undecodable(&name).await else { panic!("we hold it") };
        assert_eq!(pusher.reconcile(Arc::from(rest), &name).await, Report::Gone);
        assert!(counted());
        pusher.deletions.forget(&name.to_string());
    }
}
