//! Watches the metadata of Secrets and ConfigMaps, and wakes the objects that refer to them.
//! Nothing is kept.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::context::Context;
use super::moves::Move;
use super::referrers::{Referrer, Referrers};
use crate::domain::object_name::Name;
use crate::domain::source::SourceKind;
use crate::telemetry::trail::{self, Cause};
use crate::watch::{self, Listing};

/// The channels of wake-ups.
#[derive(Clone)]
pub struct Wakeups {
    /// To the reconciler of PushSecrets.
    pub push: UnboundedSender<Name>,
    /// To the reconciler of ExternalSecrets.
    pub pull: UnboundedSender<Name>,
}

/// The Secrets that this process writes, so that an event about its own last write wakes nobody.
pub trait OwnWrites: Send + Sync {
    /// Whether this state of a Secret is the one that we wrote last. Any other counts as somebody
    /// else's write.
    fn is_own_write(&self, secret: &Name, uid: &str, resource_version: &str) -> bool;
    /// Told that a Secret was deleted, or may have been while nobody watched.
    fn deleted(&self, secret: &Name);
}

/// What the watches of sources need.
#[derive(Clone)]
pub struct Watching {
    /// What reconcilers share.
    pub context: Arc<Context>,
    /// Our own writes to Secrets.
    pub own_writes: Arc<dyn OwnWrites>,
    /// The channels of wake-ups.
    pub wakeups: Wakeups,
}

impl Watching {
    /// Watches Secrets until `stop` is cancelled.
    pub async fn secrets(self, api: Api<PartialObjectMeta<Secret>>, stop: CancellationToken) {
        Sources::new(SourceKind::Secret, self).run(api, stop).await;
    }

    /// Watches ConfigMaps until `stop` is cancelled.
    pub async fn config_maps(self, api: Api<PartialObjectMeta<ConfigMap>>, stop: CancellationToken) {
        Sources::new(SourceKind::ConfigMap, self).run(api, stop).await;
    }
}

/// The watch of one kind, and the last seen versions of the objects that are referred to.
pub(crate) struct Sources {
    kind: SourceKind,
    watching: Watching,
    seen: HashMap<Name, String>,
    listing: Listing,
}

impl Sources {
    pub(crate) fn new(kind: SourceKind, watching: Watching) -> Self {
        Sources { kind, watching, seen: HashMap::new(), listing: Listing::default() }
    }

    async fn run<K>(self, api: Api<PartialObjectMeta<K>>, stop: CancellationToken)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let events = watch::open(api, watch::config()).take_until(stop.cancelled_owned());
        self.follow(events).await;
    }

    fn referrers(&self) -> &Referrers {
        match self.kind {
            SourceKind::Secret => &self.watching.context.referrers,
            SourceKind::ConfigMap => &self.watching.context.config_maps,
        }
    }

    async fn follow<K: Resource>(mut self, events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<K>>>>) {
        futures::pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.on_event(event),
                Err(error) => {
                    warn!(kind = self.kind.as_str(), error = watch::failure(&error), "the watch failed and is retried")
                }
            }
        }
    }

    pub(crate) fn on_event<K: Resource>(&mut self, event: Event<PartialObjectMeta<K>>) {
        match event {
            Event::Apply(object) => self.moved(&object),
            Event::Delete(object) => {
                let name = name_of(&object);
                self.tell_stores(&name);
                self.seen.remove(&name);
                self.note(&name, &self.referrers().of(&name));
                self.wake(&name);
            }
            Event::Init => self.listing.begin(),
            Event::InitApply(object) => {
                self.listing.show(&name_of(&object));
                self.moved(&object);
            }
            Event::InitDone => self.wake_missing(),
        }
    }

    /// Wakes the objects that refer to this one, unless this version was already seen (a list
    /// repeats what the watch showed) or is our own write.
    fn moved<K: Resource>(&mut self, object: &PartialObjectMeta<K>) {
        let name = name_of(object);
        self.tell_stores(&name);
        let concerned = self.referrers().concerned(&name, object.labels());
        if concerned.is_empty() {
            self.seen.remove(&name);
            return;
        }
        let version = object.resource_version().unwrap_or_default();
        if self.seen.get(&name) == Some(&version) {
            return;
        }
        let ours = match self.kind {
            SourceKind::Secret => {
                self.watching.own_writes.is_own_write(&name, &object.uid().unwrap_or_default(), &version)
            }
            SourceKind::ConfigMap => false,
        };
        self.note(&name, &concerned);
        self.seen.insert(name, version);
        for referrer in concerned {
            // A target of ours may also be the source of a PushSecret.
            if !(ours && matches!(referrer, Referrer::ExternalSecret(_))) {
                self.send(referrer);
            }
        }
    }

    /// Notes a change for those among the concerned that are made of it: their next reconcile belongs
    /// to its trace.
    fn note(&self, changed: &Name, concerned: &[Referrer]) {
        let context = &self.watching.context;
        let made_of_it = concerned.iter().filter_map(|referrer| match referrer {
            Referrer::PushSecret(push) | Referrer::PushTemplate(push) => Some((&context.moves, push)),
            Referrer::PullTemplate(pull) => Some((&context.template_moves, pull)),
            Referrer::ExternalSecret(_) => None,
        });
        let mut made_of_it = made_of_it.peekable();
        if made_of_it.peek().is_none() {
            return;
        }
        let cause = Cause::of(&trail::source_changed(self.kind.as_str(), changed));
        for (moves, object) in made_of_it {
            moves.note(object.clone(), Move { at: Instant::now(), cause: cause.clone() });
        }
    }

    /// Stores compare what they read, so a repeated event costs at most one read.
    fn tell_stores(&self, name: &Name) {
        self.watching.context.stores.moved(self.kind, &name.namespace, &name.name);
    }

    /// The objects that stores use.
    fn read_by_stores(&self) -> Vec<Name> {
        let objects = self.watching.context.stores.reads(self.kind).into_iter();
        objects.map(|(namespace, name)| Name::new(namespace, name)).collect()
    }

    /// After a list: an object that is referred to but does not exist may have been deleted while
    /// nobody watched.
    fn wake_missing(&mut self) {
        let listed = self.listing.end();
        self.seen.retain(|name, _| listed.contains(name));
        for name in self.referrers().secrets().into_iter().filter(|name| !listed.contains(name)) {
            self.wake(&name);
        }
        for name in self.read_by_stores().into_iter().filter(|name| !listed.contains(name)) {
            self.tell_stores(&name);
        }
    }

    fn wake(&self, object: &Name) {
        match self.kind {
            SourceKind::Secret => self.watching.own_writes.deleted(object),
            SourceKind::ConfigMap => {}
        }
        for referrer in self.referrers().of(object) {
            if let Referrer::PullTemplate(pull) = &referrer {
                // Unlike a push, it is rendered again only after a change.
                let moved = Move { at: Instant::now(), cause: None };
                self.watching.context.template_moves.note(pull.clone(), moved);
            }
            self.send(referrer);
        }
    }

    fn send(&self, referrer: Referrer) {
        // A closed channel means that the process is shutting down.
        let _closed = match referrer {
            Referrer::PushSecret(name) | Referrer::PushTemplate(name) => self.watching.wakeups.push.send(name).is_err(),
            Referrer::ExternalSecret(name) | Referrer::PullTemplate(name) => {
                self.watching.wakeups.pull.send(name).is_err()
            }
        };
    }
}

