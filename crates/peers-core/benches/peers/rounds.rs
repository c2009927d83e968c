//! Taking turns.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::contest::{Contest, Turn};

/// Time of one operation by the contests' own clock, in nanoseconds: odd, so that no bit of a time stands still.
pub(crate) const STEP_NS: u64 = 1_009;

/// How seriously to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Measure,
    /// Just enough to see that everything runs.
    Try,
}

impl Effort {
    const fn rounds(self) -> usize {
        match self {
            Self::Measure => 101,
            Self::Try => 1,
        }
    }

    const fn operations(self, contest: &Contest<'_>) -> u64 {
        match self {
            Self::Measure => contest.operations,
            Self::Try => contest.operations / 100 + 1,
        }
    }
}

/// Lets all contests run once a round, each on `threads` threads, and returns for each what an operation took in each
/// round, in nanoseconds.
pub(crate) fn take_turns(contests: &[Contest<'_>], threads: usize, effort: Effort) -> Vec<Vec<f64>> {
    let mut taken = vec![Vec::with_capacity(effort.rounds()); contests.len()];
    for round in 0..effort.rounds() {
        // Another one starts each round, so that nobody always comes after the same neighbour.
        let first = round % contests.len();
        let order = contests.iter().enumerate().cycle().skip(first).take(contests.len());
        for (index, contest) in order {
            let nanos = nanos_each(contest, round as u64, threads, effort.operations(contest));
            taken[index].push(nanos);
        }
    }
    taken
}

/// Returns what an operation took on the slowest of the threads.
fn nanos_each(contest: &Contest<'_>, round: u64, threads: usize, operations: u64) -> f64 {
    let arrived = AtomicUsize::new(0);
    let timed = |thread: usize| {
        let mut turn = Turn {
            operations: operations / 10 + 1,
            seed: round * 64 + thread as u64,
            start_ns: round * 2 * contest.operations * STEP_NS,
        };
        // Brings back what the others have pushed out of the caches, and whatever a thread needs once.
        (contest.operate)(turn);
        turn.start_ns += turn.operations * STEP_NS;
        turn.operations = operations;
        // A barrier that sleeps would let the first one run alone for a while.
        arrived.fetch_add(1, Ordering::AcqRel);
        while arrived.load(Ordering::Acquire) < threads {
            spin_loop();
            thread::yield_now();
        }
        let start = Instant::now();
        (contest.operate)(turn);
        start.elapsed().as_nanos() as f64 / operations as f64
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || timed(thread))).collect();
        let mine = timed(0);
        others.into_iter().map(|other| other.join().expect("a contest does not panic")).fold(mine, f64::max)
    })
}
