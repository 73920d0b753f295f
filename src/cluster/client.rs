//! The client for the Kubernetes API: no hidden retries, and a sign of life for each watch it opens.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use axum::http::{HeaderValue, Request, Response, header::USER_AGENT};
use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use thiserror::Error;
use tower::{Layer, Service, ServiceBuilder};

use super::liveness::Liveness;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Finds out that the other end of an idle connection is gone before the next request does.
const KEEPALIVE: Duration = Duration::from_secs(15);

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
    /// The way leads through a proxy.
    #[error(
        "the way to the API server leads through the proxy {proxy}, which is not supported: name the API server in NO_PROXY, or remove proxy-url from the kubeconfig"
    )]
    Proxy {
        /// Its address, without what may be a password.
        proxy: String,
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
    if let Some(proxy) = &config.proxy_url {
        return Err(ConnectError::Proxy { proxy: proxy.host().unwrap_or_default().to_owned() });
    }
    config
        .headers
        .push((USER_AGENT, const { HeaderValue::from_static(concat!("waypost/", env!("CARGO_PKG_VERSION"))) }));
    let namespace = config.default_namespace.clone();
    let signs = WatchSigns(liveness);
    let service = service(&config).map_err(|source| ConnectError::Client { source: Box::new(source) })?;
    Ok(Client::new(signs.layer(service), namespace))
}

/// kube's own stack less its retries, on connections that send at once. With Nagle's algorithm, which kube leaves on, the
/// body of each write waits for the server's delayed acknowledgement of its head: 40 ms.
fn service(
    config: &Config,
) -> kube::Result<
    impl Service<
        Request<Body>,
        Response = Response<impl HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static>,
        Error = BoxError,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static,
> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEPALIVE));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    Ok(ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client))
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

impl<S, B> Service<Request<Body>> for WatchSignsService<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
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
