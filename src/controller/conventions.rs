//! The current path convention: the built-in vocabulary until a PathConvention replaces it, and
//! each namespace's own mode. A change needs no restart, because the convention is read here for
//! every judgement.

use std::borrow::Cow;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use parking_lot::RwLock;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::context::Context;
use super::guarded::Guarded;
use super::undecodable::unquoted;
use crate::api::PathConvention;
use crate::api::condition::Reason;
use crate::api::path_convention::DEFAULT_NAME;
use crate::cluster::events::Tone;
use crate::domain::convention::{Convention, LABEL_MODE};
use crate::domain::object_name::Name;
use crate::watch::{self, Known, Sighting};

/// The convention changed.
pub struct ConventionChanged;

/// The current convention, and the one without a PathConvention.
pub struct Conventions {
    current: RwLock<Arc<Convention>>,
    built_in: Arc<Convention>,
    namespaces: Store<PartialObjectMeta<Namespace>>,
}

impl Conventions {
    /// Begins with the built-in convention, in the mode of the flag.
    pub fn new(built_in: Convention, namespaces: Store<PartialObjectMeta<Namespace>>) -> Self {
        let built_in = Arc::new(built_in);
        Conventions { current: RwLock::new(built_in.clone()), built_in, namespaces }
    }

    /// The convention, in the installation's mode.
    pub fn current(&self) -> Arc<Convention> {
        self.current.read().clone()
    }

    /// The convention, in the mode of this namespace.
    pub fn in_namespace(&self, namespace: &str) -> Arc<Convention> {
        let (current, namespace) = (self.current(), self.namespaces.get(&ObjectRef::new(namespace)));
        let label = namespace.as_ref().and_then(|namespace| namespace.labels().get(LABEL_MODE));
        match current.in_namespace(label.map(String::as_str)) {
            Cow::Borrowed(_) => current,
            Cow::Owned(other) => Arc::new(other),
        }
    }

    /// Replaces the convention; returns whether it changed.
    fn replace(&self, convention: Arc<Convention>) -> Replaced {
        let mut current = self.current.write();
        if **current == *convention {
            return Replaced::Same;
        }
        *current = convention;
        Replaced::Other
    }
}

/// Whether the convention changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replaced {
    Same,
    Other,
}

/// Watches PathConventions until `stop` is cancelled. `filled` is cancelled once the current
/// convention is known.
pub async fn follow(
    api: Api<Guarded<PathConvention>>,
    context: Arc<Context>,
    changed: UnboundedSender<ConventionChanged>,
    filled: CancellationToken,
    stop: CancellationToken,
) {
    let events = watch::open(api, watch::config()).take_until(stop.cancelled_owned());
    futures::pin_mut!(events);
    let mut follower =
        Follower { context, changed, filled, known: Known::default(), told: None, missing: Missing::Unsaid };
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => follower.on_event(event).await,
            Err(error) => follower.failed(&error),
        }
    }
}

struct Follower {
    context: Arc<Context>,
    changed: UnboundedSender<ConventionChanged>,
    filled: CancellationToken,
    known: Known,
    /// The UID and generation of the object that was reported as invalid, so that it is reported
    /// once.
    told: Option<(Option<String>, Option<i64>)>,
    missing: Missing,
}

/// Whether the missing kind was reported.
enum Missing {
    Unsaid,
    Said,
}

impl Follower {
    async fn on_event(&mut self, event: Event<Guarded<PathConvention>>) {
        self.known.learn(Sighting::of(&event));
        match event {
            Event::Apply(object) | Event::InitApply(object) => self.judge(&object).await,
            Event::Init => {}
            Event::Delete(_) | Event::InitDone => {
                if !self.known.has_name(&Name::new("", DEFAULT_NAME)) {
                    self.built_in();
                }
            }
        }
        if self.known.was_listed() {
            self.filled.cancel();
        }
    }

    /// Without the kind, or the right to read it, the built-in convention applies. Other errors are
    /// retried.
    fn failed(&mut self, error: &watcher::Error) {
        let refused = matches!(
            error,
            watcher::Error::InitialListFailed(kube::Error::Api(status)) if [403, 404].contains(&status.code)
        );
        if !refused {
            warn!(kind = "PathConvention", error = watch::failure(error), "the watch failed and is retried");
            return;
        }
        if matches!(self.missing, Missing::Unsaid) {
            info!("no PathConvention can be read (crds/pathconventions.yaml): the built-in path convention applies");
            self.missing = Missing::Said;
        }
        self.built_in();
        self.filled.cancel();
    }

    async fn judge(&mut self, object: &Guarded<PathConvention>) {
        let wrong = match &object.0 {
            Ok(object) => match object.convention() {
                Ok(convention) => return self.put(Arc::new(convention)),
                Err(error) => error.to_string(),
            },
            Err(invalid) => format!("it does not decode: {}", unquoted(&invalid.error)),
        };
        self.refuse(object, &wrong).await;
    }

    /// Reports once what is wrong. The previous convention stays in use.
    async fn refuse(&mut self, object: &Guarded<PathConvention>, wrong: &str) {
        let state = (object.uid(), object.meta().generation);
        if self.told.as_ref() == Some(&state) {
            return;
        }
        self.told = Some(state);
        let message = format!("{wrong}; correct it: until then the previous convention stays in use");
        warn!(path_convention = object.name_any(), message, "not in use");
        self.context.events.state_changed(object, Tone::Warning, Reason::InvalidSpec.as_str(), &message).await;
    }

    fn built_in(&self) {
        self.put(self.context.conventions.built_in.clone());
    }

    fn put(&self, convention: Arc<Convention>) {
        let mode = convention.mode;
        match self.context.conventions.replace(convention) {
            Replaced::Same => {}
            Replaced::Other => {
                info!(%mode, "another path convention holds");
                // A closed channel means that the process is shutting down.
                let _closed = self.changed.send(ConventionChanged).is_err();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use serde_json::json;

    use super::*;
    use crate::domain::convention::Mode;

    #[test]
    fn a_namespace_s_label_outlasts_a_change_of_the_convention() {
        let (reader, mut writer) = store();
        let labelled = json!({ "metadata": { "name": "team", "labels": { LABEL_MODE: "off" } } });
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(labelled).unwrap()));
        let conventions = Conventions::new(Convention::default(), reader);
        let modes = || ["team", "other", "nowhere"].map(|namespace| conventions.in_namespace(namespace).mode);
        assert_eq!(modes(), [Mode::Off, Mode::Enforce, Mode::Enforce]);
        let warned = Arc::new(Convention::with_mode(Mode::Warn));
        assert_eq!(conventions.replace(warned.clone()), Replaced::Other);
        assert_eq!(conventions.replace(warned), Replaced::Same);
        assert_eq!(modes(), [Mode::Off, Mode::Warn, Mode::Warn]);
    }
}
