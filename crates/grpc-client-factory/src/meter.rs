//! What is counted and measured.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;
use tonic::Code;

use crate::error::FactoryError;
use crate::message_meter::is_grpc;
use crate::span::CallSpan;
use crate::target::Protocol;

/// Most methods of a profile that are told apart. What is called beyond counts as `other`.
const METHODS_MAX: usize = 512;

/// Words for gRPC's status codes, by number.
const STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// grpc/grpc `http-grpc-status-mapping.md`.
const fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        ..400 => Code::Ok,
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// Returns gRPC's word for a status code.
pub(crate) fn status_word(code: Code) -> &'static str {
    STATUS.get(code as usize).copied().unwrap_or("UNKNOWN")
}

/// Returns the service and the method that a path names.
pub(crate) fn names(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or(("other", "other"))
}

/// Handles of the metrics of one profile, found once and then used.
#[derive(Debug)]
pub(crate) struct Meter {
    profile: String,
    inflight: Gauge,
    methods: Mutex<HashMap<Box<str>, Arc<MethodMeter>>>,
    http2: ProtocolMeter,
    http3: ProtocolMeter,
    pub(crate) fallbacks_failed: Counter,
    pub(crate) fallbacks_stalled: Counter,
    pub(crate) fallbacks_check: Counter,
    pub(crate) checks_passed: Counter,
    pub(crate) checks_failed: Counter,
    pub(crate) retries_transparent: Counter,
    pub(crate) retries_policy: Counter,
    pub(crate) retries_hedge: Counter,
}

/// Handles of the metrics of one protocol.
#[derive(Debug)]
pub(crate) struct ProtocolMeter {
    pub(crate) connections: Gauge,
    connected: Counter,
    failed: Counter,
    handshake_seconds: Histogram,
    pub(crate) rtt_seconds: Histogram,
}

impl Meter {
    pub(crate) fn new(profile: &str) -> Self {
        let profile = profile.to_owned();
        let fallbacks =
            |reason| counter!("grpc_outbound_fallbacks_total", "profile" => profile.clone(), "reason" => reason);
        let checks =
            |result| counter!("grpc_outbound_health_checks_total", "profile" => profile.clone(), "result" => result);
        let retries = |kind| counter!("grpc_outbound_retries_total", "profile" => profile.clone(), "kind" => kind);
        Self {
            inflight: gauge!("grpc_outbound_inflight", "profile" => profile.clone()),
            methods: Mutex::default(),
            http2: ProtocolMeter::new(&profile, Protocol::Http2),
            http3: ProtocolMeter::new(&profile, Protocol::Http3),
            fallbacks_failed: fallbacks("failed"),
            fallbacks_stalled: fallbacks("stalled"),
            fallbacks_check: fallbacks("health_check"),
            checks_passed: checks("passed"),
            checks_failed: checks("failed"),
            retries_transparent: retries("transparent"),
            retries_policy: retries("policy"),
            retries_hedge: retries("hedge"),
            profile,
        }
    }

    pub(crate) const fn of(&self, protocol: Protocol) -> &ProtocolMeter {
        match protocol {
            Protocol::Http2 => &self.http2,
            Protocol::Http3 => &self.http3,
        }
    }

    /// Begins to measure a call to the method at `path`, or one of plain HTTP, whose span is `span`.
    pub(crate) fn begin(&self, path: &str, headers: &HeaderMap, span: CallSpan) -> Recorder {
        self.inflight.increment(1.0);
        let path = if is_grpc(headers) { path } else { "/http/http" };
        let (inflight, method) = (self.inflight.clone(), self.method(path));
        Recorder { method, inflight, span, begun: Instant::now(), protocol: None, ended: None }
    }

    fn method(&self, path: &str) -> Arc<MethodMeter> {
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = methods.get(path) {
            return Arc::clone(known);
        }
        let path = if methods.len() < METHODS_MAX { path } else { "/other/other" };
        Arc::clone(methods.entry(path.into()).or_insert_with(|| Arc::new(MethodMeter::new(&self.profile, path))))
    }

