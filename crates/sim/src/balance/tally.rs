//! What is counted while a run goes on.

use super::measure::Measured;
use super::policy::Outcome;
use super::scenario::WARM_UP_S;

const SECOND_NS: u64 = 1_000_000_000;
/// So long after a server was sick its breakers have closed again: the longest open time, and some calls.
const RECOVERY_NS: u64 = 35 * SECOND_NS;
/// Of a server that is sick now.
const NOT_YET: u64 = u64::MAX;

/// Counts by seconds of the run, beside what is measured in all.
#[derive(Debug)]
pub(crate) struct Tally {
    measured: Measured,
    seconds: Vec<Second>,
    /// By servers: until when each was sick, if it ever was.
    sick_until_ns: Vec<Option<u64>>,
    /// By servers: how often breakers had changed when they were last read.
    breaker_changes: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    calls: u32,
    /// Calls to server 0.
    watched: u32,
    /// Calls to servers that are sick, and how many of them there are.
    to_sick: u32,
    sick: u32,
    took_ns: f64,
}

impl Tally {
    pub(crate) fn new(servers: usize, seconds: u64) -> Self {
        Self {
            measured: Measured { picks: vec![0; servers], ..Measured::default() },
            seconds: vec![Second::default(); usize::try_from(seconds).unwrap_or(usize::MAX)],
            sick_until_ns: vec![None; servers],
            breaker_changes: vec![0; servers],
        }
    }

    /// Takes in that a server turned sick or well.
    pub(crate) fn turned(&mut self, now_ns: u64, server: usize, is_sick: bool) {
        self.sick_until_ns[server] = Some(if is_sick { NOT_YET } else { now_ns });
        self.measured.sicknesses += u64::from(is_sick);
    }

    /// Returns whether nothing was counted yet in the second of `now_ns`.
    pub(crate) fn is_new_second(&self, now_ns: u64) -> bool {
        self.seconds[second(now_ns)].calls == 0
    }

    /// Takes in how often breakers have changed so far, by servers.
    pub(crate) fn breakers(&mut self, now_ns: u64, changes: Vec<u64>) {
        for ((new, old), sick_until_ns) in changes.iter().zip(&self.breaker_changes).zip(&self.sick_until_ns) {
            let is_well = sick_until_ns.is_none_or(|until_ns| until_ns.saturating_add(RECOVERY_NS) <= now_ns);
            self.measured.breaker_changes += new - old;
            self.measured.breaker_changes_of_well += if is_well { new - old } else { 0 };
        }
        self.breaker_changes = changes;
    }

    pub(crate) fn called(&mut self, now_ns: u64, peer: usize) {
        if self.is_new_second(now_ns) {
            let sick = self.sick_until_ns.iter().filter(|until_ns| **until_ns == Some(NOT_YET)).count();
            self.seconds[second(now_ns)].sick = u32::try_from(sick).unwrap_or(u32::MAX);
        }
        let is_sick = self.sick_until_ns[peer] == Some(NOT_YET);
        let counts = &mut self.seconds[second(now_ns)];
        counts.calls += 1;
        counts.watched += u32::from(peer == 0);
        counts.to_sick += u32::from(is_sick);
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
        let Self { mut measured, seconds, .. } = self;
        let servers = measured.picks.len() as f64;
        let calls = |second: &Second| f64::from(second.calls.max(1));
        let of_fair = |own: u32, servers_own: u32, second: &Second| {
            f64::from(own) / calls(second) / (f64::from(servers_own.max(1)) / servers)
        };
        measured.share = seconds.iter().map(|second| of_fair(second.watched, 1, second)).collect();
        measured.sick_share = seconds.iter().map(|second| of_fair(second.to_sick, second.sick, second)).collect();
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
