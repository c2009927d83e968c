//! Packets that get lost, from the start or in the middle of a connection: those of UDP, or all.

use std::time::Duration;

use anyhow::Context as _;
use grpc_client_factory::Http3Mode;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::network::Dropping;
use super::{Pair, at_most, first_error, none_failed, profile};
use crate::load::{Done, Load, Via, failures, healthy_from, longest, pass};
use crate::report::Report;

/// Calls that wait longer have been held up by what was done to the network.
const SOON: Duration = Duration::from_millis(200);

/// What the profile gives HTTP/3 alone, and until when HTTP/2 has answered then.
const RACE_DELAY: Duration = Duration::from_millis(300);
const FIRST_CALL: Duration = Duration::from_millis(320);

/// 1.5 times the profile's `stall`, which is 1 s.
const HEALTHY: Duration = Duration::from_millis(1_500);

/// Calls on a stalled connection are given up after `stall` twice, looked at every 250 ms.
const GIVEN_UP: Duration = Duration::from_millis(2_600);

/// The profile's `http2.unacknowledged_timeout` is 4 s.
const UNACKNOWLEDGED: Duration = Duration::from_millis(4_500);

/// The profile's `connect_timeout` is 3 s.
const NOT_CONNECTED: Duration = Duration::from_millis(3_200);

/// A call that waits, while nothing is sent, is found to wait in vain once the connection is asked whether it is there: after 5 s over HTTP/3, and
/// its packets have arrived nowhere for `stall` twice.
const WAITED_IN_VAIN: Duration = Duration::from_millis(8_000);

/// HTTP/3 is left alone for 1 s, a fifth more or less, and then looked at within 250 ms.
const AGAIN: Duration = Duration::from_millis(1_500);

/// Where packets are lost.
#[derive(Debug, Clone, Copy)]
enum Way {
    Both,
    ToServer,
    ToClient,
}

impl Way {
    fn conditions(self, port: u16) -> Vec<String> {
        let (to_server, to_client) = (format!("udp dport {port}"), format!("udp sport {port}"));
        match self {
            Self::Both => vec![to_server, to_client],
            Self::ToServer => vec![to_server],
            Self::ToClient => vec![to_client],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Both => "UDP dropped mid-run",
            Self::ToServer => "UDP dropped mid-run, to the server only",
            Self::ToClient => "UDP dropped mid-run, to the client only",
        }
    }
}

pub(super) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    from_the_start(report).await?;
    for way in [Way::Both, Way::ToServer, Way::ToClient] {
        // Short enough that HTTP/3 has not been looked at again before it is over.
        mid_run(way, Duration::from_millis(1_950), report).await?;
    }
    mid_run(Way::Both, Duration::from_secs(6), report).await?;
    vanished(Http3Mode::Auto, GIVEN_UP, report).await?;
    vanished(Http3Mode::Off, UNACKNOWLEDGED, report).await
}

/// No packet of UDP has ever come through, and then they all do.
async fn from_the_start(report: &mut Report) -> anyhow::Result<()> {
    const WHAT: &str = "UDP closed from the start";
    let mut pair = Pair::start(profile(Http3Mode::Auto)).await?;
    let dropping = Dropping::begin(&Way::Both.conditions(pair.server.address.port())).await?;
    let caller = pair.caller("closed", Duration::from_secs(5))?;
    let begun = Instant::now();
    let first = caller.call().await;
    first.outcome.as_ref().map_err(first_error)?;
    at_most(report, &format!("{WHAT}: first call, by HTTP/2"), by_http2(&first), FIRST_CALL);
    let mut later = Vec::new();
    for _ in 0..200 {
        later.push(caller.call().await);
    }
    none_failed(report, WHAT, later.len(), failures(&later));
    at_most(report, &format!("{WHAT}: longest of the next 200"), longest_by_http2(&later), RACE_DELAY / 3);
    // The attempt that lost the race has been given up by now, and is not made again yet.
    let load = Load::open(caller, Duration::from_millis(10));
    pass((begun + Duration::from_millis(3_400)).saturating_duration_since(Instant::now())).await;
    dropping.end().await?;
    let healed = Instant::now();
    pass(2 * AGAIN).await;
    let done = load.end().await;
    none_failed(report, &format!("{WHAT}, and open again"), done.len(), failures(&done));
    at_most(report, &format!("{WHAT}: HTTP/3 from when it is open"), http3_again(&done, healed), AGAIN);
    pair.executed_once(WHAT, report).await
}

fn by_http2(done: &Done) -> Option<Duration> {
    done.is_via(Via::Http2).then(|| done.took())
}

fn longest_by_http2(done: &[Done]) -> Option<Duration> {
    done.iter().map(by_http2).try_fold(Duration::ZERO, |longest, took| Some(longest.max(took?)))
}

