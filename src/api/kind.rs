//! The kinds that we reconcile.

/// One of the kinds of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Creates a Secret.
    ExternalSecret,
    /// Publishes a Secret.
    PushSecret,
    /// A store for one namespace.
    SecretStore,
    /// A store for all namespaces.
    ClusterSecretStore,
    /// Creates ExternalSecrets in namespaces.
    ClusterExternalSecret,
    /// Creates PushSecrets in namespaces.
    ClusterPushSecret,
}

impl Kind {
    /// Every kind, in the order of [`Kind::index`].
    pub const ALL: [Kind; 6] = [
        Kind::ExternalSecret,
        Kind::PushSecret,
        Kind::SecretStore,
        Kind::ClusterSecretStore,
        Kind::ClusterExternalSecret,
        Kind::ClusterPushSecret,
    ];

    /// Its index in a table.
    pub fn index(self) -> usize {
        self as usize
    }

    /// As in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ExternalSecret => "ExternalSecret",
            Kind::PushSecret => "PushSecret",
            Kind::SecretStore => "SecretStore",
            Kind::ClusterSecretStore => "ClusterSecretStore",
            Kind::ClusterExternalSecret => "ClusterExternalSecret",
            Kind::ClusterPushSecret => "ClusterPushSecret",
        }
    }

    /// As in the names of metrics.
    pub fn metric_prefix(self) -> &'static str {
        match self {
            Kind::ExternalSecret => "externalsecret",
            Kind::PushSecret => "pushsecret",
            Kind::SecretStore => "secretstore",
            Kind::ClusterSecretStore => "clustersecretstore",
            Kind::ClusterExternalSecret => "clusterexternalsecret",
            Kind::ClusterPushSecret => "clusterpushsecret",
        }
    }
}
