//! Metrics, all of them off the hot path.

use crate::events::EventKind;
use crate::evidence::{HealthState, Source};
use crate::snapshot::Summary;

pub(crate) fn assignment() {
    metrics::counter!("omnirelay_peer_lease_assignments_total").increment(1);
}

pub(crate) fn disconnect() {
    metrics::counter!("omnirelay_peer_lease_disconnects_total").increment(1);
}

/// Sets how many heartbeats there have been in all.
pub(crate) fn heartbeats(total: u64) {
    metrics::counter!("omnirelay_peer_lease_heartbeats_total").absolute(total);
}

pub(crate) fn collected(peers: usize) {
    let peers = u64::try_from(peers).unwrap_or(u64::MAX);
    metrics::counter!("omnirelay_peer_health_collected_total").increment(peers);
}

/// Sets how many peers are how.
pub(crate) fn summary(summary: Summary) {
    gauge("omnirelay_peer_lease_healthy", summary.eligible());
    gauge("omnirelay_peer_lease_unhealthy", summary.unhealthy);
    gauge("omnirelay_peer_lease_pending_reassignments", summary.pending_reassignments);
    for state in HealthState::ALL {
        metrics::gauge!("omnirelay_peer_health_state", "state" => state.as_str()).set(float(summary.of(state)));
    }
}

fn gauge(name: &'static str, value: usize) {
    metrics::gauge!(name).set(float(value));
}

/// Peers and their work are counted far below 2^32.
fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(crate) fn transition(from: HealthState, to: HealthState, source: Option<Source>) {
    let source = source.map_or("none", Source::as_str);
    metrics::counter!(
        "omnirelay_peer_health_transitions_total",
        "from" => from.as_str(), "to" => to.as_str(), "source" => source
    )
    .increment(1);
}

pub(crate) fn anomaly(kind: EventKind) {
    let kind = match kind {
        EventKind::Flapping => "flapping",
        EventKind::Disagreement => "disagreement",
        EventKind::Stale => "stale",
        EventKind::Appeared { .. } | EventKind::Changed { .. } | EventKind::Gone => return,
    };
    metrics::counter!("omnirelay_peer_health_anomalies_total", "kind" => kind).increment(1);
}

/// Counts records that found no room in a snapshot.
pub(crate) fn left_out(records: u64) {
    if records > 0 {
        metrics::counter!("omnirelay_peer_health_left_out_total").increment(records);
    }
}
