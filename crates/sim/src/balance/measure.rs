//! What a run is judged by.

/// Steps within one doubling: values are kept to 0.2 %.
const STEP_BITS: u32 = 9;

/// Counts of latencies by size, for quantiles within 0.2 %.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u32>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; (64 - STEP_BITS as usize) << STEP_BITS], total: 0 }
    }
}

impl Latencies {
    pub(crate) fn push(&mut self, took_ns: u64) {
        self.counts[slot(took_ns)] += 1;
        self.total += 1;
    }

    /// Returns how many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Returns the latency in milliseconds that this share of the calls stays within.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let mut left = share * self.total as f64;
        let slot = self.counts.iter().position(|count| {
            left -= f64::from(*count);
            left <= 0.0
        });
        slot.map_or(0.0, |slot| middle_ns(slot) / 1e6)
    }

    /// Returns the mean in milliseconds.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        let sum: f64 = self.counts.iter().enumerate().map(|(slot, count)| middle_ns(slot) * f64::from(*count)).sum();
        sum / self.total.max(1) as f64 / 1e6
    }
}

/// Returns the slot of a value: its highest bit and the nine bits after it.
#[expect(clippy::cast_possible_truncation, reason = "shifted, the value has ten bits")]
fn slot(value: u64) -> usize {
    let value = value.max(1 << STEP_BITS);
    let shift = 63 - value.leading_zeros() - STEP_BITS;
    ((shift as usize) << STEP_BITS) + (value >> shift) as usize - (1 << STEP_BITS)
}

fn middle_ns(slot: usize) -> f64 {
    let (shift, step) = (slot >> STEP_BITS, slot & ((1 << STEP_BITS) - 1));
    (f64::from(1 << STEP_BITS) + step as f64 + 0.5) * (1u64 << shift) as f64
}

/// Mean and spread of numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub sigma: f64,
}

impl Spread {
    /// Returns mean and spread of `values`; zeros of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        Self { mean, sigma: variance.sqrt() }
    }
}

/// What was counted in a run. Calls that began before the warm-up was over are in `share` only.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// How long calls took that began after the warm-up.
    pub latencies: Latencies,
    /// Calls to each server.
    pub picks: Vec<u64>,
    /// Calls that failed.
    pub errors: u64,
    /// Probes sent.
    pub probes: u64,
    /// For each second of the run, the share of the watched server as a part of its fair one.
    pub share: Vec<f64>,
    /// For each second, the share of the servers that were sick then as a part of their fair one; 0 if none was.
    pub sick_share: Vec<f64>,
    /// How often a server turned sick.
    pub sicknesses: u64,
    /// How often a client's breaker for a server changed its state.
    pub breaker_changes: u64,
    /// Those of servers that had been well for 35 s or for ever.
    pub breaker_changes_of_well: u64,
    /// For each second, the mean latency of calls that began in it, in milliseconds.
    pub mean_ms: Vec<f64>,
}

impl Measured {
    /// Returns the load of the busiest server as a multiple of the mean.
    #[must_use]
    pub fn max_over_mean(&self) -> f64 {
        let most = self.picks.iter().max().copied().unwrap_or(0);
        let sum: u64 = self.picks.iter().sum();
        most as f64 * self.picks.len() as f64 / sum.max(1) as f64
    }

    /// Returns the share of calls that failed.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        self.errors as f64 / self.latencies.count().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_fifth_of_a_percent() {
        let mut latencies = Latencies::default();
        (1..=100_000).for_each(|us| latencies.push(us * 1_000));
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (0.999, 99.9), (1.0, 100.0)] {
            let seen = latencies.quantile_ms(share);
            assert!((seen / ms - 1.0).abs() < 0.002, "{share}: {seen}");
        }
        assert!((latencies.mean_ms() / 50.0005 - 1.0).abs() < 0.001, "{}", latencies.mean_ms());
    }

    #[test]
    fn the_longest_and_the_shortest_latency_have_a_slot() {
        let mut latencies = Latencies::default();
        latencies.push(0);
        latencies.push(u64::MAX);
        assert_eq!(latencies.count(), 2);
    }

    #[test]
    fn a_spread_is_mean_and_standard_deviation() {
        assert_eq!(Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), Spread { mean: 5.0, sigma: 2.0 });
        assert_eq!(Spread::of(&[]), Spread::default());
    }
}
