//! The sources of a PushSecret, and the verdicts if they do not exist.

use crate::api::condition::Reason;
use crate::api::path_status::MAX_PATHS;
use crate::cluster::source::{Bound, OverBound};
use crate::controller::report::Verdict;
use crate::domain::label_query::LabelQuery;

/// The sources that a spec asks for, all in the PushSecret's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// A Secret by name.
    Named(String),
    /// All Secrets with these labels.
    Labelled(LabelQuery),
    /// A ConfigMap by name.
    ConfigMap(String),
}

/// The maximum that a label selector may match. `status.paths` has room for as many paths, and
/// sources are in memory until they are pushed.
pub const BOUND: Bound = Bound { secrets: MAX_PATHS, bytes: 16 * 1024 * 1024 };

impl Sources {
    /// Which objects they are, for messages.
    pub fn text(&self, namespace: &str) -> String {
        match self {
            Sources::Named(name) => format!("Secret {namespace}/{name}"),
            Sources::ConfigMap(name) => format!("ConfigMap {namespace}/{name}"),
            Sources::Labelled(query) => format!("the Secrets of {namespace} that match {query}"),
        }
    }

    /// The sources do not exist, and nothing was pushed from them yet.
    pub fn not_found(&self, namespace: &str) -> Verdict {
        let message = match self {
            Sources::Named(name) => format!(
                "Secret {namespace}/{name} does not exist: create it, or correct spec.selector.secret.name; it is pushed at once"
            ),
            Sources::ConfigMap(name) => format!(
                "ConfigMap {namespace}/{name} does not exist: create it, or correct spec.selector.configMap.name; it is pushed at once"
            ),
            Sources::Labelled(query) => format!(
                "no Secret of {namespace} matches {query}: label one, or correct spec.selector.secret.selector; it is pushed at once"
            ),
        };
        Verdict { ready: false, reason: Reason::SourceNotFound, message }
    }

    /// The sources do not exist any more, and what was pushed from them stays.
    pub fn gone(&self, namespace: &str) -> Verdict {
        let message = match self {
            Sources::Named(name) => gone_for_now("Secret", namespace, name),
            Sources::ConfigMap(name) => gone_for_now("ConfigMap", namespace, name),
            Sources::Labelled(query) => format!(
                "no Secret of {namespace} matches {query}, and what was pushed stays: label one, or delete this PushSecret"
            ),
        };
        Verdict { ready: false, reason: Reason::SourceGone, message }
    }

    /// The sources exist, but no mapping gives anything of them yet, and what was pushed before the
    /// last edit stays.
    pub fn not_filled(&self, namespace: &str) -> Verdict {
        let what = self.text(namespace);
        let message = format!(
            "no mapping finds anything in {what}, and what was pushed stays: fill the source, correct the mappings, or remove them"
        );
        Verdict { ready: false, reason: Reason::SourceInvalid, message }
    }

    /// The sources exceed [`BOUND`].
    pub fn too_many(&self, namespace: &str, over: OverBound) -> Verdict {
        let what = match self {
            Sources::Named(name) | Sources::ConfigMap(name) => name.clone(),
            Sources::Labelled(query) => query.to_string(),
        };
        let found = match over {
            OverBound::Secrets(count) => {
                format!("{count} Secrets of {namespace} match {what}, and one PushSecret takes {}", BOUND.secrets)
            }
            OverBound::Bytes(bytes) => format!(
                "the Secrets of {namespace} that match {what} hold {bytes} bytes or more, and one PushSecret takes {}",
                BOUND.bytes
            ),
        };
        let message = format!(
            "{found}: nothing is pushed or removed until fewer match; narrow spec.selector.secret.selector, or spread them over several PushSecrets"
        );
        Verdict { ready: false, reason: Reason::TooLarge, message }
    }

    /// The sources do not exist any more, and what was pushed from them is removed.
    pub fn deleted(&self, namespace: &str) -> Verdict {
        let message = match self {
            Sources::Named(name) => gone_with_all("Secret", namespace, name),
            Sources::ConfigMap(name) => gone_with_all("ConfigMap", namespace, name),
            Sources::Labelled(query) => format!(
                "no Secret of {namespace} matches {query} any more, and what had been pushed was deleted; it is pushed again once one does"
            ),
        };
        Verdict { ready: false, reason: Reason::SourceDeleted, message }
    }
}

fn gone_for_now(kind: &str, namespace: &str, name: &str) -> String {
    format!(
        "{kind} {namespace}/{name} is gone, and what was pushed from it stays: create it again, or delete this PushSecret"
    )
}

fn gone_with_all(kind: &str, namespace: &str, name: &str) -> String {
    format!(
        "{kind} {namespace}/{name} was deleted, and so was what had been pushed from it; it is pushed again once it is back"
    )
}
