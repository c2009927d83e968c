//! What is counted and measured.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tonic::Code;

use crate::methods::Methods;
use crate::peer::Protocol;

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

/// Words for the classes of HTTP's, by their hundreds.
const CLASSES: [&str; 6] = ["http_0xx", "http_1xx", "http_2xx", "http_3xx", "http_4xx", "http_5xx"];

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a status of gRPC.
    Grpc(Code),
    /// With a status of HTTP.
    Http(http::StatusCode),
    /// Nobody waited for its end.
    Cancelled,
    /// Its deadline came.
    DeadlineExceeded,
}

impl Ended {
    const fn index(self) -> usize {
        match self {
            Self::Grpc(code) => code as usize,
            Self::Http(status) => STATUS.len() + (status.as_u16() / 100) as usize,
            Self::Cancelled => Code::Cancelled as usize,
            Self::DeadlineExceeded => Code::DeadlineExceeded as usize,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        STATUS.iter().chain(&CLASSES).nth(self.index()).copied().unwrap_or("UNKNOWN")
    }

    /// Whether the path that was called may be one that nobody serves.
    const fn is_of_no_method(self) -> bool {
        matches!(self, Self::Grpc(Code::Unimplemented))
    }
}

/// Returns the service and the method that a path names.
pub(crate) fn names(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or(("other", "other"))
}

/// Handles of all metrics, found once and then used.
#[derive(Debug)]
pub(crate) struct Meter {
    http1: ProtocolMeter,
    http2: ProtocolMeter,
    http3: ProtocolMeter,
    /// Of QUIC clients that had to prove their address.
    pub(crate) address_checks: Counter,
    pub(crate) drain_seconds: Histogram,
}

/// Handles of the metrics of one protocol.
#[derive(Debug)]
pub(crate) struct ProtocolMeter {
    protocol: Protocol,
    pub(crate) connections: Gauge,
    pub(crate) inflight: Gauge,
    cancelled: Counter,
    deadline_exceeded: Counter,
    methods: Methods<MethodMeter>,
    other: MethodMeter,
    plain: MethodMeter,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            http1: ProtocolMeter::new(Protocol::Http1),
            http2: ProtocolMeter::new(Protocol::Http2),
            http3: ProtocolMeter::new(Protocol::Http3),
            address_checks: counter!("grpc_inbound_address_checks_total"),
            drain_seconds: histogram!("grpc_inbound_drain_seconds"),
        }
    }

    pub(crate) const fn of(&self, protocol: Protocol) -> &ProtocolMeter {
        match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
            Protocol::Http3 => &self.http3,
        }
    }
}

impl ProtocolMeter {
    fn new(protocol: Protocol) -> Self {
        let word = protocol.as_str();
        Self {
            protocol,
            connections: gauge!("grpc_inbound_connections", "protocol" => word),
            inflight: gauge!("grpc_inbound_inflight", "protocol" => word),
            cancelled: counter!("grpc_inbound_cancelled_total", "protocol" => word),
            deadline_exceeded: counter!("grpc_inbound_deadline_exceeded_total", "protocol" => word),
            methods: Methods::new(),
            other: MethodMeter::new(protocol, "other", "other"),
            plain: MethodMeter::new(protocol, "http", "http"),
        }
    }

    /// Counts a call of gRPC to the method at `path`, or one of plain HTTP.
    pub(crate) fn ended(&self, grpc_path: Option<&str>, ended: Ended, took: Duration) {
        match ended {
            Ended::Cancelled => self.cancelled.increment(1),
            Ended::DeadlineExceeded => self.deadline_exceeded.increment(1),
            Ended::Grpc(_) | Ended::Http(_) => {}
        }
        self.method(grpc_path, ended).ended(ended, took);
    }

    /// What callers make up must not fill the table: a name that nobody serves counts as `other`.
    fn method(&self, grpc_path: Option<&str>, ended: Ended) -> &MethodMeter {
        let Some(path) = grpc_path else { return &self.plain };
        if ended.is_of_no_method() {
            return &self.other;
        }
        let made = || {
            let (service, method) = names(path);
            MethodMeter::new(self.protocol, service, method)
        };
        self.methods.of(path, made).unwrap_or(&self.other)
    }
}

/// Handles of the metrics of one method by one protocol.
#[derive(Debug)]
struct MethodMeter {
    labels: [(&'static str, String); 3],
    seconds: Histogram,
    by_status: [OnceLock<Counter>; STATUS.len() + CLASSES.len()],
}

impl MethodMeter {
    fn new(protocol: Protocol, service: &str, method: &str) -> Self {
        let labels = [
            ("service", service.to_owned()),
            ("method", method.to_owned()),
            ("protocol", protocol.as_str().to_owned()),
        ];
        let seconds = histogram!("grpc_inbound_request_duration_seconds", &labels);
        Self { labels, seconds, by_status: [const { OnceLock::new() }; _] }
    }

    fn ended(&self, ended: Ended, took: Duration) {
        self.seconds.record(took.as_secs_f64());
        let Some(slot) = self.by_status.get(ended.index()) else { return };
        slot.get_or_init(|| {
            let [service, method, protocol] = self.labels.clone();
            let status = ("status", ended.word().to_owned());
            counter!("grpc_inbound_requests_total", &[service, method, protocol, status])
        })
        .increment(1);
    }
}
