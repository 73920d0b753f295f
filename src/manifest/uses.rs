//! What an object pushes and reads, and its stores.

use std::collections::BTreeSet;

use super::bundle::Object;
use super::document::Node;
use super::problem::Problem;
use super::stores::Stores;
use crate::api::names::ANNOTATION_EARLIER_VERSIONS;
use crate::domain::convention::{MappingFacts, PushFacts, StoreFacts};
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::folder::RemoteFolder;

/// The field with the spec of a push, in the kinds that push.
pub fn push_root(object: &Object<'_>) -> Option<&'static str> {
    match object.kind.name.as_str() {
        "PushSecret" => Some("spec"),
        "ClusterPushSecret" => Some("spec.pushSecretSpec"),
        _other => None,
    }
}

/// What an object pushes, and its stores; `None` if it pushes nothing.
pub fn push_facts<'o>(object: &'o Object<'_>, stores: &'o Stores) -> Option<PushFacts<'o>> {
    let root = push_root(object)?;
    let spec = object.node.at(root)?;
    let list = |name: &str| spec.get(name).map(Node::items).unwrap_or_default();
    Some(PushFacts {
        root,
        stores: list("secretStoreRefs")
            .iter()
            .map(|store| {
                let meant = stores.meant(store, object.metadata("namespace"));
                StoreFacts { kind: store.text_at("kind"), mounts: meant.into_iter().map(|meant| meant.mount).collect() }
            })
            .collect(),
        mappings: list("data").iter().map(mapping).collect(),
        data_to: list("dataTo").len(),
    })
}

/// One mapping of a push, for the convention.
pub fn mapping(entry: &Node) -> MappingFacts<'_> {
    let remote = |field| entry.at("match.remoteRef").and_then(|r| r.text_at(field));
    MappingFacts {
        secret_key: entry.get("match").and_then(|m| m.text_at("secretKey")),
        remote_key: remote("remoteKey").unwrap_or_default(),
        property: remote("property"),
    }
}

/// One path that an object reads.
pub struct Read<'o> {
    /// The mount of its store. If the store has several manifests with different mounts, there is
    /// a path for each.
    pub mount: Option<&'o str>,
    /// The remote key, as written.
    pub key: &'o Node,
    /// The property of the data, if one is named.
    pub property: Option<&'o str>,
}

/// The paths that an object reads by name.
pub fn reads<'o>(object: &'o Object<'_>, stores: &'o Stores) -> Vec<Read<'o>> {
    let Some(spec) = read_spec(object) else { return Vec::new() };
    let lists = [("data", "remoteRef"), ("dataFrom", "extract")].into_iter();
    let entries = lists.flat_map(|(list, reference)| {
        spec.get(list).map(Node::items).unwrap_or_default().iter().map(move |entry| (entry, reference))
    });
    let read = |(entry, reference): (&'o Node, &str)| {
        let remote = entry.get(reference)?;
        let mounts = mounts(object, spec, entry, stores);
        let fetches = remote.text_at("metadataPolicy") == Some("Fetch");
        let property = remote.text_at("property").filter(|_| !fetches);
        let key = remote.get("key")?;
        Some(mounts.into_iter().map(move |mount| Read { mount, key, property }))
    };
    entries.filter_map(read).flatten().collect()
}

/// The folders that an object looks into. One that cannot be parsed is reported elsewhere.
pub fn folders(object: &Object<'_>, stores: &Stores) -> Vec<RemoteFolder> {
    let Some(spec) = read_spec(object) else { return Vec::new() };
    let entries = spec.get("dataFrom").map(Node::items).unwrap_or_default().iter();
    let folders = entries.filter_map(|entry| Some((entry, entry.get("find")?))).flat_map(|(entry, find)| {
        let mounts = mounts(object, spec, entry, stores).into_iter();
        mounts.filter_map(|mount| RemoteFolder::parse(mount, find.text_at("path")).ok())
    });
    folders.collect()
}

/// The mounts that the store of an entry may have.
fn mounts<'o>(
    object: &'o Object<'_>,
    spec: &'o Node,
    entry: &'o Node,
    stores: &'o Stores,
) -> BTreeSet<Option<&'o str>> {
    let assumed = || BTreeSet::from([Some(stores.assumed())]);
    let store = entry.at("sourceRef.storeRef").or(spec.get("secretStoreRef"));
    store.map_or_else(assumed, |store| stores.mounts(store, object.metadata("namespace")))
}

/// The spec, in the kinds that read.
pub fn read_spec<'o>(object: &'o Object<'_>) -> Option<&'o Node> {
    match object.kind.name.as_str() {
        "ExternalSecret" => object.node.get("spec"),
        "ClusterExternalSecret" => object.node.at("spec.externalSecretSpec"),
        _other => None,
    }
}

/// The references to stores of an object, by name or by labels, wherever its spec has them.
pub fn store_references<'o>(object: &'o Object<'_>) -> Vec<&'o Node> {
    let listed = push_root(object).and_then(|root| object.node.at(root)?.get("secretStoreRefs"));
    let mut references: Vec<&Node> = listed.map(Node::items).unwrap_or_default().iter().collect();
    if let Some(spec) = read_spec(object) {
        let lists = ["data", "dataFrom"].into_iter().filter_map(|list| spec.get(list)).flat_map(Node::items);
        references.extend(spec.get("secretStoreRef"));
        references.extend(lists.filter_map(|entry| entry.at("sourceRef.storeRef")));
    }
    references
}

/// How a PushSecret, or each child of a ClusterPushSecret, treats earlier versions.
///
/// # Errors
/// The annotation has an unknown value.
pub fn earlier_versions(object: &Object<'_>, annotations: &str) -> Result<EarlierVersions, Problem> {
    let said = object.node.at(annotations).and_then(|annotations| annotations.get(ANNOTATION_EARLIER_VERSIONS));
    // The API server rejects an annotation that is not a text.
    EarlierVersions::parse(said.map(|said| said.text().unwrap_or_default())).map_err(|refused| {
        let span = said.map_or_else(|| object.node.span.clone(), |said| said.span.clone());
        Problem::error("annotation", span, format!("`{ANNOTATION_EARLIER_VERSIONS}` {refused}"), None)
    })
}
