//! Our balancers, and the floor they stand on.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use peers_core::{
    Adaptive, Balancer, Chooser, Entropy, FewestPending, Filters, Outcome, PeerTable, PeerUpdate, PickCx, Random,
    RoundRobin, TableOptions, Tick, TwoRandom, Weighted,
};

use crate::Setting;
use crate::contest::{Bound, Contest, Turn};
use crate::made_up::peer;
use crate::rounds::STEP_NS;

/// One random number and one relaxed addition and subtraction on the word of a random peer: no pick can do less.
pub(crate) const FLOOR: &str = "floor";
pub(crate) const TWO_RANDOM_RELEASE: &str = "two-random, pick + release";
pub(crate) const TWO_RANDOM_REPORT: &str = "two-random, pick + report";
pub(crate) const ADAPTIVE_RELEASE: &str = "adaptive, pick + release";
pub(crate) const ADAPTIVE_REPORT: &str = "adaptive, pick + report";
pub(crate) const ADAPTIVE_CLOCKED: &str = "adaptive, pick + report by clock";

/// How long every call takes, by the contests' own clock.
const TOOK_NS: u64 = 1_300_003;

/// A word on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Word(AtomicU64);

/// One balancer of each chooser.
pub(crate) struct Ours {
    words: Vec<Word>,
    /// Dropped, they would leave their balancers without peers.
    _tables: [PeerTable; 2],
    two_random: Balancer<TwoRandom>,
    boxed: Balancer<Box<dyn Chooser>>,
    adaptive: Balancer<Adaptive>,
    random: Balancer<Random>,
    round_robin: Balancer<RoundRobin>,
    weighted: Balancer<Weighted>,
    fewest: Balancer<FewestPending>,
    /// Its peers are its own: they live by the system's clock, and the others by that of the rounds.
    clocked: Balancer<Adaptive>,
    started: Instant,
}

impl Ours {
    #[expect(clippy::disallowed_methods, reason = "one contest reads the clock as callers do")]
    pub(crate) fn new(peers: usize) -> Self {
        let tables = [(); 2].map(|()| PeerTable::new(TableOptions::default()));
        for table in &tables {
            table.apply(Tick::ZERO, PeerUpdate::Reset((0..peers).map(peer).collect()));
        }
        let [table, clocked] = &tables;
        Self {
            words: (0..peers).map(|_| Word::default()).collect(),
            two_random: table.balancer(Filters::none(), TwoRandom::default()),
            boxed: table.balancer(Filters::none(), Box::<TwoRandom>::default()),
            adaptive: table.balancer(Filters::none(), Adaptive),
            random: table.balancer(Filters::none(), Random),
            round_robin: table.balancer(Filters::none(), RoundRobin::default()),
            weighted: table.balancer(Filters::none(), Weighted),
            fewest: table.balancer(Filters::none(), FewestPending),
            clocked: clocked.balancer(Filters::none(), Adaptive),
            _tables: tables,
            started: Instant::now(),
        }
    }

    pub(crate) fn contests(&self, setting: Setting) -> Vec<Contest<'_>> {
        // Of fewer peers two threads often want the same one at once, and what is measured is how caches talk.
        let from_100 = |most: f64| if setting.peers >= 100 { Bound::AtMost(most) } else { Bound::None };
        let pick_at_most = from_100(if setting.threads == 1 { 2.0 } else { 2.1 });
        let none = Bound::None;
        vec![
            Contest::new(FLOOR, |turn| floor(&self.words, turn)),
            contest("snapshot read alone", none, |turn| read(&self.two_random, turn)),
            contest(TWO_RANDOM_RELEASE, pick_at_most, |turn| pick(&self.two_random, turn)),
            contest("two-random, boxed, pick + release", none, |turn| pick(&self.boxed, turn)),
            contest("two-random, deputy, pick + release", none, |turn| pick_locally(&self.two_random, turn)),
            contest(TWO_RANDOM_REPORT, none, |turn| call(&self.two_random, turn)),
            contest(ADAPTIVE_RELEASE, from_100(4.5), |turn| pick(&self.adaptive, turn)),
            contest(ADAPTIVE_REPORT, none, |turn| call(&self.adaptive, turn)),
            contest(ADAPTIVE_CLOCKED, none, |turn| call_by_clock(&self.clocked, self.started, turn)),
            contest("random, pick + release", none, |turn| pick(&self.random, turn)),
            contest("round-robin, pick + release", none, |turn| pick(&self.round_robin, turn)),
            contest("weighted, pick + release", none, |turn| pick(&self.weighted, turn)),
            contest("fewest-pending, pick + release", none, |turn| pick(&self.fewest, turn)),
        ]
    }
}

fn contest<'a>(name: &'static str, to_floor: Bound, operate: impl Fn(Turn) + Sync + 'a) -> Contest<'a> {
    Contest::new(name, operate).times(FLOOR, to_floor)
}

fn floor(words: &[Word], turn: Turn) {
    let mut entropy = Entropy::seeded(turn.seed);
    for _ in 0..turn.operations {
        if let Some(word) = words.get(entropy.below(words.len())) {
            word.0.fetch_add(1, Ordering::Relaxed);
            black_box(word);
            word.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn read<C: Chooser>(balancer: &Balancer<C>, turn: Turn) {
    for _ in 0..turn.operations {
        black_box(balancer.version());
    }
}

fn pick<C: Chooser>(balancer: &Balancer<C>, turn: Turn) {
    let mut entropy = Entropy::seeded(turn.seed);
    for n in 0..turn.operations {
        let now = Tick::from_nanos(turn.start_ns + n * STEP_NS);
        let lease = balancer.acquire_with(&PickCx::at(now), &mut entropy);
        // Seen where it is: moved, it would be copied once more, which the floor's word is not either.
        black_box(&lease);
        drop(lease);
    }
}

fn pick_locally<C: Chooser>(balancer: &Balancer<C>, turn: Turn) {
    let mut local = balancer.local(Entropy::seeded(turn.seed));
    for n in 0..turn.operations {
        let lease = local.acquire(&PickCx::at(Tick::from_nanos(turn.start_ns + n * STEP_NS)));
        black_box(&lease);
        drop(lease);
    }
}

fn call<C: Chooser>(balancer: &Balancer<C>, turn: Turn) {
    let mut entropy = Entropy::seeded(turn.seed);
    for n in 0..turn.operations {
        let now_ns = turn.start_ns + n * STEP_NS;
        let lease = balancer.acquire_with(&PickCx::at(Tick::from_nanos(now_ns)), &mut entropy);
        black_box(&lease);
        let lease = lease.expect("no breaker opens where all goes well");
        lease.report(Tick::from_nanos(now_ns + TOOK_NS), Outcome::Success);
    }
}

/// Calls with time from the clock: what is compared fairly with a balancer that reads it itself.
fn call_by_clock<C: Chooser>(balancer: &Balancer<C>, started: Instant, turn: Turn) {
    let mut entropy = Entropy::seeded(turn.seed);
    let now = || Tick::ZERO.after(started.elapsed());
    for _ in 0..turn.operations {
        let lease = balancer.acquire_with(&PickCx::at(now()), &mut entropy);
        black_box(&lease);
        lease.expect("no breaker opens where all goes well").report(now(), Outcome::Success);
    }
}
