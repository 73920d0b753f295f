//! Sends spans to a collector by OTLP over HTTP.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;

/// The path of a collector for spans, below the configured endpoint.
const TRACES: &str = "v1/traces";

/// A provider that exports to this endpoint. Call it on the runtime that will send.
pub fn provider(endpoint: &str) -> Result<SdkTracerProvider, ExporterBuildError> {
    let endpoint = format!("{}/{TRACES}", endpoint.trim_end_matches('/'));
    let otlp = Otlp::builder().with_http().with_endpoint(endpoint).build()?;
    let exporter = OnRuntime { otlp, runtime: Handle::current() };
    let resource = Resource::builder().with_service_name("waypost").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// The batch processor exports on its own thread, and the HTTP client panics without a runtime: so
/// each poll of an export enters ours.
#[derive(Debug)]
struct OnRuntime {
    otlp: Otlp,
    runtime: Handle,
}

impl SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut export = pin!(self.otlp.export(batch));
        poll_fn(|context| {
            let _entered = self.runtime.enter();
            export.as_mut().poll(context)
        })
        .await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.otlp.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spans_arrive_where_the_flag_says() {
        // Another test of this process may have installed it.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", collector.local_addr().unwrap());
        let provider = provider(&endpoint).unwrap();
        let asked = tokio::spawn(async move {
            let (mut connection, _) = collector.accept().await.unwrap();
            let mut head = vec![0; 21];
            connection.read_exact(&mut head).await.unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
            String::from_utf8(head).unwrap()
        });
        provider.tracer("test").in_span("a span", |_| {});
        let ended = tokio::task::spawn_blocking(move || provider.shutdown()).await.unwrap();
        assert_eq!(asked.await.unwrap(), "POST /v1/traces HTTP/");
        assert!(ended.is_ok(), "{ended:?}");
    }
}