    /// Counts what came of a handshake.
    pub(crate) fn dialled(&self, protocol: Protocol, outcome: Result<std::time::Duration, &FactoryError>) {
        let meter = self.of(protocol);
        match outcome {
            Ok(took) => {
                meter.connected.increment(1);
                meter.handshake_seconds.record(took.as_secs_f64());
            }
            Err(error) => {
                meter.failed.increment(1);
                count_refusal(error);
            }
        }
    }
}

/// Counts a certificate that one side does not accept, and tells the audit trail.
pub(crate) fn count_refusal(error: &FactoryError) {
    if let FactoryError::Tls(failure) = error {
        let (refuser, reason) = (failure.refuser.as_str(), failure.reason.as_str());
        let error = error as &dyn std::error::Error;
        tracing::warn!(target: "audit", peer = %failure.target, refuser, reason, error, "connection refused");
        counter!("grpc_outbound_tls_failures_total", "refuser" => refuser, "reason" => reason).increment(1);
    }
}

impl ProtocolMeter {
    fn new(profile: &str, protocol: Protocol) -> Self {
        let labels = [("profile", profile.to_owned()), ("protocol", protocol.as_str().to_owned())];
        let connects = |result| {
            let [of_profile, of_protocol] = labels.clone();
            counter!("grpc_outbound_connects_total", &[of_profile, of_protocol, ("result", result)])
        };
        Self {
            connections: gauge!("grpc_outbound_connections", &labels),
            connected: connects("connected".to_owned()),
            failed: connects("failed".to_owned()),
            handshake_seconds: histogram!("grpc_outbound_handshake_seconds", &labels),
            rtt_seconds: histogram!("grpc_outbound_rtt_seconds", &labels),
        }
    }
}

/// Handles of the metrics of one method.
#[derive(Debug)]
struct MethodMeter {
    labels: [(&'static str, String); 3],
    seconds: Histogram,
    /// By protocol, the last for calls that came to none, and status.
    counters: [[OnceLock<Counter>; STATUS.len()]; 3],
}

impl MethodMeter {
    fn new(profile: &str, path: &str) -> Self {
        let (service, method) = names(path);
        let labels = [("profile", profile.to_owned()), ("service", service.to_owned()), ("method", method.to_owned())];
        let seconds = histogram!("grpc_outbound_request_duration_seconds", &labels);
        Self { labels, seconds, counters: [const { [const { OnceLock::new() }; _] }; _] }
    }

    fn counter(&self, protocol: Option<Protocol>, code: Code) -> Option<&Counter> {
        let (place, word) = match protocol {
            Some(Protocol::Http2) => (0, Protocol::Http2.as_str()),
            Some(Protocol::Http3) => (1, Protocol::Http3.as_str()),
            None => (2, "none"),
        };
        let slot = self.counters.get(place)?.get(code as usize)?;
        Some(slot.get_or_init(|| {
            let [profile, service, method] = self.labels.clone();
            let (over, status) = (("protocol", word.to_owned()), ("status", status_word(code).to_owned()));
            counter!("grpc_outbound_requests_total", &[profile, service, method, over, status])
        }))
    }
}

/// Measures one call. Dropped before its end, the call counts as cancelled.
#[derive(Debug)]
pub(crate) struct Recorder {
    method: Arc<MethodMeter>,
    inflight: Gauge,
    span: CallSpan,
    begun: Instant,
    protocol: Option<Protocol>,
    ended: Option<Code>,
}

impl Recorder {
    /// Notes that an answer has begun, over `protocol`.
    pub(crate) fn answered(&mut self, protocol: Protocol) {
        self.protocol = Some(protocol);
        self.span.answered(protocol);
    }

    /// Notes how a call of plain HTTP ends: its head says so.
    pub(crate) fn end_plain(&mut self, status: StatusCode) {
        self.end(code_of_http(status));
        self.span.ended_plain(status);
    }

    pub(crate) const fn span(&self) -> &CallSpan {
        &self.span
    }

    /// Notes how the call ends. The first time counts.
    pub(crate) fn end(&mut self, code: Code) {
        self.ended.get_or_insert(code);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.inflight.decrement(1.0);
        self.method.seconds.record(self.begun.elapsed().as_secs_f64());
        let code = self.ended.unwrap_or(Code::Cancelled);
        self.span.ended(code);
        if let Some(counter) = self.method.counter(self.protocol, code) {
            counter.increment(1);
        }
    }
}
