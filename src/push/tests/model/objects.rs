//! The objects of the model, as somebody writes them.

use base64::Engine;
use serde_json::{Value, json};

use super::moves::{LABELLED, NAMES, PATHS, PROPERTIES, Policy, Wish};
use super::shelf::{BROKEN, FORGED};
use crate::domain::earlier_versions::EarlierVersions;

/// [`PATHS`], as a mapping names each of them by its source.
pub const BY_NAME: &str = "platform-data/{{ .metadata.name }}/temporal";

/// The spec of the PushSecret of this name that asks for this.
pub fn spec(name: &str, wish: Wish) -> Value {
    let stores = NAMES.iter().enumerate().filter(|(bit, _)| wish.stores & (1 << bit) != 0);
    let stores: Vec<Value> =
        stores.map(|(_, (name, _))| json!({ "name": name, "kind": "ClusterSecretStore" })).collect();
    let all = (0..PATHS.len()).flat_map(|path| (0..PROPERTIES.len()).map(move |property| (path, property)));
    let data = all.enumerate().filter(|(bit, _)| wish.spots & (1 << bit) != 0).map(|(_, (path, property))| {
        json!({ "match": { "secretKey": "key", "remoteRef": { "remoteKey": PATHS[path], "property": PROPERTIES[property] } } })
    });
    let mut spec = json!({
        "refreshInterval": "24h", "deletionPolicy": format!("{:?}", wish.policy), "secretStoreRefs": stores,
        "selector": { "secret": { "name": format!("source{}", wish.source) } }, "data": data.collect::<Vec<_>>(),
    });
    if wish.source == LABELLED {
        let is_wanted = |property: &usize| {
            (0..PATHS.len()).any(|path| wish.spots & (1 << (path * PROPERTIES.len() + property)) != 0)
        };
        let data = (0..PROPERTIES.len()).filter(is_wanted).map(|property| {
            json!({ "match": { "secretKey": "key", "remoteRef": { "remoteKey": BY_NAME, "property": PROPERTIES[property] } } })
        });
        spec["selector"] = json!({ "secret": { "selector": { "matchLabels": { "team": name } } } });
        spec["data"] = data.collect();
    }
    spec
}

/// The name of the source of a path, if labels select sources.
pub fn named_in(path: usize) -> &'static str {
    PATHS[path].split('/').nth(1).expect("a path of three segments")
}

/// A source with a label.
pub fn labelled(name: &str, team: &str, value: &str) -> Value {
    let mut secret = secret(name, value);
    secret["metadata"]["labels"] = json!({ "team": team });
    secret
}

/// A source.
pub fn secret(name: &str, value: &str) -> Value {
    let data = base64::engine::general_purpose::STANDARD.encode(value);
    json!({ "apiVersion": "v1", "kind": "Secret", "data": { "key": data }, "metadata": { "name": name, "uid": name } })
}

/// A PushSecret of another namespace that fails for ever, and whose mapping may mean any path.
pub fn stranger() -> Value {
    let spec = json!({
        "refreshInterval": "1h", "deletionPolicy": "Delete", "selector": { "secret": { "name": "source" } },
        "secretStoreRefs": [{ "name": BROKEN, "kind": "ClusterSecretStore" }],
        "dataTo": [{ "rewrite": [{ "regexp": { "source": "^", "target": "apps/shop/" } }] }],
    });
    json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": spec,
        "metadata": { "name": "stranger", "namespace": "other", "uid": "stranger", "generation": 1 } })
}

/// One that wants everything, of a server that only calls itself like the first one.
pub fn forger() -> Value {
    let wish = Wish { stores: 0, spots: u8::MAX, source: 0, policy: Policy::Delete, earlier: EarlierVersions::Keep };
    let mut spec = spec("forger", wish);
    spec["selector"]["secret"]["name"] = json!("source");
    spec["secretStoreRefs"] = json!([{ "name": FORGED, "kind": "ClusterSecretStore" }]);
    json!({ "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "spec": spec,
        "metadata": { "name": "forger", "namespace": "other", "uid": "forger", "generation": 1 } })
}
