//! The client for the Kubernetes API: no hidden retries, and a sign of life for each watch that it
//! opens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use axum::http::{HeaderValue, Method, Request, Response, Uri, header::USER_AGENT};
use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use thiserror::Error;
use tower::{Layer, Service, ServiceBuilder};
use tracing::info;

use super::kubeconfig::{self, Access, ConfigError};
use super::liveness::Liveness;
use crate::config::ClusterChoice;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Detects that the other end of an idle connection is gone before the next request does.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Why there is no client for a cluster.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No cluster is configured.
    #[error(transparent)]
    Config(ConfigError),
    /// The configuration has a proxy.
    #[error(
        "the API server is behind the proxy {proxy}, which is not supported: name the API server in NO_PROXY, or remove proxy-url from the kubeconfig"
    )]
    Proxy {
        /// Its address, without credentials.
        proxy: String,
    },
    /// No client can be created from the configuration, e.g. because a certificate cannot be read.
    #[error("cannot log in to the cluster {access}: {what}")]
    Client {
        /// Where the configuration is from.
        access: Access,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// A client for the cluster from the flags, the environment or the pod of this process.
pub async fn connect(cluster: &ClusterChoice, liveness: Arc<Liveness>) -> Result<Client, ConnectError> {
    let (mut config, access) = kubeconfig::config(cluster).await.map_err(ConnectError::Config)?;
    if let Some(proxy) = &config.proxy_url {
        return Err(ConnectError::Proxy { proxy: proxy.host().unwrap_or_default().to_owned() });
    }
    let unusable = |what| ConnectError::Client { access, what };
    if !kubeconfig::is_sendable(&config.auth_info) {
        return Err(unusable(kubeconfig::unsendable(&config.auth_info)));
    }
    config
        .headers
        .push((USER_AGENT, const { HeaderValue::from_static(concat!("waypost/", env!("CARGO_PKG_VERSION"))) }));
    info!(server = address(&config.cluster_url), "using the API server");
    let namespace = config.default_namespace.clone();
    let signs = WatchSigns(liveness);
    let service = match catch_unwind(AssertUnwindSafe(|| service(&config))) {
        Ok(Ok(service)) => service,
        Ok(Err(error)) => return Err(unusable(kubeconfig::unusable(&error, &config.auth_info))),
        // The library panics over a token that no header can have, as a login program may print it.
        Err(_panic) => return Err(unusable(kubeconfig::unsendable(&config.auth_info))),
    };
    Ok(Client::new(signs.layer(service), namespace))
}

/// The address of a server, without credentials.
fn address(server: &Uri) -> String {
    let port = server.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", server.scheme_str().unwrap_or_default(), server.host().unwrap_or_default())
}

/// kube's own stack without its retries, on connections without Nagle's algorithm. With it, which
/// is kube's default, the body of each write waits 40 ms for the server's delayed acknowledgement
/// of its head.
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

/// Reports each request that shows that a watch is alive. Events alone would say nothing on a quiet
/// cluster.
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
        let asked = asked(request.method(), request.uri().path(), request.uri().query());
        let liveness = self.liveness.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let was_refused = answer.as_ref().is_ok_and(|response| !response.status().is_success());
            match asked {
                Asked::Watch(resource) if !was_refused => liveness.sign(&resource),
                Asked::List(resource) => liveness.sign(&resource),
                Asked::Watch(_) | Asked::Other => {}
            }
            answer
        })
    }
}

/// What kind of request it is, with regard to watches.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// A watch of this resource.
    Watch(String),
    /// A list of this resource, as at the beginning of a watch, or of one object of this name.
    List(String),
    Other,
}

/// Our watches never select by label, so a list that does is not from a watch.
fn asked(method: &Method, path: &str, query: Option<&str>) -> Asked {
    if method != Method::GET {
        return Asked::Other;
    }
    let resource = path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut pairs = query.unwrap_or_default().split('&');
    if pairs.clone().any(|pair| pair == "watch=true" || pair == "watch=1") {
        return Asked::Watch(resource);
    }
    match pairs.any(|pair| pair.starts_with("labelSelector=")) {
        true => Asked::Other,
        false => Asked::List(resource),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn requests_of_a_watch_are_told_from_others() {
        let secrets = "secrets".to_owned();
        let read = |path: &str, query: &str| asked(&Method::GET, path, Some(query));
        assert_eq!(read("/api/v1/secrets", "limit=500&watch=true"), Asked::Watch(secrets.clone()));
        assert_eq!(read("/api/v1/secrets", "limit=500"), Asked::List(secrets));
        assert_eq!(read("/api/v1/namespaces/a/secrets", "labelSelector=a%3Db"), Asked::Other);
        assert_eq!(asked(&Method::POST, "/api/v1/namespaces/a/secrets", None), Asked::Other, "a target is created");
    }

    #[test]
    fn an_address_in_the_log_has_no_credentials() {
        for (server, said) in [
            ("https://s3cr3t:s3cr3t@host:6443", "https://host:6443"),
            ("https://s3cr3t@host/s3cr3t?s3cr3t", "https://host"),
            ("http://s3cr3t@[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(address(&server.parse().unwrap()), said);
        }
    }

    /// Whether a request with this answer is a sign of life.
    async fn is_sign(query: &str, status: StatusCode) -> bool {
        let liveness = Arc::new(Liveness::default());
        liveness.expect("secrets");
        let before = liveness.last("secrets");
        let inner = tower::service_fn(move |_: Request<Body>| {
            let mut response = Response::new(());
            *response.status_mut() = status;
            std::future::ready(Ok::<_, BoxError>(response))
        });
        let request = Request::builder().uri(format!("/api/v1/secrets?{query}")).body(Body::empty()).unwrap();
        WatchSigns(liveness.clone()).layer(inner).call(request).await.unwrap();
        liveness.last("secrets") != before
    }

    #[tokio::test]
    async fn a_watch_that_is_refused_is_no_sign_of_life_and_a_list_is_one_however_it_is_answered() {
        let too_large = StatusCode::GATEWAY_TIMEOUT;
        assert!(is_sign("watch=true", StatusCode::OK).await);
        assert!(!is_sign("watch=true", too_large).await);
        assert!(is_sign("limit=500", StatusCode::OK).await);
        assert!(is_sign("limit=500", StatusCode::NOT_FOUND).await);
    }
}
