//! Deletions, and an edit of the parent among them.

use axum::http::{Method, Uri};
use parking_lot::Mutex;

use super::*;
use crate::cluster::Cluster;
use crate::fanout::apply::Applier;
use crate::fanout::change::child;

/// How many are deleted at once.
const BATCH: usize = 8;
const GENERATION: i64 = 2;

/// The parent's children are to go from all namespaces, and after this many deletions somebody edits
/// it. Returns how many are deleted.
async fn deleted(children: usize, edited_after: usize) -> (usize, Results) {
    let parent = json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "ClusterPushSecret",
        "metadata": { "name": "fan", "uid": "fan-uid", "generation": GENERATION },
        "spec": {
            "namespaceSelectors": [{ "matchLabels": { "team": "a" } }],
            "pushSecretSpec": {
                "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": "vault" }],
                "selector": { "secret": { "name": "source" } },
            },
        },
    });
    let desired = desired::parse(&serde_json::from_value::<ClusterPushSecret>(parent.clone()).unwrap()).unwrap();
    let child = serde_json::to_value(child::<ClusterPushSecret>(&desired, "any")).unwrap();
    let count: Arc<Mutex<usize>> = Arc::default();
    let counted = count.clone();
    let router = axum::Router::new().fallback(async move |method: Method, uri: Uri| {
        let mut count = counted.lock();
        if method == Method::DELETE {
            *count += 1;
        }
        let with = |mut object: Value, field: &str, value: Value| {
            object["metadata"][field] = value;
            object.to_string()
        };
        match uri.path() {
            path if path.contains("clusterpushsecrets") => {
                with(parent.clone(), "generation", json!(GENERATION + i64::from(*count >= edited_after)))
            }
            path if path.contains("pushsecrets") => with(child.clone(), "uid", json!("child")),
            _ => with(json!({ "apiVersion": "v1", "kind": "Namespace" }), "name", json!("any")),
        }
    });
    let cluster = Cluster::new(kube::Client::new(router, "default"));
    let unwanted = (0..children).map(|number| Unwanted {
        namespace: format!("team-{number}"),
        name: "fan".to_owned(),
        why: Why::Unmatched,
    });
    let plan = Plan { wanted: BTreeMap::new(), unwanted: unwanted.collect() };
    let applier = Applier::<ClusterPushSecret> { cluster: &cluster, desired: &desired, known: &Known::default() };
    let results = applier.run(&plan).await;
    (*count.lock(), results)
}

#[tokio::test]
async fn an_edit_of_the_parent_ends_a_long_list_of_deletions() {
    assert_eq!(deleted(40, usize::MAX).await.0, 40);
    let (deleted, results) = deleted(40, BATCH + 1).await;
    assert_eq!(deleted, 2 * BATCH, "the batch that has begun is finished");
    assert_eq!(results.unwanted.values().filter(|outcome| outcome.has_moved()).count(), 40 - deleted);
}
