//! A balancer's deputy picks as the balancer does.

use peers_core::{Adaptive, Chooser, Entropy, Filters, Peer, PeerUpdate, PickCx, PickError, TableOptions};
use peers_core::{LocalBalancer, Random, TwoRandom};

use crate::support::{at, id, labelled, number, numbered, table_of};

fn cx() -> PickCx<'static> {
    PickCx::at(at(0))
}

/// Picks with a balancer and its deputy from one seed, while the table changes, and demands the same picks.
#[track_caller]
fn check_alike<C: Chooser>(chooser: C) {
    let table = table_of(6, TableOptions::default());
    let balancer = table.balancer(Filters::none(), chooser);
    let mut entropy = Entropy::seeded(7);
    let mut local = balancer.local(Entropy::seeded(7));
    let mut expect_alike = || {
        for _ in 0..200 {
            let by_balancer = balancer.acquire_with(&cx(), &mut entropy).map(|lease| lease.key());
            let by_deputy = local.acquire(&cx()).map(|lease| lease.key());
            assert_eq!(by_deputy, by_balancer);
        }
        assert_eq!(local.version(), table.version());
    };
    expect_alike();
    table.apply(at(0), PeerUpdate::Upsert(labelled("node-000", &[("peer.lifecycle", "draining")])));
    expect_alike();
    table.handle(&id("node-001")).expect("known").isolate();
    expect_alike();
    table.apply(at(0), PeerUpdate::Remove(id("node-002")));
    table.apply(at(0), PeerUpdate::Upsert(numbered(9)));
    expect_alike();
}

#[test]
fn a_deputy_picks_what_its_balancer_would_through_every_change() {
    check_alike(Random);
    check_alike(TwoRandom::default());
    check_alike(Adaptive);
}

#[test]
fn a_deputy_sees_a_removal_before_its_next_pick() {
    let table = table_of(2, TableOptions::default());
    let mut local: LocalBalancer<Random> = table.balancer(Filters::none(), Random).local(Entropy::seeded(1));
    table.apply(at(0), PeerUpdate::Remove(id("node-000")));
    let picked = (0..50).map(|_| number(local.acquire(&cx()).expect("one is left").id()));
    assert!(picked.into_iter().all(|n| n == 1));
    let cordoned = Peer { cordoned: true, ..numbered(1) };
    table.apply(at(0), PeerUpdate::Upsert(cordoned));
    assert_eq!(local.acquire(&cx()).err(), Some(PickError::NoneAvailable { retry_at: None }));
}

#[test]
fn a_deputy_has_no_peers_once_the_table_is_dropped() {
    let table = table_of(2, TableOptions::default());
    let mut local = table.balancer(Filters::none(), Random).local(Entropy::seeded(1));
    let lease = local.acquire(&cx()).expect("usable");
    drop(table);
    assert_eq!(local.acquire(&cx()).err(), Some(PickError::NoPeers));
    assert!(number(lease.id()) < 2, "a lease outlives its table");
}
