//! The two listeners: /metrics, and /livez with /readyz.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
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

/// Serves both listeners until the token is cancelled.
pub async fn serve(
    metrics_addr: SocketAddr,
    health_addr: SocketAddr,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> Result<(), ListenError> {
    let metrics_listener = listen(metrics_addr, "/metrics", "--metrics-addr").await?;
    let health_listener = listen(health_addr, "/livez and /readyz", "--health-addr").await?;
    let metrics_app = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    let health_app = Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(health);
    tokio::spawn(
        axum::serve(metrics_listener, metrics_app).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future(),
    );
    tokio::spawn(axum::serve(health_listener, health_app).with_graceful_shutdown(stop.cancelled_owned()).into_future());
    Ok(())
}

async fn listen(addr: SocketAddr, purpose: &'static str, flag: &'static str) -> Result<TcpListener, ListenError> {
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
