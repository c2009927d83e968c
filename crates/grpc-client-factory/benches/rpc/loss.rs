//! How long calls take where packets get lost: whoever starts this sees to that.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use test_authority::Authority;
use test_rpc::rpc::EchoRequest;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::BoxError;
use crate::client::Client;
use crate::contest::{BASE, Route};
use crate::observe::Observed;
use crate::report::{Bound, Row, time};
use crate::servers::Servers;

/// Says that packets get lost.
pub(crate) const FLAG: &str = "--lossy";

const BYTES: usize = 1024;

/// Who calls whom, over what, and how its slowest hundredth may compare with that of the first, at most.
const CONTESTS: [(&str, Route, Option<f64>); 3] = [
    (BASE, Route::Tonic, None),
    ("factory to mesh-server, HTTP/2", Route::Http2, None),
    ("factory to mesh-server, HTTP/3", Route::Http3, Some(0.1)),
];

/// How calls are made: by the clock, whether others have their answers or not.
struct Pace {
    name: &'static str,
    connections: u32,
    /// Time between two calls on one connection.
    every: Duration,
    turn: Duration,
}

/// Connections with much to do. What is lost is missed as soon as the next call has come through; but where it is lost once more when it
/// is sent again, TCP waits for its timer, and all calls behind it wait as well.
const BUSY: Pace = Pace {
    name: "8 connections, 500 calls/s on each",
    connections: 8,
    every: Duration::from_millis(2),
    turn: Duration::from_secs(2),
};

/// Connections as nodes of a mesh have them to each other: a call now and then, and silence after it. Nothing follows that would show what
/// is lost; it is sent again when its time is up.
const SPARSE: Pace = Pace {
    name: "50 connections, 4 calls/s on each",
    connections: 50,
    every: Duration::from_millis(250),
    turn: Duration::from_secs(2),
};

const ROUNDS: usize = 5;

/// Calls of all contests in turns, at each pace.
///
/// # Errors
/// A call fails.
pub(crate) fn rows(authority: &Authority, runtime: &Runtime) -> Result<Vec<Row>, BoxError> {
    let servers = Servers::start(authority, Observed::No)?;
    let mut rows = Vec::new();
    for pace in [BUSY, SPARSE] {
        rows.extend(runtime.block_on(measured(&pace, authority, &servers))?);
    }
    Ok(rows)
}

async fn measured(pace: &Pace, authority: &Authority, servers: &Servers) -> Result<Vec<Row>, BoxError> {
    let mut contests = Vec::new();
    for (name, route, limit) in CONTESTS {
        let mut clients = Vec::new();
        for _ in 0..pace.connections {
            clients.push(Client::connect(route, authority, servers).await?);
        }
        contests.push((name, limit, clients, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, _, clients, nanos) in &mut contests {
            nanos.extend(call_for(pace, clients).await?);
        }
    }
    let parts: Vec<_> = contests.into_iter().map(|(name, limit, _, nanos)| (name, limit, parts(nanos))).collect();
    let Some((_, _, base)) = parts.first().copied() else { return Ok(Vec::new()) };
    Ok(parts.into_iter().flat_map(|(name, limit, parts)| of_contest(pace, name, limit, (parts, base))).collect())
}

fn of_contest(pace: &Pace, name: &str, limit: Option<f64>, (parts, bases): ([f64; 2], [f64; 2])) -> [Row; 2] {
    let row = |part: &str, nanos: f64, base: f64, bound| {
        let ratio = (name != BASE).then_some(nanos / base);
        let compared = ratio.map_or_else(String::new, |ratio| format!("{ratio:.3} x {BASE}"));
        Row::new(format!("packets lost, {}: {name}: {part}", pace.name), time(nanos), compared, ratio, bound)
    };
    let ([p50, p99], [base_p50, base_p99]) = (parts, bases);
    [row("p50", p50, base_p50, Bound::AtMost(None)), row("p99", p99, base_p99, Bound::AtMost(limit))]
}

/// Returns how long each call took, in nanoseconds.
async fn call_for(pace: &Pace, clients: &[Client]) -> Result<Vec<u64>, BoxError> {
    let (start, payload) = (Instant::now(), Bytes::from(vec![7; BYTES]));
    let mut calling = JoinSet::new();
    for (client, place) in clients.iter().zip(0..) {
        // They do not all call at the same moment.
        let first = start + pace.every * place / pace.connections;
        calling.spawn(call_from(first, start + pace.turn, pace.every, client.clone(), payload.clone()));
    }
    let mut nanos = Vec::new();
    while let Some(called) = calling.join_next().await {
        nanos.extend(called??);
    }
    Ok(nanos)
}

async fn call_from(
    first: Instant,
    end: Instant,
    every: Duration,
    client: Client,
    payload: Bytes,
) -> Result<Vec<u64>, BoxError> {
    let mut pace = interval_at(first.into(), every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    while Instant::now() < end {
        pace.tick().await;
        let (mut client, begun) = (client.clone(), Instant::now());
        let request = EchoRequest { payload: payload.clone(), ..EchoRequest::default() };
        calls.spawn(async move { client.call(request).await.map(|_reply| begun.elapsed()) });
    }
    let mut nanos = Vec::new();
    while let Some(called) = calls.join_next().await {
        nanos.push(called??.as_nanos().try_into().unwrap_or(u64::MAX));
    }
    Ok(nanos)
}

/// Returns the median and the 99th percentile.
fn parts(mut nanos: Vec<u64>) -> [f64; 2] {
    nanos.sort_unstable();
    [50, 99].map(|hundredths| nanos.get(nanos.len() * hundredths / 100).map_or(f64::NAN, |nanos| *nanos as f64))
}
