//! The current path convention: the built-in vocabulary until a PathConvention replaces it, and
//! each namespace's own mode. A change needs no restart, because the convention is read here for
//! every judgement.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use parking_lot::RwLock;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
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

/// After this time a denial of the first list means that the right was not granted. A role may be
/// applied a moment after the Deployment, and an API server that starts knows no role at first.
const DENIED: Duration = Duration::from_secs(5);

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
    let mut follower = Follower::new(context, changed, filled);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => follower.on_event(event).await,
            Err(error) => follower.failed(&error).await,
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
    /// When the first list was denied for the first time.
    denied: Option<Instant>,
}

/// Whether the missing kind was reported.
enum Missing {
    Unsaid,
    Said,
}

impl Follower {
    fn new(context: Arc<Context>, changed: UnboundedSender<ConventionChanged>, filled: CancellationToken) -> Self {
        let known = Known::default();
        Follower { context, changed, filled, known, told: None, missing: Missing::Unsaid, denied: None }
    }

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
    async fn failed(&mut self, error: &watcher::Error) {
        if !self.is_without(error).await {
            warn!(
                kind = "PathConvention",
                error = watch::failure(error),
                "the watch failed and is retried; until then the convention stays as it is"
            );
            return;
        }
        if matches!(self.missing, Missing::Unsaid) {
            info!("no PathConvention can be read (crds/pathconventions.yaml): the built-in path convention applies");
            self.missing = Missing::Said;
        }
        self.built_in();
        self.filled.cancel();
    }

    /// Whether there is no PathConvention for this controller. A denial shows that only before the
    /// first list, and only if it lasts: a right can be lost for a moment, and granted a moment after
    /// the start. A 404 never shows it, because a proxy answers the same: the API server says which
    /// kinds it has.
    async fn is_without(&mut self, error: &watcher::Error) -> bool {
        let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else { return false };
        match status.code {
            403 => status.reason == "Forbidden" && !self.known.was_listed() && self.is_denied_for_long(),
            404 => match self.context.cluster.serves::<PathConvention>().await {
                Ok(served) => !served,
                Err(error) => {
                    warn!(%error, "whether the API server has PathConventions is not known");
                    false
                }
            },
            _ => false,
        }
    }

