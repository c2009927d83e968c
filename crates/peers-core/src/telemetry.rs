//! What a table counts, read when somebody asks.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering as StdOrdering;
use std::time::Duration;

use mesh_types::NodeId;

use crate::balancer::Picker;
use crate::candidates::Candidate;
use crate::cell::PeerCell;
use crate::durations::DurationHistogram;
use crate::published::Kept;
use crate::sync::Ordering;
use crate::word::LeaseWord;
use crate::{Calls, Chooser, PeerTable, Tick};

/// Labels of one value.
pub type Labels<'a> = [(&'static str, &'a str)];

/// Takes the values of a table or balancer. Names are in Prometheus' spelling.
pub trait Sink {
    /// Takes a count that only grows.
    fn counter(&mut self, name: &'static str, labels: &Labels<'_>, value: u64);

    /// Takes a value of now.
    fn gauge(&mut self, name: &'static str, labels: &Labels<'_>, value: f64);

    /// Takes a histogram.
    fn histogram(&mut self, name: &'static str, labels: &Labels<'_>, value: &DurationHistogram);
}

/// Label value of the peers beyond the limit of series.
const OTHER: &str = "other";

/// What is read of one peer, or summed up over several.
#[derive(Debug, Default)]
struct Reading {
    inflight: u64,
    picks: u64,
    successes: u64,
    failures: u64,
    unreachable: u64,
    overloads: u64,
    cancelled: u64,
    durations: DurationHistogram,
}

impl Reading {
    fn of(cell: &Kept<PeerCell>) -> Self {
        let counters = &cell.counters;
        // Before what was reported: a lease that ends in between is then not taken for one that was cancelled.
        let usage = cell.usage();
        let picks = picks(cell, usage.picks);
        // Failures are counted before their durations, and read after them: what is left over was a success.
        let durations = cell.durations.read();
        let failures = counters.failures.load(Ordering::Relaxed);
        let unreachable = counters.unreachable.load(Ordering::Relaxed);
        let overloads = counters.overloads.load(Ordering::Relaxed);
        let successes = durations.count().saturating_sub(failures + overloads);
        let cancelled = picks.saturating_sub(u64::from(usage.pending) + durations.count());
        let cancelled_known = counters.cancelled_read.fetch_max(cancelled, Ordering::Relaxed);
        let known = counters.successes_read.fetch_max(successes, Ordering::Relaxed);
        Self {
            inflight: u64::from(usage.pending),
            picks,
            successes: successes.max(known),
            failures,
            unreachable,
            overloads,
            cancelled: cancelled.max(cancelled_known),
            durations,
        }
    }

    fn add(&mut self, other: &Self) {
        self.inflight += other.inflight;
        self.picks += other.picks;
        self.successes += other.successes;
        self.failures += other.failures;
        self.unreachable += other.unreachable;
        self.overloads += other.overloads;
        self.cancelled += other.cancelled;
        self.durations.add(&other.durations);
    }

    fn visit(&self, labels: &[(&'static str, &str); 3], chooser: &'static str, sink: &mut dyn Sink) {
        let [service, transport, peer] = *labels;
        sink.counter("omnirelay_peer_picks_total", &[service, transport, peer, ("chooser", chooser)], self.picks);
        sink.gauge("omnirelay_peer_inflight", labels, self.inflight as f64);
        sink.counter("omnirelay_peer_successes_total", labels, self.successes);
        sink.counter("omnirelay_peer_failures_total", labels, self.failures);
        sink.counter("omnirelay_peer_unreachable_total", labels, self.unreachable);
        sink.counter("omnirelay_peer_overloads_total", labels, self.overloads);
        sink.counter("omnirelay_peer_cancelled_total", labels, self.cancelled);
        sink.histogram("omnirelay_peer_lease_duration_ms", labels, &self.durations);
    }
}

/// Extends the word's counter, which wraps, by what was read of it before.
fn picks(cell: &PeerCell, wrapped: u64) -> u64 {
    let extend = |known: u64| {
        let ahead = wrapped.wrapping_sub(known) % LeaseWord::PICKS_WRAP;
        // More than half the way round is a step back: another reader was faster.
        if ahead > LeaseWord::PICKS_WRAP / 2 { known } else { known + ahead }
    };
    let update =
        cell.counters.picks_read.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| Some(extend(known)));
    update.map_or_else(|known| known, extend)
}

impl PeerTable {
    /// Hands every metric of the table to `sink`, as it is at `now`. Meant for a scrape: it takes a snapshot and some
    /// microseconds a peer, and no pick waits for it.
    pub fn visit(&self, now: Tick, sink: &mut dyn Sink) {
        self.visit_up_to(self.shared().options.series_max, now, sink);
    }

