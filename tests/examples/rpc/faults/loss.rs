//! Packets that get lost by chance, and what that does to the slowest calls.

use std::time::Duration;

use grpc_client_factory::Http3Mode;

use super::network::Dropping;
use super::{Pair, ms, none_failed, profile};
use crate::load::{Done, Load, failures, pass, percentile};
use crate::report::Report;

/// Of all packets, both ways.
const PERCENT: u32 = 1;

/// 500 calls a second of 1 KiB.
const EVERY: Duration = Duration::from_millis(2);
const BYTES: usize = 1024;

/// The two take turns, each with a new connection: how TCP fares depends much on which packets are lost.
const TURNS: usize = 6;
const TURN: Duration = Duration::from_secs(5);

/// The slowest hundredth over HTTP/3, of that over HTTP/2.
const MOST: f64 = 0.1;

pub(super) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    let (mut http2, mut http3) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        http2.extend(measure(Http3Mode::Off).await?);
        http3.extend(measure(Http3Mode::Only).await?);
    }
    for (name, done) in [("HTTP/2", &http2), ("HTTP/3", &http3)] {
        let what = format!("{PERCENT} % of all packets lost, {name}");
        none_failed(report, &what, done.len(), failures(done));
        report.aside(&format!("{what}: p50"), &ms(percentile(done, 50)));
        report.aside(&format!("{what}: p99"), &ms(percentile(done, 99)));
    }
    let ratio = percentile(&http3, 99).as_secs_f64() / percentile(&http2, 99).as_secs_f64();
    let what = format!("{PERCENT} % of all packets lost: p99 of HTTP/3 over that of HTTP/2");
    report.figure(&what, &format!("{ratio:.3}"), &format!("at most {MOST}"), ratio <= MOST);
    Ok(())
}

async fn measure(mode: Http3Mode) -> anyhow::Result<Vec<Done>> {
    let pair = Pair::start(profile(mode)).await?;
    let caller = pair.caller("lossy", Duration::from_secs(10))?.with_payload(BYTES);
    caller.call().await.outcome.map_err(|status| super::first_error(&status))?;
    let port = pair.server.address.port();
    let lost = format!("numgen random mod 100 < {PERCENT}");
    let conditions = ["tcp dport", "tcp sport", "udp dport", "udp sport"].map(|of| format!("{of} {port} {lost}"));
    let dropping = Dropping::begin(&conditions).await?;
    let load = Load::open(caller, EVERY);
    pass(TURN).await;
    let done = load.end().await;
    dropping.end().await?;
    Ok(done)
}