fn name_of<K: Resource>(object: &PartialObjectMeta<K>) -> Name {
    Name::new(object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::mpsc::unbounded_channel;

    use super::super::referrers::Interest;
    use super::*;
    use crate::cluster::Cluster;

    struct Nobody;

    impl OwnWrites for Nobody {
        fn is_own_write(&self, _secret: &Name, _uid: &str, _resource_version: &str) -> bool {
            false
        }

        fn deleted(&self, _secret: &Name) {}
    }

    /// The watch of Secrets, and a PushSecret that it wakes.
    fn watch_of_secrets() -> (Arc<Context>, Sources, Name) {
        let (service, _server) = tower_test::mock::pair::<axum::http::Request<Body>, axum::http::Response<Body>>();
        let context = Context::on(Cluster::new(kube::Client::new(service, "ns")));
        let wakeups = Wakeups { push: unbounded_channel().0, pull: unbounded_channel().0 };
        let watching = Watching { context: context.clone(), own_writes: Arc::new(Nobody), wakeups };
        (context, Sources::new(SourceKind::Secret, watching), Name::new("ns", "push"))
    }

    fn secret(name: &str) -> PartialObjectMeta<Secret> {
        let secret = json!({ "metadata": { "name": name, "namespace": "ns", "uid": "u", "resourceVersion": "1" } });
        serde_json::from_value(secret).unwrap()
    }

    #[tokio::test]
    async fn a_source_that_changes_or_is_deleted_is_a_change_for_its_push_secret_alone() {
        let (context, mut sources, push) = watch_of_secrets();
        let pull = Referrer::ExternalSecret(Name::new("ns", "pull"));
        for referrer in [Referrer::PushSecret(push.clone()), pull] {
            context.referrers.declare(referrer, Interest::named(BTreeSet::from([Name::new("ns", "source")])));
        }
        for event in [Event::Apply(secret("source")), Event::Delete(secret("source"))] {
            sources.on_event(event);
            assert!(context.moves.take(&push).is_some());
        }
        for event in [Event::Apply(secret("other")), Event::Delete(secret("other"))] {
            sources.on_event(event);
        }
        assert!([push, Name::new("ns", "pull")].iter().all(|name| context.moves.take(name).is_none()));
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_secret_that_a_new_list_lacks_and_nobody_refers_to_any_more() {
        let (context, mut sources, push) = watch_of_secrets();
        let refers_to = |secret: &str| {
            let names = BTreeSet::from([Name::new("ns", secret)]);
            context.referrers.declare(Referrer::PushSecret(push.clone()), Interest::named(names));
        };
        refers_to("gone");
        sources.on_event(Event::Apply(secret("gone")));
        assert_eq!(sources.seen.len(), 1);
        refers_to("other");
        sources.on_event(Event::<PartialObjectMeta<Secret>>::Init);
        sources.on_event(Event::<PartialObjectMeta<Secret>>::InitDone);
        assert!(sources.seen.is_empty());
    }

    /// It may have been deleted while nobody watched.
    #[tokio::test]
    async fn a_text_that_a_new_list_lacks_is_a_change_for_its_template() {
        let (context, mut sources, _) = watch_of_secrets();
        let pull = Name::new("ns", "pull");
        let texts = BTreeSet::from([Name::new("ns", "texts")]);
        context.referrers.declare(Referrer::PullTemplate(pull.clone()), Interest::named(texts));
        for event in [Event::Init, Event::InitApply(secret("texts")), Event::InitDone] {
            sources.on_event(event);
        }
        assert!(context.template_moves.take(&pull).is_some(), "it may have changed before it was seen");
        for event in [Event::<PartialObjectMeta<Secret>>::Init, Event::InitDone] {
            sources.on_event(event);
        }
        assert!(context.template_moves.take(&pull).is_some(), "it is not there");
    }
}
