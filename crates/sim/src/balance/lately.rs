//! What a server remembers of the last second, to answer probes with.

/// Requests of one load that are remembered.
const SAMPLES: usize = 32;
/// Loads told apart; all above count as the highest.
const LOADS: usize = 64;
/// How long a sample is worth something.
const FRESH_NS: u64 = 1_000_000_000;

/// The last requests by how many others they met, as Prequal's servers keep them (NSDI'24, §4.1).
#[derive(Debug)]
pub(crate) struct Lately(Vec<Ring>);

/// When a request ended, and what it took.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    at_ns: u64,
    took_ns: u64,
}

#[derive(Debug, Clone, Default)]
struct Ring {
    samples: [Sample; SAMPLES],
    pushed: usize,
    /// The last median, and until when it holds unless there is a new sample.
    known: Option<(u64, u64)>,
}

impl Default for Lately {
    fn default() -> Self {
        Self(vec![Ring::default(); LOADS])
    }
}

impl Lately {
    pub(crate) fn push(&mut self, now_ns: u64, rif: u32, took_ns: u64) {
        let ring = &mut self.0[load(rif)];
        ring.samples[ring.pushed % SAMPLES] = Sample { at_ns: now_ns, took_ns };
        ring.pushed += 1;
        ring.known = None;
    }

    /// Returns the median of what requests took that met about `rif` others within the last second: the nearest load
    /// that has samples; of two equally near, the higher.
    pub(crate) fn median_near(&mut self, now_ns: u64, rif: u32) -> Option<u64> {
        let here = load(rif);
        (0..LOADS).find_map(|away| {
            let above = self.0.get_mut(here + away).and_then(|ring| ring.median(now_ns));
            above.or_else(|| here.checked_sub(away).and_then(|place| self.0[place].median(now_ns)))
        })
    }
}

impl Ring {
    fn median(&mut self, now_ns: u64) -> Option<u64> {
        if let Some((median, _)) = self.known.filter(|(_, until_ns)| now_ns <= *until_ns) {
            return Some(median);
        }
        let mut fresh = [0; SAMPLES];
        let mut count = 0;
        let mut until_ns = u64::MAX;
        for sample in &self.samples[..self.pushed.min(SAMPLES)] {
            if sample.at_ns + FRESH_NS >= now_ns {
                fresh[count] = sample.took_ns;
                count += 1;
                until_ns = until_ns.min(sample.at_ns + FRESH_NS);
            }
        }
        let fresh = &mut fresh[..count];
        let middle = fresh.len() / 2;
        let median = (count > 0).then(|| *fresh.select_nth_unstable(middle).1)?;
        self.known = Some((median, until_ns));
        Some(median)
    }
}

fn load(rif: u32) -> usize {
    (rif as usize).min(LOADS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn the_median_is_of_the_nearest_load_that_is_fresh() {
        let mut lately = Lately::default();
        for took_ns in [10, 30, 20] {
            lately.push(SECOND_NS, 3, took_ns);
        }
        lately.push(2 * SECOND_NS, 9, 500);
        assert_eq!(lately.median_near(2 * SECOND_NS, 4), Some(20));
        assert_eq!(lately.median_near(2 * SECOND_NS, 1000), Some(500));
        assert_eq!(lately.median_near(2 * SECOND_NS + 1, 4), Some(500));
        assert_eq!(lately.median_near(3 * SECOND_NS + 1, 4), None);
    }
}
