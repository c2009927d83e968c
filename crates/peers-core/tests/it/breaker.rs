//! Breakers, through leases.

use std::time::Duration;

use peers_core::{
    Balancer, BreakerOptions, BreakerState, Filters, Jitter, Outcome, PeerHandle, PeerLease, PeerTable, PeerUpdate,
    PickCx, PickError, Rails, Random, RoundRobin, TableOptions,
};
use proptest::prelude::*;

use crate::support::{at, id, numbered, table_of};

/// One peer whose breaker the rails leave alone.
struct Lone {
    table: PeerTable,
    balancer: Balancer<Random>,
    handle: PeerHandle,
}

impl Lone {
    fn new(mut breaker: BreakerOptions) -> Self {
        breaker.rails = Rails::OFF;
        let table = table_of(1, TableOptions { breaker, ..TableOptions::default() });
        let balancer = table.balancer(Filters::none(), Random);
        let handle = table.handle(&id("node-000")).expect("known");
        Self { table, balancer, handle }
    }

    fn acquire(&self, ms: u64) -> Result<PeerLease, PickError> {
        self.balancer.acquire(&PickCx::at(at(ms)))
    }

    #[track_caller]
    fn call(&self, ms: u64, outcome: Outcome) {
        self.acquire(ms).expect("admitted").report(at(ms), outcome);
    }

    #[track_caller]
    fn check(&self, ms: u64, state: BreakerState, retry_ms: Option<u64>) {
        assert_eq!(self.handle.breaker(), state, "at {ms} ms");
        let refused = Some(PickError::NoneAvailable { retry_at: retry_ms.map(at) });
        assert_eq!(self.acquire(ms).err(), if retry_ms.is_some() { refused } else { None }, "at {ms} ms");
    }
}

fn exact() -> BreakerOptions {
    BreakerOptions { jitter: Jitter::None, slow_start: Duration::ZERO, ..BreakerOptions::default() }
}

#[test]
fn parity_suspends_for_a_time_that_doubles_up_to_its_limit_and_recovers_by_time_alone() {
    let lone = Lone::new(BreakerOptions::parity());
    let mut now = 0;
    for suspension in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
        lone.call(now, Outcome::Failure);
        lone.check(now + suspension - 1, BreakerState::Open, Some(now + suspension));
        // Nothing has happened meanwhile: no update, no success, no timer.
        now += suspension;
    }
    lone.call(now, Outcome::Success);
    assert_eq!(lone.handle.breaker(), BreakerState::Closed);
    lone.call(now, Outcome::Failure);
    lone.check(now + 99, BreakerState::Open, Some(now + 100));
}

#[test]
fn a_probe_that_is_cancelled_or_lost_does_not_block_the_peer() {
    let lone = Lone::new(BreakerOptions::parity());
    lone.call(0, Outcome::Failure);
    lone.call(100, Outcome::Cancelled);
    let lost = lone.acquire(100).expect("its permit came back");
    lone.check(101, BreakerState::HalfOpen, Some(10_100));
    lone.call(10_100, Outcome::Success);
    assert_eq!(lone.handle.breaker(), BreakerState::Closed);
    lost.report(at(10_101), Outcome::Failure);
    assert_eq!(lone.handle.breaker(), BreakerState::Closed, "a lost probe came back");
}

#[test]
fn answers_of_calls_from_before_the_trip_move_nothing() {
    let lone = Lone::new(exact());
    let [early, late] = [0, 0].map(|ms| lone.acquire(ms).expect("closed"));
    for ms in 1..=5 {
        lone.call(ms, Outcome::Failure);
    }
    early.report(at(6), Outcome::Success);
    lone.check(7, BreakerState::Open, Some(1_005));
    let probe = lone.acquire(1_005).expect("a probe");
    late.report(at(1_006), Outcome::Failure);
    assert_eq!(lone.handle.breaker(), BreakerState::HalfOpen);
    probe.report(at(1_007), Outcome::Success);
    lone.call(1_008, Outcome::Success);
    assert_eq!(lone.handle.breaker(), BreakerState::Closed);
}

