//! Which client a consumer gets, and when it gets another.

use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::api::ClusterSecretStore;
use crate::domain::path::RemotePath;
use crate::store::admit::Unclassified;
use crate::store::meter::NoMeter;

const STORES: &str = "/apis/external-secrets.io/v1/clustersecretstores";
const DEADLINE: Duration = Duration::from_secs(30);

/// The objects that an API server has, by URL; it answers 500 for each that is `None`.
#[derive(Clone, Default)]
struct Objects(Arc<Mutex<BTreeMap<String, Option<Value>>>>);

impl Objects {
    fn put(&self, url: &str, kind: &str, data: Value) {
        let name = url.rsplit('/').next().unwrap();
        let object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name }, "data": data });
        self.0.lock().insert(url.to_owned(), Some(object));
    }

    fn token(&self, namespace: &str, token: &str) {
        self.put(&token_of(namespace), "Secret", json!({ "token": STANDARD.encode(token) }));
    }

    fn registry(&self) -> Arc<Registry> {
        let objects = self.0.clone();
        let router = axum::Router::new().fallback(async move |uri: Uri| -> Response {
            tokio::time::sleep(Duration::from_millis(20)).await;
            match objects.lock().get(uri.path()) {
                Some(Some(object)) => object.to_string().into_response(),
                Some(None) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                None => {
                    let status = json!({ "apiVersion": "v1", "kind": "Status", "reason": "NotFound", "code": 404 });
                    (StatusCode::NOT_FOUND, status.to_string()).into_response()
                }
            }
        });
        let class = Class { name: "waypost".into(), unclassified: Unclassified::Serve };
        let settings = RegistrySettings { class, rate: NonZeroU32::MAX };
        Registry::new(Cluster::new(kube::Client::new(router, "default")), settings, Arc::new(NoMeter))
    }
}

fn token_of(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/t")
}

const CA: &str = "/api/v1/namespaces/vault/configmaps/ca";

fn pem() -> Value {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["vault".to_owned()]).unwrap().self_signed(&key).unwrap();
    json!({ "ca.crt": certificate.pem() })
}

fn name() -> StoreName {
    StoreName::cluster("s")
}

fn used() -> StoreChange {
    StoreChange::Use(name())
}

/// A store whose credential is read in each consumer's namespace, and its CA in a ConfigMap.
fn store(generation: i64, server: &str) -> StoreObject {
    described(generation, server, json!({}))
}

/// The same with labels and annotations.
fn described(generation: i64, server: &str, more: Value) -> StoreObject {
    let mut metadata = json!({ "name": "s", "uid": "u", "generation": generation });
    metadata.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let object: ClusterSecretStore = serde_json::from_value(json!({
        "metadata": metadata,
        "spec": { "provider": { "vault": {
            "server": server,
            "auth": { "tokenSecretRef": { "name": "t" } },
            "caProvider": { "type": "ConfigMap", "name": "ca", "namespace": "vault", "key": "ca.crt" },
        } } },
    }))
    .unwrap();
    StoreObject::Cluster(Arc::new(object))
}

/// One that serves every namespace whose labels can be read.
fn judged_by_labels(generation: i64, server: &str) -> StoreObject {
    let StoreObject::Cluster(object) = store(generation, server) else { unreachable!("it is one of the cluster") };
    let mut object = Arc::unwrap_or_clone(object);
    object.spec.0.conditions = serde_json::from_value(json!([{ "namespaceSelector": {} }])).unwrap();
    StoreObject::Cluster(Arc::new(object))
}

/// A registry with that store, and the clients of two namespaces, which have logged in.
async fn two_clients(objects: &Objects) -> (Arc<Registry>, [Arc<dyn StoreClient>; 2]) {
    objects.put(CA, "ConfigMap", pem());
    let registry = objects.registry();
    registry.upsert(name(), store(1, "https://127.0.0.1:9"));
    let path = RemotePath::parse(Some("secret"), "a/b").unwrap();
    let mut clients = Vec::new();
    for namespace in ["a", "b"] {
        objects.token(namespace, "first");
        let client = registry.client(namespace, &name()).await.unwrap();
        let _nobody_listens = client.read(&path, None).await;
        clients.push(client);
    }
    (registry, clients.try_into().unwrap_or_else(|_| panic!("there are two")))
}

