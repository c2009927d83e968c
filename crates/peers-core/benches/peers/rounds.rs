//! Taking turns.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::contest::{Contest, Turn};

/// Time of one operation by the contests' own clock, in nanoseconds: odd, so that no bit of a time stands still.
pub(crate) const STEP_NS: u64 = 1_009;

/// Part of a turn for which all its threads have to run at once.
const TOGETHER_MIN: f64 = 0.8;
/// How often a turn is taken again in which they did not.
const AGAIN_MAX: usize = 20;

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
    let mut clock_ns = 0;
    for round in 0..effort.rounds() {
        // Another one starts each round, so that nobody always comes after the same neighbour.
        let first = round % contests.len();
        let order = contests.iter().enumerate().cycle().skip(first).take(contests.len());
        for (index, contest) in order {
            taken[index].push(nanos_each(contest, threads, effort.operations(contest), &mut clock_ns));
        }
    }
    taken
}

/// Returns what an operation took on the slowest of the threads, which ran side by side.
fn nanos_each(contest: &Contest<'_>, threads: usize, operations: u64, clock_ns: &mut u64) -> f64 {
    let mut times = time(contest, threads, operations, clock_ns);
    // Threads that the kernel of a busy machine ran one after the other say nothing about two at once. If it never does
    // otherwise, what they took has to do.
    for _ in 0..AGAIN_MAX {
        if together(&times) >= TOGETHER_MIN {
            break;
        }
        times = time(contest, threads, operations, clock_ns);
    }
    let slowest = times.iter().map(|(start, end)| (*end - *start).as_nanos()).max().unwrap_or(0);
    slowest as f64 / operations as f64
}

/// Returns for which part of the time from the first start to the last end all were running.
fn together(times: &[(Instant, Instant)]) -> f64 {
    let range = |edge: fn(&(Instant, Instant)) -> Instant| (times.iter().map(edge).min(), times.iter().map(edge).max());
    let (starts, ends) = (range(|time| time.0), range(|time| time.1));
    let ((Some(first), Some(last)), (Some(soonest), Some(latest))) = (starts, ends) else { return 1.0 };
    soonest.saturating_duration_since(last).as_secs_f64() / (latest - first).as_secs_f64()
}

/// Lets `threads` threads do the operations at the same time, and returns from when to when each of them did.
fn time(contest: &Contest<'_>, threads: usize, operations: u64, clock_ns: &mut u64) -> Vec<(Instant, Instant)> {
    let (warm_up, start_ns) = (operations / 10 + 1, *clock_ns);
    *clock_ns += (warm_up + operations) * STEP_NS;
    let arrived = AtomicUsize::new(0);
    let timed = |thread: usize| {
        let seed = start_ns + thread as u64;
        // Brings back what the others have pushed out of the caches, and whatever a thread needs once.
        (contest.operate)(Turn { operations: warm_up, seed, start_ns });
        // A barrier that sleeps would let the first one run alone for a while.
        arrived.fetch_add(1, Ordering::AcqRel);
        while arrived.load(Ordering::Acquire) < threads {
            spin_loop();
            thread::yield_now();
        }
        let start = Instant::now();
        (contest.operate)(Turn { operations, seed: !seed, start_ns: start_ns + warm_up * STEP_NS });
        (start, Instant::now())
    };
    thread::scope(|scope| {
        let timed = &timed;
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || timed(thread))).collect();
        let mine = timed(0);
        let others = others.into_iter().map(|other| other.join().expect("a contest does not panic"));
        std::iter::once(mine).chain(others).collect()
    })
}