#[test]
fn five_failures_in_a_row_open_it_and_a_success_between_them_starts_the_count_anew() {
    let lone = Lone::new(BreakerOptions { failure_percent: 0, ..exact() });
    for outcome in [[Outcome::Failure; 4].as_slice(), &[Outcome::Success], &[Outcome::Failure; 4]].concat() {
        lone.call(0, outcome);
    }
    assert_eq!(lone.handle.breaker(), BreakerState::Closed);
    lone.call(0, Outcome::Failure);
    assert_eq!(lone.handle.breaker(), BreakerState::Open);
}

#[test]
fn half_of_twenty_calls_in_ten_seconds_open_it_and_overload_counts_there_only() {
    let overloaded = Outcome::Overloaded { retry_after: None };
    let after = |calls: u64, apart_ms: u64| {
        let lone = Lone::new(exact());
        for call in 0..calls {
            lone.call(call * apart_ms, if call % 2 == 0 { Outcome::Success } else { overloaded });
        }
        lone.handle.breaker()
    };
    assert_eq!(after(19, 10), BreakerState::Closed);
    assert_eq!(after(20, 10), BreakerState::Open);
    assert_eq!(after(40, 1_000), BreakerState::Closed, "ten seconds never hold twenty");

    let lone = Lone::new(BreakerOptions { failure_percent: 0, ..exact() });
    for _ in 0..100 {
        lone.call(0, overloaded);
    }
    assert_eq!(lone.handle.breaker(), BreakerState::Closed, "overload is no hard failure");
}

#[test]
fn what_opened_it_is_forgotten_once_it_closes() {
    let lone = Lone::new(exact());
    for call in 0..30 {
        lone.call(0, if call < 15 { Outcome::Success } else { Outcome::Overloaded { retry_after: None } });
    }
    assert_eq!(lone.handle.breaker(), BreakerState::Open);
    lone.call(1_000, Outcome::Success);
    lone.call(1_001, Outcome::Success);
    lone.call(1_002, Outcome::Failure);
    assert_eq!(lone.handle.breaker(), BreakerState::Closed);
}

#[test]
fn quiet_time_forgets_one_doubling_at_a_time_and_a_success_none() {
    let lone = Lone::new(BreakerOptions { half_open_successes: 1, ..exact() });
    let trip = |ms: u64| (0..5).for_each(|_| lone.call(ms, Outcome::Failure));
    trip(0);
    lone.check(999, BreakerState::Open, Some(1_000));
    lone.call(1_000, Outcome::Success);
    trip(1_000);
    lone.check(2_999, BreakerState::Open, Some(3_000));
    lone.call(3_000, Outcome::Success);
    trip(33_000);
    lone.check(34_999, BreakerState::Open, Some(35_000));
}

#[test]
fn jitter_shortens_the_open_time_by_up_to_a_half_and_differs_by_peer() {
    let breaker = BreakerOptions { rails: Rails::OFF, ..BreakerOptions::default() };
    let table = table_of(16, TableOptions { breaker, ..TableOptions::default() });
    let balancer = table.balancer(Filters::none(), RoundRobin::default());
    for _ in 0..80 {
        balancer.acquire(&PickCx::at(at(0))).expect("closed").report(at(0), Outcome::Failure);
    }
    // Held, so that each peer's one probe is given once.
    let probes = |ms: u64| -> Vec<_> { (0..16).filter_map(|_| balancer.acquire(&PickCx::at(at(ms))).ok()).collect() };
    assert_eq!(probes(499).len(), 0);
    let half_way = probes(750);
    assert!((1..16).contains(&half_way.len()), "{} of 16 at half the spread", half_way.len());
    assert_eq!(half_way.len() + probes(1_000).len(), 16);
}

#[test]
fn the_rails_keep_peers_in_and_panic_uses_them_all() {
    let rails = Rails { max_ejected_percent: 100, ..Rails::default() };
    let breaker = BreakerOptions { rails, ..exact() };
    let table = table_of(3, TableOptions { breaker, ..TableOptions::default() });
    let balancer = table.balancer(Filters::none(), RoundRobin::default());
    for ms in 0..60 {
        balancer.acquire(&PickCx::at(at(ms))).expect("somebody").report(at(ms), Outcome::Failure);
    }
    let states: Vec<_> = (0..3)
        .map(|n| table.handle(&numbered(n).id).expect("known").breaker())
        .map(|state| usize::from(state == BreakerState::Open))
        .collect();
    assert_eq!(states.iter().sum::<usize>(), 2, "the last one stays: {states:?}");
    // One of three is fewer than half: nobody believes the breakers any more.
    let mut picked = crate::support::picks(&balancer, &PickCx::at(at(61)), 30);
    picked.sort_unstable();
    picked.dedup();
    assert_eq!(picked, [0, 1, 2]);
}

