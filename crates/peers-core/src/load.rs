//! How busy a server is: what probes ask, and what a server keeps to answer them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Tick;
use crate::estimator::low;
use crate::sync::{AtomicU64, Ordering};

/// Requests of about one load that are remembered.
const SAMPLES: usize = 32;
/// How long a sample says something about the server.
const FRESH_MS: u32 = 1_000;
/// Loads up to here are told apart each; beyond, eight to a doubling, up to 4,096, which stands for all above.
const EXACT_BITS: u32 = 4;
const STEP_BITS: u32 = 3;
const DOUBLINGS: u32 = 8;
const LOADS: usize = (1 << EXACT_BITS) + ((DOUBLINGS as usize) << STEP_BITS);

/// How busy a server says it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerLoad {
    /// Requests that it has taken in and not yet answered.
    pub in_flight: u32,
    /// What requests took there lately that met about as many others; `None` if there were none.
    pub latency: Option<Duration>,
}

/// Counts the requests of a server and remembers what the last ones took, to answer load probes with (Wydrowski et al.,
/// *Load is not what you should balance: Introducing Prequal*, NSDI 2024, §4.1).
///
/// Cloning is a reference count, and any thread may use it: nothing locks, allocates or reads a clock. It takes 20 KiB.
///
/// ```
/// use std::time::Duration;
///
/// use peers_core::{LoadGauge, ServerLoad, Tick};
///
/// let gauge = LoadGauge::new();
/// let at = |ms| Tick::ZERO.after(Duration::from_millis(ms));
/// let (first, second) = (gauge.start(at(0)), gauge.start(at(1)));
/// first.finish(at(8));
/// assert_eq!(gauge.load(at(9)), ServerLoad { in_flight: 1, latency: Some(Duration::from_millis(8)) });
/// drop(second);
/// ```
#[derive(Clone)]
pub struct LoadGauge(Arc<Gauge>);

struct Gauge {
    in_flight: AtomicU64,
    lately: [Ring; LOADS],
}

/// A request that the server works on, from [`LoadGauge::start`] to its finish or its drop.
#[must_use = "a request dropped at once was never in flight"]
pub struct InFlight {
    gauge: LoadGauge,
    since: Tick,
    /// How many others there were.
    met: u32,
}

impl LoadGauge {
    /// Makes the gauge of an idle server.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Gauge { in_flight: AtomicU64::new(0), lately: std::array::from_fn(|_| Ring::new()) }))
    }

    /// Counts a request that arrives at `now`, up to the end of what is returned.
    pub fn start(&self, now: Tick) -> InFlight {
        let met = low(self.0.in_flight.fetch_add(1, Ordering::Relaxed));
        InFlight { gauge: self.clone(), since: now, met }
    }

    /// Returns what to answer a probe with at `now`. The latency is the median of at most 32 requests that ended within
    /// the last second, and had met as many others as a new one would, or as near to that as there are any; of two loads
    /// equally near, it is of the higher.
    #[must_use]
    pub fn load(&self, now: Tick) -> ServerLoad {
        let in_flight = low(self.0.in_flight.load(Ordering::Relaxed));
        let here = place(in_flight);
        let median = |place: Option<usize>| self.0.lately.get(place?)?.median(now);
        let latency = (0..LOADS).find_map(|away| median(Some(here + away)).or_else(|| median(here.checked_sub(away))));
        ServerLoad { in_flight, latency }
    }
}

impl Default for LoadGauge {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LoadGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = self.0.in_flight.load(Ordering::Relaxed);
        f.debug_struct("LoadGauge").field("in_flight", &in_flight).finish_non_exhaustive()
    }
}

