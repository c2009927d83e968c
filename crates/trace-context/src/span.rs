//! Spans of `tracing`, as their headers tell of them.

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::w3c;

/// Makes `span` the child of the one that `headers` tell of, if they tell of one. Call it before the span is entered, and before
/// [`inject`]: afterwards its place in the trace is settled.
///
/// Headers that cannot be read are as good as none: the span begins a trace of its own, or goes on with that of its parent here.
pub fn adopt(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let Some(caller) = w3c::read(headers) else { return };
    if let Err(error) = span.set_parent(Context::new().with_remote_span_context(caller)) {
        tracing::trace!(%error, "a span stays without its caller's");
    }
}

/// Writes into `headers` that the call belongs to `span`, in place of what they say of it already. Nothing is written where spans
/// are off or go nowhere: what the caller has put there stays.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let context = span.context();
    let context = context.span();
    let context = context.span_context();
    if context.is_valid() {
        w3c::write(context, headers);
    }
}