    /// Counts from the first call.
    fn is_denied_for_long(&mut self) -> bool {
        self.denied.get_or_insert_with(Instant::now).elapsed() >= DENIED
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
    use axum::http::{StatusCode, Uri};
    use axum::response::IntoResponse;
    use kube::core::Status;
    use kube::runtime::reflector::store;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::Cluster;
    use crate::domain::convention::Mode;

    /// What the API server says it has.
    #[derive(Clone, Copy)]
    enum Discovery {
        /// The answer of a proxy, as to every request.
        Unknown,
        WithoutGroup,
        WithoutKind,
        WithKind,
    }

    impl Discovery {
        fn answer(self, path: &str) -> (StatusCode, String) {
            let (group, version) = ("waypost.io", "waypost.io/v1alpha1");
            let version = json!({ "groupVersion": version, "version": "v1alpha1" });
            let own = json!({ "name": group, "versions": [version] });
            let kind = |name: &str, kind: &str| json!({ "name": name, "singularName": "", "kind": kind, "namespaced": false, "verbs": ["list"] });
            let groups = |groups: Value| json!({ "apiVersion": "v1", "kind": "APIGroupList", "groups": groups });
            let kinds = |kinds: Value| json!({ "apiVersion": "v1", "kind": "APIResourceList", "groupVersion": "waypost.io/v1alpha1", "resources": kinds });
            let said = match (self, path) {
                (Discovery::WithoutGroup, "/apis") => groups(json!([])),
                (Discovery::WithoutKind | Discovery::WithKind, "/apis") => groups(json!([own])),
                (Discovery::WithoutKind, "/apis/waypost.io/v1alpha1") => kinds(json!([kind("others", "Other")])),
                (Discovery::WithKind, "/apis/waypost.io/v1alpha1") => {
                    kinds(json!([kind("pathconventions", "PathConvention")]))
                }
                (Discovery::Unknown | Discovery::WithoutGroup | Discovery::WithoutKind | Discovery::WithKind, _) => {
                    return (StatusCode::NOT_FOUND, "404 page not found".to_owned());
                }
            };
            (StatusCode::OK, said.to_string())
        }
    }

    /// A follower at an API server, under a flag that switches the convention off.
    fn follower(discovery: Discovery) -> Follower {
        let router =
            axum::Router::new().fallback(move |uri: Uri| async move { discovery.answer(uri.path()).into_response() });
        let context = Context::on(Cluster::new(kube::Client::new(router, "ns")));
        let mut context = Arc::into_inner(context).expect("it is not shared yet");
        context.conventions = Conventions::new(Convention::with_mode(Mode::Off), store().0);
        let (changed, filled) = (tokio::sync::mpsc::unbounded_channel().0, CancellationToken::new());
        let context = Arc::new(context);
        Follower::new(context, changed, filled)
    }

    impl Follower {
        fn mode(&self) -> Mode {
            self.context.conventions.current().mode
        }

        async fn lists(&mut self, mode: &str) {
            let object = json!({
                "apiVersion": "waypost.io/v1alpha1", "kind": "PathConvention",
                "metadata": { "name": "default", "uid": "u" }, "spec": { "mode": mode },
            });
            self.on_event(Event::Init).await;
            self.on_event(Event::InitApply(serde_json::from_value(object).unwrap())).await;
            self.on_event(Event::InitDone).await;
        }

        async fn is_denied(&mut self, code: u16, reason: &str) {
            self.on_event(Event::Init).await;
            let status = Status::failure("denied", reason).with_code(code).boxed();
            self.failed(&watcher::Error::InitialListFailed(kube::Error::Api(status))).await;
        }

        /// As a watch that is retried.
        async fn is_denied_again(&mut self, code: u16, reason: &str) {
            self.is_denied(code, reason).await;
            tokio::time::advance(DENIED).await;
            self.is_denied(code, reason).await;
        }
    }

    /// What kube makes of a reply that is no Status.
    const NO_STATUS: &str = "Failed to parse error data";

    #[tokio::test(start_paused = true)]
    async fn a_denied_list_takes_away_no_convention_that_was_read() {
        for discovery in [Discovery::Unknown, Discovery::WithKind] {
            let mut follower = follower(discovery);
            follower.lists("enforce").await;
            for (code, reason) in [(403, "Forbidden"), (403, NO_STATUS), (404, NO_STATUS), (404, "NotFound")] {
                follower.is_denied_again(code, reason).await;
                assert_eq!(follower.mode(), Mode::Enforce, "{code} {reason}");
            }
        }
        for discovery in [Discovery::WithoutGroup, Discovery::WithoutKind] {
            let mut follower = follower(discovery);
            follower.lists("enforce").await;
            follower.is_denied(404, NO_STATUS).await;
            assert_eq!(follower.mode(), Mode::Off, "its definition was removed");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_under_the_built_in_convention_while_there_may_be_another() {
        for (discovery, code, reason, begins) in [
            (Discovery::Unknown, 403, "Forbidden", true),
            (Discovery::Unknown, 403, NO_STATUS, false),
            (Discovery::Unknown, 404, NO_STATUS, false),
            (Discovery::WithKind, 404, NO_STATUS, false),
            (Discovery::WithoutKind, 404, NO_STATUS, true),
            (Discovery::WithoutGroup, 404, NO_STATUS, true),
            (Discovery::WithoutGroup, 503, "ServiceUnavailable", false),
        ] {
            let mut follower = follower(discovery);
            follower.is_denied_again(code, reason).await;
            assert_eq!(follower.filled.is_cancelled(), begins, "{code} {reason}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_convention_that_may_be_read_a_moment_after_the_start_is_the_first_that_holds() {
        let mut follower = follower(Discovery::WithKind);
        follower.is_denied(403, "Forbidden").await;
        assert!(!follower.filled.is_cancelled());
        follower.lists("enforce").await;
        assert!(follower.filled.is_cancelled() && follower.mode() == Mode::Enforce);
    }

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
