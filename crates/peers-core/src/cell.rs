//! What is learned about one peer, kept while its descriptor changes.

use std::sync::Arc;
use std::time::Duration;

use mesh_types::NodeId;

use crate::breaker::{Breaker, Consequence, Failed, Pass, Relief, Severity, Transition};
use crate::durations::Durations;
use crate::estimator::Estimator;
use crate::published::Published;
use crate::shared::Shared;
use crate::sync::{AtomicU64, Ordering};
use crate::window::Window;
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

/// The state of one peer. With the word that counts its leases, what every pick and every report of a call that went
/// well reads comes first and fills a cache line; what such a report adds to follows on the next.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct PeerCell {
    pub(crate) breaker: Breaker,
    pub(crate) estimator: Estimator,
    /// The newest second of the window.
    second: AtomicU64,
    /// When a peer that starts slowly began to; in the future, it is to be left alone until then.
    warming_since: AtomicU64,
    /// 0 unknown, the highest number works, else broken until then.
    http3: AtomicU64,
    shared: Arc<Shared>,
    pub(crate) key: PeerKey,
    pub(crate) durations: Durations,
    window: Window,
    pub(crate) counters: Counters,
    pub(crate) id: NodeId,
    pub(crate) descriptor: Published<Peer>,
}

const _: () = assert!(std::mem::offset_of!(PeerCell, durations) == 56 || cfg!(loom), "eight with the word are a line");

