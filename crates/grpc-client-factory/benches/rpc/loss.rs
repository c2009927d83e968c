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

/// Who calls whom, over what. The others are compared with the first.
const CONTESTS: [(&str, Route); 3] = [
    (BASE, Route::Tonic),
    ("factory to mesh-server, HTTP/2", Route::Http2),
    ("factory to mesh-server, HTTP/3", Route::Http3),
];

/// How calls are made: by the clock, whether others have their answers or not.
struct Pace {
    name: &'static str,
    connections: u32,
    /// Time between two calls on one connection.
    every: Duration,
    /// What the slowest hundredth over HTTP/3 may be of the first contest's, at most.
    limit: Option<f64>,
}

/// A connection with much to do. What is lost is missed as soon as the next call has come through, by TCP and QUIC alike. Only where it is
/// lost once more when it is sent again, TCP waits for its timer, and all calls behind it wait as well: whether that happens in a
/// run, and so how slow the slowest hundredth is, is chance.
const BUSY: Pace =
    Pace { name: "1 connection, 500 calls/s", connections: 1, every: Duration::from_millis(2), limit: None };

/// Connections as nodes of a mesh have them to each other: a call now and then, and silence after it. Nothing follows that would show what
/// is lost; it is sent again when its time is up.
const SPARSE: Pace = Pace {
    name: "50 connections, 4 calls/s on each",
    connections: 50,
    every: Duration::from_millis(250),
    limit: Some(0.1),
};

const TURN: Duration = Duration::from_secs(2);
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
    for (name, route) in CONTESTS {
        let mut clients = Vec::new();
        for _ in 0..pace.connections {
            clients.push(Client::connect(route, authority, servers).await?);
        }
        contests.push((name, route, clients, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, _, clients, nanos) in &mut contests {
            nanos.extend(call_for(pace, clients).await?);
        }
    }
    let mut rows = Vec::new();
    let mut base = None;
    for (name, route, _, nanos) in contests {
        let limit = pace.limit.filter(|_| matches!(route, Route::Http3));
        let parts = parts(nanos);
        rows.extend(of_contest(pace, name, limit, (parts, base)));
        base = base.or(Some(parts));
    }
    Ok(rows)
}

fn of_contest(pace: &Pace, name: &str, limit: Option<f64>, (parts, base): (Parts, Option<Parts>)) -> [Row; 3] {
    let row = |part: &str, of: fn(Parts) -> f64, bound| {
        let ratio = base.map(|base| of(parts) / of(base));
        let compared = ratio.map_or_else(String::new, |ratio| format!("{ratio:.3} x {BASE}"));
        Row::new(format!("packets lost, {}: {name}: {part}", pace.name), time(of(parts)), compared, ratio, bound)
    };
    [
        row("p50", |all| all.p50, Bound::AtMost(None)),
        row("p99", |all| all.p99, Bound::AtMost(limit)),
        row("p99.9", |all| all.p999, Bound::AtMost(None)),
    ]
}

/// Returns how long each call took, in nanoseconds.
async fn call_for(pace: &Pace, clients: &[Client]) -> Result<Vec<u64>, BoxError> {
    let (start, payload) = (Instant::now(), Bytes::from(vec![7; BYTES]));
    let mut calling = JoinSet::new();
    for (client, place) in clients.iter().zip(0..) {
        // They do not all call at the same moment.
        let first = start + pace.every * place / pace.connections;
        calling.spawn(call_from(first, start + TURN, pace.every, client.clone(), payload.clone()));
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

/// How long calls took, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Parts {
    p50: f64,
    p99: f64,
    p999: f64,
}

fn parts(mut nanos: Vec<u64>) -> Parts {
    nanos.sort_unstable();
    let at = |thousandths: usize| nanos.get(nanos.len() * thousandths / 1000).map_or(f64::NAN, |nanos| *nanos as f64);
    Parts { p50: at(500), p99: at(990), p999: at(999) }
}
