//! The span of one call.

use http::request::Parts;
use tonic::Code;
use tracing::{Span, field, info_span};

use crate::meter::{Ended, names};
use crate::peer::{PeerIdentity, Protocol};

/// Begins the span of a call, as the child of the caller's if the head tells of one. Its attributes are those of OpenTelemetry's
/// conventions. Where spans are off it is nothing, and costs nothing.
pub(crate) fn begin(head: &Parts, peer: &PeerIdentity, is_grpc: bool) -> Span {
    let span = if is_grpc { of_rpc(head, peer) } else { of_http(head, peer) };
    trace_context::adopt(&span, &head.headers);
    span
}

fn of_rpc(head: &Parts, peer: &PeerIdentity) -> Span {
    let path = head.uri.path();
    info_span!(
        parent: None,
        "rpc.server",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system = "grpc",
        rpc.service = names(path).0,
        rpc.method = names(path).1,
        rpc.grpc.status_code = field::Empty,
        error.r#type = field::Empty,
        client.address = %peer.address().ip(),
        client.port = peer.address().port(),
        peer.id = %peer.spiffe_id().node(),
        network.protocol.name = "http",
        network.protocol.version = carried(peer.protocol()).0,
        network.transport = carried(peer.protocol()).1,
    )
}

fn of_http(head: &Parts, peer: &PeerIdentity) -> Span {
    info_span!(
        parent: None,
        "http.server",
        otel.name = head.method.as_str(),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = head.method.as_str(),
        http.response.status_code = field::Empty,
        url.scheme = "https",
        url.path = head.uri.path(),
        error.r#type = field::Empty,
        client.address = %peer.address().ip(),
        client.port = peer.address().port(),
        peer.id = %peer.spiffe_id().node(),
        network.protocol.name = "http",
        network.protocol.version = carried(peer.protocol()).0,
        network.transport = carried(peer.protocol()).1,
    )
}

/// Returns the version of HTTP, and what carries it.
const fn carried(protocol: Protocol) -> (&'static str, &'static str) {
    match protocol {
        Protocol::Http1 => ("1.1", "tcp"),
        Protocol::Http2 => ("2", "tcp"),
        Protocol::Http3 => ("3", "quic"),
    }
}

/// Notes how the call has ended.
pub(crate) fn end(span: &Span, ended: Ended) {
    if span.is_disabled() {
        return;
    }
    match ended {
        Ended::Http(status) => span.record("http.response.status_code", status.as_u16()),
        Ended::Grpc(code) => span.record("rpc.grpc.status_code", code as i32),
        Ended::Cancelled => span.record("rpc.grpc.status_code", Code::Cancelled as i32),
        Ended::DeadlineExceeded => span.record("rpc.grpc.status_code", Code::DeadlineExceeded as i32),
    };
    if is_fault(ended) {
        span.record("otel.status_code", "ERROR").record("error.type", ended.word());
    }
}

/// Whether it is the server that has failed, and not its caller.
const fn is_fault(ended: Ended) -> bool {
    match ended {
        Ended::Http(status) => status.as_u16() >= 500,
        Ended::Cancelled => false,
        Ended::DeadlineExceeded => true,
        Ended::Grpc(code) => matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ),
    }
}
