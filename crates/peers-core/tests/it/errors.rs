//! What callers are told when nobody can be had.

use peers_core::{Filters, Health, PeerTable, PeerUpdate, PickCx, PickError, Random, TableOptions};

use crate::support::{at, id, labelled, numbered, table_of};

#[track_caller]
fn check(error: &PickError, status: &str, message: &str) {
    assert_eq!((error.status(), error.to_string().as_str()), (status, message));
}

#[test]
fn every_outcome_has_the_status_and_the_words_that_callers_know() {
    check(&PickError::NoPeers, "unavailable", "No peers are registered for the requested service.");
    check(&PickError::AllBusy, "resource-exhausted", "All peers are busy.");
    check(&PickError::NoneAvailable { retry_at: None }, "resource-exhausted", "No peers are currently available.");
    check(&PickError::DeadlineExpired, "deadline-exceeded", "Peer acquisition deadline expired.");
}

#[test]
fn an_empty_table_has_no_peers() {
    let balancer = PeerTable::default().balancer(Filters::none(), Random);
    assert_eq!(balancer.acquire(&PickCx::at(at(0))).err(), Some(PickError::NoPeers));
}

#[test]
fn peers_that_take_no_work_are_none_available() {
    let table = PeerTable::default();
    let drained = [("peer.lifecycle", "draining")];
    let cordoned = [("peer.cordoned", "true")];
    table.apply(at(0), PeerUpdate::Reset(vec![labelled("node-a", &drained), labelled("node-b", &cordoned)]));
    let balancer = table.balancer(Filters::none(), Random);
    assert_eq!(balancer.acquire(&PickCx::at(at(0))).err(), Some(PickError::NoneAvailable { retry_at: None }));
}

#[test]
fn busy_or_excluded_peers_are_all_busy_and_past_the_deadline_it_has_expired() {
    let table = table_of(2, TableOptions { max_pending: 1, ..TableOptions::default() });
    let balancer = table.balancer(Filters::none(), Random);
    let held: Vec<_> = (0..2).map(|_| balancer.acquire(&PickCx::at(at(0))).expect("free")).collect();
    let acquire = |cx: &PickCx<'_>| balancer.acquire(cx).err();
    assert_eq!(acquire(&PickCx::at(at(0))), Some(PickError::AllBusy));
    let late = PickCx { deadline: Some(at(5)), ..PickCx::at(at(5)) };
    assert_eq!(acquire(&late), Some(PickError::DeadlineExpired));
    let keys: Vec<_> = held.iter().map(|lease| lease.key()).collect();
    drop(held);
    assert_eq!(acquire(&PickCx { exclude: &keys, ..PickCx::at(at(0)) }), Some(PickError::AllBusy));
    assert_eq!(acquire(&PickCx { exclude: &keys[..1], ..PickCx::at(at(0)) }), None);
}

#[test]
fn isolated_peers_are_none_available_until_restored() {
    let table = table_of(1, TableOptions::default());
    let balancer = table.balancer(Filters::none(), Random);
    let handle = table.handle(&id("node-000")).expect("known");
    handle.isolate();
    assert_eq!(balancer.acquire(&PickCx::at(at(0))).err(), Some(PickError::NoneAvailable { retry_at: None }));
    handle.restore(at(1));
    assert!(balancer.acquire(&PickCx::at(at(60_000))).is_ok());
}

#[test]
fn evidence_against_a_few_is_believed_and_against_most_is_not() {
    let with_unhealthy = |unhealthy: usize| {
        let peers = (0..4).map(|n| {
            let health = if n < unhealthy { Health::Unhealthy } else { Health::Healthy };
            peers_core::Peer { health, ..numbered(n) }
        });
        let table = PeerTable::default();
        table.apply(at(0), PeerUpdate::Reset(peers.collect()));
        let balancer = table.balancer(Filters::none(), Random);
        let mut picked = crate::support::picks(&balancer, &PickCx::at(at(0)), 200);
        picked.sort_unstable();
        picked.dedup();
        picked
    };
    assert_eq!(with_unhealthy(1), [1, 2, 3]);
    assert_eq!(with_unhealthy(2), [2, 3]);
    assert_eq!(with_unhealthy(3), [0, 1, 2, 3]);
}
