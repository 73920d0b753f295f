//! What is given up in one namespace is taken over in another that names the property.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::bench::{Bench, TEMPORAL, at, both, expect};
use crate::domain::claim;
use crate::domain::object_name::Name;

const NEW: &str = "/namespaces/apps/pushsecrets/new";

#[tokio::test]
async fn one_of_another_namespace_that_names_the_property_takes_it_over() {
    // It was refused before, or nobody has looked at it yet.
    for is_known in [true, false] {
        takes_over(is_known).await;
    }
}

async fn takes_over(is_known: bool) {
    let bench = Bench::new();
    bench.apply("old", both());
    bench.one("old").await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "apps" } });
    bench.server.put("/namespaces/apps", namespace);
    let source = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "source", "uid": "s2" },
        "data": { "user": "dQ==", "pass": "cA==" } });
    bench.server.put("/namespaces/apps/secrets/source", source);
    let new = json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": both(),
        "metadata": { "name": "new", "namespace": "apps", "uid": "uid-new", "generation": 1 } });
    bench.server.put(NEW, new);
    let reconcile = async || bench.turn_with(bench.server.push_secret(NEW).unwrap()).await;
    if is_known {
        reconcile().await;
    }
    let status = || bench.server.push_secret(NEW).unwrap().status.unwrap_or_default();
    assert!(status().synced_push_secrets.is_empty(), "it has another owner");

    let stands = Arc::new(AtomicBool::new(true));
    let seen = stands.clone();
    bench.store.after_each(move |store, _| {
        let entry = store.peek(&at(TEMPORAL));
        let has = |property| entry.data().is_some_and(|data| data.contains_key(property));
        let owned = |property| claim::owner(&entry.custom_metadata, property).is_some();
        if !["username", "password"].into_iter().all(|property| has(property) && owned(property)) {
            seen.store(false, Ordering::Relaxed);
        }
    });
    bench.drop("old");
    bench.one("old").await;
    assert!(bench.woken.lock().contains(&Name::new("apps", "new")), "nobody asks it: {is_known}");
    reconcile().await;
    bench.one("old").await;
    assert!(bench.get("old").is_none(), "{:?}", bench.says("old"));
    for property in ["username", "password"] {
        let owner = claim::owner(&bench.store.peek(&at(TEMPORAL)).custom_metadata, property).unwrap();
        assert_eq!((&*owner.namespace, &*owner.name), ("apps", "new"), "{property}");
    }
    assert_eq!(status().synced_push_secrets.values().map(|lines| lines.len()).sum::<usize>(), 2);
    assert_eq!(bench.texts(TEMPORAL), expect(&[("username", "u"), ("password", "p")]));
    assert_eq!(bench.store.peek(&at(TEMPORAL)).cas(), 1, "no version is written");
    assert!(stands.load(Ordering::Relaxed), "a value was missing meanwhile");
}
