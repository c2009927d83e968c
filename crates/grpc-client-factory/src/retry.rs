//! Whether and when a failed call is made again (gRFC A6).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tonic::Code;

use crate::backoff::jittered;

/// When a call is made again that has failed before its answer began. What a server took no notice of is sent again without
/// counting here. Streams of requests are made again too, if no more than their first 64 KiB were sent by then.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryOptions {
    /// Most attempts at a call, the first included; 1 to 5. Control plane: 4, data plane: 1, which is none but the first: whoever
    /// raises it says that its calls may be executed twice.
    pub max_attempts: u32,
    /// Most attempts at a call through a balanced channel that says it is [`Idempotent`](crate::Idempotent), if that is more; 1 to 5. Both
    /// planes: 4.
    pub idempotent_attempts: u32,
    /// Wait before the second attempt; each further one doubles it. Both planes: 100 ms.
    pub backoff_min: Duration,
    /// Longest that [`RetryOptions::backoff_min`] grows to. Both planes: 1 s.
    pub backoff_max: Duration,
    /// Statuses after which a call is made again. Both planes: unavailable.
    pub codes: Vec<Code>,
    /// Size of the budget of a target: each failure takes one off, and there is no second attempt while no more than half of it is
    /// left; 1 to 1,000. Both planes: 10.
    pub budget: u32,
    /// Thousandths that each call that does well adds to the budget; 1 to 1,000. Both planes: 100, which is a retry for ten calls.
    pub refill_thousandths: u32,
}

impl Default for RetryOptions {
    /// Returns those of the data plane.
    fn default() -> Self {
        Self {
            max_attempts: 1,
            idempotent_attempts: 4,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            codes: vec![Code::Unavailable],
            budget: 10,
            refill_thousandths: 100,
        }
    }
}

/// What a server says about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// Nothing.
    Silent,
    /// After this time.
    After(Duration),
    /// Never.
    Stop,
}

impl Pushback {
    /// Reads `grpc-retry-pushback-ms`. What is no number of milliseconds means never.
    #[must_use]
    pub fn read(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::Silent };
        let Ok(text) = std::str::from_utf8(value) else { return Self::Stop };
        text.parse::<u32>().map_or(Self::Stop, |ms| Self::After(Duration::from_millis(ms.into())))
    }
}

/// What is left of the budget of a target, in thousandths.
#[derive(Debug)]
pub struct RetryBudget {
    left: AtomicU32,
    most: u32,
}

impl RetryBudget {
    /// Makes a full one.
    #[must_use]
    pub const fn new(options: &RetryOptions) -> Self {
        let most = options.budget * 1000;
        Self { left: AtomicU32::new(most), most }
    }

    /// Takes in a call that did well.
    pub fn refill(&self, options: &RetryOptions) {
        // Full is the usual case, and then nothing is written.
        if self.left.load(Ordering::Relaxed) < self.most {
            self.change(|left| left.saturating_add(options.refill_thousandths).min(self.most));
        }
    }

    /// Takes in one that failed. Returns whether there is enough left for another attempt.
    pub(crate) fn spend(&self) -> bool {
        self.change(|left| left.saturating_sub(1000)) > self.most / 2
    }

    /// Returns whether there is enough left for another attempt.
    pub(crate) fn has_enough(&self) -> bool {
        self.left.load(Ordering::Relaxed) > self.most / 2
    }

    fn change(&self, change: impl Fn(u32) -> u32) -> u32 {
        let changed = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(change(left)));
        change(changed.unwrap_or_else(|left| left))
    }
}

impl RetryOptions {
    /// Returns how long to wait before the next attempt, or `None` if there is none: `attempts` were made of at most `most`, the last
    /// one failed with `code`. `random` is any number.
    pub fn next(
        &self,
        budget: &RetryBudget,
        (attempts, most): (u32, u32),
        code: Code,
        pushback: Pushback,
        random: u64,
    ) -> Option<Duration> {
        if !self.codes.contains(&code) {
            return None;
        }
        let affordable = budget.spend();
        if !affordable || attempts >= most {
            return None;
        }
        match pushback {
            Pushback::Stop => None,
            Pushback::After(wait) => Some(wait),
            Pushback::Silent => {
                let doubled = self.backoff_min.saturating_mul(1 << attempts.saturating_sub(1).min(16));
                Some(jittered(doubled.min(self.backoff_max), random))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const NEUTRAL: u64 = 200;

    fn options() -> RetryOptions {
        RetryOptions { max_attempts: 5, ..RetryOptions::default() }
    }

    fn next(attempts: u32, code: Code, pushback: Pushback) -> Option<Duration> {
        options().next(&RetryBudget::new(&options()), (attempts, 5), code, pushback, NEUTRAL)
    }

    #[test]
    fn the_wait_doubles_up_to_the_most_until_the_attempts_are_used_up() {
        let waits = (1..=5).map(|attempts| next(attempts, Code::Unavailable, Pushback::Silent)).collect::<Vec<_>>();
        assert_eq!(waits, [Some(100 * MS), Some(200 * MS), Some(400 * MS), Some(800 * MS), None]);
        let long = RetryOptions { backoff_max: 150 * MS, ..options() };
        let wait = long.next(&RetryBudget::new(&long), (3, 5), Code::Unavailable, Pushback::Silent, NEUTRAL);
        assert_eq!(wait, Some(150 * MS));
    }

    #[test]
    fn only_listed_codes_are_tried_again_and_the_server_has_the_last_word() {
        assert_eq!(next(1, Code::Internal, Pushback::Silent), None);
        assert_eq!(next(1, Code::Unavailable, Pushback::Stop), None);
        assert_eq!(next(1, Code::Unavailable, Pushback::After(7 * MS)), Some(7 * MS));
        assert_eq!(Pushback::read(None), Pushback::Silent);
        assert_eq!(Pushback::read(Some(b"7")), Pushback::After(7 * MS));
        for never in [&b"-1"[..], b"", b"soon", b"\xff"] {
            assert_eq!(Pushback::read(Some(never)), Pushback::Stop);
        }
    }

    #[test]
    fn half_of_the_budget_is_for_retries_and_calls_that_do_well_earn_more() {
        let (options, budget) = (options(), RetryBudget::new(&options()));
        let fails = || options.next(&budget, (1, 5), Code::Unavailable, Pushback::Silent, NEUTRAL).is_some();
        assert_eq!([fails(), fails(), fails(), fails(), fails()], [true, true, true, true, false]);
        (0..20).for_each(|_| budget.refill(&options));
        assert_eq!([fails(), fails()], [true, false]);
        (0..1000).for_each(|_| budget.refill(&options));
        assert_eq!([fails(), fails(), fails(), fails(), fails()], [true, true, true, true, false]);
    }
}
