//! Which stores a resource refers to.

use super::StoreName;
use crate::api::push_secret::PushStoreRef;
use crate::api::{ExternalSecret, PushSecret, StoreKind};

/// The stores that a PushSecret names, and those in its ledger, wherever they led.
pub fn by_push<'a>(push: &'a PushSecret, namespace: &'a str) -> impl Iterator<Item = StoreName> + 'a {
    let named = push.spec.secret_store_refs.iter().filter_map(move |reference| {
        reference.name.as_deref().map(|name| StoreName::referred(namespace, reference.kind(), name))
    });
    let listed = push.status.iter().flat_map(|status| {
        status.synced_push_secrets.keys().chain(status.former_locations.iter().map(|former| &former.store))
    });
    named.chain(listed.filter_map(move |key| shown(namespace, key)))
}

/// The kinds of which a PushSecret selects stores by labels, for all mappings or for some.
pub fn selected_by_push(push: &PushSecret) -> impl Iterator<Item = StoreKind> + '_ {
    let narrowing = push.spec.data_to.iter().filter_map(|many| many.store_ref.as_ref());
    let references = push.spec.secret_store_refs.iter().chain(narrowing);
    references.filter(|reference| reference.label_selector.is_some()).map(PushStoreRef::kind)
}

/// The stores that an ExternalSecret names, and those that its target was rendered from.
pub fn by_pull<'a>(pull: &'a ExternalSecret, namespace: &'a str) -> impl Iterator<Item = StoreName> + 'a {
    let of_entries = pull.spec.data.iter().filter_map(|entry| entry.source_ref.as_ref()?.store_ref.as_ref());
    let named = pull.spec.secret_store_ref.iter().chain(of_entries).filter_map(move |reference| {
        reference.name.as_deref().map(|name| StoreName::referred(namespace, reference.kind(), name))
    });
    let rendered = pull.status.iter().flat_map(|status| &status.paths);
    named.chain(rendered.filter_map(move |path| shown(namespace, &path.store)))
}

/// A store, as a status shows it.
fn shown(namespace: &str, store: &str) -> Option<StoreName> {
    let (kind, name) = store.split_once('/')?;
    Some(StoreName::referred(namespace, StoreKind::from_word(kind)?, name))
}
