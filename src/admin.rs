//! The two listeners: /metrics, and /livez with /readyz.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::FutureExt;
use futures::future::BoxFuture;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cluster::liveness::Liveness;
use crate::metrics::Metrics;

/// A listener could not be opened.
#[derive(Debug, Error)]
#[error("cannot listen on {addr} for {purpose}: {source}; choose another address with {flag}")]
pub struct ListenError {
    addr: SocketAddr,
    purpose: &'static str,
    flag: &'static str,
    source: std::io::Error,
}

/// The state behind the probes.
#[derive(Clone, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
    /// The liveness of the watches.
    pub liveness: Arc<Liveness>,
}

impl Health {
    /// Sets whether all caches are filled, until the process shuts down.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

/// The listeners, open. Each answers while its future is polled, until the token is cancelled.
pub struct Listeners {
    pub metrics: BoxFuture<'static, ()>,
    pub probes: BoxFuture<'static, ()>,
}

/// Opens both listeners.
pub async fn listen(
    metrics_addr: SocketAddr,
    health_addr: SocketAddr,
    metrics: Arc<Metrics>,
    health: Health,
    stop: &CancellationToken,
) -> Result<Listeners, ListenError> {
    let metrics_listener = bind(metrics_addr, "/metrics", "--metrics-addr").await?;
    let health_listener = bind(health_addr, "/livez and /readyz", "--health-addr").await?;
    let metrics_app = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    let health_app = Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(health);
    Ok(Listeners {
        metrics: serve(metrics_listener, metrics_app, stop.clone()),
        probes: serve(health_listener, health_app, stop.clone()),
    })
}

fn serve(listener: TcpListener, app: Router, stop: CancellationToken) -> BoxFuture<'static, ()> {
    // It never fails: a connection that cannot be accepted is not the last one.
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).into_future().map(drop).boxed()
}

async fn bind(addr: SocketAddr, purpose: &'static str, flag: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(addr).await.map_err(|source| ListenError { addr, purpose, flag, source })
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.encode())
}

async fn livez(State(health): State<Health>) -> impl IntoResponse {
    match health.liveness.stalled() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(watch) => (StatusCode::SERVICE_UNAVAILABLE, format!("the watch of {watch} is stalled\n")),
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    if health.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "caches are filling\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_listeners_answer_until_they_are_told_to_stop() {
        let (any, stop) = (SocketAddr::from(([127, 0, 0, 1], 0)), CancellationToken::new());
        let listeners = listen(any, any, Arc::default(), Health::default(), &stop).await.unwrap();
        let Listeners { mut metrics, mut probes } = listeners;
        assert!((&mut metrics).now_or_never().is_none() && (&mut probes).now_or_never().is_none());
        stop.cancel();
        futures::join!(metrics, probes);
    }
}
