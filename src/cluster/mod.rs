//! Thin functions over the Kubernetes API: each sends one request with a deadline, returns an error
//! that names verb and object, and decides nothing.

pub mod children;
pub mod client;
pub mod credentials;
pub mod denial;
pub mod error;
pub mod events;
pub mod finalizers;
#[cfg(test)]
pub mod in_memory;
mod kubeconfig;
pub mod ledger;
pub mod liveness;
pub mod raw;
pub mod source;
pub mod status;
pub mod target;

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Resource, ResourceExt};
use tracing::Instrument;

use crate::telemetry::trail;
pub use error::ClusterError;

/// The deadline of a request to the API server, except for watches.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Access to the Kubernetes API with this process's own rights.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// Wraps a client without retries: we back off per object.
    pub fn new(client: Client) -> Self {
        Cluster { client }
    }

    /// The client itself, for watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The UID of kube-system, which exists as long as its cluster.
    pub async fn uid(&self) -> Result<String, ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let found = self.request("get", "Namespace kube-system", namespaces.get_metadata("kube-system")).await?;
        Ok(found.uid().unwrap_or_default())
    }

    /// Whether the API server has this kind, by what it says of itself. A 404 to a request for the
    /// kind does not show that it lacks it: a proxy answers the same.
    pub async fn serves<K: Resource<DynamicType = ()>>(&self) -> Result<bool, ClusterError> {
        let (group, version, plural) = (K::group(&()), K::api_version(&()), K::plural(&()));
        let groups = self.request("list", "the API groups", self.client.list_api_groups()).await?;
        let mut versions = groups.groups.iter().filter(|known| known.name == group).flat_map(|known| &known.versions);
        if !versions.any(|known| known.group_version == version) {
            return Ok(false);
        }
        let kinds = self.client.list_api_group_resources(&version);
        let kinds = self.request("list", &format!("the kinds of {version}"), kinds).await?;
        Ok(kinds.resources.iter().any(|kind| kind.name == plural))
    }

    /// Reads one object that may not exist. Only the API server's own NotFound counts: after it,
    /// values are removed and claims are taken over.
    pub async fn get<T>(
        &self,
        object: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Option<T>, ClusterError> {
        match self.request("get", object, call).await {
            Ok(found) => Ok(Some(found)),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs one request with the deadline, and names it in the error.
    pub async fn request<T>(
        &self,
        verb: &'static str,
        object: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(REQUEST_TIMEOUT, call).instrument(trail::kubernetes(verb, object)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(ClusterError::from_kube(verb, object, &error)),
            Err(_elapsed) => Err(ClusterError::Timeout { verb, object: object.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use serde_json::json;

    use super::*;
    use crate::api::{ClusterPushSecret, PushSecret};

    /// A cluster that answers every request like this.
    fn answering(code: StatusCode, body: String) -> Cluster {
        let router = axum::Router::new().fallback(move || {
            let reply = (code, body.clone()).into_response();
            async { reply }
        });
        Cluster::new(Client::new(router, "default"))
    }

    /// What each read of an object that may not exist returns: whether it exists, or an error.
    async fn looks(cluster: &Cluster) -> Vec<Result<bool, ClusterError>> {
        vec![
            cluster.source("ns", "x").await.map(|found| found.is_some()),
            cluster.config_map_source("ns", "x").await.map(|found| found.is_some()),
            cluster.is_namespace_terminating("ns").await.map(|gone| !gone),
            cluster.push_secret_uid("ns", "x").await.map(|found| found.is_some()),
            cluster.raw::<PushSecret>("ns", "x").await.map(|found| found.is_some()),
            cluster.child::<PushSecret>("ns", "x").await.map(|found| found.is_some()),
            cluster.namespace("ns").await.map(|found| found.is_some()),
            cluster.parent::<ClusterPushSecret>("x").await.map(|found| found.is_some()),
            cluster.target("ns", "x", "m").await.map(|found| found.is_some()),
            cluster.target_stamp("ns", "x").await.map(|found| found.is_some()),
        ]
    }

    fn status(reason: &str) -> String {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "m", "reason": reason, "code": 404 });
        status.to_string()
    }

    #[tokio::test]
    async fn only_the_api_servers_word_that_there_is_no_such_object_is_absence() {
        for look in looks(&answering(StatusCode::NOT_FOUND, status("NotFound"))).await {
            assert_eq!(look, Ok(false));
        }
        // A proxy; a group or version that is not served; a reply without a reason.
        for body in ["404 page not found", "", "<html>not found</html>", "{}", &status(""), &status("Unknown")] {
            for look in looks(&answering(StatusCode::NOT_FOUND, body.to_owned())).await {
                assert!(matches!(look, Err(ClusterError::Api { .. })), "{body}: {look:?}");
            }
        }
    }
}