    /// Does the same with no more than `series_max` peers that have metrics of their own, and returns how many have.
    pub(crate) fn visit_up_to(&self, series_max: usize, now: Tick, sink: &mut dyn Sink) -> usize {
        self.visit_totals(sink);
        let chooser = self.chooser();
        self.read(|roster| {
            for candidate in roster.candidates.iter().take(series_max) {
                let labels = self.labels(candidate.peer.id.as_str());
                Reading::of(candidate.cell).visit(&labels, chooser, sink);
                self.visit_state(candidate, now, &labels, sink);
            }
            let mut rest = Reading::default();
            for candidate in roster.candidates.iter().skip(series_max) {
                rest.add(&Reading::of(candidate.cell));
            }
            if roster.candidates.len() > series_max {
                rest.visit(&self.labels(OTHER), chooser, sink);
            }
            roster.candidates.len().min(series_max)
        })
    }

    /// Adds what the table knows of its peers to `calls`.
    pub(crate) fn add_calls(&self, now: Tick, calls: &mut BTreeMap<NodeId, Calls>) {
        self.read(|roster| {
            for Candidate { cell, peer } in roster.candidates.iter() {
                let Reading { inflight, successes, failures, unreachable, overloads, cancelled, .. } =
                    Reading::of(cell);
                let estimate_ns = cell.estimator.read(now, self.shared().mean.read());
                let latency = Duration::from_secs_f32(estimate_ns / 1e9);
                let breaker = cell.breaker.state();
                let here = Calls { inflight, successes, failures, unreachable, overloads, cancelled, latency, breaker };
                calls.entry(peer.id.clone()).or_default().add(&here);
            }
        });
    }

    fn labels<'a>(&'a self, peer: &'a str) -> [(&'static str, &'a str); 3] {
        let options = &self.shared().options;
        [("rpc_service", &options.service), ("rpc_transport", &options.transport), ("rpc_peer", peer)]
    }

    fn visit_totals(&self, sink: &mut dyn Sink) {
        let shared = self.shared();
        let [service, transport, _] = self.labels("");
        let labels = [service, transport];
        let (version, working) = self.read(|roster| (roster.version, roster.working()));
        sink.gauge("omnirelay_peer_registered", &labels, working as f64);
        sink.gauge("omnirelay_peer_ejected", &labels, shared.census.out() as f64);
        sink.gauge("omnirelay_peer_snapshot_version", &labels, version as f64);
        sink.counter("omnirelay_peer_publish_total", &labels, shared.publishes.load(Ordering::Relaxed));
        let reason = [service, transport, ("reason", "rails")];
        sink.counter("omnirelay_peer_ejections_unenforced_total", &reason, shared.kept_in.load(Ordering::Relaxed));
    }

    fn visit_state(&self, candidate: Candidate<'_>, now: Tick, labels: &Labels<'_>, sink: &mut dyn Sink) {
        let cell = candidate.cell;
        let estimate_ns = cell.estimator.read(now, self.shared().mean.read());
        sink.gauge("omnirelay_peer_latency_estimate_seconds", labels, f64::from(estimate_ns) / 1e9);
        sink.gauge("omnirelay_peer_breaker_state", labels, f64::from(cell.breaker.state() as u8));
        let transitions = cell.counters.transitions.load(Ordering::Relaxed);
        sink.counter("omnirelay_peer_breaker_changes_total", labels, transitions);
    }
}

impl<C: Chooser> Picker<C> {
    /// Hands the metrics of the picks that were not usual to `sink`.
    pub(crate) fn tell(&self, sink: &mut dyn Sink) {
        let (counts, options) = (&self.counts, &self.shared.options);
        let chooser = ("chooser", self.chooser.name());
        let [service, transport]: [(&str, &str); 2] =
            [("rpc_service", &options.service), ("rpc_transport", &options.transport)];
        self.chooser.visit([service, transport], sink);
        for (selection, count) in [("fallback", &counts.fallback), ("panic", &counts.panic)] {
            let labels = [service, transport, chooser, ("selection", selection)];
            sink.counter("omnirelay_peer_unusual_picks_total", &labels, count.load(StdOrdering::Relaxed));
        }
        let rejections = [
            ("busy", &counts.busy),
            ("breaker_open", &counts.breaker_open),
            ("lease_unhealthy", &counts.unhealthy),
            ("shard", &counts.shard),
            ("deadline", &counts.deadline),
        ];
        let mut exhausted = counts.no_peers.load(StdOrdering::Relaxed);
        for (reason, count) in rejections {
            let rejected = count.load(StdOrdering::Relaxed);
            if reason != "shard" {
                exhausted += rejected;
            }
            let labels = [service, transport, chooser, ("peer_rejection_reason", reason)];
            sink.counter("omnirelay_peer_lease_rejected_total", &labels, rejected);
        }
        sink.counter("omnirelay_peer_pool_exhausted_total", &[service, transport, chooser], exhausted);
    }
}
