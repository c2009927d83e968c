//! Taking turns.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contest::{Contest, Turn};

/// Time of one operation by the contests' own clock, in nanoseconds: odd, so that no bit of a time stands still.
pub(crate) const STEP_NS: u64 = 1_009;

const ROUNDS: usize = 101;
/// How long a turn is at least: long for the clock, and so short that the kernel seldom breaks it off.
const TURN: Duration = Duration::from_micros(300);
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

/// Lets all contests run once a round, each on `threads` threads, and returns for each what an operation took in each
/// round, in nanoseconds.
pub(crate) fn take_turns(contests: &[Contest<'_>], threads: usize, effort: Effort) -> Vec<Vec<f64>> {
    let mut clock_ns = 0;
    let (rounds, operations) = match effort {
        Effort::Try => (1, vec![10; contests.len()]),
        Effort::Measure => (ROUNDS, contests.iter().map(|contest| operations_of(contest, &mut clock_ns)).collect()),
    };
    let mut taken = vec![Vec::with_capacity(rounds); contests.len()];
    for round in 0..rounds {
        // Another one starts each round, so that nobody always comes after the same neighbour.
        for turn in 0..contests.len() {
            let index = (round + turn) % contests.len();
            taken[index].push(nanos_each(&contests[index], threads, operations[index], &mut clock_ns));
        }
    }
    taken
}

/// Returns how many operations take a turn's time, or up to two of them, on one thread.
fn operations_of(contest: &Contest<'_>, clock_ns: &mut u64) -> u64 {
    const TRIES: usize = 3;
    let mut operations = 1;
    loop {
        // The quickest is the one in which the kernel has not put the thread aside.
        let tries = (0..TRIES).map(|_| nanos_each(contest, 1, operations, clock_ns));
        if tries.fold(f64::INFINITY, f64::min) * operations as f64 >= TURN.as_nanos() as f64 {
            return operations;
        }
        operations *= 2;
    }
}

/// Returns what an operation took on the slowest of the threads, which ran side by side.
fn nanos_each(contest: &Contest<'_>, threads: usize, operations: u64, clock_ns: &mut u64) -> f64 {
    let mut times = time(contest, threads, operations, clock_ns);
    // Threads that the kernel of a busy machine ran one after the other say nothing about two at once.
    for _ in 0..AGAIN_MAX {
        if together(&times) >= TOGETHER_MIN {
            break;
        }
        let again = time(contest, threads, operations, clock_ns);
        times = if together(&again) > together(&times) { again } else { times };
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
    let (warm_up, start_ns) = (operations / 4 + 1, *clock_ns);
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