#[test]
fn a_removed_peer_no_longer_counts_as_out() {
    let table = table_of(4, TableOptions { breaker: exact(), ..TableOptions::default() });
    let trip = |n: usize| {
        let handle = table.handle(&numbered(n).id).expect("known");
        (0..5).for_each(|_| handle.observe(at(0), Duration::ZERO, Outcome::Failure));
        handle.breaker()
    };
    assert_eq!((trip(0), trip(1)), (BreakerState::Open, BreakerState::Closed), "one of four may be out");
    table.apply(at(1), PeerUpdate::Remove(numbered(0).id));
    assert_eq!(trip(1), BreakerState::Open);
}

#[test]
fn a_new_process_starts_with_a_clean_record_unless_an_operator_isolated_it() {
    let next_life = |n: usize| {
        let peer = numbered(n);
        peers_core::Peer { generation: peer.generation.next(), ..peer }
    };
    let lone = Lone::new(exact());
    let old = lone.acquire(0).expect("closed");
    (0..5).for_each(|_| lone.call(0, Outcome::Failure));
    lone.table.apply(at(1), PeerUpdate::Upsert(next_life(0)));
    assert_eq!(lone.handle.breaker(), BreakerState::Closed);
    assert_eq!(lone.handle.pending(), 1, "what was pending is pending");
    drop(old);

    lone.handle.isolate();
    let third = peers_core::Peer { generation: next_life(0).generation.next(), ..numbered(0) };
    lone.table.apply(at(2), PeerUpdate::Upsert(third));
    assert_eq!(lone.handle.breaker(), BreakerState::Isolated);
}

#[test]
fn a_peer_that_closes_again_gets_its_share_little_by_little() {
    let breaker = BreakerOptions { slow_start: Duration::from_secs(10), rails: Rails::OFF, ..exact() };
    let table = table_of(2, TableOptions { breaker, ..TableOptions::default() });
    let handle = table.handle(&numbered(0).id).expect("known");
    handle.isolate();
    handle.restore(at(1_000));
    let balancer = table.balancer(Filters::none(), Random);
    let share = |ms| {
        let picked = crate::support::picks(&balancer, &PickCx::at(at(ms)), 2_000);
        picked.iter().filter(|n| **n == 0).count()
    };
    // A tenth of a half, and what chance gives back to it when it draws itself four times.
    assert!((100..300).contains(&share(1_000)), "{}", share(1_000));
    assert!((500..900).contains(&share(6_000)), "{}", share(6_000));
    assert!((900..1_100).contains(&share(11_000)), "{}", share(11_000));
}

#[test]
fn a_peer_that_asks_to_be_left_alone_is() {
    let lone = Lone::new(exact());
    lone.call(0, Outcome::Overloaded { retry_after: Some(Duration::from_secs(2)) });
    assert_eq!(lone.acquire(1_999).err(), Some(PickError::AllBusy));
    assert!(lone.acquire(2_000).is_ok());
}

/// What the breaker of a lone peer is to do, written the slow and plain way.
#[derive(Debug, Default)]
struct Model {
    state: Option<ModelState>,
    streak: u32,
    trips: u32,
    calls: Vec<(u64, bool)>,
    life: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum ModelState {
    Open { until: u64 },
    HalfOpen { successes: u32, probes: Vec<usize>, lost_at: u64 },
}

#[derive(Debug, Clone)]
enum Act {
    Wait(u64),
    Acquire,
    End { which: usize, how: usize },
}

const OUTCOMES: [Outcome; 5] = [
    Outcome::Success,
    Outcome::Failure,
    Outcome::Unreachable,
    Outcome::Overloaded { retry_after: None },
    Outcome::Cancelled,
];

impl Model {
    fn acquire(&mut self, now: u64, lease: usize) -> Option<u64> {
        match &mut self.state {
            None => {}
            Some(ModelState::Open { until }) if now < *until => return None,
            Some(ModelState::HalfOpen { probes, lost_at, .. }) if !probes.is_empty() && now < *lost_at => return None,
            Some(ModelState::HalfOpen { probes, lost_at, .. }) => {
                self.life += u64::from(!probes.is_empty());
                *probes = vec![lease];
                *lost_at = now + 10_000;
            }
            open => {
                self.life += 1;
                *open = Some(ModelState::HalfOpen { successes: 0, probes: vec![lease], lost_at: now + 10_000 });
            }
        }
        Some(self.life)
    }

