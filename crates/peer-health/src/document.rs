//! The health of peers as a document: JSON whose form clients have always read.

use bytes::Bytes;

use crate::evidence::HealthState;
use crate::json::Json;
use crate::lease::PeerFacts;
use crate::snapshot::{PeerHealth, Snapshot};

/// What readers have always been shown for a peer that was never heard of.
const NEVER: &str = "\"0001-01-01T00:00:00+00:00\"";

/// About how much a peer with the usual metadata takes, in bytes.
const PEER_BYTES: usize = 384;

/// Which peers a document shows; by default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentFilter {
    /// Only the peer of that name, whose case counts.
    pub peer: Option<String>,
    /// Only peers that are held for this.
    pub state: Option<HealthState>,
    /// Only peers after the one of that name: the cursor that the page before named.
    pub after: Option<String>,
    /// Most peers on a page. If more are left, the document names the last one as `nextCursor`.
    pub limit: Option<usize>,
}

impl DocumentFilter {
    fn keeps(&self, peer: &PeerHealth) -> bool {
        let id = peer.facts.id.as_str();
        self.peer.as_ref().is_none_or(|wanted| wanted == id)
            && self.state.is_none_or(|state| state == peer.state)
            && self.after.as_ref().is_none_or(|after| id > after.as_str())
    }
}

impl Snapshot {
    /// Returns the lease-health document of the peers that `filter` keeps: JSON in the order and spelling that clients
    /// have always read. The summary is of all peers, whatever is kept.
    ///
    /// That of all peers is written once for a snapshot, by whoever asks first, and shared from then on.
    #[must_use]
    pub fn lease_health(&self, filter: &DocumentFilter) -> Bytes {
        if *filter == DocumentFilter::default() {
            return self.document.get_or_init(|| self.render(filter)).clone();
        }
        self.render(filter)
    }

    fn render(&self, filter: &DocumentFilter) -> Bytes {
        let most = filter.limit.unwrap_or(usize::MAX).min(self.peers.len());
        let mut json = Json::with_capacity(if filter.peer.is_some() { 1 } else { most } * PEER_BYTES);
        let mut kept = self.peers.iter().filter(|peer| filter.keeps(peer));
        let mut last = None;
        json.raw("{\"peers\":[");
        for peer in kept.by_ref().take(most) {
            json.raw(if last.is_some() { "," } else { "" });
            write_peer(&mut json, peer);
            last = Some(peer);
        }
        let summary = self.summary;
        json.raw("],\"summary\":{\"eligiblePeers\":");
        json.number(summary.eligible() as u64);
        json.raw(",\"unhealthyPeers\":");
        json.number(summary.unhealthy as u64);
        json.raw(",\"pendingReassignments\":");
        json.number(summary.pending_reassignments as u64);
        json.raw("}");
        if let Some(last) = kept.next().and(last) {
            json.raw(",\"nextCursor\":");
            json.text(last.facts.id.as_str());
        }
        json.raw("}");
        json.finish().into()
    }
}

fn write_peer(json: &mut Json, peer: &PeerHealth) {
    json.raw("{\"peerId\":");
    json.text(peer.facts.id.as_str());
    json.raw(",\"lastHeartbeat\":");
    match peer.last_heartbeat {
        Some(time) => json.time(time),
        None => json.raw(NEVER),
    }
    json.raw(",\"lastDisconnect\":");
    match peer.last_disconnect {
        Some(time) => json.time(time),
        None => json.raw("null"),
    }
    json.raw(if peer.is_healthy() { ",\"isHealthy\":true" } else { ",\"isHealthy\":false" });
    write_facts(json, &peer.facts);
}

fn write_facts(json: &mut Json, facts: &PeerFacts) {
    json.raw(",\"activeAssignments\":");
    json.number(facts.leases.len() as u64);
    json.raw(",\"pendingReassignments\":");
    json.number(facts.pending.len() as u64);
    json.raw(",\"activeLeases\":[");
    let mut comma = "";
    for lease in &facts.leases {
        json.raw(comma);
        json.raw("{\"sequenceId\":");
        json.number(lease.sequence_id);
        json.raw(",\"attempt\":");
        json.number(lease.attempt.into());
        json.raw(",\"leaseId\":");
        json.lease_id(lease.lease_id);
        json.raw("}");
        comma = ",";
    }
    json.raw("],\"metadata\":");
    json.raw(facts.metadata.json());
    json.raw("}");
}
