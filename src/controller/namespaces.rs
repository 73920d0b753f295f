//! Watches the metadata of namespaces: those who select them by label are told at once of a new, a
//! relabelled and a deleted one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Store, store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::watch::{self, Known, Sighting};

/// The cache of namespaces, before they are watched.
pub struct Namespaces {
    /// The reading side.
    pub reader: Store<PartialObjectMeta<Namespace>>,
    writer: Writer<PartialObjectMeta<Namespace>>,
}

impl Default for Namespaces {
    fn default() -> Self {
        let (reader, writer) = store();
        Namespaces { reader, writer }
    }
}

/// A change of namespaces, sent once the cache shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceMoved {
    /// This namespace was created or deleted, or its labels changed.
    One(String),
    /// All namespaces were listed again: any may have changed.
    All,
}

/// Which namespaces are watched.
pub enum Watched<'a> {
    /// All of the cluster.
    All,
    /// The one that we serve.
    One(&'a str),
}

impl Namespaces {
    /// Watches until `stop` is cancelled. `filled` is cancelled once all are known.
    pub async fn follow(
        self,
        api: Api<PartialObjectMeta<Namespace>>,
        watched: Watched<'_>,
        filled: CancellationToken,
        listeners: Vec<UnboundedSender<NamespaceMoved>>,
        stop: CancellationToken,
    ) {
        let mut config = watch::config();
        if let Watched::One(name) = watched {
            config = config.fields(&format!("metadata.name={name}"));
        }
        let events = watch::open(api, config).modify(|namespace| namespace.managed_fields_mut().clear());
        let events = reflector(self.writer, events).take_until(stop.cancelled_owned());
        futures::pin_mut!(events);
        let mut seen = Seen::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if matches!(event, Event::InitDone) {
                        filled.cancel();
                    }
                    if let Some(news) = seen.news(&event) {
                        // A closed channel means that the process is shutting down.
                        listeners.iter().for_each(|listener| drop(listener.send(news.clone())));
                    }
                }
                Err(error) => {
                    warn!(kind = "Namespace", error = watch::failure(&error), "the watch failed and is retried");
                }
            }
        }
    }
}

/// What selectors can see of each namespace, as last seen.
#[derive(Default)]
struct Seen {
    known: Known,
    looks: HashMap<String, u64>,
}

impl Seen {
    /// Returns a change of labels or annotations, or a deletion. A list may hide what happened
    /// while nobody watched.
    fn news(&mut self, event: &Event<PartialObjectMeta<Namespace>>) -> Option<NamespaceMoved> {
        for (gone, _) in self.known.learn(Sighting::of(event)) {
            self.looks.remove(&*gone.name);
        }
        match event {
            Event::Apply(namespace) => {
                let (name, look) = (namespace.name_any(), look(namespace));
                let is_news = self.looks.insert(name.clone(), look) != Some(look);
                is_news.then_some(NamespaceMoved::One(name))
            }
            Event::InitApply(namespace) => {
                self.looks.insert(namespace.name_any(), look(namespace));
                None
            }
            Event::Delete(namespace) => Some(NamespaceMoved::One(namespace.name_any())),
            Event::Init => None,
            Event::InitDone => Some(NamespaceMoved::All),
        }
    }
}

fn look(namespace: &PartialObjectMeta<Namespace>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = &namespace.metadata;
    (&metadata.uid, &metadata.labels, &metadata.annotations, metadata.deletion_timestamp.is_some()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(labels: serde_json::Value, version: &str) -> Event<PartialObjectMeta<Namespace>> {
        let metadata = json!({ "name": "team", "uid": "u", "labels": labels, "resourceVersion": version });
        Event::Apply(serde_json::from_value(json!({ "metadata": metadata })).unwrap())
    }

    #[test]
    fn only_what_a_selector_can_tell_is_news() {
        let mut seen = Seen::default();
        let moved = Some(NamespaceMoved::One("team".to_owned()));
        assert_eq!(seen.news(&applied(json!({}), "1")), moved);
        assert_eq!(seen.news(&applied(json!({}), "2")), None);
        assert_eq!(seen.news(&applied(json!({ "a": "b" }), "3")), moved);
        assert_eq!(seen.news(&Event::InitDone), Some(NamespaceMoved::All));
    }
}