    fn end(&mut self, now: u64, lease: usize, life: u64, outcome: Outcome) {
        let is_failure = match outcome {
            Outcome::Success => Some(false),
            Outcome::Failure | Outcome::Unreachable | Outcome::Overloaded { .. } => Some(true),
            Outcome::AppError | Outcome::Cancelled => None,
        };
        self.calls.extend(is_failure.map(|failed| (now / 1_000, failed)));
        if life != self.life {
            return;
        }
        let is_ratio = self.ratio(now);
        match (&mut self.state, outcome) {
            (None, Outcome::Success) => self.streak = 0,
            (None, Outcome::Failure | Outcome::Unreachable) => {
                self.streak += 1;
                if self.streak >= 5 || is_ratio {
                    self.open(now);
                }
            }
            (None, Outcome::Overloaded { .. }) if is_ratio => self.open(now),
            (Some(ModelState::HalfOpen { successes, probes, .. }), Outcome::Success) => {
                probes.retain(|probe| *probe != lease);
                *successes += 1;
                if *successes == 2 {
                    (self.state, self.streak, self.life) = (None, 0, self.life + 1);
                    self.calls.clear();
                }
            }
            (Some(ModelState::HalfOpen { .. }), Outcome::Failure | Outcome::Unreachable) => self.open(now),
            (Some(ModelState::HalfOpen { probes, .. }), _) => probes.retain(|probe| *probe != lease),
            _ => {}
        }
    }

    fn open(&mut self, now: u64) {
        self.state = Some(ModelState::Open { until: now + (1_000 << self.trips.min(10)).min(30_000) });
        (self.trips, self.life) = (self.trips + 1, self.life + 1);
    }

    fn ratio(&self, now: u64) -> bool {
        let recent: Vec<bool> =
            self.calls.iter().filter(|(second, _)| now / 1_000 - second < 10).map(|(_, failed)| *failed).collect();
        let failed = recent.iter().filter(|failed| **failed).count();
        recent.len() >= 20 && failed * 2 >= recent.len()
    }

    fn name(&self) -> BreakerState {
        match self.state {
            None => BreakerState::Closed,
            Some(ModelState::Open { .. }) => BreakerState::Open,
            Some(ModelState::HalfOpen { .. }) => BreakerState::HalfOpen,
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => (1_u64..4_000).prop_map(Act::Wait),
        4 => Just(Act::Acquire),
        4 => (0_usize..8, 0_usize..OUTCOMES.len()).prop_map(|(which, how)| Act::End { which, how }),
    ]
}

proptest! {
    #[test]
    fn a_breaker_does_what_its_model_does(acts in prop::collection::vec(act(), 1..400)) {
        // Doublings stay, which the model can count; what forgets them has a test of its own.
        let lone = Lone::new(BreakerOptions { forget_after: Duration::from_secs(1 << 30), ..exact() });
        let mut model = Model::default();
        let mut leases = Vec::new();
        let mut now = 0;
        for (step, act) in acts.into_iter().enumerate() {
            match act {
                Act::Wait(ms) => now += ms,
                Act::Acquire => {
                    let expected = model.acquire(now, step);
                    let lease = lone.acquire(now);
                    prop_assert_eq!(lease.is_ok(), expected.is_some(), "at {} ms: {:?}", now, model);
                    leases.extend(lease.ok().zip(expected).map(|(lease, life)| (lease, step, life)));
                }
                Act::End { which, how } if which < leases.len() => {
                    let (lease, number, life) = leases.swap_remove(which);
                    lease.report(at(now), OUTCOMES[how]);
                    model.end(now, number, life, OUTCOMES[how]);
                }
                Act::End { .. } => {}
            }
            prop_assert_eq!(lone.handle.breaker(), model.name(), "at {} ms: {:?}", now, model);
        }
    }
}
