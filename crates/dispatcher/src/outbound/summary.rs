//! The way out, for people to read.

use std::collections::BTreeMap;

use grpc_client_factory::BalancedChannel;
use mesh_types::NodeId;
use peers_core::{DurationHistogram, Labels, PeerTable, Sink};

use super::members::Whom;
use crate::introspect::{LatencySummary, OutboundSummary, PeerSummary};

/// Returns what a channel says of those whom it calls.
pub(crate) fn of_channel(whom: &Whom, channel: &BalancedChannel) -> OutboundSummary {
    let (table, mut tally) = (channel.table(), Tally::default());
    table.visit(channel.now(), &mut tally);
    let Tally { chooser, peers } = tally;
    let peers = peers.into_iter().filter_map(|(id, read)| read.summary(&id, table)).collect();
    OutboundSummary { service: whom.to_string(), transport: "grpc".to_owned(), chooser, peers }
}

/// What is read of a table.
#[derive(Debug, Default)]
struct Tally {
    chooser: Option<String>,
    peers: BTreeMap<String, Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    inflight: u64,
    successes: u64,
    failures: u64,
    latency_ms: Option<LatencySummary>,
}

impl Tally {
    fn of(&mut self, labels: &Labels<'_>) -> Option<&mut Reading> {
        let (_, peer) = labels.iter().find(|(name, _)| *name == "rpc_peer")?;
        Some(self.peers.entry((*peer).to_owned()).or_default())
    }
}

impl Sink for Tally {
    fn counter(&mut self, name: &'static str, labels: &Labels<'_>, value: u64) {
        if self.chooser.is_none() {
            self.chooser =
                labels.iter().find(|(label, _)| *label == "chooser").map(|(_, chooser)| (*chooser).to_owned());
        }
        match (name, self.of(labels)) {
            ("omnirelay_peer_successes_total", Some(peer)) => peer.successes = value,
            ("omnirelay_peer_failures_total", Some(peer)) => peer.failures = value,
            _ => {}
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of calls, told as a gauge")]
    fn gauge(&mut self, name: &'static str, labels: &Labels<'_>, value: f64) {
        if let ("omnirelay_peer_inflight", Some(peer)) = (name, self.of(labels)) {
            peer.inflight = value as u64;
        }
    }

    fn histogram(&mut self, name: &'static str, labels: &Labels<'_>, value: &DurationHistogram) {
        if let ("omnirelay_peer_lease_duration_ms", Some(peer)) = (name, self.of(labels)) {
            let at = |share| percentile(value, share);
            peer.latency_ms = (value.count() > 0).then(|| LatencySummary { p50: at(0.5), p90: at(0.9), p99: at(0.99) });
        }
    }
}

impl Reading {
    /// Returns what people read of a peer, if it still is one.
    fn summary(self, id: &str, table: &PeerTable) -> Option<PeerSummary> {
        let handle = table.handle(&id.parse::<NodeId>().ok()?)?;
        let endpoint = handle.peer().endpoints.first().map(|endpoint| endpoint.address.to_string());
        let Self { inflight, successes, failures, latency_ms } = self;
        Some(PeerSummary {
            peer: id.to_owned(),
            endpoint: endpoint.unwrap_or_default(),
            status: handle.breaker().as_str().to_owned(),
            inflight,
            successes,
            failures,
            latency_ms,
        })
    }
}

/// Returns the milliseconds that `share` of the calls took at most, by where they lie in their bucket; those beyond the last limit count
/// as that.
#[expect(clippy::cast_precision_loss, reason = "nobody reads 16 digits")]
fn percentile(histogram: &DurationHistogram, share: f64) -> f64 {
    let wanted = share * histogram.count() as f64;
    let (mut lower, mut below) = (0.0, 0.0);
    for (limit, count) in histogram.cumulative() {
        let count = count as f64;
        if count >= wanted && count > below {
            let upper = if limit.is_finite() { limit } else { lower };
            return lower + (upper - lower) * ((wanted - below) / (count - below)).clamp(0.0, 1.0);
        }
        (lower, below) = (if limit.is_finite() { limit } else { lower }, count);
    }
    lower
}
