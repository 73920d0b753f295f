//! Which objects another controller serves. The class of a store decides, and the stores of an
//! object, as in the controller. A store that is not among the files counts as ours.

use crate::manifest::{Node, Object, Stores, query, store_references};
use crate::store::Foreign;
use crate::store::admit::Class;

/// The class of a store that another controller serves.
pub fn of_others(store: &Object<'_>, class: &Class) -> Option<String> {
    let controller = store.node.at("spec.controller");
    // The API server rejects a class that is not a text.
    let named = controller.map_or(Some(""), |controller| controller.text())?;
    (!class.serves(Some(named))).then(|| named.to_owned())
}

/// Whether another controller serves an object.
pub fn is_left_alone(object: &Object<'_>, stores: &Stores, class: &Class) -> bool {
    let foreign = || {
        let references = store_references(object).into_iter();
        Foreign::of(references.filter_map(|of| is_foreign(object, of, stores, class)), class.serves(None))
    };
    match object.kind.name.as_str() {
        "SecretStore" | "ClusterSecretStore" => of_others(object, class).is_some(),
        "ExternalSecret" | "ClusterExternalSecret" => foreign() != Foreign::None,
        "PushSecret" | "ClusterPushSecret" => foreign() == Foreign::All,
        _without_stores => false,
    }
}

/// Whether a reference means a store of another controller; `None` if it means no certain store.
fn is_foreign(object: &Object<'_>, reference: &Node, stores: &Stores, class: &Class) -> Option<bool> {
    let is_named = reference.text_at("name").is_some_and(|name| !name.is_empty());
    let is_cluster_store = reference.text_at("kind") == Some("ClusterSecretStore");
    match object.kind.name.as_str() {
        // Only its children select stores, and a SecretStore is a different one in each namespace.
        "ClusterPushSecret" | "ClusterExternalSecret" if !is_named => None,
        "ClusterPushSecret" | "ClusterExternalSecret" if !is_cluster_store => Some(!class.serves(None)),
        _named_or_namespaced => (is_named || query(reference).is_some())
            .then(|| stores.of_others(reference, object.metadata("namespace")).is_some()),
    }
}
