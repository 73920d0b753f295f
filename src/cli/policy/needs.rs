//! Which paths manifests need, who needs each, and whether it may have to be deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::Role;
use crate::cli::lint::{Node, Object, Source, Stores, objects, stores};
use crate::domain::path::RemotePath;

/// What is needed of one path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// `Kind namespace/name` of whoever needs it.
    pub by: BTreeSet<String>,
    /// Whether a PushSecret may delete what it pushed.
    pub deletes: bool,
}

/// The needs of all paths, in their order.
pub type Needs = BTreeMap<RemotePath, Need>;

/// What the manifests need, and the keys that name no path.
pub fn needs(sources: &[Source], role: Role, namespace: Option<&str>, store_path: &str) -> (Needs, Vec<String>) {
    let (objects, _not_ours) = objects(sources);
    let stores = stores(&objects, store_path);
    let (mut needs, mut refused) = (Needs::new(), Vec::new());
    for object in objects.iter().filter(|object| namespace.is_none_or(|only| object.metadata("namespace") == only)) {
        let (by, keys) = (named(object), keys(object, role, &stores));
        for (mount, key) in keys {
            match RemotePath::parse(mount, key) {
                Ok(path) if is_wildcard(&path) => refused.push(format!(
                    "{}: {by}: {path} has * or a segment +, which a policy takes for any path: rename it",
                    object.source.name
                )),
                Ok(path) => {
                    let need = needs.entry(path).or_default();
                    need.by.insert(by.clone());
                    need.deletes |= deletes(object);
                }
                Err(error) => refused.push(format!("{}: {by}: {error}", object.source.name)),
            }
        }
    }
    (needs, refused)
}

fn is_wildcard(path: &RemotePath) -> bool {
    path.path.as_str().contains('*') || path.path.segments().any(|segment| segment == "+")
}

fn named(object: &Object<'_>) -> String {
    let (namespace, name) = (object.metadata("namespace"), object.metadata("name"));
    let separator = if namespace.is_empty() { "" } else { "/" };
    format!("{} {namespace}{separator}{name}", object.kind.name)
}

/// The remote keys of an object with the mounts of the stores that they go through.
fn keys<'o>(object: &'o Object<'_>, role: Role, stores: &'o Stores) -> Vec<(Option<&'o str>, &'o str)> {
    let Some(spec) = spec(object, role) else { return Vec::new() };
    let mount = |store: &Node| stores.mount(store, object.metadata("namespace"));
    match role {
        Role::Publisher => {
            let keys = items(spec, "data").iter().filter_map(|mapping| mapping.at("match.remoteRef.remoteKey")?.text());
            let keys: Vec<&str> = keys.collect();
            let mounts = items(spec, "secretStoreRefs").iter().map(mount);
            mounts.flat_map(|mount| keys.iter().map(move |key| (mount, *key))).collect()
        }
        Role::Consumer => {
            let entries = ["data", "dataFrom"].into_iter().flat_map(|list| items(spec, list));
            let key = |entry: &'o Node| {
                let key = entry.at("remoteRef.key").or(entry.at("extract.key"))?.text()?;
                let store = entry.at("sourceRef.storeRef").or(spec.get("secretStoreRef"));
                Some((store.map_or(Some(stores.assumed()), mount), key))
            };
            entries.filter_map(key).collect()
        }
    }
}

fn spec<'o>(object: &'o Object<'_>, role: Role) -> Option<&'o Node> {
    let root = match (role, object.kind.name.as_str()) {
        (Role::Publisher, "PushSecret") | (Role::Consumer, "ExternalSecret") => "spec",
        (Role::Publisher, "ClusterPushSecret") => "spec.pushSecretSpec",
        (Role::Consumer, "ClusterExternalSecret") => "spec.externalSecretSpec",
        (Role::Publisher | Role::Consumer, _other) => return None,
    };
    object.node.at(root)
}

fn items<'o>(spec: &'o Node, list: &str) -> &'o [Node] {
    spec.get(list).map(Node::items).unwrap_or_default()
}

fn deletes(object: &Object<'_>) -> bool {
    let policy = ["spec.deletionPolicy", "spec.pushSecretSpec.deletionPolicy"].into_iter();
    policy.filter_map(|field| object.node.at(field)).any(|policy| policy.text() == Some("Delete"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(role: Role, namespace: Option<&str>, text: &str) -> (Vec<String>, usize) {
        let source = Source { name: "file".into(), text: text.into() };
        let (needs, refused) = needs(&[source], role, namespace, "secret");
        let lines = needs.iter().map(|(path, need)| {
            let by: Vec<&str> = need.by.iter().map(String::as_str).collect();
            format!("{path} {} {}", need.deletes, by.join(","))
        });
        (lines.collect(), refused.len())
    }

    const MANIFESTS: &str = r#"
apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata: {name: push, namespace: db}
spec:
  deletionPolicy: Delete
  secretStoreRefs: [{kind: ClusterSecretStore, name: elsewhere}]
  data:
  - match: {secretKey: a, remoteRef: {remoteKey: platform-data/postgres/shop, property: username}}
  - match: {secretKey: b, remoteRef: {remoteKey: secret/data/platform-data/postgres/shop, property: password}}
  - match: {secretKey: c, remoteRef: {remoteKey: platform-data/postgres/*, property: password}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: pull, namespace: shop}
spec:
  secretStoreRef: {kind: ClusterSecretStore, name: elsewhere}
  data:
  - {secretKey: a, remoteRef: {key: platform-data/postgres/shop, property: username}}
  dataFrom:
  - extract: {key: platform-config/postgres/main}
"#;

    #[test]
    fn each_path_is_needed_once_however_it_is_spelled_and_by_whom_is_told() {
        let push = "secret/platform-data/postgres/shop true PushSecret db/push".to_owned();
        assert_eq!(found(Role::Publisher, None, MANIFESTS), (vec![push.clone()], 1));
        let pulls = ["secret/platform-config/postgres/main", "secret/platform-data/postgres/shop"];
        let pulls = pulls.map(|path| format!("{path} false ExternalSecret shop/pull")).to_vec();
        assert_eq!(found(Role::Consumer, None, MANIFESTS), (pulls, 0));
        assert_eq!(found(Role::Publisher, Some("db"), MANIFESTS), (vec![push], 1));
        assert_eq!(found(Role::Publisher, Some("shop"), MANIFESTS), (vec![], 0));
    }
}
