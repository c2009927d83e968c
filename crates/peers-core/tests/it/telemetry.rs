//! What a scrape reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use peers_core::{
    BreakerOptions, DurationHistogram, Filters, Labels, Outcome, PickCx, PickError, Probed, Random, RoundRobin, Sink,
    TableOptions,
};

use crate::support::{at, table_of};
use crate::telling::Telling;

#[derive(Default)]
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn put(&mut self, name: &str, labels: &Labels<'_>, value: f64) {
        let pairs: Vec<String> = labels.iter().map(|(key, text)| format!("{key}={text}")).collect();
        self.0.insert(format!("{name}{{{}}}", pairs.join(",")), value);
    }

    #[track_caller]
    fn check(&self, name: &str, labels: &str, value: f64) {
        let series = format!("{name}{{rpc_service=orders,rpc_transport=grpc{labels}}}");
        assert_eq!(self.0.get(&series), Some(&value), "{series} in {:#?}", self.0);
    }
}

impl Sink for Scrape {
    fn counter(&mut self, name: &'static str, labels: &Labels<'_>, value: u64) {
        self.put(name, labels, value as f64);
    }

    fn gauge(&mut self, name: &'static str, labels: &Labels<'_>, value: f64) {
        self.put(name, labels, value);
    }

    fn histogram(&mut self, name: &'static str, labels: &Labels<'_>, value: &DurationHistogram) {
        self.put(name, labels, value.count() as f64);
    }
}

fn options() -> TableOptions {
    TableOptions { service: "orders".into(), transport: "grpc".into(), ..TableOptions::default() }
}

#[test]
fn a_scrape_tells_what_happened_to_each_peer() {
    let table = table_of(2, options());
    let balancer = table.balancer(Filters::none(), RoundRobin::default());
    let lease = || balancer.acquire(&PickCx::at(at(0))).expect("usable");
    let _pending = lease();
    for _ in 0..6 {
        lease().report(at(10), Outcome::Failure);
        lease().report(at(10), Outcome::Success);
    }
    drop(lease());
    let mut scrape = Scrape::default();
    table.visit(at(10), &mut scrape);
    let [first, second] = [",rpc_peer=node-000", ",rpc_peer=node-001"];
    scrape.check("omnirelay_peer_inflight", first, 1.0);
    scrape.check("omnirelay_peer_inflight", second, 0.0);
    scrape.check("omnirelay_peer_successes_total", first, 6.0);
    scrape.check("omnirelay_peer_failures_total", second, 5.0);
    scrape.check("omnirelay_peer_breaker_state", first, 0.0);
    scrape.check("omnirelay_peer_breaker_state", second, 1.0);
    scrape.check("omnirelay_peer_breaker_changes_total", second, 1.0);
    scrape.check("omnirelay_peer_lease_duration_ms", second, 5.0);
    scrape.check("omnirelay_peer_ejected", "", 1.0);
    scrape.check("omnirelay_peer_registered", "", 2.0);
    scrape.check("omnirelay_peer_publish_total", "", 1.0);
    scrape.check("omnirelay_peer_ejections_unenforced_total", ",reason=rails", 0.0);
}

#[test]
fn peers_beyond_the_limit_are_summed_up() {
    let table = table_of(5, TableOptions { series_max: 2, ..options() });
    let balancer = table.balancer(Filters::none(), RoundRobin::default());
    for _ in 0..10 {
        balancer.acquire(&PickCx::at(at(0))).expect("usable").report(at(1), Outcome::Success);
    }
    let mut scrape = Scrape::default();
    table.visit(at(1), &mut scrape);
    scrape.check("omnirelay_peer_picks_total", ",rpc_peer=node-001,chooser=round-robin", 2.0);
    scrape.check("omnirelay_peer_picks_total", ",rpc_peer=other,chooser=round-robin", 6.0);
    assert!(!scrape.0.keys().any(|series| series.contains("node-002")));
}

#[test]
fn picks_name_their_chooser_as_long_as_there_is_one() {
    let table = table_of(1, options());
    let check = |chooser: &str| {
        let mut scrape = Scrape::default();
        table.visit(at(0), &mut scrape);
        scrape.check("omnirelay_peer_picks_total", &format!(",rpc_peer=node-000,chooser={chooser}"), 0.0);
    };
    check("none");
    let first = table.balancer(Filters::none(), Random);
    let second = table.balancer(Filters::none(), Random);
    check("random");
    let third = table.balancer(Filters::none(), RoundRobin::default());
    check("several");
    drop((first, second));
    check("round-robin");
    drop(third);
}

#[test]
fn refusals_are_counted_by_their_reason() {
    let table = table_of(1, TableOptions { max_pending: 1, breaker: BreakerOptions::parity(), ..options() });
    let balancer = table.balancer(Filters::none(), Random);
    let acquire = |ms| balancer.acquire(&PickCx::at(at(ms)));
    let held = acquire(0).expect("usable");
    assert_eq!(acquire(0).err(), Some(PickError::AllBusy));
    held.report(at(0), Outcome::Failure);
    assert_eq!(acquire(1).err(), Some(PickError::NoneAvailable { retry_at: Some(at(100)) }));
    let mut scrape = Scrape::default();
    balancer.visit(&mut scrape);
    scrape.check("omnirelay_peer_lease_rejected_total", ",chooser=random,peer_rejection_reason=busy", 1.0);
    scrape.check("omnirelay_peer_lease_rejected_total", ",chooser=random,peer_rejection_reason=breaker_open", 1.0);
    scrape.check("omnirelay_peer_pool_exhausted_total", ",chooser=random", 2.0);
}

#[test]
fn a_scrape_tells_what_a_probing_balancer_has_asked_and_used() {
    let table = table_of(2, options());
    let balancer = table.balancer(Filters::none(), Probed::new(Arc::new(Telling::default()), 100));
    for _ in 0..40 {
        balancer.acquire(&PickCx::at(at(0))).expect("usable").report(at(3), Outcome::Success);
    }
    let mut scrape = Scrape::default();
    balancer.visit(&mut scrape);
    scrape.check("omnirelay_peer_probes_total", "", 40.0);
    scrape.check("omnirelay_peer_probe_answers_total", "", 40.0);
    // Two answers have to be there before any is used.
    scrape.check("omnirelay_peer_probe_answers_used_total", "", 38.0);
}
