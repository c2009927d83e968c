//! What is learned about one peer, kept while its descriptor changes.

use std::sync::Arc;
use std::time::Duration;

use mesh_types::NodeId;

use crate::breaker::{Breaker, Consequence, Failed, Pass, Severity, Transition};
use crate::durations::Durations;
use crate::estimator::Estimator;
use crate::published::Published;
use crate::shared::Shared;
use crate::sync::{AtomicU64, Ordering};
use crate::window::{Ending, Window};
use crate::{BreakerReason, Http3Hint, Outcome, Peer, PeerKey, Tick, Unreported};

/// Longest time that a peer's own wish to be left alone is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Least share of a peer that starts slowly.
const SHARE_MIN: f32 = 0.1;
/// One report in this many goes into the fleet's mean: it is one word for all threads.
const MEAN_EVERY: u64 = 8;

/// What calls have taught about a peer's HTTP/3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http3Learned {
    /// Nothing: what the peer advertises counts.
    Unknown,
    /// It works, advertised or not.
    Works,
    /// It does not, whatever is advertised, until that time.
    Broken {
        /// When to try again.
        until: Tick,
    },
}

/// The state of one peer; what every pick reads comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct PeerCell {
    pub(crate) breaker: Breaker,
    pub(crate) estimator: Estimator,
    /// When a peer that starts slowly began to; in the future, it is to be left alone until then.
    warming_since: AtomicU64,
    /// 0 unknown, the highest number works, else broken until then.
    http3: AtomicU64,
    window: Window,
    pub(crate) durations: Durations,
    pub(crate) counters: Counters,
    shared: Arc<Shared>,
    pub(crate) key: PeerKey,
    pub(crate) id: NodeId,
    pub(crate) descriptor: Published<Peer>,
}

/// Counts of the leases that went wrong; the successes and the cancelled are the rest.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) failures: AtomicU64,
    pub(crate) overloads: AtomicU64,
    pub(crate) transitions: AtomicU64,
    /// Highest numbers read so far: counters never go back, though they are sums of parts read one by one.
    pub(crate) picks_read: AtomicU64,
    pub(crate) successes_read: AtomicU64,
    pub(crate) cancelled_read: AtomicU64,
}

impl PeerCell {
    pub(crate) fn new(key: PeerKey, peer: Peer, shared: Arc<Shared>) -> Self {
        Self {
            breaker: Breaker::new(),
            estimator: Estimator::new(),
            warming_since: AtomicU64::new(0),
            http3: AtomicU64::new(0),
            window: Window::new(),
            durations: Durations::new(),
            counters: Counters {
                failures: AtomicU64::new(0),
                overloads: AtomicU64::new(0),
                transitions: AtomicU64::new(0),
                picks_read: AtomicU64::new(0),
                successes_read: AtomicU64::new(0),
                cancelled_read: AtomicU64::new(0),
            },
            shared,
            key,
            id: peer.id.clone(),
            descriptor: Published::new(peer),
        }
    }

    /// Takes in how a lease of `pass` ended that lasted `lasted_ns`, and what the call's latency was.
    #[inline]
    pub(crate) fn report(&self, now: Tick, lasted_ns: u64, took_ns: u64, pass: Pass, outcome: Outcome) {
        match outcome {
            Outcome::Failure => self.counters.failures.fetch_add(1, Ordering::Relaxed),
            Outcome::Overloaded { .. } => self.counters.overloads.fetch_add(1, Ordering::Relaxed),
            Outcome::Success | Outcome::AppError | Outcome::Cancelled => 0,
        };
        if outcome != Outcome::Cancelled {
            self.durations.record(lasted_ns);
        }
        self.learn(now, took_ns, pass, outcome);
    }

    /// Takes in how a call of `pass` ended that took `took_ns`, with a lease or without.
    #[inline]
    pub(crate) fn learn(&self, now: Tick, took_ns: u64, pass: Pass, outcome: Outcome) {
        match outcome {
            Outcome::Success | Outcome::AppError => self.succeeded(now, took_ns, pass),
            Outcome::Failure => self.failed(now, took_ns, pass, Severity::Hard),
            Outcome::Overloaded { retry_after } => {
                self.failed(now, took_ns, pass, Severity::Soft);
                if let Some(wait) = retry_after {
                    self.leave_alone_until(now.after(wait.min(RETRY_AFTER_MAX)));
                }
            }
            Outcome::Cancelled => self.breaker.cancel(pass),
        }
    }

    /// Takes in that a lease of `pass`, given at `since`, ended without a word.
    #[cold]
    pub(crate) fn unreported(&self, since: Tick, pass: Pass) {
        match self.shared.options.breaker.unreported {
            Unreported::Cancelled => self.breaker.cancel(pass),
            // Nobody says when it ended, and the start is known.
            Unreported::Failure => self.report(since, 0, 0, pass, Outcome::Failure),
        }
    }