impl InFlight {
    /// Ends the request at `now`, and remembers how long it took. What was not worked on should be dropped instead: an
    /// error that came quickly, or a stream that lasted, says nothing about how long work takes.
    pub fn finish(self, now: Tick) {
        if let Some(ring) = self.gauge.0.lately.get(place(self.met)) {
            ring.push(now, now.since(self.since));
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("since", &self.since).field("met", &self.met).finish_non_exhaustive()
    }
}

/// The last requests that met about one load: each in one word, `[microseconds:32 | ended at ms:32]`, 0 for none.
struct Ring {
    pushed: AtomicU64,
    samples: [AtomicU64; SAMPLES],
}

impl Ring {
    fn new() -> Self {
        Self { pushed: AtomicU64::new(0), samples: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn push(&self, now: Tick, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, u32::MAX.into());
        let turn = self.pushed.fetch_add(1, Ordering::Relaxed);
        if let Some(sample) = self.sample(turn) {
            sample.store(micros << 32 | u64::from(low(now.millis())), Ordering::Relaxed);
        }
    }

    /// Returns the sample of the request number `turn`.
    fn sample(&self, turn: u64) -> Option<&AtomicU64> {
        self.samples.get(low(turn) as usize % SAMPLES)
    }

    /// Returns the median of what ended within a second before `now`.
    fn median(&self, now: Tick) -> Option<Duration> {
        let newest = self.pushed.load(Ordering::Relaxed).checked_sub(1)?;
        // Of a load that was not met lately one word is read.
        fresh(self.sample(newest)?.load(Ordering::Relaxed), now)?;
        let mut micros = [0; SAMPLES];
        let samples = self.samples.iter().filter_map(|sample| fresh(sample.load(Ordering::Relaxed), now));
        let count = micros.iter_mut().zip(samples).map(|(slot, took)| *slot = took).count();
        let known = micros.get_mut(..count)?;
        let middle = count / 2;
        (count > 0).then(|| Duration::from_micros((*known.select_nth_unstable(middle).1).into()))
    }
}

/// Returns the microseconds of `sample` if it ended within a second before `now`.
fn fresh(sample: u64, now: Tick) -> Option<u32> {
    let age_ms = low(now.millis()).wrapping_sub(low(sample)).cast_signed();
    (sample != 0 && age_ms <= FRESH_MS.cast_signed()).then(|| low(sample >> 32))
}

/// Returns where requests that met `load` others are remembered.
fn place(load: u32) -> usize {
    let Some(doubling) = load.checked_ilog2().and_then(|bits| bits.checked_sub(EXACT_BITS)) else {
        return load as usize;
    };
    if doubling >= DOUBLINGS {
        return LOADS - 1;
    }
    let step = (load >> (doubling + EXACT_BITS - STEP_BITS)) - (1 << STEP_BITS);
    ((1 << EXACT_BITS) + (doubling << STEP_BITS) + step) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::ZERO.after(Duration::from_millis(ms))
    }

    /// Lets a request that meets `met` others end at `ended_ms` after `took_ms`.
    fn serve(gauge: &LoadGauge, met: u32, ended_ms: u64, took_ms: u64) {
        let _others: Vec<InFlight> = (0..met).map(|_| gauge.start(at(0))).collect();
        gauge.start(at(ended_ms - took_ms)).finish(at(ended_ms));
    }

    #[track_caller]
    fn check(gauge: &LoadGauge, in_flight: u32, now_ms: u64, latency_ms: Option<u64>) {
        let _held: Vec<InFlight> = (0..in_flight).map(|_| gauge.start(at(0))).collect();
        let latency = latency_ms.map(Duration::from_millis);
        assert_eq!(gauge.load(at(now_ms)), ServerLoad { in_flight, latency });
    }

    #[test]
    fn the_latency_is_the_median_at_the_nearest_load_that_is_fresh() {
        let gauge = LoadGauge::new();
        check(&gauge, 0, 0, None);
        for took_ms in [10, 30, 20] {
            serve(&gauge, 3, 1_000, took_ms);
        }
        serve(&gauge, 9, 2_000, 500);
        check(&gauge, 4, 2_000, Some(20));
        check(&gauge, 6, 2_000, Some(500));
        check(&gauge, 100_000, 2_000, Some(500));
        check(&gauge, 0, 2_000, Some(20));
        check(&gauge, 0, 2_001, Some(500));
        check(&gauge, 0, 3_001, None);
    }

    #[test]
    fn only_the_last_32_of_a_load_count() {
        let gauge = LoadGauge::new();
        (0..100).for_each(|_| serve(&gauge, 0, 1_000, 900));
        (0..17).for_each(|_| serve(&gauge, 0, 1_000, 4));
        check(&gauge, 0, 1_000, Some(4));
    }

    #[test]
    fn what_is_dropped_was_in_flight_and_taught_nothing() {
        let gauge = LoadGauge::new();
        let request = gauge.start(at(0));
        assert_eq!(gauge.load(at(5)), ServerLoad { in_flight: 1, latency: None });
        drop(request);
        assert_eq!(gauge.load(at(5)), ServerLoad::default());
    }

    #[test]
    fn loads_have_places_in_order_each_a_step_from_the_last() {
        assert_eq!([0, 1, 15, 16, 17, 18].map(place), [0, 1, 15, 16, 16, 17]);
        let places: Vec<usize> = (0..10_000).map(place).collect();
        assert!(places.is_sorted_by(|a, b| a == b || a + 1 == *b));
        assert_eq!([4_095, 4_096, u32::MAX].map(place), [LOADS - 1; 3]);
    }

    #[test]
    fn threads_count_together() {
        let gauge = LoadGauge::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| serve(&gauge, 0, 1_000, 7)));
            }
        });
        check(&gauge, 0, 1_000, Some(7));
    }
}
