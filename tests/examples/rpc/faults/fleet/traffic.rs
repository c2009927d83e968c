//! Calls at a steady rate, however long they take.

use std::time::Duration;

use bytes::Bytes;
use dispatcher::{Forward as _, Outbounds, ServiceName};
use http::Request as HttpRequest;
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tower::service_fn;

use super::schedule::SECONDS;
use crate::calls::{Carrier, Echo};

/// Fifteen calls a second for each server: as many as a caller of the simulation makes.
pub(super) const PER_SECOND: usize = 3_000;
const TICK: Duration = Duration::from_millis(1);
const PER_TICK: usize = PER_SECOND / 1_000;

/// Far longer than a slow server takes: only a call that hangs would reach it.
const DEADLINE: Duration = Duration::from_secs(30);

/// What became of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// In which second of the run it began.
    pub(super) second: usize,
    pub(super) took: Duration,
    pub(super) is_idempotent: bool,
    pub(super) code: Code,
}

impl Call {
    pub(super) fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }
}

/// Calls that go on until they are ended.
pub(super) struct Traffic {
    stop: CancellationToken,
    running: JoinSet<Vec<Call>>,
}

impl Traffic {
    /// Begins to call; every other call may be made again.
    pub(super) fn start(outbounds: Outbounds, service: ServiceName) -> Self {
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        // What is noted of calls is not memory that calls take.
        let noted = Vec::with_capacity(SECONDS * PER_SECOND);
        running.spawn(go_on(echo(outbounds, service), stop.clone(), noted));
        Self { stop, running }
    }

    /// Lets the calls under way come to their end, and returns all.
    pub(super) async fn end(self) -> Vec<Call> {
        self.stop.cancel();
        self.running.join_all().await.into_iter().flatten().collect()
    }
}

/// Returns a client that calls as an application does whose node has this way out.
fn echo(outbounds: Outbounds, service: ServiceName) -> Echo {
    EchoClient::new(Carrier::new(service_fn(move |request: HttpRequest<Body>| {
        let answer = outbounds.forward(&service, request);
        async move { Ok(answer.await) }
    })))
}

async fn go_on(echo: Echo, stop: CancellationToken, mut noted: Vec<Call>) -> Vec<Call> {
    let (begun, mut ticks, mut calls) = (Instant::now(), interval(TICK), JoinSet::new());
    // A machine that has stood still does not get all the calls of that time at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for number in 0..PER_TICK {
            calls.spawn(call(echo.clone(), begun, is_even(number + noted.len())));
        }
        while let Some(ended) = calls.try_join_next() {
            noted.extend(ended);
        }
    }
    noted.extend(calls.join_all().await);
    noted
}

const fn is_even(number: usize) -> bool {
    number.is_multiple_of(2)
}

async fn call(mut echo: Echo, of_run: Instant, is_idempotent: bool) -> Call {
    let mut request = Request::new(EchoRequest { payload: Bytes::from_static(b"fleet"), ..EchoRequest::default() });
    request.set_timeout(DEADLINE);
    if is_idempotent {
        request.metadata_mut().insert("rpc-idempotent", MetadataValue::from_static("true"));
    }
    let begun = Instant::now();
    let code = echo.unary(request).await.map_or_else(|status| status.code(), |_answer| Code::Ok);
    let second = usize::try_from((begun - of_run).as_secs()).unwrap_or(usize::MAX);
    Call { second, took: begun.elapsed(), is_idempotent, code }
}

/// Returns what `percent` of those calls took at most that went well, in milliseconds.
pub(super) fn quantile_ms<'a>(calls: impl Iterator<Item = &'a Call>, percent: usize) -> f64 {
    let mut times: Vec<_> = calls.filter(|call| call.is_ok()).map(|call| call.took).collect();
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
