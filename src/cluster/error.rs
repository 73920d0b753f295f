//! Errors of requests to the Kubernetes API, without the bodies that kube's own errors quote.

use thiserror::Error;

use super::denial::Denial;

/// A failed request to the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClusterError {
    /// The object does not exist.
    #[error("{verb} {object}: not found")]
    NotFound {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
    },
    /// The object already exists.
    #[error("{verb} {object}: it already exists")]
    AlreadyExists {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
    },
    /// Somebody wrote meanwhile, or a UID or resourceVersion precondition failed.
    #[error("{verb} {object}: it changed meanwhile")]
    Conflict {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
    },
    /// RBAC, a quota or admission denied it.
    #[error("{verb} {object}: forbidden: {denial}")]
    Forbidden {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
        /// Who denied the request.
        denial: Denial,
    },
    /// The object is not valid, or an admission policy denied it as invalid.
    #[error("{verb} {object}: denied as invalid: {denial}")]
    Invalid {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
        /// What is not valid, or who denied it.
        denial: Denial,
    },
    /// The namespace is being deleted.
    #[error("{verb} {object}: its namespace is being deleted")]
    NamespaceTerminating {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
    },
    /// Any other status of the API server.
    #[error("{verb} {object}: the API server answered {code}")]
    Api {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
        /// The HTTP status.
        code: u16,
    },
    /// No answer in time.
    #[error("{verb} {object}: no answer from the API server in time")]
    Timeout {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
    },
    /// No connection, or a reply that could not be read.
    #[error("{verb} {object}: the API server cannot be reached or its reply cannot be read")]
    Transport {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
    },
}

impl ClusterError {
    /// Keeps verb, object and status of a kube error, and drops its texts, which may quote an
    /// object.
    pub fn from_kube(verb: &'static str, object: &str, error: &kube::Error) -> Self {
        let object = object.to_owned();
        let kube::Error::Api(status) = error else {
            return ClusterError::Transport { verb, object };
        };
        let terminating = status
            .details
            .as_ref()
            .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"));
        match status.code {
            // A 404 of a proxy, or of a version that is not served, says nothing about the object.
            404 if status.reason == "NotFound" => ClusterError::NotFound { verb, object },
            409 if status.reason == "AlreadyExists" => ClusterError::AlreadyExists { verb, object },
            409 => ClusterError::Conflict { verb, object },
            403 if terminating => ClusterError::NamespaceTerminating { verb, object },
            401 | 403 => ClusterError::Forbidden { verb, object, denial: Denial::of(status) },
            400 | 413 | 422 => ClusterError::Invalid { verb, object, denial: Denial::of(status) },
            code => ClusterError::Api { verb, object, code },
        }
    }
}
