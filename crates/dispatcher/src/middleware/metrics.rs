//! Calls, counted and timed.

use std::sync::{Arc, OnceLock};

use mesh_server::Methods;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;
use tonic::Code;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::code;
use crate::handler::Handler;
use crate::middleware::Around;
use crate::middleware::ended::{Ends, Watched};
use crate::status::Status;

const CODES: usize = 17;

/// Counts and times calls by procedure and by how they ended: `omnirelay_rpc_requests_total`, `omnirelay_rpc_duration_seconds`,
/// `omnirelay_rpc_inflight`.
///
/// Procedures beyond the first few hundred count as `other`.
#[derive(Debug, Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    direction: &'static str,
    procedures: Methods<Arc<Meter>>,
    other: Arc<Meter>,
}

/// Handles of the metrics of one procedure.
#[derive(Debug)]
struct Meter {
    labels: [(&'static str, String); 3],
    seconds: Histogram,
    inflight: Gauge,
    by_code: [OnceLock<Counter>; CODES],
}

impl Metrics {
    /// Makes a layer for calls that come in.
    #[must_use]
    pub fn inbound() -> Self {
        Self::new("inbound")
    }

    /// Makes a layer for calls that go out.
    #[must_use]
    pub fn outbound() -> Self {
        Self::new("outbound")
    }

    fn new(direction: &'static str) -> Self {
        let other = Arc::new(Meter::new(direction, "other", "other"));
        Self { shared: Arc::new(Shared { direction, procedures: Methods::new(), other }) }
    }

    fn meter(&self, call: &Call) -> Arc<Meter> {
        let Shared { direction, procedures, other } = &*self.shared;
        let (service, procedure) = (call.procedure.service().as_str(), call.procedure.name());
        let made = || Arc::new(Meter::new(direction, service, procedure));
        Arc::clone(procedures.of(&call.procedure.to_string(), made).unwrap_or(other))
    }
}

impl Meter {
    fn new(direction: &'static str, service: &str, procedure: &str) -> Self {
        let labels = [
            ("rpc_direction", direction.to_owned()),
            ("rpc_service", service.to_owned()),
            ("rpc_procedure", procedure.to_owned()),
        ];
        let seconds = histogram!("omnirelay_rpc_duration_seconds", &labels);
        let inflight = gauge!("omnirelay_rpc_inflight", &labels);
        Self { labels, seconds, inflight, by_code: [const { OnceLock::new() }; _] }
    }

    fn ended(&self, ended: Code) -> Option<&Counter> {
        let slot = self.by_code.get(usize::try_from(ended as i32).ok()?)?;
        Some(slot.get_or_init(|| {
            let [direction, service, procedure] = self.labels.clone();
            let status = ("rpc_status", code::word(ended).to_owned());
            counter!("omnirelay_rpc_requests_total", &[direction, service, procedure, status])
        }))
    }
}

impl Around for Metrics {
    async fn around(self, call: Call, next: Handler) -> Result<Reply, Status> {
        let meter = self.meter(&call);
        meter.inflight.increment(1);
        let running = Running { meter, began: Instant::now() };
        Watched::new(running).over(next.oneshot(call)).await
    }
}

struct Running {
    meter: Arc<Meter>,
    began: Instant,
}

impl Ends for Running {
    fn ended(&mut self, code: Code) {
        self.meter.inflight.decrement(1);
        self.meter.seconds.record(self.began.elapsed());
        if let Some(counter) = self.meter.ended(code) {
            counter.increment(1);
        }
    }
}