fn http3_again(done: &[Done], healed: Instant) -> Option<Duration> {
    let first =
        done.iter().filter(|call| call.begun >= healed && call.is_via(Via::Http3)).min_by_key(|call| call.ended);
    first.map(|call| call.ended - healed)
}

/// Packets get lost under calls that come every 10 ms and eight that wait for each other, for as long as `outage`.
async fn mid_run(way: Way, outage: Duration, report: &mut Report) -> anyhow::Result<()> {
    let what = format!("{} for {outage:?}", way.name());
    let mut pair = Pair::start(profile(Http3Mode::Auto)).await?;
    let deadline = Duration::from_secs(5);
    let steady = Load::open(pair.caller("steady", deadline)?, Duration::from_millis(10));
    let eager = Load::closed(&pair.caller("eager", deadline)?, 8);
    pass(Duration::from_secs(1)).await;
    let dropping = Dropping::begin(&way.conditions(pair.server.address.port())).await?;
    let cut = Instant::now();
    pass(outage).await;
    dropping.end().await?;
    let healed = Instant::now();
    pass(if outage < GIVEN_UP { 2 * AGAIN } else { 3 * AGAIN }).await;
    let (steady, eager) = (steady.end().await, eager.end().await);

    let before: Vec<_> = steady.iter().chain(&eager).filter(|done| done.ended < cut).cloned().collect();
    let http3 = before.iter().filter(|done| done.is_via(Via::Http3)).count();
    report.figure(&format!("{what}: calls over HTTP/3 before"), &http3.to_string(), "all", http3 == before.len());
    let healthy = healthy_from(&steady, (cut, healed), SOON);
    at_most(report, &format!("{what}: new calls do well from"), healthy.map(|at| at - cut), HEALTHY);
    let after: Vec<_> = steady.iter().filter(|done| healthy.is_some_and(|at| done.begun >= at)).cloned().collect();
    none_failed(report, &format!("{what}: from then on"), after.len(), failures(&after));
    let waited = longest(&eager, (cut, healed));
    at_most(report, &format!("{what}: longest wait of a call under way"), waited, GIVEN_UP);
    let again = if outage < GIVEN_UP { AGAIN } else { 2 * AGAIN };
    at_most(report, &format!("{what}: HTTP/3 again after"), http3_again(&steady, healed), again);
    pair.executed_once(&what, report).await
}

/// Nothing reaches the host of the server or comes from it for a while, as when its power fails: nobody says that it is gone. Calls come every
/// 10 ms; another, over a connection of its own, waits for an answer.
async fn vanished(mode: Http3Mode, given_up: Duration, report: &mut Report) -> anyhow::Result<()> {
    let (name, in_vain) = if mode == Http3Mode::Off { ("HTTP/2", UNACKNOWLEDGED) } else { ("HTTP/3", WAITED_IN_VAIN) };
    let what = format!("the server's host vanishes, over {name}");
    let (mut pair, mut quiet) = (Pair::start(profile(mode)).await?, Pair::start(profile(mode)).await?);
    let deadline = Duration::from_secs(20);
    let waiting = quiet.caller("waiting", deadline)?;
    let mut held = JoinSet::new();
    held.spawn(async move { waiting.held().await });
    quiet.server.tell("running 1").await?;
    let steady = Load::open(pair.caller("steady", deadline)?, Duration::from_millis(10));
    pass(Duration::from_secs(1)).await;
    let ports = [pair.server.address.port(), quiet.server.address.port()];
    let both = ports.map(|port| ["sport", "dport"].map(|side| format!("meta l4proto {{ tcp, udp }} th {side} {port}")));
    let dropping = Dropping::begin(both.as_flattened()).await?;
    let cut = Instant::now();
    let waited = held.join_next().await.context("a call waits")??;
    let is_lost = waited.outcome.is_err();
    at_most(report, &format!("{what}: a call that waits ends after"), is_lost.then(|| waited.ended - cut), in_vain);
    pass((cut + Duration::from_secs(8)).saturating_duration_since(Instant::now())).await;
    dropping.end().await?;
    let healed = Instant::now();
    pass(2 * NOT_CONNECTED).await;
    let steady = steady.end().await;
    let under_way = longest(&steady, (cut, cut + HEALTHY / 2));
    at_most(report, &format!("{what}: longest wait of a call under way"), under_way, given_up);
    let new = steady.iter().filter(|call| call.begun >= cut + given_up && call.begun < healed).map(Done::took).max();
    at_most(report, &format!("{what}: longest wait of a new call"), new, NOT_CONNECTED);
    let again = healthy_from(&steady, (healed, healed + 2 * NOT_CONNECTED), SOON);
    at_most(report, &format!("{what}: new calls do well again after"), again.map(|at| at - healed), NOT_CONNECTED);
    pair.executed_once(&what, report).await
}
