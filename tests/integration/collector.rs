//! A collector of traces: receives and keeps what a controller exports by OTLP over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span as Exported;
use parking_lot::{Mutex, MutexGuard};
use prost::Message;
use tokio::net::TcpListener;

/// A span as it was exported.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    attributes: BTreeMap<String, String>,
}

impl Span {
    /// Whether it has this name and this attribute.
    pub fn is(&self, name: &str, attribute: &str, value: &str) -> bool {
        self.name == name && self.attributes.get(attribute).is_some_and(|found| found == value)
    }
}

/// Lives as long as the test's runtime.
pub struct Collector {
    endpoint: String,
    exports: Arc<Mutex<Vec<Bytes>>>,
}

impl Collector {
    pub async fn start() -> anyhow::Result<Self> {
        let exports = Arc::new(Mutex::new(Vec::new()));
        let router = axum::Router::new().route("/v1/traces", post(keep)).with_state(exports.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Collector { endpoint, exports })
    }

    /// What makes a controller export here.
    pub fn flag(&self) -> String {
        format!("--otlp-endpoint={}", self.endpoint)
    }

    /// Everything that was exported, byte for byte: texts in it are as they are.
    pub fn text(&self) -> String {
        lock(&self.exports).iter().map(|export| String::from_utf8_lossy(export)).collect()
    }

    /// Every span that was exported so far.
    pub fn spans(&self) -> anyhow::Result<Vec<Span>> {
        let exports = lock(&self.exports).clone();
        let mut spans = Vec::new();
        for export in exports {
            let request = ExportTraceServiceRequest::decode(export)?;
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            spans.extend(scopes.flat_map(|scope| scope.spans).map(span));
        }
        Ok(spans)
    }
}

/// The span and all above it, from the inside out, as far as they were exported.
pub fn line_of<'a>(spans: &'a [Span], span: &'a Span) -> Vec<&'a Span> {
    let above = |span: &&'a Span| spans.iter().find(|other| other.trace == span.trace && other.id == span.parent);
    std::iter::successors(Some(span), above).collect()
}

fn span(exported: Exported) -> Span {
    let attributes = exported.attributes.into_iter().filter_map(|attribute| match attribute.value?.value? {
        any_value::Value::StringValue(text) => Some((attribute.key, text)),
        _ => None,
    });
    Span {
        name: exported.name,
        trace: exported.trace_id,
        id: exported.span_id,
        parent: exported.parent_span_id,
        attributes: attributes.collect(),
    }
}

async fn keep(State(exports): State<Arc<Mutex<Vec<Bytes>>>>, export: Bytes) {
    lock(&exports).push(export);
}

fn lock(exports: &Mutex<Vec<Bytes>>) -> MutexGuard<'_, Vec<Bytes>> {
    exports.lock()
}
