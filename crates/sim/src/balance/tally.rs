//! What is counted while a run goes on.

use super::measure::Measured;
use super::policy::Outcome;
use super::scenario::WARM_UP_S;

const SECOND_NS: u64 = 1_000_000_000;

/// Counts by seconds of the run, beside what is measured in all.
#[derive(Debug)]
pub(crate) struct Tally {
    measured: Measured,
    seconds: Vec<Second>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    calls: u32,
    /// Calls to server 0.
    watched: u32,
    took_ns: f64,
}

impl Tally {
    pub(crate) fn new(servers: usize, seconds: u64) -> Self {
        Self {
            measured: Measured { picks: vec![0; servers], ..Measured::default() },
            seconds: vec![Second::default(); usize::try_from(seconds).unwrap_or(usize::MAX)],
        }
    }

    pub(crate) fn called(&mut self, now_ns: u64, peer: usize) {
        let counts = &mut self.seconds[second(now_ns)];
        counts.calls += 1;
        counts.watched += u32::from(peer == 0);
        if is_judged(now_ns) {
            self.measured.picks[peer] += 1;
        }
    }

    pub(crate) fn probed(&mut self, count: usize) {
        self.measured.probes += count as u64;
    }

    pub(crate) fn refused(&mut self, now_ns: u64) {
        if is_judged(now_ns) {
            self.measured.errors += 1;
            self.measured.latencies.push(0);
        }
    }

    pub(crate) fn ended(&mut self, sent_ns: u64, took_ns: u64, outcome: Outcome) {
        self.seconds[second(sent_ns)].took_ns += took_ns as f64;
        if is_judged(sent_ns) {
            self.measured.latencies.push(took_ns);
            self.measured.errors += u64::from(outcome == Outcome::Failed);
        }
    }

    pub(crate) fn into_measured(self) -> Measured {
        let Self { mut measured, seconds } = self;
        let fair = 1.0 / measured.picks.len() as f64;
        let calls = |second: &Second| f64::from(second.calls.max(1));
        measured.share = seconds.iter().map(|second| f64::from(second.watched) / calls(second) / fair).collect();
        measured.mean_ms = seconds.iter().map(|second| second.took_ns / calls(second) / 1e6).collect();
        measured
    }
}

const fn is_judged(sent_ns: u64) -> bool {
    sent_ns >= WARM_UP_S * SECOND_NS
}

fn second(now_ns: u64) -> usize {
    usize::try_from(now_ns / SECOND_NS).unwrap_or(usize::MAX)
}
