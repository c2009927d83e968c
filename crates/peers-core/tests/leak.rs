//! What changing leaves behind: a process of its own, so that nobody else counts.

#[path = "made_up/peer.rs"]
mod made_up;

use std::collections::VecDeque;

use peers_core::{Filters, PeerTable, PeerUpdate, PickCx, Random, Tick};

use made_up::peer;

#[test]
fn a_million_publishes_with_leases_held_leave_nothing_behind() {
    const PUBLISHES: usize = 1_000_000;
    let table = PeerTable::default();
    let balancer = table.balancer(Filters::none(), Random);
    let peer = peer(0);
    let mut leases = VecDeque::new();
    let mut churn = |publishes: usize| {
        for _ in 0..publishes / 2 {
            table.apply(Tick::ZERO, PeerUpdate::Upsert(peer.clone()));
            leases.push_back(balancer.acquire(&PickCx::at(Tick::ZERO)).expect("just added"));
            table.apply(Tick::ZERO, PeerUpdate::Remove(peer.id.clone()));
            if leases.len() > 64 {
                leases.pop_front();
            }
        }
        resident_kib()
    };
    let before = churn(PUBLISHES / 20);
    let grown_kib = churn(PUBLISHES).saturating_sub(before);
    assert!(grown_kib < 16 * 1024, "grew by {grown_kib} KiB");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
