//! A service of two hundred nodes, of which another tenth is ill every few seconds, called as a dispatcher calls it.

mod figures;
mod schedule;
mod servers;
mod traffic;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dispatcher::{LocalServices, OutboundOptions, OutboundPorts, Outbounds, ServiceName};
use grpc_client_factory::{ClientFactory, FactoryOptions};
use peers_core::ChooserPorts;
use telemetry::{MetricsHandle, install_metrics};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::peers::{Peers, peer};
use crate::certificates::Certificates;
use crate::endpoints::{Condition, name};
use crate::held::Held;
use crate::report::Report;

use figures::{Counts, Spread, limited};
use schedule::{GROUPS, HEALTHY, ROLLING, SECONDS, SERVERS};
use servers::Servers;
use traffic::{Call, PER_SECOND, Traffic};

/// So many calls that should not have failed are shown.
const SHOWN: usize = 5;

/// By what name the service is called.
const SERVICE: &str = "omnirelay.test.v1.Echo";

/// For the servers a connection each, be it of TCP; one of UDP for all; and what the process has besides.
const SOCKETS: usize = SERVERS + 4;

/// What connections and calls may take, of the one process that calls.
const MEMORY_MIB: f64 = 64.0;

/// What the run has measured.
struct Seen {
    counts: Counts,
    calls: Vec<Call>,
    /// Changes of breakers, at the end of the healthy time and of all.
    breakers: [f64; 2],
    held: Held,
}

pub(super) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    let mut servers = Servers::start(&certificates).await?;
    let metrics = install_metrics()?;
    let before = Held::now()?;
    let factory = ClientFactory::new(certificates.issue("caller")?, FactoryOptions::default())?;
    let (outbounds, following) = outbounds(&factory, &servers)?;
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(following.run(stop.clone()));
    let seen = watch(&mut servers, outbounds, &metrics, before).await?;
    stop.cancel();
    let resident = servers.resident_mib().await?;
    report.aside("memory of the processes that serve", &format!("{resident} MiB"));
    judge(&seen, report);
    Ok(())
}

/// Returns the way out of a node that sees all servers, as the node makes it unless it is told otherwise.
fn outbounds(factory: &ClientFactory, servers: &Servers) -> anyhow::Result<(Outbounds, dispatcher::OutboundsTask)> {
    let mut peers = Vec::new();
    for (number, address) in servers.addresses().enumerate() {
        peers.extend(peer(&name(number), address, BTreeSet::from([SERVICE.parse()?]))?);
    }
    let ports = OutboundPorts {
        node: "caller".parse()?,
        factory: factory.clone(),
        mesh: Arc::new(Peers(peers)),
        local: LocalServices::new(Vec::new())?,
    };
    Ok(Outbounds::new(ports, OutboundOptions::default(), ChooserPorts::default())?)
}

/// Calls all the time, makes servers ill and well again by the schedule, and counts every second which calls each has met.
async fn watch(
    servers: &mut Servers,
    outbounds: Outbounds,
    metrics: &MetricsHandle,
    before: Held,
) -> anyhow::Result<Seen> {
    let service: ServiceName = SERVICE.parse()?;
    let traffic = Traffic::start(outbounds, service);
    let mut seconds = interval(Duration::from_secs(1));
    // A machine that has stood still does not make one second of two.
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut counts, mut breakers, mut held) = (Counts::default(), 0.0, Held::default());
    for second in 0..=SECONDS {
        seconds.tick().await;
        counts.add(servers.calls().await?);
        for (group, condition) in schedule::changes(second) {
            servers.turn(group, condition).await?;
        }
        held = held.max(Held::now()?.beyond(before));
        if second == HEALTHY.end {
            breakers = changes_of_breakers(metrics);
        }
    }
    let calls = traffic.end().await;
    Ok(Seen { counts, calls, breakers: [breakers, changes_of_breakers(metrics)], held })
}

fn changes_of_breakers(metrics: &MetricsHandle) -> f64 {
    let text = metrics.render();
    let changes = text.lines().filter(|line| line.starts_with("omnirelay_peer_breaker_transitions_total{"));
    // Of nothing at all, the sum would be a zero below zero.
    changes.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, |sum, count| sum + count)
}

