//! One process of the controller: what it watches, what it remembers, and what wakes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::one_store::OneStore;
use super::world::Watched;
use super::{OBJECT, TARGET, TEXTS};
use crate::cluster::in_memory::ApiServer;
use crate::controller::context::Context;
use crate::controller::drive::{Cache, Driven};
use crate::controller::watch::{Sources, Wakeups, Watching};
use crate::domain::object_name::Name;
use crate::domain::source::SourceKind;
use crate::pull::Pull;
use crate::pull::bound::{MOST_TARGETS, Reads};
use crate::pull::records::Records;
use crate::pull::roll::{Member, Past};
use crate::store::StoreName;
use crate::store::opening::Opening;

/// Who asks to be tried again within this time is in the queue already: after failures, or to look
/// around. Later, the refresh and the heartbeat would hide that nothing woke it.
const SOON: Duration = Duration::from_secs(600);
type Target = PartialObjectMeta<Secret>;
type Text = PartialObjectMeta<ConfigMap>;

/// Whether the resource is to be reconciled, and what may say so.
pub struct Queue {
    feed: UnboundedReceiver<Name>,
    secrets: UnboundedReceiver<Name>,
    pub is_due: bool,
}

impl Queue {
    /// Takes it out of the queue, if it is there.
    pub fn take(&mut self) -> bool {
        while self.feed.try_recv().is_ok() || self.secrets.try_recv().is_ok() {
            self.is_due = true;
        }
        std::mem::take(&mut self.is_due)
    }

    pub fn again_after(&mut self, pause: Option<Duration>) {
        self.is_due |= pause.is_some_and(|pause| pause <= SOON);
    }
}

pub struct Process {
    pub context: Arc<Context>,
    pub records: Arc<Records>,
    pub pull: Arc<Pull<Opening>>,
    pub driven: Arc<Driven<Pull<Opening>>>,
    pub queue: Queue,
    /// The events of the watch, and what they bring to be reconciled.
    watch: mpsc::UnboundedSender<Event<Watched>>,
    edits: BoxStream<'static, watcher::Result<Watched>>,
    cached: Store<Watched>,
    /// Whether a list has begun, and its last page is not there yet.
    pub lists: bool,
    /// The watch of Secrets, and the target as it showed it last.
    secrets: Sources,
    shown: Option<Target>,
    /// The watch of ConfigMaps, and the one with the text as it showed it last.
    config_maps: Sources,
    shown_text: Option<Text>,
}

impl Process {
    /// One whose watches have listed. In a crowd, so many other targets of the store lost their
    /// values just now that one more is too many.
    pub fn start(api: &ApiServer, store: &OneStore, crowded: bool) -> Self {
        let context = Context::on(api.cluster());
        let records = Arc::new(Records::default());
        let pull = Arc::new(Pull::new(context.clone(), store.opening(), records.clone()));
        let cache = Cache::default();
        let cached = cache.reader.clone();
        let (watch, events) = mpsc::unbounded();
        let edits = cache.edits(context.clone(), events.map(Ok)).boxed();
        let driven = Driven::new(pull.clone(), context.clone(), 8);
        let ((push, _), (woken, told)) = (unbounded_channel(), unbounded_channel());
        let wakeups = Wakeups { push, pull: woken };
        let watching = Watching { context: context.clone(), own_writes: records.clone(), wakeups };
        let mut process = Process {
            queue: Queue { feed: context.feed.wakeups().unwrap(), secrets: told, is_due: false },
            secrets: Sources::new(SourceKind::Secret, watching.clone()),
            shown: None,
            config_maps: Sources::new(SourceKind::ConfigMap, watching),
            shown_text: None,
            context,
            records,
            pull,
            driven,
            watch,
            edits,
            cached,
            lists: false,
        };
        let member = Member { interval: Duration::from_secs(3600), has_target: true };
        for number in 0..if crowded { MOST_TARGETS } else { 0 } {
            let roll = (member, BTreeSet::from([StoreName::cluster("vault")]));
            let (name, past) = (Name::new("team", format!("other-{number}")), Past::Lost { ago: Duration::ZERO });
            process.pull.losses.enrol(&name, Some(roll), |_| past, |_| None, Instant::now());
            process.pull.losses.opened(&name, |_| Reads::Yes);
        }
        process.list(api.get(OBJECT));
        let target: Option<Target> = api.get(TARGET);
        process.shown = target.clone();
        let listed = target.into_iter().map(Event::InitApply);
        [Event::Init]
            .into_iter()
            .chain(listed)
            .chain([Event::InitDone])
            .for_each(|event| process.secrets.on_event(event));
        process.config_maps.on_event(Event::<Text>::Init);
        process.show_text(api.get(TEXTS));
        process.config_maps.on_event(Event::<Text>::InitDone);
        process
    }

