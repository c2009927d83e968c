//! Members as `/control/peers` shows them (contracts §3).

use std::collections::BTreeMap;

use axum::extract::rejection::QueryRejection;
use mesh_types::{Endpoint, Member, MemberState, Membership, Role, ServiceName};
use serde::{Deserialize, Serialize};

use crate::clock::{Now, rfc3339};
use crate::error::ApiError;
use crate::known::{Held, Known};

/// The whole answer. Fields are added at the end, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeersDocument<'a> {
    schema_version: &'static str,
    generated_at: String,
    local_node_id: &'a str,
    peers: Vec<PeerEntry<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerEntry<'a> {
    node_id: &'a str,
    status: Status,
    last_seen: String,
    rtt_ms: Option<f64>,
    metadata: Metadata<'a>,
    state: &'static str,
    // A string, since it may exceed what a JSON number keeps exactly.
    generation: String,
    incarnation: u64,
    #[serde(flatten)]
    held: Held,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    role: &'a str,
    cluster_id: &'a str,
    region: &'a str,
    mesh_version: &'a str,
    #[serde(rename = "http3Support")]
    http3_support: bool,
    endpoint: String,
    metadata_version: u64,
    labels: &'a BTreeMap<String, String>,
    lifecycle: &'static str,
    features: Vec<&'static str>,
    services: Vec<&'a str>,
    rpc_endpoint: Option<String>,
}

/// The three words that clients have always known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Status {
    Alive,
    Suspect,
    Left,
}

impl Status {
    const fn of(state: MemberState) -> Self {
        match state {
            MemberState::Alive => Self::Alive,
            MemberState::Suspect | MemberState::Unreachable => Self::Suspect,
            MemberState::Dead | MemberState::Left => Self::Left,
        }
    }
}

/// Which members are asked for; the default is all.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    status: Option<Status>,
    role: Option<Role>,
}

/// The query as it comes. A misspelt filter is refused, not ignored: the answer would be a wrong one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFilter {
    status: Option<String>,
    role: Option<String>,
}

impl TryFrom<RawFilter> for Filter {
    type Error = ApiError;

    fn try_from(raw: RawFilter) -> Result<Self, ApiError> {
        let status = match raw.status {
            None => None,
            Some(word) if word.eq_ignore_ascii_case("alive") => Some(Status::Alive),
            Some(word) if word.eq_ignore_ascii_case("suspect") => Some(Status::Suspect),
            Some(word) if word.eq_ignore_ascii_case("left") => Some(Status::Left),
            Some(word) => {
                let message = format!("status `{word}` is not one of Alive, Suspect, Left");
                return Err(ApiError::InvalidArgument { message });
            }
        };
        let parse = |text: String| {
            text.parse()
                .map_err(|error: mesh_types::NameError| ApiError::InvalidArgument { message: error.to_string() })
        };
        Ok(Self { status, role: raw.role.map(parse).transpose()? })
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::InvalidArgument { message: rejection.body_text() }
    }
}

impl Filter {
    fn keeps(&self, member: &Member) -> bool {
        self.status.is_none_or(|status| status == Status::of(member.state))
            && self.role.as_ref().is_none_or(|role| *role == member.metadata.role)
    }
}

/// Returns the members that `filter` keeps, the local one first, then by id.
pub(crate) fn document<'a>(membership: &'a Membership, known: &Known, now: &Now, filter: &Filter) -> PeersDocument<'a> {
    let local = &membership.local;
    let mut members: Vec<&Member> = membership.members.iter().filter(|member| filter.keeps(member)).collect();
    members.sort_by_key(|member| (member.id != *local, &member.id));
    PeersDocument {
        schema_version: "v1",
        generated_at: rfc3339(now.wall),
        local_node_id: local.as_str(),
        peers: members
            .into_iter()
            .map(|member| entry(member, known.of(&member.id), member.id == *local, now))
            .collect(),
    }
}

