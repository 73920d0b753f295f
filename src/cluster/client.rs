//! The client for the Kubernetes API: no hidden retries, and a sign of life for each watch it opens.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use thiserror::Error;
use tower::{Layer, Service};

use super::liveness::Liveness;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// There is no way to talk to a cluster.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("cannot use kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: Box<kube::config::KubeconfigError>,
    },
    /// None was named, and we do not run in a cluster.
    #[error("not in a cluster, and no --kubeconfig (or KUBECONFIG) given: {source}")]
    Incluster {
        /// What is missing.
        source: kube::config::InClusterError,
    },
    /// The configuration makes no client, e.g. for a certificate that cannot be read.
    #[error("cannot make a client from the cluster's configuration: {source}")]
    Client {
        /// What is wrong.
        source: Box<kube::Error>,
    },
}

/// A client for the named kubeconfig, else for the cluster we run in.
pub async fn connect(kubeconfig: Option<&Path>, liveness: Arc<Liveness>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().map_err(|source| ConnectError::Incluster { source })?,
    };
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let builder =
        ClientBuilder::try_from(config).map_err(|source| ConnectError::Client { source: Box::new(source) })?;
    Ok(builder.with_layer(&WatchSigns(liveness)).build())
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let wrong = |source| ConnectError::Kubeconfig { path: path.display().to_string(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(wrong)
}

/// Reports each answered or failed watch request. The watcher opens a new one at least every few minutes, so a kind that
/// opens none is stuck; its events alone would say nothing about a quiet cluster.
struct WatchSigns(Arc<Liveness>);

#[derive(Clone)]
struct WatchSignsService<S> {
    inner: S,
    liveness: Arc<Liveness>,
}

impl<S> Layer<S> for WatchSigns {
    type Service = WatchSignsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WatchSignsService { inner, liveness: self.0.clone() }
    }
}

impl<S, B> Service<axum::http::Request<Body>> for WatchSignsService<S>
where
    S: Service<axum::http::Request<Body>, Response = axum::http::Response<B>> + Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: axum::http::Request<Body>) -> Self::Future {
        let watched = watched(request.uri().path(), request.uri().query());
        let liveness = self.liveness.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(resource) = watched {
                liveness.sign(resource);
            }
            answer
        })
    }
}

/// The resource that a request watches.
fn watched(path: &str, query: Option<&str>) -> Option<String> {
    let is_watch = query?.split('&').any(|pair| pair == "watch=true" || pair == "watch=1");
    is_watch.then(|| path.rsplit('/').next().unwrap_or(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_are_told_from_other_requests() {
        assert_eq!(watched("/api/v1/secrets", Some("limit=500&watch=true")), Some("secrets".to_owned()));
        assert_eq!(watched("/api/v1/secrets", Some("limit=500")), None);
        assert_eq!(watched("/api/v1/secrets", None), None);
    }
}