    pub fn name() -> Name {
        Name::new("team", "db")
    }

    /// The object as the cache has it.
    pub fn cached(&self) -> Option<Arc<Watched>> {
        self.cached.get(&ObjectRef::new("db").within("team"))
    }

    /// The object as the cache has it, and with our last status.
    pub fn known(&self) -> Vec<Value> {
        let cached = self.cached().and_then(|object| object.0.clone().ok());
        let newer = cached.as_ref().and_then(|cached| self.context.written.newer(cached));
        cached.into_iter().chain(newer).map(|object| json!(object)).collect()
    }

    /// The watch shows the object as it is now. While it lists, it shows nothing.
    pub fn show(&mut self, present: Option<Watched>) {
        if self.lists {
            return;
        }
        let before = self.cached();
        let is =
            |part: fn(&Watched) -> Option<String>| present.as_ref().and_then(part) == before.as_deref().and_then(part);
        let (is_same, is_unchanged) = (is(Watched::uid), is(Watched::resource_version));
        let gone = before.filter(|_| !is_same).map(|gone| Event::Delete((*gone).clone()));
        let come = present.filter(|_| !is_unchanged).map(Event::Apply);
        self.tell(gone.into_iter().chain(come));
    }

    /// The watch lists anew. Of a list that it had begun it gets the last page.
    pub fn list(&mut self, present: Option<Watched>) {
        if !self.lists {
            self.list_first_page(present);
        }
        self.lists = false;
        self.tell([Event::InitDone]);
    }

    /// The watch begins to list anew. There is another page.
    pub fn list_first_page(&mut self, present: Option<Watched>) {
        self.lists = true;
        self.tell([Event::Init].into_iter().chain(present.map(Event::InitApply)));
    }

    /// As in [`Driven::run`].
    fn tell(&mut self, events: impl IntoIterator<Item = Event<Watched>>) {
        for event in events {
            let event = Ok(event);
            self.driven.on_event(&event);
            event.into_iter().for_each(|event| self.watch.unbounded_send(event).unwrap());
        }
        while let Some(Some(_edit)) = self.edits.next().now_or_never() {
            self.queue.is_due = true;
        }
    }

    /// Somebody deletes the target. The watch shows what was there, however short.
    pub fn delete_target(&mut self, api: &ApiServer) {
        self.show_target(api.get(TARGET));
        api.remove(TARGET);
    }

    pub fn show_target(&mut self, present: Option<Target>) {
        let uid = |of: &Target| of.metadata.uid.clone();
        let gone = self.shown.take_if(|shown| present.as_ref().and_then(uid) != uid(shown));
        gone.into_iter().for_each(|gone| self.secrets.on_event(Event::Delete(gone)));
        let version = |of: &Target| of.metadata.resource_version.clone();
        if let Some(present) = present.filter(|present| self.shown.as_ref().and_then(version) != version(present)) {
            self.shown = Some(present.clone());
            self.secrets.on_event(Event::Apply(present));
        }
    }

    pub fn show_text(&mut self, present: Option<Text>) {
        let event = match (&present, self.shown_text.take()) {
            (Some(present), _) => Event::Apply(present.clone()),
            (None, Some(gone)) => Event::Delete(gone),
            (None, None) => return,
        };
        self.shown_text = present;
        self.config_maps.on_event(event);
    }

    /// What is remembered of an object that is gone.
    pub fn remembers(&self) -> Vec<&'static str> {
        let (context, name) = (&self.context, Process::name());
        let places = [
            ("subscriptions", context.feed.consumers() > 0),
            ("folders", context.feed.lists() > 0),
            ("declarations", !context.referrers.secrets().is_empty()),
            ("texts", !context.config_maps.secrets().is_empty() || context.template_moves.take(&name).is_some()),
            ("series", context.metrics.encode().contains("name=\"db\"")),
            ("records", !self.records.is_empty()),
            ("statuses", !context.written.is_empty()),
            ("losses", self.pull.losses.knows(&name)),
        ];
        places.into_iter().filter(|(_, is_left)| *is_left).map(|(what, _)| what).collect()
    }
}