fn entry<'a>(member: &'a Member, held: Held, is_local: bool, now: &Now) -> PeerEntry<'a> {
    let metadata = &member.metadata;
    let last_seen = if is_local { now.wall } else { now.wall_at(member.last_seen) };
    PeerEntry {
        node_id: member.id.as_str(),
        status: Status::of(member.state),
        last_seen: rfc3339(last_seen),
        // Whole microseconds: the digits below are noise.
        rtt_ms: member.rtt.map(|rtt| (rtt.as_secs_f64() * 1e6).round() / 1e3),
        metadata: Metadata {
            role: metadata.role.as_str(),
            cluster_id: metadata.cluster.as_str(),
            region: metadata.region.as_str(),
            mesh_version: &metadata.mesh_version,
            http3_support: metadata.http3_support,
            endpoint: metadata.endpoint.to_string(),
            metadata_version: member.metadata_version.0,
            labels: &metadata.labels,
            lifecycle: metadata.lifecycle.as_str(),
            features: metadata.features.names().collect(),
            services: metadata.services.iter().map(ServiceName::as_str).collect(),
            rpc_endpoint: metadata.rpc_endpoint.as_ref().map(Endpoint::to_string),
        },
        state: word(member.state),
        generation: member.boot_epoch.to_string(),
        incarnation: member.incarnation.0,
        held,
    }
}

