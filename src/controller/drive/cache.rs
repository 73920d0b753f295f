//! The cache of a kind, and the objects to reconcile because the cache shows them anew.
//!
//! A list may have several pages. The cache shows the objects of a list once the last page is
//! there, so nothing is reconciled for a list before that: it would be reconciled as it was before,
//! or not at all.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::runtime::reflector::{self, Store, store};
use kube::runtime::watcher::Event;
use kube::runtime::{PredicateConfig, WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::controller::context::Context;
use crate::controller::guarded::{ApiObject, Guarded};
use crate::domain::object_name::Name;

/// The cache of a kind, before it is filled.
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    writer: reflector::store::Writer<Guarded<K>>,
    /// The reading side.
    pub reader: Store<Guarded<K>>,
    /// Cancelled once the cache is filled. kube's own `wait_until_ready` wakes only the last of
    /// several waiters, and its Controller is one: either another waiter or the Controller would
    /// wait for ever.
    pub filled: CancellationToken,
    listeners: Vec<UnboundedSender<Heard>>,
}

impl<K: ApiObject> Cache<K> {
    /// A cache that others besides the reconciler follow.
    pub fn heard_by(listeners: Vec<UnboundedSender<Heard>>) -> Self {
        Cache { listeners, ..Cache::default() }
    }

    /// Fills the cache from events, and returns each object that it shows in a state to reconcile.
    pub(crate) fn edits(
        self,
        context: Arc<Context>,
        events: impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send + 'static,
    ) -> impl Stream<Item = watcher::Result<Guarded<K>>> + Send + 'static {
        let Cache { writer, reader, filled, listeners } = self;
        let written = context.clone();
        let shown = kube::runtime::reflector(writer, events).flat_map(move |event| {
            if matches!(event, Ok(Event::InitDone)) {
                filled.cancel();
            }
            let heard = heard(&event);
            let shown = shown(event, &reader);
            // Our own status counts only if it is newer.
            shown.iter().flatten().for_each(|object| context.written.shown(object));
            for (listener, heard) in listeners.iter().zip(std::iter::repeat(heard)) {
                // A closed channel means that the process is shutting down.
                let _closed = heard.is_some_and(|heard| listener.send(heard).is_err());
            }
            match shown {
                Ok(objects) => stream::iter(objects).map(|object| Ok(Arc::unwrap_or_clone(object))).left_stream(),
                Err(error) => stream::iter([Err(error)]).right_stream(),
            }
        });
        // What has no fingerprint always passes.
        let trigger = move |object: &Guarded<K>| {
            let is_overtaken = written.written.is_overtaken(&object.uid().unwrap_or_default());
            (!is_overtaken).then(|| fingerprint(object))
        };
        shown.predicate_filter(trigger, PredicateConfig::default())
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Default for Cache<K> {
    fn default() -> Self {
        let (reader, writer) = store();
        Cache { writer, reader, filled: CancellationToken::new(), listeners: Vec::new() }
    }
}

/// A change, sent to listeners once the cache shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This object was created, changed or deleted.
    One {
        name: Name,
        /// The UID of its controller, by its owner references.
        owner: Option<String>,
    },
    /// All objects were listed again: any may have changed.
    All,
}

fn heard<K: Resource>(event: &watcher::Result<Event<Guarded<K>>>) -> Option<Heard> {
    match event {
        Ok(Event::Apply(object) | Event::Delete(object)) => Some(Heard::One {
            name: Name::new(object.namespace().unwrap_or_default(), object.name_any()),
            owner: owner(object),
        }),
        Ok(Event::InitDone) => Some(Heard::All),
        Ok(Event::Init | Event::InitApply(_)) | Err(_) => None,
    }
}

fn owner(object: &impl ResourceExt) -> Option<String> {
    let mut owners = object.owner_references().iter();
    owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

/// The objects that the cache shows since this event. Those of a list are there at its end.
fn shown<K: Resource<DynamicType = ()> + Clone + 'static>(
    event: watcher::Result<Event<Guarded<K>>>,
    cache: &Store<Guarded<K>>,
) -> watcher::Result<Vec<Arc<Guarded<K>>>> {
    Ok(match event? {
        Event::Apply(object) => vec![Arc::new(object)],
        Event::InitDone => cache.state(),
        Event::Delete(_) | Event::Init | Event::InitApply(_) => Vec::new(),
    })
}

/// A fingerprint of what triggers a reconcile, which our own status writes do not change.
fn fingerprint<K: Resource>(object: &Guarded<K>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let meta = object.meta();
    meta.uid.hash(&mut hasher);
    meta.generation.hash(&mut hasher);
    meta.finalizers.hash(&mut hasher);
    meta.labels.hash(&mut hasher);
    meta.annotations.hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
