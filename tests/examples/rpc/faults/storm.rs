//! Ten thousand calls at once to two hundred servers, half of which HTTP/3 does not reach.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use grpc_client_factory::{ClientFactory, Http3Mode, Profile};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::network::Dropping;
use super::{channel, factory, none_failed, profile};
use crate::calls::carrier;
use crate::certificates::Certificates;
use crate::held::Held;
use crate::load::{Caller, Done, Via, failures, pass};
use crate::process::Process;
use crate::report::Report;
use crate::serve::Kind;

const SERVERS: u8 = 200;
const BLOCKED: u8 = SERVERS / 2;
const CALLS_EACH: usize = 50;

/// How often it is done: what is not given back adds up.
const TIMES: usize = 3;

/// How long connections without calls are kept, and how much longer it may take until nothing is left of them: attempts over UDP that
/// go on in the background end after 3 s, and QUIC lets go of a connection several round trips after its close, which are long
/// where a machine has too much to do.
const IDLE: Duration = Duration::from_secs(4);
const GIVEN_BACK: Duration = Duration::from_secs(30);

/// What stays with the factory: its UDP socket, by one descriptor for packets and one for what hosts say of them; and what looks after either,
/// and after the connections.
const SOCKETS_KEPT: usize = 2;
const TASKS_KEPT: usize = 3;

/// For each server a connection over TCP, and one of UDP for all.
const SOCKETS: usize = SERVERS as usize + 4;

/// For each call two, one of them the caller's own and one of hyper's; for each server two connections with what they need.
const TASKS: usize = SERVERS as usize * (2 * CALLS_EACH + 8);

/// For each server one connection over each protocol, 200 KiB in all; and for each call 24 KiB, of which tonic's buffer is a third.
const MEMORY_MIB: f64 = SERVERS as f64 * (0.2 + CALLS_EACH as f64 * 0.024);

/// What the first storm may leave behind, in tables that have grown; and what those after it may add.
const MEMORY_KEPT_MIB: f64 = 8.0;
const MEMORY_ADDED_MIB: f64 = 0.5;

pub(super) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    certificates.issue("server")?;
    let client = certificates.issue("client")?;
    let first = SocketAddr::from((address(0), 0));
    let servers = Process::start(Kind::Ours, first, SERVERS, certificates.folder()).await?;
    let port = servers.address.port();
    let addresses: Vec<_> = (0..SERVERS).map(|number| SocketAddr::from((address(number), port))).collect();
    let blocked = format!("{}-{}", address(0), address(BLOCKED - 1));
    let (to, from) = (format!("ip daddr {blocked} udp dport {port}"), format!("ip saddr {blocked} udp sport {port}"));
    let dropping = Dropping::begin(&[to, from]).await?;

    let before = Held::now()?;
    let factory = factory(client, Profile { idle_timeout: IDLE, ..profile(Http3Mode::Auto) })?;
    let mut rests = Vec::new();
    for time in 1..=TIMES {
        let what = format!("storm {time} of {TIMES}");
        check_storm(&factory, &addresses, before, &what, report).await?;
        rests.push(rest(&factory, before).await?);
    }
    dropping.end().await?;
    report.figure("storms over: links kept", &factory.links().to_string(), "0", factory.links() == 0);
    check_rest(&rests, before, report);
    Ok(())
}

/// Makes all calls, and holds them and what they take up to their bounds.
async fn check_storm(
    factory: &ClientFactory,
    addresses: &[SocketAddr],
    before: Held,
    what: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (done, peak, took) = storm(factory, addresses).await?;
    none_failed(report, what, done.len(), failures(&done));
    report.aside(&format!("{what}: all answered within"), &format!("{:.2} s", took.as_secs_f64()));
    let by_http2 = done.iter().filter(|call| call.is_via(Via::Http2)).count();
    report.aside(&format!("{what}: calls over HTTP/2"), &by_http2.to_string());
    check_peak(what, peak.beyond(before), report);
    Ok(())
}

/// Returns the address of a server.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number + 1)
}

/// Holds the most that was held to its bounds.
fn check_peak(what: &str, peak: Held, report: &mut Report) {
    let Held { sockets, tasks, memory_mib } = peak;
    let mut bounded = |of: &str, most: usize, limit: usize| {
        report.figure(&format!("{what}: most {of}"), &most.to_string(), &format!("at most {limit}"), most <= limit);
    };
    bounded("sockets", sockets, SOCKETS);
    bounded("tasks", tasks, TASKS);
    let (shown, limit) = (format!("{memory_mib:.1} MiB"), format!("at most {MEMORY_MIB:.0} MiB"));
    report.figure(&format!("{what}: most memory"), &shown, &limit, memory_mib <= MEMORY_MIB);
}

/// Holds that what was taken has been given back: `rests` are what was held after each storm.
fn check_rest(rests: &[Held], before: Held, report: &mut Report) {
    let (Some(first), Some(latest)) = (rests.first(), rests.last()) else { return };
    let Held { sockets, tasks, memory_mib } = latest.beyond(before);
    let mut kept = |of: &str, most: usize, limit: usize| {
        report.figure(
            &format!("storms over: {of} kept"),
            &most.to_string(),
            &format!("at most {limit}"),
            most <= limit,
        );
    };
    kept("sockets", sockets, SOCKETS_KEPT);
    kept("tasks", tasks, TASKS_KEPT);
    let mut mib = |what: &str, held: f64, limit: f64| {
        report.figure(what, &format!("{held:.2} MiB"), &format!("at most {limit} MiB"), held <= limit);
    };
    mib("storms over: memory kept", memory_mib, MEMORY_KEPT_MIB);
    mib(
        "storms over: memory that those after the first have added",
        memory_mib - first.beyond(before).memory_mib,
        MEMORY_ADDED_MIB,
    );
}

/// Makes all calls at once; returns them, the most that was held meanwhile, and how long it took.
async fn storm(factory: &ClientFactory, addresses: &[SocketAddr]) -> anyhow::Result<(Vec<Done>, Held, Duration)> {
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for address in addresses {
        let caller = Caller::new("storm", carrier(channel(factory, *address)?), Some(Duration::from_secs(30)));
        for _ in 0..CALLS_EACH {
            let caller = caller.clone();
            calls.spawn(async move { caller.call().await });
        }
    }
    let over = CancellationToken::new();
    let watching = async {
        let mut looks = interval(Duration::from_millis(20));
        let mut peak = Held::now()?;
        while over.run_until_cancelled(looks.tick()).await.is_some() {
            peak = peak.max(Held::now()?);
        }
        anyhow::Ok(peak)
    };
    let calling = async {
        let done = calls.join_all().await;
        let took = begun.elapsed();
        // Attempts over UDP go on in the background.
        pass(Duration::from_secs(1)).await;
        over.cancel();
        (done, took)
    };
    let (peak, (done, took)) = tokio::join!(watching, calling);
    Ok((done, peak?, took))
}

/// Waits until nothing of the calls is left, or until it should not be; returns what is held then.
async fn rest(factory: &ClientFactory, before: Held) -> anyhow::Result<Held> {
    let until = Instant::now() + IDLE + GIVEN_BACK;
    let mut looks = interval(Duration::from_millis(100));
    loop {
        looks.tick().await;
        let now = Held::now()?;
        let is_left =
            factory.links() > 0 || now.sockets > before.sockets + SOCKETS_KEPT || now.tasks > before.tasks + TASKS_KEPT;
        if !is_left || Instant::now() >= until {
            return Ok(now);
        }
    }
}
