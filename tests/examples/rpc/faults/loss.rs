//! Packets that get lost by chance, and what that does to the slowest calls.

use std::time::Duration;

use grpc_client_factory::Http3Mode;

use super::network::Dropping;
use super::{Pair, channel, factory, ms, none_failed, profile};
use crate::calls::carrier;
use crate::load::{Caller, Done, Load, failures, pass, percentile};
use crate::report::Report;

/// Of all packets, both ways.
const PERCENT: u32 = 1;

const BYTES: usize = 1024;

/// Clients of one server, each with a connection of its own, on which a call begins each so often and nothing follows that would show
/// what is lost of it.
const CLIENTS: usize = 50;
const EVERY: Duration = Duration::from_millis(250);

const TURN: Duration = Duration::from_secs(15);

/// The slowest hundredth over HTTP/3, of that over HTTP/2.
const MOST: f64 = 0.1;

pub(super) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    let (http2, http3) = (measure(Http3Mode::Off).await?, measure(Http3Mode::Only).await?);
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
    let mut callers = Vec::new();
    for _ in 0..CLIENTS {
        // A factory of its own, and so a connection.
        let factory = factory(pair.certificates.issue("client")?, profile(mode))?;
        let carrier = carrier(channel(&factory, pair.server.address)?);
        let caller = Caller::new("lossy", carrier, Some(Duration::from_secs(10))).with_payload(BYTES);
        caller.call().await.outcome.map_err(|status| super::first_error(&status))?;
        callers.push(caller);
    }
    let port = pair.server.address.port();
    let lost = format!("numgen random mod 100 < {PERCENT}");
    let conditions = ["tcp dport", "tcp sport", "udp dport", "udp sport"].map(|of| format!("{of} {port} {lost}"));
    let dropping = Dropping::begin(&conditions).await?;
    let mut loads = Vec::new();
    for caller in callers {
        loads.push(Load::open(caller, EVERY));
        // They do not all call at the same moment.
        pass(EVERY / u32::try_from(CLIENTS)?).await;
    }
    pass(TURN).await;
    let mut done = Vec::new();
    for load in loads {
        done.extend(load.end().await);
    }
    dropping.end().await?;
    Ok(done)
}
