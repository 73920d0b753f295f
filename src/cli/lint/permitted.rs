//! Checks whether the stores among the files serve the objects that refer to them: whether they are
//! ours, and whether ClusterSecretStores serve the namespaces. The controller's own code judges the
//! stores' conditions.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::api::{StoreKind, StoreSpec};
use crate::fanout::selection::Selection;
use crate::manifest::{
    Bundle, Closed, Namespace, Namespaces, Node, Object, Problem, Stores, span_of, store_references,
};
use crate::store::admit::{self, Admission, ConditionError};
use crate::store::{StoreName, StoreRefusal};

/// The name of this check in findings: the reason of the condition in a cluster.
const RULE: &str = "not-permitted";

/// The namespaces that stores certainly do not serve. Labels decide only if the Namespace is among
/// the files, because only a cluster knows the labels of others. A store or a Namespace that is in
/// several files, as in overlays, counts as each of them.
pub fn closed(bundle: &Bundle<'_>) -> Closed {
    let namespaces: BTreeSet<&str> = bundle
        .objects
        .iter()
        .map(|object| object.metadata("namespace"))
        .chain(bundle.namespaces.keys().map(String::as_str))
        .filter(|namespace| !namespace.is_empty())
        .collect();
    let stores = bundle.objects.iter().filter(|object| object.kind.name == "ClusterSecretStore");
    let (mut closed, mut open) = (Closed::new(), Closed::new());
    for store in stores {
        let spec = store.node.get("spec").and_then(|node| serde_json::from_value::<StoreSpec>(node.admitted()).ok());
        for namespace in &namespaces {
            let pair = (store.metadata("name").to_owned(), (*namespace).to_owned());
            // The schema reports a wrong shape, and another check malformed conditions.
            match spec.as_ref().map(|spec| excludes(spec, namespace, &bundle.namespaces)) {
                Some(Ok(true)) => closed.insert(pair),
                Some(Ok(false) | Err(_)) | None => open.insert(pair),
            };
        }
    }
    closed.difference(&open).cloned().collect()
}

/// Whether the conditions exclude a namespace, with any of the labels that it has among the files.
fn excludes(spec: &StoreSpec, namespace: &str, namespaces: &Namespaces) -> Result<bool, ConditionError> {
    match admit::by_name(spec, namespace)? {
        Admission::Yes => Ok(false),
        Admission::No => Ok(true),
        Admission::ByLabels => {
            let Some(known) = namespaces.get(namespace) else { return Ok(false) };
            let admissions = known.iter().map(|namespace| admit::by_labels(spec, &namespace.labels));
            Ok(admissions.collect::<Result<Vec<_>, _>>()?.iter().all(|admission| *admission == Admission::No))
        }
    }
}

/// One error for each reference to a store that does not serve the object's namespace, or the
/// namespace of a child, or that another controller serves.
pub fn check(object: &Object<'_>, stores: &Stores, namespaces: &Namespaces) -> Vec<Problem> {
    let used_in: Vec<&str> = match object.kind.name.as_str() {
        "ClusterPushSecret" => children(object, namespaces),
        _namespaced => vec![object.metadata("namespace")],
    };
    let denied = store_references(object).into_iter().filter_map(|reference| {
        let name = reference.text_at("name").filter(|name| !name.is_empty())?;
        if let Some(class) = stores.of_others(reference, object.metadata("namespace")) {
            return Some(problem(reference, &of_others(object, reference, class)));
        }
        let store = Some(name).filter(|_| reference.text_at("kind") == Some("ClusterSecretStore"))?;
        let namespace = used_in.iter().find(|namespace| stores.is_closed(store, namespace))?;
        let refusal = StoreRefusal::NotAllowed {
            store: StoreName::referred(namespace, StoreKind::ClusterSecretStore, store),
            namespace: (*namespace).to_owned(),
        };
        Some(problem(reference, &refusal))
    });
    denied.collect()
}

fn problem(reference: &Node, refusal: &StoreRefusal) -> Problem {
    Problem::error(RULE, span_of(reference, "name"), refusal.to_string(), None)
}

/// The refusal of a store of another class, beside others that are ours.
fn of_others(object: &Object<'_>, reference: &Node, class: &str) -> StoreRefusal {
    let kind = reference.text_at("kind").and_then(StoreKind::from_word).unwrap_or(StoreKind::SecretStore);
    let name = reference.text_at("name").unwrap_or_default();
    let store = StoreName::referred(object.metadata("namespace"), kind, name);
    StoreRefusal::OtherController { store, class: class.to_owned() }
}

/// The Namespaces among the files that certainly get a child.
fn children<'n>(object: &Object<'_>, namespaces: &'n Namespaces) -> Vec<&'n str> {
    let gets_child = gets_child(object);
    let selected = namespaces.iter().filter(|(_, known)| known.iter().all(&gets_child));
    selected.map(|(name, _)| name.as_str()).collect()
}

/// Whether a Namespace gets a child of a ClusterPushSecret, as one file shows it.
pub fn gets_child(object: &Object<'_>) -> impl Fn(&Namespace) -> bool + use<> {
    let selectors = object.node.at("spec.namespaceSelectors").map(Node::admitted);
    let selectors = selectors.and_then(|selectors| serde_json::from_value::<Vec<LabelSelector>>(selectors).ok());
    // Other checks report a malformed selector.
    let selection = selectors.and_then(|selectors| Selection::parse(&selectors).ok());
    move |namespace| !namespace.opts_out && selection.as_ref().is_some_and(|all| all.matches(&namespace.labels))
}