async fn is_replaced(registry: &Arc<Registry>, namespace: &str, before: &Arc<dyn StoreClient>) -> bool {
    !Arc::ptr_eq(&registry.client(namespace, &name()).await.unwrap(), before)
}

#[tokio::test]
async fn a_new_ca_in_a_config_map_replaces_every_client_that_trusts_by_it() {
    let objects = Objects::default();
    let (registry, clients) = two_clients(&objects).await;
    assert_eq!(registry.reads(SourceKind::ConfigMap), [("vault".to_owned(), "ca".to_owned())]);
    let mut changes = registry.changes();
    objects.put(CA, "ConfigMap", pem());
    registry.moved(SourceKind::ConfigMap, "vault", "ca");
    for _ in &clients {
        let changed = tokio::time::timeout(DEADLINE, changes.recv()).await;
        assert_eq!(changed.ok().and_then(Result::ok), Some(used()), "the dependants try again");
    }
    assert!(is_replaced(&registry, "a", &clients[0]).await && is_replaced(&registry, "b", &clients[1]).await);
}

#[tokio::test]
async fn a_check_of_the_store_replaces_a_client_whose_rotation_could_not_be_read() {
    let objects = Objects::default();
    let (registry, clients) = two_clients(&objects).await;
    let mut changes = registry.changes();
    objects.0.lock().insert(token_of("b"), None);
    assert!(registry.inspected(&name()).await.unwrap().1.is_none());
    assert!(!is_replaced(&registry, "b", &clients[1]).await, "the API server did not answer");

    objects.token("b", "second");
    registry.inspected(&name()).await.unwrap();
    assert!(is_replaced(&registry, "b", &clients[1]).await && !is_replaced(&registry, "a", &clients[0]).await);
    assert_eq!(changes.try_recv(), Ok(used()));
    registry.inspected(&name()).await.unwrap();
    assert!(changes.try_recv().is_err(), "nothing else changed");
}

#[tokio::test]
async fn a_client_whose_store_is_edited_while_it_is_made_is_given_to_nobody() {
    let objects = Objects::default();
    objects.put(CA, "ConfigMap", pem());
    let registry = objects.registry();
    registry.upsert(name(), store(1, "https://127.0.0.1:9"));
    let edit = async {
        tokio::task::yield_now().await;
        registry.upsert(name(), store(2, "https://127.0.0.2:9"));
    };
    let consumer = name();
    let (opened, ()) = tokio::join!(registry.client("a", &consumer), edit);
    assert!(matches!(opened.err(), Some(StoreRefusal::Failed(StoreError::SessionClosed { .. }))));
    let client = registry.client("a", &consumer).await.unwrap();
    assert_eq!(client.location().server, "https://127.0.0.2:9");
}

#[tokio::test]
async fn a_store_that_does_not_decode_any_more_serves_nobody_until_it_does() {
    let objects = Objects::default();
    let (registry, clients) = two_clients(&objects).await;
    let mut changes = registry.changes();
    registry.undecodable(&name());
    assert_eq!(changes.try_recv(), Ok(used()), "its dependants hear of it");
    for refused in [registry.client("a", &name()).await.err(), registry.inspected(&name()).await.err()] {
        assert!(matches!(&refused, Some(StoreRefusal::Invalid { what, .. }) if what == UNDECODABLE), "{refused:?}");
    }
    assert_eq!(registry.foreign([name()]), Foreign::None, "it is ours all the same");
    registry.undecodable(&name());
    assert!(changes.try_recv().is_err());

    registry.upsert(name(), store(3, "https://127.0.0.1:9"));
    assert_eq!(changes.try_recv(), Ok(used()));
    assert!(is_replaced(&registry, "a", &clients[0]).await);
}

