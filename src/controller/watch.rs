//! Watches Secrets by name only: metadata comes in, names go out to whoever refers to them, nothing is kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::context::Context;
use super::drive::{WATCH_SECONDS, watch_error};
use super::referrers::{Name, Referrer};
use crate::pull::records::Records;

/// Where wake-ups go.
#[derive(Clone)]
pub struct Wakeups {
    /// To the reconciler of PushSecrets.
    pub push: UnboundedSender<Name>,
    /// To the reconciler of ExternalSecrets.
    pub pull: UnboundedSender<Name>,
}

/// The stream of Secrets, and what was last seen of those that somebody refers to.
struct Secrets {
    context: Arc<Context>,
    records: Arc<Records>,
    wakeups: Wakeups,
    seen: HashMap<Name, String>,
    listed: HashSet<Name>,
}

/// Watches until `stop` is cancelled.
pub async fn secrets(
    api: Api<PartialObjectMeta<Secret>>,
    context: Arc<Context>,
    records: Arc<Records>,
    wakeups: Wakeups,
    stop: CancellationToken,
) {
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let events = watcher(api, config).default_backoff().take_until(stop.cancelled_owned());
    let secrets = Secrets { context, records, wakeups, seen: HashMap::new(), listed: HashSet::new() };
    secrets.follow(events).await;
}

impl Secrets {
    async fn follow(mut self, events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<Secret>>>>) {
        futures::pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.observe(event),
                Err(error) => warn!(kind = "Secret", error = watch_error(&error), "the watch failed and is retried"),
            }
        }
    }

    fn observe(&mut self, event: Event<PartialObjectMeta<Secret>>) {
        match event {
            Event::Apply(secret) => self.moved(&secret),
            Event::Delete(secret) => {
                let name = name_of(&secret);
                self.context.stores.secret_moved(&name.namespace, &name.name);
                self.seen.remove(&name);
                self.wake(&name);
            }
            Event::Init => self.listed.clear(),
            Event::InitApply(secret) => {
                self.listed.insert(name_of(&secret));
                self.moved(&secret);
            }
            Event::InitDone => self.wake_missing(),
        }
    }

    /// Wakes who refers to the Secret, unless this very version was seen (a list repeats what the watch said) or is our
    /// own write.
    fn moved(&mut self, secret: &PartialObjectMeta<Secret>) {
        let name = name_of(secret);
        // Stores compare what they read, so a repeated event costs them a look at most.
        self.context.stores.secret_moved(&name.namespace, &name.name);
        let concerned = self.context.referrers.concerned(&name, secret.labels());
        if concerned.is_empty() {
            self.seen.remove(&name);
            return;
        }
        let version = secret.resource_version().unwrap_or_default();
        if self.seen.get(&name) == Some(&version) {
            return;
        }
        let uid = secret.uid().unwrap_or_default();
        let ours = self.records.is_own_write(&name, &uid, &version);
        self.seen.insert(name.clone(), version);
        for referrer in concerned {
            // A target of ours may be somebody's source as well.
            if let Referrer::PushSecret(push) = &referrer {
                self.context.moves.note(push.clone(), Instant::now());
            }
            if !(ours && matches!(referrer, Referrer::ExternalSecret(_))) {
                self.send(referrer);
            }
        }
    }

    /// After a list: what is referred to and not there may have been deleted while nobody watched.
    fn wake_missing(&mut self) {
        for name in self.context.referrers.secrets() {
            if !self.listed.contains(&name) {
                self.seen.remove(&name);
                self.wake(&name);
            }
        }
        self.listed = HashSet::new();
    }

    fn wake(&self, secret: &Name) {
        self.context.referrers.of(secret).into_iter().for_each(|referrer| self.send(referrer));
    }

    fn send(&self, referrer: Referrer) {
        // A closed channel means that we are shutting down.
        let _closed = match referrer {
            Referrer::PushSecret(name) => self.wakeups.push.send(name).is_err(),
            Referrer::ExternalSecret(name) => self.wakeups.pull.send(name).is_err(),
        };
    }
}

fn name_of(secret: &PartialObjectMeta<Secret>) -> Name {
    Name::new(secret.namespace().unwrap_or_default(), secret.name_any())
}
