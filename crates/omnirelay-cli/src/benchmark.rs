//! `omnirelay benchmark`.

mod histogram;
mod report;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::args::{Benchmark, Global};
use crate::benchmark::histogram::Histogram;
use crate::benchmark::report::Report;
use crate::error::{CliError, chain};
use crate::output::{Output, progress};
use crate::rpc::{CallError, CallSpec, Session, Way};

/// How often progress is shown.
const PERIOD: Duration = Duration::from_secs(1);

/// Pause of a caller that finds no listener: it would try thousands of times a second.
const NO_LISTENER_PAUSE: Duration = Duration::from_millis(100);

/// How much is called, and how fast.
#[derive(Debug, Clone, Copy)]
struct Plan {
    began: Instant,
    /// No call begins after it.
    end: Option<Instant>,
    calls: Option<u64>,
    /// Time from the beginning of one call to that of the next, over all callers.
    apart: Option<Duration>,
}

/// What all callers share.
#[derive(Debug, Default)]
struct Shared {
    begun: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
}

/// What came of calls.
#[derive(Debug)]
struct Tally {
    /// Of calls that succeeded.
    latency: Histogram,
    /// By class: how many, and what the first one said.
    failures: BTreeMap<&'static str, (u64, String)>,
}

/// Calls again and again, and writes how that went.
pub(crate) async fn benchmark(global: &Global, args: &Benchmark, output: &mut Output) -> Result<(), CliError> {
    let spec = Arc::new(args.call.spec()?);
    let way = Way::new(global, &args.call.via.via, spec.wire)?;
    let began = Instant::now();
    // With a number of calls and no duration it takes as long as it takes.
    let duration = args.duration.or_else(|| args.requests.is_none().then_some(Benchmark::DURATION));
    let plan = Plan {
        began,
        end: duration.map(|duration| began + duration),
        calls: args.requests,
        apart: args.rate.map(|rate| Duration::from_secs(1) / rate.get()),
    };
    let (shared, stop) = (Arc::new(Shared::default()), watch::Sender::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..args.concurrency {
        let (session, spec, shared) = (way.session(), Arc::clone(&spec), Arc::clone(&shared));
        callers.spawn(call_on(session, spec, plan, shared, stop.subscribe()));
    }
    let tally = gather(callers, began, &shared, &stop).await?;
    let report = Report { tally, took: began.elapsed() };
    output.write(report.render(args.output).as_bytes())?;
    match report.failed() {
        0 => Ok(()),
        failed => Err(CliError::CallsFailed { failed }),
    }
}

/// Waits for the callers, shows how far they are, and stops them at Ctrl-C.
async fn gather(
    mut callers: JoinSet<Tally>,
    began: Instant,
    shared: &Shared,
    stop: &watch::Sender<bool>,
) -> Result<Tally, CliError> {
    let is_terminal = io::stderr().is_terminal();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut all = Tally::new();
    loop {
        tokio::select! {
            ended = callers.join_next() => match ended {
                Some(Ok(tally)) => all.merge(tally),
                Some(Err(error)) => return Err(CliError::Runtime { source: io::Error::other(error) }),
                None => break,
            },
            interrupted = signal::ctrl_c() => {
                interrupted.map_err(|source| CliError::Runtime { source })?;
                stop.send_replace(true);
            }
            _ = ticks.tick(), if is_terminal => {
                let (ok, failed) = (shared.ok.load(Ordering::Relaxed), shared.failed.load(Ordering::Relaxed));
                progress(&format!("{:>4} s  {ok} ok  {failed} failed", began.elapsed().as_secs()));
            }
        }
    }
    if is_terminal {
        progress("");
    }
    Ok(all)
}

/// Calls until the plan is fulfilled, or somebody has had enough.
async fn call_on(
    mut session: Session,
    spec: Arc<CallSpec>,
    plan: Plan,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> Tally {
    let mut tally = Tally::new();
    loop {
        let number = shared.begun.fetch_add(1, Ordering::Relaxed);
        let Some(due) = plan.due(number) else { return tally };
        tokio::select! {
            () = sleep_until(due) => {}
            // Who asked for it may be gone by now; then nobody waits for more either.
            _ = stop.wait_for(|stop| *stop) => return tally,
        }
        // With a rate, a call that had to wait for its caller counts from when it was due: who calls does not care why it is late.
        let from = if plan.apart.is_some() { due } else { Instant::now() };
        let called = session.call(&spec, drop).await.map(drop);
        let had_no_listener = matches!(called, Err(CallError::Way { .. }));
        tally.count(called, from.elapsed(), &shared);
        if had_no_listener {
            sleep(NO_LISTENER_PAUSE).await;
        }
    }
}

impl Plan {
    /// Returns when call `number` begins, `None` if it does not.
    fn due(&self, number: u64) -> Option<Instant> {
        if self.calls.is_some_and(|calls| calls <= number) {
            return None;
        }
        let now = Instant::now();
        let due = match self.apart {
            Some(apart) => {
                let nanos = apart.as_nanos().saturating_mul(number.into());
                self.began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            None => now,
        };
        let is_over = self.end.is_some_and(|end| end <= due.max(now));
        (!is_over).then_some(due)
    }
}

impl Tally {
    fn new() -> Self {
        Self { latency: Histogram::new(), failures: BTreeMap::new() }
    }

    fn count(&mut self, called: Result<(), CallError>, took: Duration, shared: &Shared) {
        match called {
            Ok(()) => {
                self.latency.record(took);
                shared.ok.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                shared.failed.fetch_add(1, Ordering::Relaxed);
                self.failures.entry(error.class()).or_insert_with(|| (0, chain(&error))).0 += 1;
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.latency.merge(&other.latency);
        for (class, (count, first)) in other.failures {
            self.failures.entry(class).or_insert((0, first)).0 += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seconds: Option<u64>, calls: Option<u64>, apart_ms: Option<u64>) -> Plan {
        let began = Instant::now();
        let end = seconds.map(|seconds| began + Duration::from_secs(seconds));
        Plan { began, end, calls, apart: apart_ms.map(Duration::from_millis) }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_begin_until_their_number_or_their_time_is_over() {
        let numbered = plan(None, Some(2), None);
        assert_eq!([0, 1, 2].map(|number| numbered.due(number)), [Some(numbered.began), Some(numbered.began), None]);
        let timed = plan(Some(10), None, None);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(timed.due(1_000_000), Some(Instant::now()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(timed.due(1_000_001), None);
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_rate_each_call_is_due_at_its_time_however_late_it_is() {
        let paced = plan(Some(1), None, Some(10));
        tokio::time::advance(Duration::from_millis(500)).await;
        let at = |ms| Some(paced.began + Duration::from_millis(ms));
        assert_eq!([0, 7, 99, 100].map(|number| paced.due(number)), [at(0), at(70), at(990), None]);
    }
}
