//! Metrics, all of them off the hot path.

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
