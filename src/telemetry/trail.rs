//! The trace of a change: from a source's event through the version in the store to each target's
//! write.
//!
//! Spans have names, paths and versions, never a value. Tasks hand over the context of a span, not
//! the span itself, so that each span ends when its own work does.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of our spans, which are exported whatever the log level is, and do not prefix log
/// lines.
pub const TARGET: &str = "waypost::trail";

/// The span that caused a reconcile. It may have ended by now.
#[derive(Clone, Debug)]
pub struct Cause(Context);

impl Cause {
    /// The current span; `None` if no traces are exported.
    pub fn current() -> Option<Self> {
        Self::of(&Span::current())
    }

    /// A span as a cause; `None` if no traces are exported.
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let is_known = context.span().span_context().is_valid();
        is_known.then_some(Cause(context))
    }
}

/// The span of a source's change.
pub fn source_changed(kind: &'static str, object: &impl fmt::Display) -> Span {
    info_span!(target: TARGET, parent: None, "source changed", kind, %object)
}

/// The span of a reconcile, in the trace of its cause if that is known.
pub fn reconcile(kind: &'static str, object: &impl fmt::Display, cause: Option<Cause>) -> Span {
    let span = info_span!(target: TARGET, "reconcile", kind, %object);
    if let Some(Cause(context)) = cause {
        // It fails if nothing is exported; then there is no cause.
        span.set_parent(context).ok();
    }
    span
}

/// The span of an announcement to a path's consumers.
pub fn announced(path: &impl fmt::Display, pushed: &impl fmt::Display) -> Span {
    info_span!(target: TARGET, "announce", %path, %pushed)
}

/// The span of a request to the API server. Outside any span there is none: the Lease alone would
/// create one every two seconds.
pub fn kubernetes(verb: &'static str, object: &str) -> Span {
    inside(|| info_span!(target: TARGET, "kubernetes request", verb, object))
}

/// The span of a request to a store.
pub fn store(store: &str, method: &impl fmt::Display, path: &str) -> Span {
    inside(|| info_span!(target: TARGET, "store request", store, %method, path))
}

fn inside(span: impl FnOnce() -> Span) -> Span {
    if Span::current().is_none() { Span::none() } else { span() }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, LazyLock};

    use parking_lot::Mutex;
    use tracing::Dispatch;
    use tracing::subscriber::NoSubscriber;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().extend(batch);
            Ok(())
        }
    }

    /// While there is only one subscriber, whichever thread comes first to where a span is made
    /// decides for all whether it is made, also a thread that does not subscribe.
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

    /// The spans that end in this, in their order.
    pub(crate) fn exported(work: impl FnOnce()) -> Vec<SpanData> {
        LazyLock::force(&ANOTHER);
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let subscriber =
            tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
        tracing::subscriber::with_default(subscriber, work);
        kept.0.lock().clone()
    }

    #[test]
    fn a_reconcile_is_a_child_of_its_cause_which_ends_before_it() {
        let spans = exported(|| {
            let cause = Cause::of(&source_changed("Secret", &"db/source"));
            assert!(cause.is_some());
            let push = reconcile("PushSecret", &"db/push", cause);
            let announced = push.in_scope(|| announced(&"secret/a", &2));
            let cause = announced.in_scope(Cause::current);
            drop((announced, push));
            reconcile("ExternalSecret", &"shop/pull", cause).in_scope(|| drop(kubernetes("apply", "Secret shop/pull")));
        });
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_ref()).collect();
        assert_eq!(names, ["source changed", "announce", "reconcile", "kubernetes request", "reconcile"]);
        let parents: Vec<_> = spans.iter().map(|span| span.parent_span_id).collect();
        let ids: Vec<_> = spans.iter().map(|span| span.span_context.span_id()).collect();
        assert_eq!(parents[1..], [ids[2], ids[0], ids[4], ids[1]]);
        assert!(spans.iter().all(|span| span.span_context.trace_id() == spans[0].span_context.trace_id()));
    }

    #[test]
    fn without_an_exporter_there_is_no_cause_and_a_request_outside_of_any_span_has_none() {
        assert!(Cause::of(&source_changed("Secret", &"db/source")).is_none());
        assert!(kubernetes("get", "Lease waypost").is_none());
    }
}
