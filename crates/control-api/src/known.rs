//! What the local node holds of its peers, as `/control/peers` shows it beside what gossip says.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::NodeId;
use peer_health::{HealthState, Snapshot, Source};
use peers_core::Calls;
use serde::Serialize;

use crate::clock::Now;
use crate::routes::Ports;

/// What is known of all peers at one moment.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) health: Option<Arc<Snapshot>>,
    pub(crate) calls: BTreeMap<NodeId, Calls>,
}

/// What is known of one. Fields are added at the end, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    /// `null` on a node that keeps no health of its peers.
    health: Option<&'static str>,
    /// Who has decided that; `null` if nobody says anything that counts.
    health_source: Option<&'static str>,
    /// `null` if the node has no way to call it, as it has not of late.
    calls: Option<CallsDocument>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CallsDocument {
    in_flight: u64,
    succeeded: u64,
    failed: u64,
    unreachable: u64,
    overloaded: u64,
    cancelled: u64,
    latency_ms: f64,
    breaker: &'static str,
}

impl Known {
    pub(crate) fn read(ports: &Ports, now: &Now) -> Self {
        let look = |board: &Arc<peer_health::HealthBoard>| board.snapshot(board.moment(now.monotonic, now.wall.into()));
        Self {
            health: ports.lease_health.as_ref().map(look),
            calls: ports.calls.as_ref().map(|calls| calls()).unwrap_or_default(),
        }
    }

    pub(crate) fn of(&self, peer: &NodeId) -> Held {
        let found = self.health.as_ref().map(|snapshot| snapshot.get(peer.as_str()));
        Held {
            health: found.map(|held| held.map_or(HealthState::Unknown, |known| known.state).as_str()),
            health_source: found.flatten().and_then(|held| held.decided_by).map(Source::as_str),
            calls: self.calls.get(peer).map(CallsDocument::of),
        }
    }
}

impl CallsDocument {
    fn of(calls: &Calls) -> Self {
        Self {
            in_flight: calls.inflight,
            succeeded: calls.successes,
            failed: calls.failures,
            unreachable: calls.unreachable,
            overloaded: calls.overloads,
            cancelled: calls.cancelled,
            // Whole microseconds: the digits below are noise.
            latency_ms: (calls.latency.as_secs_f64() * 1e6).round() / 1e3,
            breaker: calls.breaker.as_str(),
        }
    }
}