    #[inline]
    fn succeeded(&self, now: Tick, took_ns: u64, pass: Pass) {
        let mean = self.shared.mean.read();
        let estimate = self.estimator.sample(now, took_ns as f32, mean);
        if (now.as_nanos() ^ took_ns).is_multiple_of(MEAN_EVERY) || mean == 0.0 {
            self.shared.mean.sample(estimate);
        }
        self.window.record(now, Ending::Succeeded);
        let transition = self.breaker.succeed(now, pass, &self.shared.options.breaker, &self.shared.census);
        if let Some(transition) = transition {
            self.closed_again(transition);
        }
    }

    #[cold]
    fn failed(&self, now: Tick, took_ns: u64, pass: Pass, severity: Severity) {
        self.estimator.penalise(now, took_ns as f32, self.shared.mean.read());
        self.window.record(now, Ending::Failed);
        let failed = Failed {
            severity,
            ratio_tripped: self.too_many_failed(now),
            seed: self.key.0 ^ self.shared.options.seed,
            options: &self.shared.options.breaker,
            census: &self.shared.census,
        };
        match self.breaker.fail(now, pass, &failed) {
            Consequence::None => {}
            Consequence::Changed(transition) => self.count(transition),
            Consequence::KeptIn => {
                self.shared.kept_in.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn too_many_failed(&self, now: Tick) -> bool {
        let options = &self.shared.options.breaker;
        let tally = self.window.tally(now);
        let all = tally.succeeded + tally.failed;
        options.failure_percent > 0
            && all >= u64::from(options.min_samples)
            && tally.failed * 100 >= all * u64::from(options.failure_percent)
    }

    /// Forgets what is held against the peer: its process is a new one.
    pub(crate) fn restarted(&self, now: Tick) {
        self.estimator.clear();
        self.window.clear();
        self.reset(now, BreakerReason::Restart);
    }

    pub(crate) fn reset(&self, now: Tick, reason: BreakerReason) {
        let transition = self.breaker.reset(now, &self.shared.options.breaker, &self.shared.census, reason);
        if let Some(transition) = transition {
            self.closed_again(transition);
        }
    }

    pub(crate) fn isolate(&self) {
        if let Some(transition) = self.breaker.isolate(&self.shared.census) {
            self.count(transition);
        }
    }

    pub(crate) fn retire(&self) {
        self.breaker.retire(&self.shared.census);
    }

    fn closed_again(&self, transition: Transition) {
        // The window holds what opened the breaker; left there, the next failure would open it again.
        self.window.clear();
        self.count(transition);
    }

    /// Gives the peer its share little by little from `now`.
    pub(crate) fn start_slowly(&self, now: Tick) {
        if !self.shared.options.breaker.slow_start.is_zero() {
            self.warming_since.store(now.as_nanos(), Ordering::Relaxed);
            self.breaker.set_warming(true);
        }
    }

    fn leave_alone_until(&self, then: Tick) {
        self.warming_since.store(then.as_nanos(), Ordering::Relaxed);
        self.breaker.set_warming(true);
    }

    /// Returns the share of its normal traffic that the peer is to get at `now`: 0 while it wants to be left alone.
    pub(crate) fn share(&self, now: Tick) -> f32 {
        if !self.breaker.is_warming() {
            return 1.0;
        }
        let since = self.warming_since.load(Ordering::Relaxed);
        let Some(warm_ns) = now.as_nanos().checked_sub(since) else { return 0.0 };
        let warm = Duration::from_nanos(warm_ns).min(self.breaker.closed_for(now));
        let window = self.shared.options.breaker.slow_start;
        if warm >= window {
            self.breaker.set_warming(false);
            return 1.0;
        }
        warm.div_duration_f32(window).max(SHARE_MIN)
    }

    pub(crate) fn learn_http3(&self, learned: Http3Learned) {
        let word = match learned {
            Http3Learned::Unknown => 0,
            Http3Learned::Works => u64::MAX,
            Http3Learned::Broken { until } => until.as_nanos().clamp(1, u64::MAX - 1),
        };
        self.http3.store(word, Ordering::Relaxed);
    }

    /// Returns whether HTTP/3 is to be used at `now`, all things considered.
    pub(crate) fn http3(&self, hint: Http3Hint, now: Tick) -> bool {
        match (hint, self.http3.load(Ordering::Relaxed)) {
            (Http3Hint::ForcedOff, _) => false,
            (Http3Hint::ForcedOn, _) | (_, u64::MAX) => true,
            (Http3Hint::Advertised, broken_until) => broken_until <= now.as_nanos(),
            (Http3Hint::Absent, _) => false,
        }
    }

    /// Returns whether calls have shown that HTTP/3 works, whatever is advertised.
    pub(crate) fn http3_works(&self) -> bool {
        self.http3.load(Ordering::Relaxed) == u64::MAX
    }

    /// Counts a change of the breaker's state; the one place on the way of a call that speaks to the metrics recorder,
    /// and no call of a healthy peer comes here.
    pub(crate) fn count(&self, transition: Transition) {
        self.counters.transitions.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(
            "omnirelay_peer_breaker_transitions_total",
            "rpc_service" => Arc::clone(&self.shared.options.service),
            "rpc_transport" => Arc::clone(&self.shared.options.transport),
            "from" => transition.from.as_str(),
            "to" => transition.to.as_str(),
            "reason" => transition.reason.as_str(),
        )
        .increment(1);
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
