//! Whose a PushSecret is where labels select its stores, or where a store passes to another controller.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use serde_json::{Value, json};

use super::bench::{Bench, PUSH, SOURCE, both};
use super::protocol;
use crate::api::names::FINALIZER_PUSH_SECRET;
use crate::api::path_status::PushedPath;
use crate::cluster::in_memory::Fault;
use crate::controller::context::Context;
use crate::controller::drive::Reconciler;
use crate::controller::report::Report;
use crate::controller::undecodable::Fate;
use crate::domain::object_name::Name;
use crate::feed::Spelled;
use crate::push::Pusher;
use crate::push::offers::Waiter;
use crate::store::admit::{Class, Unclassified};
use crate::store::meter::NoMeter;
use crate::store::{Registry, RegistrySettings};

/// The same, with its store selected by labels.
fn selected() -> Value {
    let mut spec = both();
    spec["secretStoreRefs"] =
        json!([{ "kind": "ClusterSecretStore", "labelSelector": { "matchLabels": { "store": "vault" } } }]);
    spec
}

/// Stores without a class are another controller's.
fn classified() -> Bench {
    let mut bench = Bench::new();
    bench.stores.serves_unclassified = false;
    bench.spec(1, selected());
    bench
}

fn is_held(bench: &Bench) -> bool {
    let push = bench.server.push_secret(PUSH);
    push.is_some_and(|push| push.metadata.finalizers.is_some_and(|held| held == [FINALIZER_PUSH_SECRET]))
}

/// Everything was withdrawn with its source, or it stopped before anything was pushed.
async fn lists_nothing(bench: &Bench, withdrawn: bool) {
    if !withdrawn {
        bench.server.fail_next_write("/status", Fault::Refuse);
    }
    bench.turn().await;
    if withdrawn {
        assert!(bench.ready().0, "{:?}", bench.ready());
        bench.server.remove(SOURCE);
        bench.turn().await;
    }
    assert!(is_held(bench) && bench.ledger().is_empty(), "{:?}", bench.ledger());
}

#[tokio::test]
async fn one_that_lists_nothing_goes_whether_a_store_is_selected_or_none() {
    for (withdrawn, selects) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut bench = classified();
        lists_nothing(&bench, withdrawn).await;
        if !selects {
            bench.stores.clients.clear();
        }
        bench.delete();
        assert_eq!(bench.turn().await, Report::Gone, "withdrawn: {withdrawn}, selects: {selects}");
        assert!(bench.server.push_secret(PUSH).is_none());
    }
    // Without a status, nothing shows that it is ours.
    let mut bench = classified();
    bench.stores.clients.clear();
    bench.server.edit(PUSH, &json!({ "metadata": { "finalizers": [FINALIZER_PUSH_SECRET] } }));
    bench.delete();
    assert_eq!(bench.turn().await, Report::NotOurs);
    assert!(is_held(&bench));
    // Whose finalizer it is does not show, so it is for the one whose stores these are.
    let bench = classified();
    lists_nothing(&bench, true).await;
    bench.stores.others.lock().insert("vault");
    bench.delete();
    assert_eq!(bench.turn().await, Report::NotOurs);
    assert!(is_held(&bench));
}

#[tokio::test]
async fn one_that_does_not_decode_and_lists_nothing_goes_too() {
    let bench = classified();
    lists_nothing(&bench, true).await;
    let mut broken = json!(bench.server.push_secret(PUSH).unwrap());
    broken["spec"]["data"] = json!("garbage");
    bench.server.put(PUSH, broken);
    let mut context = Context::on(bench.server.cluster());
    let class = Class { name: "waypost".into(), unclassified: Unclassified::Leave };
    let settings = RegistrySettings { class, rate: 100.try_into().unwrap() };
    let registry = Registry::new(bench.server.cluster(), settings, Arc::new(NoMeter));
    Arc::get_mut(&mut context).unwrap().stores = registry;
    let (name, server) = (Name::new("db", "push"), bench.server.clone());
    let pusher = Pusher::new(context, Arc::new(bench.stores), bench.offers);
    assert!(matches!(pusher.undecodable(&name).await, Ok(Fate::Left)), "it may be another controller's");
    server.edit(PUSH, &json!({ "metadata": { "deletionTimestamp": "1970-01-01T00:00:00Z" } }));
    assert!(matches!(pusher.undecodable(&name).await, Ok(Fate::Ends(_))));
}

/// Its store is given to another controller. Its consumers are that one's too, and whoever counts them
/// would write a status that is not ours.
#[tokio::test]
async fn of_one_that_passes_to_another_controller_nothing_is_counted_any_more() {
    let bench = Bench::new();
    bench.spec(1, both());
    let context = Context::on(bench.server.cluster());
    let (name, server, others) = (Name::new("db", "push"), bench.server.clone(), bench.stores.others.clone());
    let pusher = Pusher::new(context.clone(), Arc::new(bench.stores), bench.offers);
    let reconcile = async || pusher.reconcile(Arc::new(server.push_secret(PUSH).unwrap()), &name).await;
    let pushed =
        Spelled { store: "ClusterSecretStore/vault".into(), path: "secret/platform-data/postgres/temporal".into() };
    assert!(matches!(reconcile().await, Report::Verdict { .. }));
    context.feed.tell_beyond(&name, vec![PushedPath::default()]);
    assert!(context.feed.followers(&name, &pushed).is_some());
    others.lock().insert("vault");
    assert_eq!(reconcile().await, Report::NotOurs);
    assert_eq!((context.feed.followers(&name, &pushed), context.feed.beyond(&name)), (None, None));
}

/// Whoever asks it is told once that it takes nothing, and does not ask again for ever.
#[tokio::test]
async fn one_of_another_controller_declines_what_it_is_offered_once() {
    let bench = Bench::new();
    bench.spec(1, both());
    let push = bench.server.push_secret(PUSH).unwrap();
    let (name, old) = (Name::new("db", "push"), protocol::owner("old"));
    let (uid, generation) = (push.uid().unwrap(), push.metadata.generation.unwrap());
    let waiter = Waiter { name: name.clone(), uid, generation };
    let asking = BTreeMap::from([((protocol::site(), "password".to_owned()), vec![waiter])]);
    bench.offers.open(&old, asking, &|_, _| false);
    bench.stores.others.lock().insert("vault");
    bench.woken.lock().clear();
    let (woken, context) = (bench.woken.clone(), Context::on(bench.server.cluster()));
    let pusher = Pusher::new(context, Arc::new(bench.stores), bench.offers);
    for _ in 0..2 {
        assert_eq!(pusher.reconcile(Arc::new(push.clone()), &name).await, Report::NotOurs);
    }
    assert_eq!(*woken.lock(), [Name::new(&old.namespace, &old.name)]);
}
