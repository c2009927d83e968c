//! How many calls a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::Code;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::handler::Handler;
use crate::late;
use crate::middleware::Around;
use crate::status::Status;

/// Lets only so many calls begin a second. What comes too early waits until it is due, and so holds back its caller; what would
/// have to wait too long is refused as `resource-exhausted`.
#[derive(Debug, Clone)]
pub struct RateLimit {
    shared: Arc<Shared>,
}

/// Bounds of a [`RateLimit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateOptions {
    /// Calls that may begin a second, in the long run. Default 1,000, at least 1.
    pub per_second: u32,
    /// Calls that may begin at once after a pause. Default 100, at least 1.
    pub burst: u32,
    /// Longest that a call waits until it is due. Default 100 ms. With zero, what comes too early is refused; the calls that wait are
    /// no more than are due in this time.
    pub wait_max: Duration,
}

#[derive(Debug)]
struct Shared {
    options: RateOptions,
    pace: Mutex<Pace>,
}

/// The generic cell rate algorithm: one point in time is all there is to keep.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    /// How far the pace may run ahead.
    tolerance: Duration,
    /// When the next call is due if none is ahead of time.
    due: Option<Instant>,
}

impl Pace {
    fn new(options: &RateOptions) -> Self {
        let interval = Duration::from_secs(1) / options.per_second.max(1);
        Self { interval, tolerance: interval * (options.burst.max(1) - 1), due: None }
    }

    /// Returns when a call that comes `now` may begin; takes it in unless that is later than `wait_max`.
    fn take(&mut self, now: Instant, wait_max: Duration) -> Option<Instant> {
        let due = self.due.map_or(now, |due| due.max(now));
        let begin = due.checked_sub(self.tolerance).unwrap_or(now).max(now);
        if begin.duration_since(now) > wait_max {
            return None;
        }
        self.due = Some(due + self.interval);
        Some(begin)
    }
}

impl Default for RateOptions {
    fn default() -> Self {
        Self { per_second: 1_000, burst: 100, wait_max: Duration::from_millis(100) }
    }
}

impl RateLimit {
    /// Makes a limit for all calls that go through it.
    #[must_use]
    pub fn new(options: RateOptions) -> Self {
        let pace = Mutex::new(Pace::new(&options));
        Self { shared: Arc::new(Shared { options, pace }) }
    }

    fn begin(&self, now: Instant) -> Option<Instant> {
        let Shared { options, pace } = &*self.shared;
        // Nobody leaves it half changed.
        pace.lock().unwrap_or_else(PoisonError::into_inner).take(now, options.wait_max)
    }
}

impl Around for RateLimit {
    async fn around(self, call: Call, next: Handler) -> Result<Reply, Status> {
        let now = Instant::now();
        let Some(begin) = self.begin(now) else {
            metrics::counter!("omnirelay_rpc_shed_total", "rpc_reason" => "rate").increment(1);
            let text =
                format!("more calls come than {} a second, the most that are taken", self.shared.options.per_second);
            return Err(Status::new(Code::ResourceExhausted, text));
        };
        if begin > now {
            let waited = async {
                sleep_until(begin).await;
                Ok(())
            };
            late::within(call.deadline, waited).await?;
        }
        next.oneshot(call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any point in time will do")]
    fn calls_keep_the_pace_after_a_burst_and_those_that_would_wait_too_long_are_not_taken() {
        let ms = Duration::from_millis;
        let options = RateOptions { per_second: 100, burst: 3, wait_max: ms(20) };
        let (mut pace, start) = (Pace::new(&options), Instant::from_std(std::time::Instant::now()));
        let mut take = |at: u64| pace.take(start + ms(at), options.wait_max).map(|begin| (begin - start).as_millis());
        assert_eq!([take(0), take(0), take(0)], [Some(0); 3], "the burst");
        assert_eq!([take(0), take(0), take(0), take(0)], [Some(10), Some(20), None, None], "the pace");
        assert_eq!(take(15), Some(30), "what was refused takes nothing");
        assert_eq!([take(1000), take(1000), take(1000), take(1000)], [Some(1000), Some(1000), Some(1000), Some(1010)]);
    }
}
