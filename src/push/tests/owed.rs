//! A status that could not be written, while the cache lags behind the ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::Method;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::json;

use super::bench::{Bench, PUSH, TEMPORAL, both, texts};
use crate::api::PushSecret;
use crate::cluster::in_memory::Fault;
use crate::controller::context::Context;
use crate::controller::drive::Driven;
use crate::controller::guarded::Guarded;
use crate::push::Pusher;
use crate::store::StoreError;
use crate::store::fake;

/// What hinders the second reconcile before it reads the PushSecret live.
#[derive(Clone, Copy, Debug)]
enum Hindrance {
    Source,
    Store,
}

/// A first reconcile whose request number `stop` fails, a hindered one with the same copy, and its
/// deletion, after which nothing may be left. Gives how many requests the first one made.
async fn told(stop: usize, fault: Fault, hindrance: Hindrance) -> usize {
    let bench = Bench::new();
    bench.spec(1, both());
    let requests = bench.fail_at(stop, fault);
    let Bench { server, store, stores, offers, .. } = bench;
    let context = Context::on(server.cluster());
    let pusher = Arc::new(Pusher::new(context.clone(), Arc::new(stores), offers));
    let driven = Driven::new(pusher, context, 1);
    let old: Guarded<PushSecret> = server.get(PUSH).unwrap();
    driven.on_event(&Ok(Event::Apply(old.clone())));
    driven.run_once(&old).await;
    let made = requests.load(Ordering::Relaxed);
    let reads_source = |method: &Method, url: &str| *method == Method::GET && url.contains("/secrets/");
    match hindrance {
        Hindrance::Source => {
            server.before_each(move |method, url| reads_source(method, url).then_some(Fault::Refuse));
            store.before_each(|_, _| None);
        }
        Hindrance::Store => {
            server.before_each(|_, _| None);
            store.before_each(|_, _| Some(fake::Fault::Refuse(StoreError::Sealed { server: "fake".into() })));
        }
    }
    driven.run_once(&old).await;
    server.before_each(|_, _| None);
    store.before_each(|_, _| None);
    server.edit(PUSH, &json!({ "metadata": { "deletionTimestamp": Timestamp::now() } }));
    for _ in 0..3 {
        let Some(present) = server.get::<Guarded<PushSecret>>(PUSH) else { break };
        driven.on_event(&Ok(Event::Apply(present.clone())));
        driven.run_once(&present).await;
    }
    let left = texts(&store, TEMPORAL);
    assert!(left.is_empty(), "{fault:?} at request {stop}, then {hindrance:?}: {left:?} is left");
    made
}

#[tokio::test]
async fn no_write_that_fails_anywhere_erases_a_line_that_the_cache_does_not_show() {
    for fault in [Fault::Refuse, Fault::LoseReply] {
        for hindrance in [Hindrance::Source, Hindrance::Store] {
            let mut stop = 0;
            while told(stop, fault, hindrance).await > stop {
                stop += 1;
            }
            assert!(stop > 5, "the first reconcile made only {stop} requests");
        }
    }
}