fn judge(seen: &Seen, report: &mut Report) {
    report.aside("calls in all", &seen.calls.len().to_string());
    report.aside("calls a second", &(seen.calls.len() / SECONDS).to_string());
    report.aside("of that wanted", &format!("{:.0} %", 100.0 * share(seen.calls.len(), SECONDS * PER_SECOND)));
    judge_healthy(seen, report);
    show_tenths(&seen.counts, report);
    for (condition, what) in [(Condition::Slow, "slow"), (Condition::Failing, "failing")] {
        judge_ill(&seen.counts, condition, what, report);
    }
    let well = seen.counts.spread_of_well();
    limited(report, "going round: busiest of those that are well over their mean", well.most, 1.4);
    limited(report, "going round: coefficient of variation of those that are well", well.sigma, 0.12);
    judge_calls(seen, report);
    limited(report, "most sockets of the caller", count(seen.held.sockets), count(SOCKETS));
    limited(report, "most memory of the caller, MiB", seen.held.memory_mib, MEMORY_MIB);
}

fn judge_healthy(seen: &Seen, report: &mut Report) {
    let even = seen.counts.spread_of(&(0..SERVERS).collect::<Vec<_>>(), &HEALTHY);
    limited(report, "all well: busiest server over the mean", even.most, 1.6);
    limited(report, "all well: coefficient of variation of the servers", even.sigma, 0.25);
    let [changes, _] = seen.breakers;
    limited(report, "all well: changes of breakers", changes, 0.0);
    let failed = seen.during(HEALTHY).filter(|call| !call.is_ok()).count();
    limited(report, "all well: calls that failed", count(failed), 0.0);
}

fn show_tenths(counts: &Counts, report: &Report) {
    report.note("per cent of its fair share that each tenth has got, by seconds, from its illness | from its end:");
    for group in 0..GROUPS {
        let Range { start, end } = schedule::ill(group);
        let (ill, after) = (counts.percents(group, start..end), counts.percents(group, end..SECONDS));
        report.note(&format!("{:<7} {ill} | {after}", schedule::illness(group).word()));
    }
}

/// Holds what the tenths got that had one illness, meanwhile and afterwards.
fn judge_ill(counts: &Counts, condition: Condition, what: &str, report: &mut Report) {
    let groups: Vec<_> = (0..GROUPS).filter(|group| schedule::illness(*group) == condition).collect();
    let ill = Spread::of(groups.iter().flat_map(|group| counts.shares(*group, schedule::settled(*group))));
    limited(report, &format!("{what}: share of such a tenth, of its fair one"), ill.mean, 0.10);
    limited(report, &format!("{what}: sigma of it from second to second"), ill.sigma, 0.04);
    let back = groups.iter().map(|group| counts.recovery(*group)).max().unwrap_or(usize::MAX);
    limited(
        report,
        &format!("{what}: seconds until a tenth is back at 3/4, longest"),
        count(back),
        recovery(condition),
    );
    let again = Spread::of(groups.iter().flat_map(|group| counts.beside_well(*group)));
    limited(report, &format!("{what}: from then on, most in a second beside those that are well"), again.most, 1.5);
    limited(report, &format!("{what}: from then on, sigma of that"), again.sigma, 0.2);
}

fn judge_calls(seen: &Seen, report: &mut Report) {
    let [healthy_changes, changes] = seen.breakers;
    let each = (changes - healthy_changes) / count(SERVERS / 2);
    limited(report, "going round: changes of breakers for each that failed", each, 12.0);
    let idempotent: Vec<_> = seen.calls.iter().filter(|call| call.is_idempotent && !call.is_ok()).collect();
    for call in idempotent.iter().take(SHOWN) {
        report.note(&format!("one failed in second {} after {:.0?}: {:?}", call.second, call.took, call.code));
    }
    limited(report, "idempotent calls that failed", count(idempotent.len()), 0.0);
    let others: Vec<_> = seen.during(ROLLING).filter(|call| !call.is_idempotent).collect();
    let failed = others.iter().filter(|call| !call.is_ok()).count();
    limited(report, "going round: other calls that failed, %", 100.0 * share(failed, others.len()), 1.2);
    let [healthy, rolling] = [HEALTHY, ROLLING].map(|seconds| traffic::quantile_ms(seen.during(seconds), 99));
    report.aside("all well: p99", &format!("{healthy:.1} ms"));
    report.aside("going round: p99", &format!("{rolling:.1} ms"));
    limited(report, "going round: p99 over that when all are well", rolling / healthy, 1.4);
}

impl Seen {
    fn during(&self, seconds: Range<usize>) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| seconds.contains(&call.second))
    }
}

/// Returns within how many seconds of its illness a tenth must have three quarters of its fair share.
const fn recovery(condition: Condition) -> f64 {
    match condition {
        // As in the simulation.
        Condition::Slow | Condition::Well => 5.0,
        // Breakers stay open for seconds after such an illness, and then a slow start begins.
        Condition::Failing => 12.0,
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn share(part: usize, of: usize) -> f64 {
    count(part) / count(of.max(1))
}
