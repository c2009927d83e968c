//! Leases: what is pending, and what a lease leaves behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use peers_core::{
    Balancer, BreakerOptions, BreakerState, Filters, Outcome, PeerTable, PeerUpdate, PickCx, PickError, Random,
    TableOptions,
};

use crate::support::{at, id, table_of};

fn one_peer(options: TableOptions) -> (PeerTable, Balancer<Random>) {
    let table = table_of(1, options);
    let balancer = table.balancer(Filters::none(), Random);
    (table, balancer)
}

fn pending(table: &PeerTable) -> u32 {
    table.handle(&id("node-000")).map_or(0, |handle| handle.pending())
}

#[test]
fn a_lease_is_pending_until_its_report_or_its_drop() {
    let (table, balancer) = one_peer(TableOptions::default());
    let lease = || balancer.acquire(&PickCx::at(at(0))).expect("a peer");
    let (first, second) = (lease(), lease());
    assert_eq!(pending(&table), 2);
    first.report(at(1), Outcome::Success);
    assert_eq!(pending(&table), 1);
    drop(second);
    assert_eq!(pending(&table), 0);
    assert_eq!(table.handle(&id("node-000")).map(|handle| handle.picks()), Some(2));
}

#[test]
fn a_panic_and_an_aborted_thread_give_their_leases_back() {
    let (table, balancer) = one_peer(TableOptions::default());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _lease = balancer.acquire(&PickCx::at(at(0))).expect("a peer");
        panic!("the call's own code fails");
    }));
    assert!(panicked.is_err());
    assert_eq!(pending(&table), 0);

    let (started, wait_until_started) = mpsc::channel();
    let (abort, aborted) = mpsc::channel::<()>();
    let caller = balancer.clone();
    let task = thread::spawn(move || {
        let _lease = caller.acquire(&PickCx::at(at(0))).expect("a peer");
        started.send(()).expect("the test waits");
        aborted.recv()
    });
    wait_until_started.recv().expect("the task starts");
    assert_eq!(pending(&table), 1);
    drop(abort);
    let ended = task.join().expect("it ends");
    assert_eq!((ended, pending(&table)), (Err(mpsc::RecvError), 0));
}

#[test]
fn a_lease_outlives_its_peer_its_balancer_and_its_table() {
    let (table, balancer) = one_peer(TableOptions::default());
    let lease = balancer.acquire(&PickCx::at(at(0))).expect("a peer");
    let handle = table.handle(&id("node-000")).expect("known");
    table.apply(at(1), PeerUpdate::Remove(id("node-000")));
    assert!(balancer.acquire(&PickCx::at(at(1))).is_err());
    drop(table);
    assert_eq!(balancer.acquire(&PickCx::at(at(1))).err(), Some(PickError::NoPeers));
    drop(balancer);
    assert_eq!((lease.id(), handle.pending()), (&id("node-000"), 1));
    thread::spawn(move || lease.report(at(2), Outcome::Failure)).join().expect("reports");
    assert_eq!(handle.pending(), 0);
}

#[test]
fn a_lease_without_a_report_is_neutral_or_by_parity_a_failure() {
    let after_drops = |breaker: BreakerOptions| {
        let (table, balancer) = one_peer(TableOptions { breaker, ..TableOptions::default() });
        for ms in 0..100 {
            drop(balancer.acquire(&PickCx::at(at(ms))));
        }
        table.handle(&id("node-000")).map(|handle| handle.breaker())
    };
    assert_eq!(after_drops(BreakerOptions::default()), Some(BreakerState::Closed));
    assert_eq!(after_drops(BreakerOptions::parity()), Some(BreakerState::Open));
}

#[test]
fn a_busy_peer_is_not_leased() {
    let (_table, balancer) = one_peer(TableOptions { max_pending: 2, ..TableOptions::default() });
    let leases: Vec<_> = (0..3).map(|_| balancer.acquire(&PickCx::at(at(0)))).collect();
    assert_eq!(leases.iter().filter(|lease| lease.is_ok()).count(), 2);
}
