//! What picking costs, in units of the least it could: `cargo bench -p peers-core --bench peers`.
//!
//! The *floor* is one random number and one relaxed addition and subtraction on the word of a random peer. All
//! contestants take turns in short rounds, and each ratio is of medians of the same run, so that a slow machine is slow
//! for all of them.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

#[path = "../tests/made_up/peer.rs"]
mod made_up;

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use peers_core::{
    Adaptive, Balancer, Chooser, Entropy, FewestPending, Filters, Outcome, PeerTable, PeerUpdate, PickCx, Random,
    RoundRobin, TableOptions, Tick, TwoRandom, Weighted,
};

use made_up::peer;

const ROUNDS: usize = 41;
const OPERATIONS: u64 = 20_000;

/// A word on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Word(AtomicU64);

/// Something to measure: does so many operations.
type Contest<'a> = (&'static str, f64, Box<dyn Fn(u64) + Sync + 'a>);

fn main() {
    for threads in [1, 2] {
        for peers in [10, 100, 1_000] {
            compare(threads, peers);
        }
    }
}

fn compare(threads: usize, peers: usize) {
    let words: Vec<Word> = (0..peers).map(|_| Word::default()).collect();
    let table = PeerTable::new(TableOptions::default());
    table.apply(Tick::ZERO, PeerUpdate::Reset((0..peers).map(peer).collect()));
    let balancers = Balancers::of(&table);
    let contests = contests(&words, &table, &balancers, if threads == 1 { 2.0 } else { 2.1 });
    let mut taken: Vec<Vec<f64>> = vec![Vec::new(); contests.len()];
    for _ in 0..ROUNDS {
        for ((_, _, operate), rounds) in contests.iter().zip(&mut taken) {
            rounds.push(nanos_each(threads, operate));
        }
    }
    let medians: Vec<f64> = taken.iter_mut().map(|rounds| median(rounds)).collect();
    let floor = medians.first().copied().unwrap_or(f64::NAN);
    println!("{threads} thread(s), {peers} peers; floor {floor:.1} ns");
    for ((name, limit, _), median) in contests.iter().zip(&medians).skip(1) {
        let limit = if limit.is_finite() && peers >= 100 { format!("limit {limit:.1}") } else { String::new() };
        println!("  {name:34} {median:7.1} ns {:6.2}x floor  {limit}", median / floor);
    }
}

/// One balancer of each chooser.
struct Balancers {
    two_random: Balancer<TwoRandom>,
    adaptive: Balancer<Adaptive>,
    random: Balancer<Random>,
    round_robin: Balancer<RoundRobin>,
    weighted: Balancer<Weighted>,
    fewest: Balancer<FewestPending>,
    boxed: Balancer<Box<dyn Chooser>>,
}

impl Balancers {
    fn of(table: &PeerTable) -> Self {
        Self {
            two_random: table.balancer(Filters::none(), TwoRandom::default()),
            adaptive: table.balancer(Filters::none(), Adaptive),
            random: table.balancer(Filters::none(), Random),
            round_robin: table.balancer(Filters::none(), RoundRobin::default()),
            weighted: table.balancer(Filters::none(), Weighted),
            fewest: table.balancer(Filters::none(), FewestPending),
            boxed: table.balancer(Filters::none(), Box::<TwoRandom>::default()),
        }
    }
}

fn contests<'a>(words: &'a [Word], table: &'a PeerTable, balancers: &'a Balancers, limit: f64) -> Vec<Contest<'a>> {
    const NO_LIMIT: f64 = f64::INFINITY;
    vec![
        ("floor", NO_LIMIT, Box::new(|count| floor(words, count))),
        ("snapshot read alone", NO_LIMIT, Box::new(|count| (0..count).for_each(|_| read(table)))),
        ("two-random, pick + release", limit, Box::new(|count| pick(&balancers.two_random, count))),
        ("two-random, boxed", NO_LIMIT, Box::new(|count| pick(&balancers.boxed, count))),
        ("two-random, pick + report", NO_LIMIT, Box::new(|count| call(&balancers.two_random, count))),
        ("adaptive, pick + release", 4.5, Box::new(|count| pick(&balancers.adaptive, count))),
        ("adaptive, pick + report", NO_LIMIT, Box::new(|count| call(&balancers.adaptive, count))),
        ("random, pick + release", NO_LIMIT, Box::new(|count| pick(&balancers.random, count))),
        ("round-robin, pick + release", NO_LIMIT, Box::new(|count| pick(&balancers.round_robin, count))),
        ("weighted, pick + release", NO_LIMIT, Box::new(|count| pick(&balancers.weighted, count))),
        ("fewest-pending, pick + release", NO_LIMIT, Box::new(|count| pick(&balancers.fewest, count))),
    ]
}

fn floor(words: &[Word], count: u64) {
    let mut entropy = Entropy::seeded(thread_seed());
    for _ in 0..count {
        if let Some(word) = words.get(entropy.below(words.len())) {
            word.0.fetch_add(1, Ordering::Relaxed);
            black_box(word);
            word.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn read(table: &PeerTable) {
    black_box(table.version());
}

fn pick<C: Chooser>(balancer: &Balancer<C>, count: u64) {
    let mut entropy = Entropy::seeded(thread_seed());
    for n in 0..count {
        let now = Tick::from_nanos(n * 1_000);
        drop(black_box(balancer.acquire_with(&PickCx::at(now), &mut entropy)));
    }
}

fn call<C: Chooser>(balancer: &Balancer<C>, count: u64) {
    let mut entropy = Entropy::seeded(thread_seed());
    for n in 0..count {
        let now = Tick::from_nanos(n * 1_000);
        if let Ok(lease) = black_box(balancer.acquire_with(&PickCx::at(now), &mut entropy)) {
            lease.report(Tick::from_nanos(n * 1_000 + 1_300_000), Outcome::Success);
        }
    }
}

fn thread_seed() -> u64 {
    thread_local!(static SEED: u8 = const { 0 });
    SEED.with(|seed| std::ptr::from_ref(seed).addr() as u64)
}

fn nanos_each(threads: usize, operate: &(dyn Fn(u64) + Sync)) -> f64 {
    let barrier = Barrier::new(threads);
    let timed = || {
        barrier.wait();
        let start = Instant::now();
        operate(OPERATIONS);
        start.elapsed().as_nanos() as f64 / OPERATIONS as f64
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(timed)).collect();
        let mine = timed();
        others.into_iter().map(|other| other.join().unwrap_or(f64::NAN)).fold(mine, f64::max)
    })
}

fn median(taken: &mut [f64]) -> f64 {
    taken.sort_unstable_by(f64::total_cmp);
    taken.get(taken.len() / 2).copied().unwrap_or(f64::NAN)
}
