//! The span of one call.

use http::{HeaderMap, Method, StatusCode};
use mesh_types::Endpoint;
use tonic::Code;
use tracing::{Span, field, info_span};

use crate::message_meter::is_grpc;
use crate::meter::{names, status_word};
use crate::target::Protocol;

/// The span of one call, from its beginning to the last byte of its answer, attempts and all. Its attributes are those of
/// OpenTelemetry's conventions for RPCs. Where spans are off it is nothing, and costs nothing.
#[derive(Debug)]
pub(crate) struct CallSpan(Span);

impl CallSpan {
    /// Begins the span of a call to the method at `path`, or of a request of plain HTTP, as part of the trace that `headers` tell of or
    /// else of the current span, and has them tell the server of it.
    pub(crate) fn begin(
        (method, path): (&Method, &str),
        preferred: impl FnOnce() -> Protocol,
        headers: &mut HeaderMap,
    ) -> Self {
        let span = if is_grpc(headers) { of_rpc(path, preferred) } else { of_http(method, path) };
        trace_context::adopt(&span, headers);
        trace_context::inject(&span, headers);
        Self(span)
    }

    /// Notes where the call goes.
    pub(crate) fn goes_to(&self, endpoint: &Endpoint) {
        if !self.0.is_disabled() {
            self.0.record("server.address", endpoint.host()).record("server.port", endpoint.port());
        }
    }

    /// Notes how often the call was sent again by now.
    pub(crate) fn resent(&self, times: u32) {
        self.0.record("rpc.resend_count", times);
    }

    /// Notes which protocol the answer came by.
    pub(crate) fn answered(&self, protocol: Protocol) {
        let (version, transport) = match protocol {
            Protocol::Http2 => ("2", "tcp"),
            Protocol::Http3 => ("3", "quic"),
        };
        self.0.record("network.protocol.version", version).record("network.transport", transport);
    }

    /// Notes how the call has ended.
    pub(crate) fn ended(&self, code: Code) {
        if self.0.is_disabled() {
            return;
        }
        self.0.record("rpc.grpc.status_code", code as i32);
        if code != Code::Ok {
            self.0.record("otel.status_code", "ERROR").record("error.type", status_word(code));
        }
    }

    /// Notes how a request of plain HTTP was answered.
    pub(crate) fn ended_plain(&self, status: StatusCode) {
        self.0.record("http.response.status_code", status.as_u16());
    }
}

fn of_rpc(path: &str, preferred: impl FnOnce() -> Protocol) -> Span {
    info_span!(
        "rpc.client",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "client",
        otel.status_code = field::Empty,
        rpc.system = "grpc",
        rpc.service = names(path).0,
        rpc.method = names(path).1,
        rpc.preferred_protocol = preferred().as_str(),
        rpc.resend_count = field::Empty,
        rpc.grpc.status_code = field::Empty,
        error.r#type = field::Empty,
        server.address = field::Empty,
        server.port = field::Empty,
        network.protocol.name = "http",
        network.protocol.version = field::Empty,
        network.transport = field::Empty,
    )
}

fn of_http(method: &Method, path: &str) -> Span {
    info_span!(
        "http.client",
        otel.name = method.as_str(),
        otel.kind = "client",
        otel.status_code = field::Empty,
        http.request.method = method.as_str(),
        http.response.status_code = field::Empty,
        url.scheme = "https",
        url.path = path,
        error.r#type = field::Empty,
        server.address = field::Empty,
        server.port = field::Empty,
        network.protocol.name = "http",
        network.protocol.version = field::Empty,
        network.transport = field::Empty,
    )
}
