//! `GET /omnirelay/introspect`: what this process takes in and sends out (contracts §8).

use serde::Serialize;

use crate::dispatcher::{Dispatcher, Registered};
use crate::procedure::Shape;

/// The calls that a process sends out to one service, for people to read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundSummary {
    /// The service.
    pub service: String,
    /// What carries its calls, such as `grpc`, or `local` for one of this node.
    pub transport: String,
    /// Who of its peers gets a call, as the configuration names it; `None` where there is nothing to choose.
    pub chooser: Option<String>,
    /// Its peers, in the order of their names.
    pub peers: Vec<PeerSummary>,
}

/// One peer of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerSummary {
    /// Its name.
    pub peer: String,
    /// Where it is called.
    pub endpoint: String,
    /// Whether it may get calls: the word of its breaker, such as `closed`.
    pub status: String,
    /// Calls to it that are under way.
    pub inflight: u64,
    /// Calls to it that did well.
    pub successes: u64,
    /// Calls to it that failed.
    pub failures: u64,
    /// How long its answers take; `None` before there were any.
    pub latency_ms: Option<LatencySummary>,
}

/// How long answers take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Half of them take no longer.
    pub p50: f64,
    /// Nine of ten take no longer.
    pub p90: f64,
    /// Ninety-nine of a hundred take no longer.
    pub p99: f64,
}

/// A part of the process, for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Component {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Introspection<'a> {
    pub(crate) service: &'a str,
    pub(crate) status: &'static str,
    pub(crate) procedures: Procedures<'a>,
    pub(crate) components: Vec<Component>,
    pub(crate) middleware: &'a [&'static str],
    pub(crate) outbounds: Vec<OutboundSummary>,
}

/// The procedures by their shapes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Procedures<'a> {
    unary: Vec<ProcedureSummary<'a>>,
    oneway: Vec<ProcedureSummary<'a>>,
    server_stream: Vec<ProcedureSummary<'a>>,
    client_stream: Vec<ProcedureSummary<'a>>,
    duplex: Vec<ProcedureSummary<'a>>,
}

#[derive(Debug, Serialize)]
struct ProcedureSummary<'a> {
    service: &'a str,
    name: &'a str,
    encoding: Option<&'a str>,
    middleware: &'a [&'static str],
}

impl<'a> Procedures<'a> {
    pub(crate) fn of(dispatcher: &'a Dispatcher) -> Self {
        let of_shape = |shape: Shape| {
            let procedures = dispatcher.procedures().filter(|procedure| procedure.shape() == shape);
            procedures.map(ProcedureSummary::of).collect()
        };
        Self {
            unary: of_shape(Shape::Unary),
            oneway: of_shape(Shape::Oneway),
            server_stream: of_shape(Shape::ServerStream),
            client_stream: of_shape(Shape::ClientStream),
            duplex: of_shape(Shape::Duplex),
        }
    }
}

impl<'a> ProcedureSummary<'a> {
    fn of(procedure: &'a Registered) -> Self {
        Self {
            service: procedure.name().service().as_str(),
            name: procedure.name().name(),
            encoding: procedure.encoding().map(crate::Encoding::as_str),
            middleware: procedure.middleware(),
        }
    }
}
