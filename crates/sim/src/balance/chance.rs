//! Seeded chance: arrivals, work, and picks.

use std::f64::consts::TAU;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A seeded source of the numbers the model draws.
#[derive(Debug, Clone)]
pub(crate) struct Chance(SmallRng);

impl Chance {
    /// Makes the source number `stream` of `seed`: what one draws does not move what another draws.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream))
    }

    /// Returns a number above 0, at most 1.
    pub(crate) fn unit(&mut self) -> f64 {
        1.0 - self.0.random::<f64>()
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        (high - low).mul_add(self.unit(), low)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// Returns two different numbers below `bound`; twice 0 if there are no two.
    pub(crate) fn two_below(&mut self, bound: usize) -> (usize, usize) {
        if bound < 2 {
            return (0, 0);
        }
        let (first, second) = (self.below(bound), self.below(bound - 1));
        (first, if second >= first { second + 1 } else { second })
    }

    /// Returns an exponential number with this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Returns a log-normal number with this mean; `sigma` is that of its logarithm.
    pub(crate) fn log_normal(&mut self, mean: f64, sigma: f64) -> f64 {
        // Box and Muller (1958); the second number is thrown away, so that each draw costs the stream the same.
        let normal = (-2.0 * self.unit().ln()).sqrt() * (TAU * self.unit()).cos();
        mean * (sigma * normal - sigma * sigma / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws a million numbers and checks their mean.
    #[track_caller]
    fn check(mean: f64, mut draw: impl FnMut(&mut Chance) -> f64) {
        let mut chance = Chance::new(7, 0);
        let sum: f64 = (0..1_000_000).map(|_| draw(&mut chance)).sum();
        let seen = sum / 1e6;
        assert!((seen / mean - 1.0).abs() < 0.005, "the mean is {seen}, not {mean}");
    }

    #[test]
    fn numbers_have_the_mean_they_are_drawn_with() {
        check(10.0, |chance| chance.exponential(10.0));
        check(10.0, |chance| chance.log_normal(10.0, 1.0));
        check(3.0, |chance| chance.between(2.0, 4.0));
    }

    #[test]
    fn a_log_normal_spreads_by_its_sigma() {
        let mut chance = Chance::new(7, 0);
        let mut draws: Vec<f64> = (0..100_000).map(|_| chance.log_normal(10.0, 1.0)).collect();
        draws.sort_by(f64::total_cmp);
        // Median e^-½ of the mean, and e^σ from there to the 84.13 % quantile.
        assert!((draws[50_000] / 6.065 - 1.0).abs() < 0.02, "{}", draws[50_000]);
        assert!((draws[84_134] / draws[50_000] / 1f64.exp() - 1.0).abs() < 0.02, "{}", draws[84_134]);
    }

    #[test]
    fn two_numbers_are_never_the_same() {
        let mut chance = Chance::new(7, 0);
        let seen = |(a, b): (usize, usize)| a != b && a < 3 && b < 3;
        assert!((0..1000).all(|_| seen(chance.two_below(3))));
    }
}