const fn word(state: MemberState) -> &'static str {
    match state {
        MemberState::Alive => "Alive",
        MemberState::Suspect => "Suspect",
        MemberState::Unreachable => "Unreachable",
        MemberState::Dead => "Dead",
        MemberState::Left => "Left",
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;
    use mesh_types::{BootEpoch, Features, Incarnation, MetadataVersion, NodeLifecycle, NodeMetadata};
    use peer_health::{HealthBoard, Options, Timeline, Tracker};
    use peers_core::{BreakerState, Calls};

    use super::*;

    const GOLDEN: &str = r#"{
  "schemaVersion": "v1",
  "generatedAt": "2025-11-19T15:23:04.1234567+00:00",
  "localNodeId": "node-b",
  "peers": [
    {
      "nodeId": "node-b",
      "status": "Alive",
      "lastSeen": "2025-11-19T15:23:04.1234567+00:00",
      "rttMs": null,
      "metadata": {
        "role": "dispatcher",
        "clusterId": "alpha",
        "region": "us-east-1",
        "meshVersion": "1.2.3",
        "http3Support": true,
        "endpoint": "127.0.0.1:17421",
        "metadataVersion": 1,
        "labels": {
          "rack": "rack-a"
        },
        "lifecycle": "draining",
        "features": [
          "lifecycle",
          "user-events"
        ],
        "services": [],
        "rpcEndpoint": null
      },
      "state": "Alive",
      "generation": "18446744073709551615",
      "incarnation": 2,
      "health": "healthy",
      "healthSource": "lease",
      "calls": null
    },
    {
      "nodeId": "node-a",
      "status": "Suspect",
      "lastSeen": "2025-11-19T15:23:02.6234567+00:00",
      "rttMs": 0.123,
      "metadata": {
        "role": "worker",
        "clusterId": "alpha",
        "region": "us-east-1",
        "meshVersion": "1.2.3",
        "http3Support": true,
        "endpoint": "127.0.0.1:17421",
        "metadataVersion": 1,
        "labels": {
          "rack": "rack-a"
        },
        "lifecycle": "active",
        "features": [],
        "services": [
          "orders",
          "orders.v1.Orders"
        ],
        "rpcEndpoint": "127.0.0.1:7420"
      },
      "state": "Unreachable",
      "generation": "18446744073709551615",
      "incarnation": 2,
      "health": "unknown",
      "healthSource": null,
      "calls": {
        "inFlight": 1,
        "succeeded": 7,
        "failed": 3,
        "unreachable": 2,
        "overloaded": 4,
        "cancelled": 5,
        "latencyMs": 0.123,
        "breaker": "half_open"
      }
    }
  ]
}"#;

    fn now() -> Result<Now, jiff::Error> {
        Ok(Now { wall: Timestamp::from_nanosecond(1_763_565_784_123_456_789)?, ..Now::read() })
    }

    fn member(id: &str, role: &str, state: MemberState, now: &Now) -> Result<Member, Box<dyn Error>> {
        let takes_calls = role == "worker";
        let names: &[&str] = if takes_calls { &["orders.v1.Orders", "orders"] } else { &[] };
        let metadata = NodeMetadata {
            role: role.parse()?,
            cluster: "alpha".parse()?,
            region: "us-east-1".parse()?,
            mesh_version: "1.2.3".into(),
            http3_support: true,
            endpoint: "127.0.0.1:17421".parse()?,
            labels: BTreeMap::from([("rack".to_owned(), "rack-a".to_owned())]),
            features: if role == "worker" { Features::default() } else { Features::OF_THIS_BUILD },
            lifecycle: if role == "worker" { NodeLifecycle::Active } else { NodeLifecycle::Draining },
            services: names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
            rpc_endpoint: takes_calls.then(|| "127.0.0.1:7420".parse()).transpose()?,
        };
        Ok(Member {
            id: id.parse()?,
            boot_epoch: BootEpoch(u64::MAX),
            incarnation: Incarnation(2),
            state,
            metadata_version: MetadataVersion(1),
            metadata: Arc::new(metadata),
            last_seen: now.monotonic.checked_sub(Duration::from_millis(1500)).ok_or("the machine has just started")?,
            rtt: (role == "worker").then_some(Duration::from_nanos(123_456)),
        })
    }

    /// Returns that `node-b` beats, and what came of calls to `node-a`.
    fn known(now: &Now) -> Result<Known, Box<dyn Error>> {
        let (tracker, timeline) = (Tracker::new(Options::default()), Timeline::starting(now.monotonic));
        let moment = timeline.moment(now.monotonic, now.wall.into());
        tracker.record_heartbeat(&"node-b".parse()?, moment)?;
        let board = HealthBoard::new(timeline, vec![Arc::new(tracker)]);
        let calls = Calls {
            inflight: 1,
            successes: 7,
            failures: 3,
            unreachable: 2,
            overloads: 4,
            cancelled: 5,
            latency: Duration::from_nanos(123_456),
            breaker: BreakerState::HalfOpen,
        };
        Ok(Known { health: Some(board.refresh(moment)), calls: BTreeMap::from([("node-a".parse()?, calls)]) })
    }

    #[test]
    fn the_document_is_the_contracts_with_the_local_node_first_and_new_fields_last() -> Result<(), Box<dyn Error>> {
        let now = now()?;
        let members = vec![
            member("node-a", "worker", MemberState::Unreachable, &now)?,
            member("node-b", "dispatcher", MemberState::Alive, &now)?,
        ];
        let membership = Membership { version: 7, local: "node-b".parse()?, members };
        let shown = serde_json::to_string_pretty(&document(&membership, &known(&now)?, &now, &Filter::default()))?;
        assert_eq!(shown, GOLDEN);
        Ok(())
    }

    /// Filters a mesh of one member a state, each named like its state, `alive` the local one.
    fn shown(status: Option<&str>, role: Option<&str>) -> Result<Vec<String>, Box<dyn Error>> {
        let raw = RawFilter { status: status.map(str::to_owned), role: role.map(str::to_owned) };
        let filter = Filter::try_from(raw)?;
        let now = now()?;
        let members = vec![
            member("alive", "gateway", MemberState::Alive, &now)?,
            member("dead", "worker", MemberState::Dead, &now)?,
            member("left", "worker", MemberState::Left, &now)?,
            member("suspect", "worker", MemberState::Suspect, &now)?,
            member("unreachable", "worker", MemberState::Unreachable, &now)?,
        ];
        let membership = Membership { version: 7, local: "alive".parse()?, members };
        let peers = document(&membership, &Known::default(), &now, &filter).peers;
        Ok(peers.iter().map(|peer| peer.node_id.to_owned()).collect())
    }

    #[track_caller]
    fn check(status: Option<&str>, role: Option<&str>, expected: Result<&[&str], &str>) {
        let expected = expected.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(shown(status, role).map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_filter_keeps_the_members_of_a_status_and_of_a_role() {
        check(None, None, Ok(&["alive", "dead", "left", "suspect", "unreachable"]));
        check(Some("Alive"), None, Ok(&["alive"]));
        check(Some("suspect"), None, Ok(&["suspect", "unreachable"]));
        check(Some("LEFT"), None, Ok(&["dead", "left"]));
        check(None, Some("gateway"), Ok(&["alive"]));
        check(Some("alive"), Some("worker"), Ok(&[]));
        check(Some("Dead"), None, Err("status `Dead` is not one of Alive, Suspect, Left"));
        check(None, Some(""), Err("role is empty"));
    }
}
