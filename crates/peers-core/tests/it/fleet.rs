//! Tables that learn from each other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_types::NodeId;
use peers_core::{
    BreakerOptions, BreakerState, Calls, Filters, Fleet, Jitter, Outcome, OutcomeObserver, PeerTable, PeerUpdate,
    PickCx, PickFirst, RoundRobin, TableOptions, Tick,
};

use crate::support::{at, id, numbered};

/// Writes down what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<(String, Outcome)>>);

impl OutcomeObserver for Notes {
    fn observe(&self, peer: &NodeId, _now: Tick, _took: Duration, outcome: Outcome) {
        self.0.lock().expect("nobody panics with it").push((peer.to_string(), outcome));
    }
}

fn options() -> TableOptions {
    let breaker = BreakerOptions { consecutive_failures: 3, jitter: Jitter::None, ..BreakerOptions::default() };
    TableOptions { breaker, ..TableOptions::default() }
}

/// Adds a table of `count` peers.
fn table(fleet: &Fleet, count: usize) -> Arc<PeerTable> {
    let table = fleet.table(options());
    table.apply(Tick::ZERO, PeerUpdate::Reset((0..count).map(numbered).collect()));
    table
}

/// Tells `table` that a call to its first peer ended so.
fn call(table: &PeerTable, ms: u64, outcome: Outcome) {
    table.observe(&id("node-000"), at(ms), Duration::from_millis(2), outcome);
}

fn breaker(table: &PeerTable) -> BreakerState {
    table.handle(&id("node-000")).expect("a peer").breaker()
}

/// Calls its first peer so often in a row, and returns its breaker in another table of the fleet.
#[track_caller]
fn seen_elsewhere(outcomes: &[Outcome]) -> BreakerState {
    let fleet = Fleet::default();
    let [one, other] = [table(&fleet, 3), table(&fleet, 3)];
    outcomes.iter().for_each(|outcome| call(&one, 0, *outcome));
    breaker(&other)
}

#[test]
fn a_peer_that_one_table_does_not_reach_is_kept_out_of_all() {
    let lost = Outcome::Unreachable;
    assert_eq!(seen_elsewhere(&[lost; 2]), BreakerState::Closed);
    assert_eq!(seen_elsewhere(&[lost; 3]), BreakerState::Open);
    assert_eq!(seen_elsewhere(&[lost, lost, Outcome::Success, lost, lost]), BreakerState::Closed);
    assert_eq!(seen_elsewhere(&[lost, lost, Outcome::Failure, lost]), BreakerState::Open);
}

#[test]
fn what_a_peer_answers_in_one_table_is_held_against_it_in_no_other() {
    for outcome in [Outcome::Failure, Outcome::Overloaded { retry_after: None }, Outcome::AppError, Outcome::Cancelled]
    {
        assert_eq!(seen_elsewhere(&[outcome; 30]), BreakerState::Closed, "{outcome:?}");
    }
}

#[test]
fn tables_of_other_fleets_and_of_none_learn_nothing() {
    let [one, stranger] = [(); 2].map(|()| table(&Fleet::default(), 3));
    let alone = PeerTable::new(options());
    alone.apply(Tick::ZERO, PeerUpdate::Reset(vec![numbered(0), numbered(1)]));
    (0..3).for_each(|_| call(&one, 0, Outcome::Unreachable));
    let seen = [&*one, &*stranger, &alone].map(breaker);
    assert_eq!(seen, [BreakerState::Open, BreakerState::Closed, BreakerState::Closed]);
}

#[test]
fn the_only_peer_of_a_table_stays_in_whatever_others_say() {
    let fleet = Fleet::default();
    let [one, lone] = [table(&fleet, 3), table(&fleet, 1)];
    (0..3).for_each(|_| call(&one, 0, Outcome::Unreachable));
    assert_eq!((breaker(&one), breaker(&lone)), (BreakerState::Open, BreakerState::Closed));
}

#[test]
fn a_table_whose_only_peer_stays_in_tells_the_others_that_it_is_not_reached() {
    let fleet = Fleet::default();
    let [lone, other] = [table(&fleet, 1), table(&fleet, 3)];
    (0..3).for_each(|_| call(&lone, 0, Outcome::Unreachable));
    assert_eq!((breaker(&lone), breaker(&other)), (BreakerState::Closed, BreakerState::Open));
}

/// Calls the first peer by way of a lease.
fn probe(table: &PeerTable, ms: u64, outcome: Outcome) {
    let balancer = table.balancer(Filters::none(), RoundRobin::default());
    let mut leases = std::iter::repeat_with(|| balancer.acquire(&PickCx::at(at(ms))).expect("somebody"));
    let lease = leases.find(|lease| *lease.id() == id("node-000")).expect("it comes to its turn");
    lease.report(at(ms + 1), outcome);
}

#[test]
fn each_table_tries_a_lost_peer_for_itself_and_tells_of_it_once() {
    let fleet = Fleet::default();
    let [one, other] = [table(&fleet, 2), table(&fleet, 2)];
    (0..3).for_each(|_| call(&one, 0, Outcome::Unreachable));
    [1_000, 1_100].into_iter().for_each(|ms| probe(&other, ms, Outcome::Success));
    assert_eq!((breaker(&one), breaker(&other)), (BreakerState::Open, BreakerState::Closed));
    // That it is still not reached from there is no news.
    probe(&one, 1_200, Outcome::Unreachable);
    assert_eq!((breaker(&one), breaker(&other)), (BreakerState::Open, BreakerState::Closed));
}

#[test]
fn whoever_watches_hears_of_calls_that_do_not_arrive_and_of_the_first_that_does() {
    let notes = Arc::new(Notes::default());
    let fleet = Fleet::watched(Arc::clone(&notes) as _);
    let table = table(&fleet, 3);
    let lost = Outcome::Unreachable;
    let well = Outcome::Success;
    for outcome in [well, Outcome::Failure, well, lost, lost, well, well, lost] {
        call(&table, 0, outcome);
    }
    let told: Vec<_> = notes.0.lock().expect("nobody panics with it").clone();
    let of = |outcome| ("node-000".to_owned(), outcome);
    assert_eq!(told, [of(lost), of(lost), of(Outcome::Success), of(lost)]);
}

#[test]
fn calls_are_summed_up_over_the_tables_that_are_left() {
    let fleet = Fleet::default();
    let [one, other] = [table(&fleet, 2), table(&fleet, 1)];
    let dropped = table(&fleet, 4);
    for table in [&one, &other] {
        let balancer = table.balancer(Filters::none(), PickFirst::default());
        let lease = || balancer.acquire(&PickCx::at(at(0))).expect("a peer");
        let name = lease().id().clone();
        lease().report(at(5), Outcome::Success);
        lease().report(at(5), Outcome::Unreachable);
        lease().report(at(5), Outcome::Failure);
        assert!(table.handle(&name).is_some());
    }
    drop(dropped);
    let calls = fleet.calls(at(5));
    assert_eq!(calls.len(), 2);
    let sum = |of: fn(&Calls) -> u64| calls.values().map(of).sum::<u64>();
    let ended = [sum(|peer| peer.successes), sum(|peer| peer.failures), sum(|peer| peer.unreachable)];
    assert_eq!((ended, sum(|peer| peer.cancelled), sum(|peer| peer.inflight)), ([2, 4, 2], 2, 0));
    assert!(calls.values().any(|peer| peer.latency > Duration::ZERO));
    assert_eq!(fleet.tables().len(), 2);
}
