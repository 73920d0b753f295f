//! The stores among the files, and which of them a reference means.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::bundle::Object;
use super::document::Node;

use crate::api::StoreKind;
use crate::api::label_query;
use crate::domain::label_query::LabelQuery;

/// The stores among the files; others are assumed to have one mount.
pub struct Stores {
    known: BTreeMap<String, Vec<Known>>,
    assumed: String,
    closed: Closed,
}

/// The namespaces that ClusterSecretStores among the files do not serve: a store's name and a
/// namespace.
pub type Closed = BTreeSet<(String, String)>;

/// What one file says of a store. One that is in several files, as in overlays, is known once for
/// each.
struct Known {
    mount: Option<String>,
    labels: BTreeMap<String, String>,
    /// The class, if another controller serves it.
    of_others: Option<String>,
}

/// A store that a reference means.
pub struct Meant<'s> {
    /// Its identity, for comparisons.
    pub identity: String,
    pub mount: Option<&'s str>,
    /// Whether its manifest is among the files.
    pub at_hand: AtHand,
}

/// Whether a store's manifest is among the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtHand {
    /// It is.
    Yes,
    /// No: its mount is assumed.
    No,
    /// Those that are do not serve the namespace, or are another controller's, so another one's mount
    /// is assumed.
    Closed,
}

