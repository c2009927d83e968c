//! What picking allocates: a process of its own, so that nobody else counts.

#[path = "made_up/peer.rs"]
mod made_up;
#[path = "made_up/telling.rs"]
mod telling;

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use peers_core::{
    Balancer, Chooser, ChooserPorts, ChooserSpec, Entropy, Outcome, PeerTable, PeerUpdate, PickCx, TableOptions, Tick,
};

use made_up::peer;
use telling::Telling;

fn table_of(count: usize) -> PeerTable {
    let table = PeerTable::new(TableOptions::default());
    table.apply(Tick::ZERO, PeerUpdate::Reset((0..count).map(peer).collect()));
    table
}

#[test]
fn a_deputy_that_is_up_to_date_allocates_nothing() {
    let table = table_of(10);
    let spec: ChooserSpec = "two-random".parse().expect("a name");
    let chooser = spec.chooser(&ChooserPorts::default()).expect("no port needed");
    let mut local = table.balancer(spec.filters(), chooser).local(Entropy::seeded(1));
    let allocated = measure(|| {
        for call in 0..10_000 {
            let now = Tick::from_nanos(call * 1_000);
            local.acquire(&PickCx::at(now)).expect("usable").report(now, Outcome::Success);
        }
    });
    assert_eq!(allocated.count_total, 0);
}

/// Calls with every outcome that leaves the breaker closed, and with none at all.
fn calls(balancer: &Balancer<Box<dyn Chooser>>, entropy: &mut Entropy, count: u64) {
    let overloaded = Outcome::Overloaded { retry_after: None };
    let outcomes = [Outcome::Success, Outcome::AppError, Outcome::Cancelled, Outcome::Success, Outcome::Success];
    for (call, outcome) in (0..count).zip(outcomes.into_iter().cycle()) {
        let now = Tick::ZERO.after(Duration::from_millis(call));
        let cx = PickCx { key: Some(call), ..PickCx::at(now) };
        let lease = balancer.acquire_with(&cx, entropy).expect("usable");
        let later = now.after(Duration::from_millis(3));
        match call % 100 {
            0 => lease.report(later, Outcome::Failure),
            1 => lease.report(later, overloaded),
            2 => drop(lease),
            _ => lease.report(later, outcome),
        }
    }
}

#[test]
fn acquire_and_report_allocate_nothing() {
    // 97, so that no chooser that takes turns gives all failures to one peer.
    let table = table_of(97);
    let ports = ChooserPorts { probe: Some(Arc::new(Telling::default())), ..ChooserPorts::default() };
    let of_all =
        ["round-robin", "random", "two-random", "fewest-pending", "weighted", "adaptive", "hash", "pick-first"];
    for name in of_all.into_iter().chain(["probed", "probed:25", "probed:400"]) {
        let spec: ChooserSpec = format!("tiered > preferred > {name}").parse().expect("a name");
        let chooser = spec.chooser(&ports).expect("the port that it needs");
        let balancer = table.balancer(spec.filters(), chooser);
        let mut entropy = Entropy::seeded(1);
        // The first pin of a thread registers it with the epoch.
        calls(&balancer, &mut entropy, 10);
        let allocated = measure(|| calls(&balancer, &mut entropy, 10_000));
        assert_eq!(allocated.count_total, 0, "{name}");
    }
}
