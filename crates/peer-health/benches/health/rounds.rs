//! Taking turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How seriously to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Measure,
    /// Just enough to see that everything runs.
    Try,
}

impl Effort {
    /// Returns `measured`, or the little that a try takes.
    pub(crate) const fn of(self, measured: usize, tried: usize) -> usize {
        match self {
            Self::Measure => measured,
            Self::Try => tried,
        }
    }
}

/// Lets every contestant have a turn a round, and returns what each took in each of them, in nanoseconds.
pub(crate) fn take_turns<const N: usize>(effort: Effort, contestants: [&dyn Fn() -> Duration; N]) -> [Vec<f64>; N] {
    let mut all = [(); N].map(|()| Vec::new());
    for _round in 0..effort.of(101, 1) {
        for (contestant, taken) in contestants.iter().zip(&mut all) {
            taken.push(contestant().as_secs_f64() * 1e9);
        }
    }
    all
}

/// Returns how long `work` takes; what it returns is dropped later.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> Duration {
    let clock = Instant::now();
    let result = black_box(work());
    let taken = clock.elapsed();
    drop(result);
    taken
}