/// Counts of the leases that went wrong; the successes and the cancelled are the rest.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) failures: AtomicU64,
    /// Those of the failures that did not reach the peer.
    pub(crate) unreachable: AtomicU64,
    pub(crate) overloads: AtomicU64,
    /// Calls without a lease that have ended.
    observed: AtomicU64,
    /// Calls that did not reach the peer since the last that did well, with a lease or without.
    missed: AtomicU64,
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
            second: AtomicU64::new(u64::MAX),
            warming_since: AtomicU64::new(0),
            http3: AtomicU64::new(0),
            shared,
            key,
            durations: Durations::new(),
            window: Window::new(),
            counters: Counters {
                failures: AtomicU64::new(0),
                unreachable: AtomicU64::new(0),
                overloads: AtomicU64::new(0),
                observed: AtomicU64::new(0),
                missed: AtomicU64::new(0),
                transitions: AtomicU64::new(0),
                picks_read: AtomicU64::new(0),
                successes_read: AtomicU64::new(0),
                cancelled_read: AtomicU64::new(0),
            },
            id: peer.id.clone(),
            descriptor: Published::new(peer),
        }
    }

    /// Takes in how a lease of `pass` ended that lasted `lasted_ns`, and what the call's latency was.
    #[inline]
    pub(crate) fn report(&self, now: Tick, lasted_ns: u64, took_ns: u64, pass: Pass, outcome: Outcome) {
        match outcome {
            Outcome::Success | Outcome::AppError => {
                self.succeeded(now, took_ns, pass, || self.durations.record(lasted_ns));
            }
            Outcome::Cancelled => self.breaker.cancel(pass),
            Outcome::Failure | Outcome::Unreachable | Outcome::Overloaded { .. } => {
                self.report_failed(now, lasted_ns, took_ns, pass, outcome);
            }
        }
    }

    #[cold]
    fn report_failed(&self, now: Tick, lasted_ns: u64, took_ns: u64, pass: Pass, outcome: Outcome) {
        let is_overload = matches!(outcome, Outcome::Overloaded { .. });
        let counter = if is_overload { &self.counters.overloads } else { &self.counters.failures };
        counter.fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Unreachable {
            self.counters.unreachable.fetch_add(1, Ordering::Relaxed);
        }
        self.failed(now, took_ns, pass, outcome, || self.durations.record(lasted_ns));
    }

    /// Takes in how a call ended that took `took_ns` and had no lease.
    pub(crate) fn observe(&self, now: Tick, took_ns: u64, outcome: Outcome) {
        let pass = self.breaker.observer();
        let count = || {
            self.counters.observed.fetch_add(1, Ordering::Relaxed);
        };
        match outcome {
            Outcome::Success | Outcome::AppError => self.succeeded(now, took_ns, pass, count),
            Outcome::Failure | Outcome::Unreachable | Outcome::Overloaded { .. } => {
                self.failed(now, took_ns, pass, outcome, count);
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

    /// Returns how many calls have ended, with a lease or without.
    fn ended(&self) -> u64 {
        self.durations.count() + self.counters.observed.load(Ordering::Relaxed)
    }

    /// Starts the window's next second if it is due; to be called before what ends at `now` is counted.
    #[inline(always)]
    fn turn_window(&self, now: Tick) {
        if self.second.load(Ordering::Relaxed) != now.seconds() {
            self.start_second(now);
        }
    }

    #[cold]
    fn start_second(&self, now: Tick) {
        self.window.turn(now, self.ended());
        self.second.store(now.seconds(), Ordering::Relaxed);
    }

    /// Takes in a call that went well; `count` adds it to those that have ended.
    #[inline(always)]
    fn succeeded(&self, now: Tick, took_ns: u64, pass: Pass, count: impl FnOnce()) {
        self.turn_window(now);
        let (known, mean) = (self.estimator.load(), self.shared.mean.read());
        // Between reading and estimating, so that the processor estimates while it waits for the memory.
        count();
        let estimate = known.after(now, took_ns as f32, mean);
        self.estimator.store(now, estimate);
        if (now.as_nanos() ^ took_ns).is_multiple_of(MEAN_EVERY) || mean == 0.0 {
            self.shared.mean.sample(estimate);
        }
        if let Some(relief) = self.breaker.succeed(now, pass, &self.shared.options.breaker, &self.shared.census) {
            self.relieved(now, took_ns, relief);
        }
    }

    /// Takes in that a call went well after others that did not.
    #[cold]
    fn relieved(&self, now: Tick, took_ns: u64, relief: Relief) {
        if let Some(transition) = relief.transition {
            self.closed_again(transition);
        }
        if self.counters.missed.swap(0, Ordering::Relaxed) > 0
            && let Some(fleet) = &self.shared.fleet
        {
            fleet.tell(&self.id, now, Duration::from_nanos(took_ns), Outcome::Success);
        }
    }

    /// Takes in a call that failed; `count` adds it to those that have ended.
    #[cold]
    fn failed(&self, now: Tick, took_ns: u64, pass: Pass, outcome: Outcome, count: impl FnOnce()) {
        self.turn_window(now);
        count();
        self.window.fail(now);
        self.estimator.penalise(now, took_ns as f32, self.shared.mean.read());
        let is_overload = matches!(outcome, Outcome::Overloaded { .. });
        let failed = Failed {
            severity: if is_overload { Severity::Soft } else { Severity::Hard },
            tripped: self.too_many_failed(now).then_some(BreakerReason::Ratio),
            ..self.failed_hard()
        };
        self.doubt(now, pass, &failed);
        if outcome == Outcome::Unreachable {
            self.miss(now, took_ns);
        }
        if let Outcome::Overloaded { retry_after: Some(wait) } = outcome {
            self.leave_alone_until(now.after(wait.min(RETRY_AFTER_MAX)));
        }
    }

    fn failed_hard(&self) -> Failed<'_> {
        Failed {
            severity: Severity::Hard,
            tripped: None,
            seed: self.key.0 ^ self.shared.options.seed,
            options: &self.shared.options.breaker,
            census: &self.shared.census,
        }
    }

    fn doubt(&self, now: Tick, pass: Pass, failed: &Failed<'_>) {
        match self.breaker.fail(now, pass, failed) {
            Consequence::None => {}
            Consequence::Changed(transition) => self.count(transition),
            Consequence::KeptIn => {
                self.shared.kept_in.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes in that a call has not reached the peer. Whatever becomes of this breaker, others learn of it once.
    fn miss(&self, now: Tick, took_ns: u64) {
        let missed = self.counters.missed.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(fleet) = &self.shared.fleet else { return };
        fleet.tell(&self.id, now, Duration::from_nanos(took_ns), Outcome::Unreachable);
        if missed == self.missed_max() {
            fleet.lose(&self.id, now, &self.shared);
        }
    }

    /// Takes in that calls through another table do not reach the peer.
    pub(crate) fn lose(&self, now: Tick) {
        self.counters.missed.fetch_max(self.missed_max(), Ordering::Relaxed);
        let failed = Failed { tripped: Some(BreakerReason::Fleet), ..self.failed_hard() };
        self.doubt(now, self.breaker.observer(), &failed);
    }

    /// Returns how many calls that do not reach the peer say that none does.
    fn missed_max(&self) -> u64 {
        u64::from(self.shared.options.breaker.consecutive_failures.max(1))
    }

    pub(crate) fn is_out_of_reach(&self) -> bool {
        self.counters.missed.load(Ordering::Relaxed) >= self.missed_max()
    }

    fn too_many_failed(&self, now: Tick) -> bool {
        let options = &self.shared.options.breaker;
        let tally = self.window.tally(now, self.ended());
        options.failure_percent > 0
            && tally.ended >= u64::from(options.min_samples)
            && tally.failed * 100 >= tally.ended * u64::from(options.failure_percent)
    }

    /// Forgets what is held against the peer: its process is a new one.
    pub(crate) fn restarted(&self, now: Tick) {
        self.estimator.clear();
        self.forget_window();
        self.reset(now, BreakerReason::Restart);
    }

    pub(crate) fn reset(&self, now: Tick, reason: BreakerReason) {
        self.counters.missed.store(0, Ordering::Relaxed);
        let transition = self.breaker.reset(now, &self.shared.options.breaker, &self.shared.census, reason);
        if let Some(transition) = transition {
            self.closed_again(transition);
        }
    }

    fn forget_window(&self) {
        self.window.clear();
        // Whoever comes next starts its second anew.
        self.second.store(u64::MAX, Ordering::Relaxed);
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
        self.forget_window();
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
