//! Spans of `tracing` that go to OpenTelemetry, or nowhere.

use allocation_counter::measure;
use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use trace_context::{adopt, inject};
use tracing::{Span, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn of_a_caller() -> HeaderMap {
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    HeaderMap::from_iter([
        (http::HeaderName::from_static("traceparent"), HeaderValue::try_from(parent).expect("a header value")),
        (http::HeaderName::from_static("tracestate"), HeaderValue::from_static("a=1")),
    ])
}

fn told(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().expect("text").to_owned())
}

#[test]
fn a_call_that_comes_in_and_goes_on_stays_in_its_trace() {
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let incoming = info_span!(parent: None, "incoming");
        adopt(&incoming, &of_a_caller());
        let outgoing = incoming.in_scope(|| info_span!("outgoing"));
        let mut headers = of_a_caller();
        inject(&outgoing, &mut headers);
        let parent = told(&headers, "traceparent").expect("it was there before");
        let parts: Vec<&str> = parent.split('-').collect();
        assert!(matches!(parts[..], ["00", TRACE, span, "01"] if span != "b7ad6b7169203331"), "{parent}");
        assert_eq!(told(&headers, "tracestate").as_deref(), Some("a=1"));
    });
}

#[test]
fn where_spans_go_nowhere_headers_stay_and_nothing_is_allocated() {
    let mut headers = of_a_caller();
    let span = Span::none();
    let cost = measure(|| {
        adopt(&span, &headers);
        inject(&span, &mut headers);
    });
    assert_eq!(cost.count_total, 0);
    assert_eq!(headers, of_a_caller());
    tracing::subscriber::with_default(tracing_subscriber::registry(), || {
        inject(&info_span!("seen by logs only"), &mut headers);
    });
    assert_eq!(headers, of_a_caller());
}