/// The stores among the objects; others are assumed to have `store_path`. `of_others` has the class
/// of a store that another controller serves.
pub fn stores(
    objects: &[Object<'_>],
    store_path: &str,
    closed: Closed,
    of_others: impl Fn(&Object<'_>) -> Option<String>,
) -> Stores {
    let mut known: BTreeMap<String, Vec<Known>> = BTreeMap::new();
    for object in objects {
        let name = object.metadata("name");
        let identity = match object.kind.name.as_str() {
            "ClusterSecretStore" => name.to_owned(),
            "SecretStore" => format!("{}/{name}", object.metadata("namespace")),
            _secrets => continue,
        };
        let provider =
            ["spec.provider.vault", "spec.provider.openBao"].into_iter().find_map(|provider| object.node.at(provider));
        let mount = match provider {
            Some(provider) => provider.text_at("path").filter(|path| !path.is_empty()),
            // Another check reports a provider that is not ours.
            None => Some(store_path),
        };
        let labels = object.node.at("metadata.labels").map(Node::json);
        let labels = labels.and_then(|labels| serde_json::from_value(labels).ok()).unwrap_or_default();
        let store = Known { mount: mount.map(str::to_owned), labels, of_others: of_others(object) };
        known.entry(identity).or_default().push(store);
    }
    Stores { known, assumed: store_path.to_owned(), closed }
}

impl Stores {
    /// The mounts of a referenced store: of each of its manifests, or the assumed one.
    pub fn mounts(&self, reference: &Node, namespace: &str) -> BTreeSet<Option<&str>> {
        let known = self.known.get(&identity(reference, namespace)).into_iter().flatten();
        let ours = known.filter(|known| known.of_others.is_none());
        let mounts: BTreeSet<_> = ours.map(|known| known.mount.as_deref()).collect();
        if mounts.is_empty() { BTreeSet::from([Some(self.assumed.as_str())]) } else { mounts }
    }

    /// The mount of a store that is referenced by kind and name: that of its first manifest, or the
    /// assumed one.
    pub fn mount_of(&self, kind: StoreKind, name: &str, namespace: &str) -> Option<&str> {
        let known = self.known.get(&identified(kind, name, namespace)).into_iter().flatten();
        let ours = known.filter(|known| known.of_others.is_none()).map(|known| known.mount.as_deref()).next();
        ours.unwrap_or(Some(&self.assumed))
    }

    /// The class of the stores that a reference means, if each of them that is among the files is
    /// another controller's.
    pub fn of_others(&self, reference: &Node, namespace: &str) -> Option<&str> {
        let meant: Vec<&Known> = match query(reference) {
            Some(query) => self.matching(reference, namespace, &query).map(|(_, known)| known).collect(),
            None => self.known.get(&identity(reference, namespace)).into_iter().flatten().collect(),
        };
        let classes: Option<Vec<&str>> = meant.into_iter().map(|known| known.of_others.as_deref()).collect();
        classes?.first().copied()
    }

    /// The assumed mount of a store that is not among the files.
    pub fn assumed(&self) -> &str {
        &self.assumed
    }

    /// Whether a ClusterSecretStore among the files does not serve this namespace.
    pub fn is_closed(&self, store: &str, namespace: &str) -> bool {
        self.closed.contains(&(store.to_owned(), namespace.to_owned()))
    }

    /// The stores that a reference of a push means, once for each mount that their manifests give
    /// them. A selector means the matching stores among the files that serve the namespace; without
    /// any, it counts as one store that is not among them.
    pub fn meant(&self, reference: &Node, namespace: &str) -> Vec<Meant<'_>> {
        let Some(query) = query(reference) else {
            let identity = identity(reference, namespace);
            let at_hand = if self.known.contains_key(&identity) { AtHand::Yes } else { AtHand::No };
            let mounts = self.mounts(reference, namespace).into_iter();
            return mounts.map(|mount| Meant { identity: identity.clone(), mount, at_hand }).collect();
        };
        let matching = self.matching(reference, namespace, &query);
        let (open, closed): (Vec<_>, Vec<_>) =
            matching.partition(|(identity, known)| known.of_others.is_none() && !self.is_closed(identity, namespace));
        let open: BTreeSet<_> = open.into_iter().map(|(identity, known)| (identity, known.mount.as_deref())).collect();
        if open.is_empty() {
            let identity = format!("{}{query}", home(reference, namespace).unwrap_or_default());
            let at_hand = if closed.is_empty() { AtHand::No } else { AtHand::Closed };
            return vec![Meant { identity, mount: Some(&self.assumed), at_hand }];
        }
        let meant = |(identity, mount): (&String, _)| Meant { identity: identity.clone(), mount, at_hand: AtHand::Yes };
        open.into_iter().map(meant).collect()
    }

    /// The stores of a reference's kind that have the labels, once for each manifest.
    fn matching(
        &self,
        reference: &Node,
        namespace: &str,
        query: &LabelQuery,
    ) -> impl Iterator<Item = (&String, &Known)> {
        let home = home(reference, namespace);
        let is_home = move |identity: &str| match &home {
            Some(home) => identity.starts_with(home),
            None => !identity.contains('/'),
        };
        let at_home = self.known.iter().filter(move |(identity, _)| is_home(identity));
        let stores = at_home.flat_map(|(identity, known)| known.iter().map(move |known| (identity, known)));
        stores.filter(|(_, known)| query.matches(&known.labels))
    }
}

/// The beginning of the identities of a namespace's SecretStores; `None` for ClusterSecretStores.
fn home(reference: &Node, namespace: &str) -> Option<String> {
    (reference.text_at("kind") != Some("ClusterSecretStore")).then(|| format!("{namespace}/"))
}

/// The identity of a store that is referenced by name.
fn identity(reference: &Node, namespace: &str) -> String {
    let kind = match reference.text_at("kind") {
        Some("ClusterSecretStore") => StoreKind::ClusterSecretStore,
        Some(_) | None => StoreKind::SecretStore,
    };
    identified(kind, reference.text_at("name").unwrap_or_default(), namespace)
}

fn identified(kind: StoreKind, name: &str, namespace: &str) -> String {
    match kind {
        StoreKind::ClusterSecretStore => name.to_owned(),
        StoreKind::SecretStore => format!("{namespace}/{name}"),
    }
}

/// The selector of a reference; `None` if it names a store, or if the schema rejects the selector.
pub fn query(reference: &Node) -> Option<LabelQuery> {
    if reference.text_at("name").is_some_and(|name| !name.is_empty()) {
        return None;
    }
    let selector: LabelSelector = serde_json::from_value(reference.get("labelSelector")?.json()).ok()?;
    label_query::parse(&selector).ok()
}
