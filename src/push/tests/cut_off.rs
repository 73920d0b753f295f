//! A reconcile that is cut off while a server carries out its request, because another store is done
//! or the process ends: whoever reads the entry hears of what happened to it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::bench::{Bench, TEMPORAL, at, mapping};
use super::consents::{is_told, read_by, when_changed};
use crate::feed::{News, Pushed};
use crate::store::fake::{Counting, Operation};

const SOON: Duration = Duration::from_secs(1);

/// The server commits the change at once, and its reply comes too late.
#[tokio::test(start_paused = true)]
async fn rf2_a_consent_is_announced_if_nobody_waits_for_the_reply() {
    for (counting, operation, before) in [
        (Counting::Refused, Operation::PatchMetadata, Some([].as_slice())),
        (Counting::Offered, Operation::PatchMetadata, Some(["bank"].as_slice())),
        (Counting::Offered, Operation::ExchangeMetadata, None),
    ] {
        let mut bench = Bench::new();
        bench.stores.clients.insert("vault", bench.store.with_counting(counting));
        if let Some(before) = before {
            bench.spec(1, read_by(before));
            bench.turn().await;
        }
        let changed = when_changed(&bench);
        bench.store.slow(operation, 2 * SOON);
        bench.spec(2, read_by(&["shop"]));
        assert!(tokio::time::timeout(SOON, bench.turn()).await.is_err(), "{operation:?} is cut off");
        assert!(is_told(&bench, &changed), "{counting:?} {operation:?}");
    }
}

/// The same as when another store is done: that is what cuts a request off.
#[tokio::test(start_paused = true)]
async fn rf2_a_consent_is_announced_if_another_store_is_done() {
    let mut bench = Bench::new();
    bench.stores.clients.insert("second", crate::store::fake::FakeStore::on("second"));
    let through_both = |readers: &[&str]| {
        let mut spec = read_by(readers);
        let first = spec["secretStoreRefs"][0].clone();
        let mut second = first.clone();
        second["name"] = "second".into();
        spec["secretStoreRefs"] = [first, second].into_iter().collect();
        spec
    };
    bench.spec(1, through_both(&[]));
    bench.turn().await;
    let before = bench.announced.lock().len();
    bench.store.slow(Operation::PatchMetadata, 10 * SOON);
    bench.spec(2, through_both(&["shop"]));
    bench.turn().await;
    assert!(!bench.ready().0, "it is skipped: {:?}", bench.ready());
    // The other store's own announcement, and ours.
    let told = bench.announced.lock()[before..].iter().filter(|told| **told == Pushed::Consent.into()).count();
    assert_eq!(told, 2);
}

/// An edit changes a value, drops a property and narrows who may read, and its first reconcile is
/// stopped anywhere: the latest version and the consents are announced after they came to be.
#[tokio::test]
async fn what_an_edit_changed_is_announced_wherever_its_reconcile_is_cut_off() {
    for (counting, stop) in
        [Counting::Offered, Counting::Refused].into_iter().flat_map(|counting| (0..60).map(move |k| (counting, k)))
    {
        let mut bench = Bench::new();
        bench.stores.clients.insert("vault", bench.store.with_counting(counting));
        let mut before = read_by(&[]);
        before["data"].as_array_mut().unwrap().push(mapping("user", TEMPORAL, "username"));
        bench.spec(1, before);
        bench.turn().await;
        let written = Arc::new(Mutex::new(0));
        let (noted, announced) = (written.clone(), bench.announced.clone());
        bench.store.before_each(move |_, request| {
            if request.operation == Operation::Write {
                *noted.lock() = announced.lock().len();
            }
            None
        });
        let changed = when_changed(&bench);
        bench.store.yield_at_each_request();
        bench.server.yield_at_each_request();
        bench.source(&[("user", b"u"), ("pass", b"q")]);
        bench.spec(2, read_by(&["shop"]));
        poll(bench.turn(), stop).await;
        for _ in 0..3 {
            bench.turn().await;
        }
        assert!(bench.ready().0, "{:?}", bench.ready());
        assert!(is_told(&bench, &changed), "consents: {counting:?}, stopped at {stop}");
        let entry = bench.store.peek(&at(TEMPORAL));
        let version = News::from(Pushed::Version(entry.cas(), entry.created));
        let since = *written.lock();
        assert!(bench.announced.lock()[since..].contains(&version), "{version:?}: {counting:?}, stopped at {stop}");
    }
}

/// Polls so often, and drops what is not done by then.
async fn poll(future: impl Future, polls: usize) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if futures::poll!(&mut future).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
