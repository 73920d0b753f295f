//! Errors of requests to the Kubernetes API, without the bodies that kube's own errors quote.

use std::io::ErrorKind;

use thiserror::Error;

use super::denial::Denial;
use crate::domain::error_chain::first_known;

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
    /// It is deleted once others have removed their finalizers.
    #[error("{verb} {object}: it is being deleted, and stays as long as it has the finalizers {finalizers}")]
    Held {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
        /// The finalizers.
        finalizers: String,
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
    #[error("{verb} {object}: no usable reply from the API server: {cause}")]
    Transport {
        /// get, create, update, …
        verb: &'static str,
        /// kind namespace/name
        object: String,
        /// Why not.
        cause: Cut,
    },
}

/// Why the API server gave no usable reply. It is said without advice: the readers of a condition
/// have no part in how the controller reaches its API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Cut {
    /// Its name does not resolve.
    #[error("its name does not resolve")]
    Name,
    /// No server listens.
    #[error("the connection was refused")]
    Refused,
    /// The connection was reset, or there is no route.
    #[error("the connection was reset, or there is no route")]
    Reset,
    /// TLS failed.
    #[error("TLS with it failed")]
    Tls,
    /// Anything else.
    #[error("the reply was cut off or cannot be read")]
    Reply,
}

impl Cut {
    /// The cause, by the types in the chain of an error. Only the resolver's has no type of its own.
    fn of(error: &kube::Error) -> Self {
        first_known(error, Cut::of_link).unwrap_or(Cut::Reply)
    }

    fn of_link(link: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if link.is::<rustls::Error>() {
            return Some(Cut::Tls);
        }
        if link.to_string().starts_with("dns error") {
            return Some(Cut::Name);
        }
        match link.downcast_ref::<std::io::Error>()?.kind() {
            ErrorKind::ConnectionRefused => Some(Cut::Refused),
            ErrorKind::ConnectionReset | ErrorKind::HostUnreachable => Some(Cut::Reset),
            _other => None,
        }
    }
}

impl ClusterError {
    /// Whether the request may have been carried out all the same, or may still be.
    pub fn leaves_open(&self) -> bool {
        match self {
            // One that is too much for the server now (429), or wrong, was not begun.
            ClusterError::Api { code, .. } => !(400..500).contains(code),
            ClusterError::Transport { cause: Cut::Name | Cut::Refused, .. } => false,
            ClusterError::Transport { cause: Cut::Reset | Cut::Tls | Cut::Reply, .. }
            | ClusterError::Timeout { .. }
            | ClusterError::Held { .. } => true,
            ClusterError::NotFound { .. }
            | ClusterError::AlreadyExists { .. }
            | ClusterError::Conflict { .. }
            | ClusterError::Forbidden { .. }
            | ClusterError::Invalid { .. }
            | ClusterError::NamespaceTerminating { .. } => false,
        }
    }

    /// What somebody can do who chose the cluster.
    pub fn advice(&self) -> Option<&'static str> {
        let ClusterError::Transport { cause, .. } = self else { return None };
        match cause {
            Cut::Name => Some("check DNS, and `server` in the kubeconfig if there is one"),
            Cut::Refused | Cut::Reset => Some("check that it runs, and `server` in the kubeconfig if there is one"),
            Cut::Tls => Some("check its certificate, and those in the kubeconfig if there is one"),
            Cut::Reply => None,
        }
    }

    /// Keeps verb, object and status of a kube error, and drops its texts, which may quote an
    /// object.
    pub fn from_kube(verb: &'static str, object: &str, error: &kube::Error) -> Self {
        let object = object.to_owned();
        let kube::Error::Api(status) = error else {
            return ClusterError::Transport { verb, object, cause: Cut::of(error) };
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kube::core::Status;

    use super::*;
    use crate::cluster::Cluster;
    use crate::cluster::client::connect;
    use crate::config::ClusterChoice;

    /// The error of a request to an API server that should be at this address.
    async fn error_of(name: &str, server: &str) -> ClusterError {
        let file: PathBuf = std::env::temp_dir().join(format!("waypost-{name}-{}", std::process::id()));
        let text = format!(
            "{{clusters: [{{name: c, cluster: {{server: {server:?}}}}}], contexts: [{{name: x, context: {{cluster: c}}}}], current-context: x}}"
        );
        std::fs::write(&file, text).unwrap();
        let choice = ClusterChoice { kubeconfig: Some(file.clone()), context: None };
        let client = connect(&choice, Default::default()).await.unwrap();
        std::fs::remove_file(file).unwrap();
        Cluster::new(client).uid().await.unwrap_err()
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_is_told_with_the_cause() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = error_of("refused", &format!("http://{address}")).await;
        let nameless = error_of("nameless", "http://no-such-host.invalid:6443").await;
        for (error, cause) in [(refused, "the connection was refused"), (nameless, "its name does not resolve")] {
            // Conditions have it, whose readers need not know of a kubeconfig.
            assert!(error.to_string().ends_with(cause), "{error}");
            let advice = error.advice();
            assert!(advice.is_some_and(|advice| advice.contains("kubeconfig")), "{advice:?}");
            assert!(!error.leaves_open(), "{error}: it was not sent");
        }
    }

    /// Of an answer, only that the server failed leaves open how far it came.
    #[test]
    fn what_was_not_sent_or_not_begun_does_not_arrive_later() {
        let (verb, object) = ("update the status of", "it");
        for code in 300..600 {
            for reason in ["NotFound", "AlreadyExists", "TooManyRequests", "Odd"] {
                let status = Status { code, reason: reason.to_owned(), ..Status::default() };
                let error = ClusterError::from_kube(verb, object, &kube::Error::Api(Box::new(status)));
                assert_eq!(error.leaves_open(), !(400..500).contains(&code), "{code} {reason}");
            }
        }
        let cut = |cause| ClusterError::Transport { verb, object: object.to_owned(), cause };
        let open = [Cut::Name, Cut::Refused, Cut::Reset, Cut::Tls, Cut::Reply].map(|cause| cut(cause).leaves_open());
        assert_eq!(open, [false, false, true, true, true]);
        assert!(ClusterError::Timeout { verb, object: object.to_owned() }.leaves_open());
    }
}