#[tokio::test]
async fn labels_that_the_watch_shows_late_are_told_by_a_live_read() {
    let objects = Objects::default();
    let registry = objects.registry();
    registry.upsert(name(), described(1, "https://127.0.0.1:9", json!({ "labels": { "a": "b" } })));
    for (live, is_shown) in [(json!({ "a": "b" }), true), (json!({ "a": "c" }), false), (json!(null), false)] {
        let item = json!({ "metadata": { "name": name().name, "labels": live } });
        let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": [item] });
        objects.0.lock().insert(STORES.to_owned(), Some(list));
        assert_eq!(registry.is_labelled_as_shown(&name()).await, Ok(is_shown), "{live}");
    }
    objects.0.lock().insert(STORES.to_owned(), Some(json!({ "kind": "List", "metadata": {}, "items": [] })));
    assert_eq!(registry.is_labelled_as_shown(&name()).await, Ok(false), "it is gone");
    objects.0.lock().insert(STORES.to_owned(), None);
    assert!(registry.is_labelled_as_shown(&name()).await.is_err());
}

#[tokio::test]
async fn labels_and_the_allowance_of_deletions_are_announced_apart_from_an_edit() {
    let registry = Objects::default().registry();
    let mut changes = registry.changes();
    let mut announced = |generation, more| {
        registry.upsert(name(), described(generation, "https://127.0.0.1:9", more));
        std::iter::from_fn(|| changes.try_recv().ok()).collect::<Vec<_>>()
    };
    let labels = || json!({ "labels": { "a": "b" } });
    let allowed = || json!({ "labels": { "a": "b" }, "annotations": { ANNOTATION_ALLOW_MASS_DELETION: "3" } });
    let (only_labels, only_allowance) = (StoreChange::Labels(name()), StoreChange::Allowance(name()));
    assert_eq!(announced(1, json!({})), [used()]);
    assert_eq!(announced(1, labels()), slice::from_ref(&only_labels));
    assert_eq!(announced(1, allowed()), slice::from_ref(&only_allowance));
    assert_eq!(announced(1, json!({})), [only_labels, only_allowance]);
    assert_eq!(announced(2, labels()), [used()], "an edit concerns everybody");
    assert!(announced(2, labels()).is_empty());
}

#[test]
fn a_server_is_known_by_its_origin_however_its_address_is_written() {
    for address in ["https://Mine", "https://mine/", "https://mine:443/1", "https://mine/2/"] {
        assert_eq!(origin(address), "https://mine");
    }
    assert_eq!(origin("http://mine"), "http://mine");
    assert_eq!(origin("https://mine:8200/vault"), "https://mine:8200");
    assert_eq!(origin("mine"), "");
}

#[tokio::test]
async fn of_a_store_that_is_deleted_nothing_is_kept_also_if_a_client_is_being_made() {
    // Without its CA, no client can be made. Where labels decide, they are read before.
    let stores = [store(2, "https://127.0.0.1:9"), judged_by_labels(2, "https://127.0.0.1:9")];
    for (store, is_made) in stores.iter().flat_map(|store| [(store, true), (store, false)]) {
        let objects = Objects::default();
        let (registry, clients) = two_clients(&objects).await;
        let kept = registry.pool.kept_of(&name());
        assert_eq!(kept, ["a client", "its gauges", "what it reads"]);
        registry.remove(&name());
        registry.upsert(name(), store.clone());
        objects.put("/api/v1/namespaces/a", "Namespace", json!({}));
        if !is_made {
            objects.0.lock().remove(CA);
        }
        let consumer = name();
        let remove = async {
            tokio::task::yield_now().await;
            registry.remove(&name());
        };
        let (made, ()) = tokio::join!(registry.client("a", &consumer), remove);
        assert!(made.is_err());
        drop(clients);
        let gone = async {
            while !registry.pool.kept_of(&name()).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let gone = tokio::time::timeout(DEADLINE, gone).await;
        assert!(gone.is_ok(), "kept, made: {is_made}: {:?}", registry.pool.kept_of(&name()));
    }
}
