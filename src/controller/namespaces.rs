//! Watches namespaces, by metadata only: who asks for them by label hears at once of a new, a relabelled and a leaving one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Store, store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::drive::{WATCH_SECONDS, watch_error};

/// The namespaces of the cluster before they are watched.
pub struct Namespaces {
    /// The side that reads.
    pub reader: Store<PartialObjectMeta<Namespace>>,
    writer: Writer<PartialObjectMeta<Namespace>>,
}

impl Default for Namespaces {
    fn default() -> Self {
        let (reader, writer) = store();
        Namespaces { reader, writer }
    }
}

/// What is new about namespaces, once the cache shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceMoved {
    /// This one was made or deleted, or is another one to those who ask by label.
    One(String),
    /// All were listed anew: any of them may be.
    All,
}

/// Which namespaces are watched.
pub enum Watched<'a> {
    /// All of the cluster.
    All,
    /// The one we serve.
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
        let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
        if let Watched::One(name) = watched {
            config = config.fields(&format!("metadata.name={name}"));
        }
        let events = watcher(api, config).default_backoff().modify(|namespace| namespace.managed_fields_mut().clear());
        let events = reflector(self.writer, events).take_until(stop.cancelled_owned());
        futures::pin_mut!(events);
        let mut seen = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if matches!(event, Event::InitDone) {
                        filled.cancel();
                    }
                    if let Some(news) = news(&event, &mut seen) {
                        // A closed channel means that we are shutting down.
                        listeners.iter().for_each(|listener| drop(listener.send(news.clone())));
                    }
                }
                Err(error) => {
                    warn!(kind = "Namespace", error = watch_error(&error), "the watch failed and is retried");
                }
            }
        }
    }
}

/// What is new about labels, annotations or an end. A list may hide what happened while nobody watched.
fn news(event: &Event<PartialObjectMeta<Namespace>>, seen: &mut HashMap<String, u64>) -> Option<NamespaceMoved> {
    match event {
        Event::Apply(namespace) => {
            let (name, look) = (namespace.name_any(), look(namespace));
            let is_news = seen.insert(name.clone(), look) != Some(look);
            is_news.then_some(NamespaceMoved::One(name))
        }
        Event::InitApply(namespace) => {
            seen.insert(namespace.name_any(), look(namespace));
            None
        }
        Event::Delete(namespace) => {
            let name = namespace.name_any();
            seen.remove(&name).map(|_| NamespaceMoved::One(name))
        }
        Event::Init => None,
        Event::InitDone => Some(NamespaceMoved::All),
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
        let mut seen = HashMap::new();
        let moved = Some(NamespaceMoved::One("team".to_owned()));
        assert_eq!(news(&applied(json!({}), "1"), &mut seen), moved);
        assert_eq!(news(&applied(json!({}), "2"), &mut seen), None);
        assert_eq!(news(&applied(json!({ "a": "b" }), "3"), &mut seen), moved);
        assert_eq!(news(&Event::InitDone, &mut seen), Some(NamespaceMoved::All));
    }
}
