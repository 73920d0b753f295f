//! Thin functions over the Kubernetes API: each one request with a deadline, an error that names step and object, and no
//! decision.

pub mod children;
pub mod client;
pub mod credentials;
pub mod error;
pub mod events;
pub mod finalizers;
pub mod ledger;
pub mod liveness;
pub mod raw;
pub mod source;
pub mod status;
pub mod target;

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

pub use error::ClusterError;

/// No request of ours to the API server may take longer (watches apart).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Access to the Kubernetes API with this process's own rights.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// Wraps a client whose default retries are off: back-off is ours, per object.
    pub fn new(client: Client) -> Self {
        Cluster { client }
    }

    /// The client itself, for watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The UID of kube-system, which lives as long as its cluster.
    pub async fn uid(&self) -> Result<String, ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let found = self.request("get", "Namespace kube-system", namespaces.get_metadata("kube-system")).await?;
        Ok(found.uid().unwrap_or_default())
    }

    /// Runs one request under the deadline and names it in the error.
    pub async fn request<T>(
        &self,
        step: &'static str,
        object: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(ClusterError::from_kube(step, object, &error)),
            Err(_elapsed) => Err(ClusterError::Timeout { step, object: object.to_owned() }),
        }
    }
}
