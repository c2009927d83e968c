//! How long calls take where packets get lost: whoever starts this sees to that.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use test_authority::Authority;
use test_rpc::rpc::EchoRequest;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::BoxError;
use crate::client::Client;
use crate::contest::Route;
use crate::observe::Observed;
use crate::report::{Bound, Row, time};
use crate::servers::Servers;

/// Says that packets get lost.
pub(crate) const FLAG: &str = "--lossy";

/// Time between two calls: as many a second whether the last has its answer or not.
const PACE: Duration = Duration::from_millis(2);
const TURN: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const BYTES: usize = 1024;

/// Calls over both protocols in turns.
///
/// # Errors
/// A call fails.
pub(crate) fn rows(authority: &Authority, runtime: &Runtime) -> Result<Vec<Row>, BoxError> {
    let servers = Servers::start(authority, Observed::No)?;
    runtime.block_on(async {
        let http2 = Client::connect(Route::Http2, authority, &servers).await?;
        let http3 = Client::connect(Route::Http3, authority, &servers).await?;
        let (mut over_http2, mut over_http3) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            over_http2.extend(call_for(&http2).await?);
            over_http3.extend(call_for(&http3).await?);
        }
        let ([p50, base], [p50_http3, p99_http3]) = (parts(over_http2), parts(over_http3));
        let row = |name: &str, nanos: f64, ratio: Option<f64>, bound| {
            let compared = ratio.map_or_else(String::new, |ratio| format!("{ratio:.3} x HTTP/2"));
            Row::new(format!("{BYTES} B, packets lost, {name}"), time(nanos), compared, ratio, bound)
        };
        Ok(vec![
            row("HTTP/2: p50", p50, None, Bound::AtMost(None)),
            row("HTTP/2: p99", base, None, Bound::AtMost(None)),
            row("HTTP/3: p50", p50_http3, Some(p50_http3 / p50), Bound::AtMost(None)),
            row("HTTP/3: p99", p99_http3, Some(p99_http3 / base), Bound::AtMost(Some(0.1))),
        ])
    })
}

async fn call_for(client: &Client) -> Result<Vec<u64>, BoxError> {
    let (end, payload) = (Instant::now() + TURN, Bytes::from(vec![7; BYTES]));
    let mut pace = interval(PACE);
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
