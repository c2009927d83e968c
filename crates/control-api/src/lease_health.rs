//! The health of peers as `/omnirelay/control/lease-health` shows it (contracts §2).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use peer_health::{HealthBoard, HealthState, Lease, Metadata, PeerHealth, Snapshot, WallTime};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::clock::{Now, rfc3339};
use crate::error::ApiError;

/// What readers have always been shown for a peer that was never heard of.
const NEVER: &str = "0001-01-01T00:00:00+00:00";

/// Most peers on one page.
const MAX_LIMIT: usize = 10_000;

/// Returns the route; without a board it answers that peer health is not kept here.
pub(crate) fn routes<S>(board: Option<Arc<HealthBoard>>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    // Versions begin anew with each process: the time tells its documents from those of an earlier one.
    let started = Now::read().wall.as_microsecond();
    let route = Route { board, started, whole: Mutex::default() };
    Router::new().route("/omnirelay/control/lease-health", get(show)).with_state(Arc::new(route))
}

struct Route {
    board: Option<Arc<HealthBoard>>,
    started: i64,
    /// The newest version and all of it, as bytes.
    whole: Mutex<Option<(u64, Bytes)>>,
}

async fn show(
    State(route): State<Arc<Route>>,
    headers: HeaderMap,
    query: Result<Query<RawFilter>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(raw) = query?;
    let filter = Filter::try_from(raw)?;
    let Some(board) = &route.board else { return Err(ApiError::NotKept { what: "the health of peers" }) };
    let now = Now::read();
    let snapshot = board.snapshot(board.moment(now.monotonic, now.wall.into()));
    let tag = format!("\"{:x}-{}\"", route.started, snapshot.version());
    let mut response = if is_known(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = if filter.keeps_all() { route.whole(&snapshot)? } else { render(&snapshot, &filter)? };
        ([(CONTENT_TYPE, "application/json")], body).into_response()
    };
    let shown = response.headers_mut();
    shown.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        shown.insert(ETAG, tag);
    }
    Ok(response)
}

impl Route {
    /// Returns all of `snapshot`, written once for each version.
    fn whole(&self, snapshot: &Snapshot) -> Result<Bytes, ApiError> {
        if let Some((version, bytes)) = &*self.cached()
            && *version == snapshot.version()
        {
            return Ok(bytes.clone());
        }
        let bytes = render(snapshot, &Filter::default())?;
        let mut cached = self.cached();
        if cached.as_ref().is_none_or(|(version, _)| *version < snapshot.version()) {
            *cached = Some((snapshot.version(), bytes.clone()));
        }
        Ok(bytes)
    }

    fn cached(&self) -> MutexGuard<'_, Option<(u64, Bytes)>> {
        // Replaced whole: a panic elsewhere cannot have left it half written.
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether the client has this version (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The query as it comes. A misspelt filter is refused, not ignored: the answer would be a wrong one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFilter {
    peer: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Which peers are asked for; the default is all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    peer: Option<String>,
    state: Option<HealthState>,
    limit: Option<usize>,
    /// The last peer of the page before.
    after: Option<String>,
}

impl TryFrom<RawFilter> for Filter {
    type Error = ApiError;

    fn try_from(raw: RawFilter) -> Result<Self, ApiError> {
        let invalid = |message: String| ApiError::InvalidArgument { message };
        let state = |word: String| {
            let state = HealthState::ALL.into_iter().find(|state| word.eq_ignore_ascii_case(state.as_str()));
            state.ok_or_else(|| invalid(format!("state `{word}` is not one of unknown, healthy, degraded, unhealthy")))
        };
        if let Some(limit) = raw.limit.filter(|limit| *limit == 0 || *limit > MAX_LIMIT) {
            return Err(invalid(format!("limit {limit} is not between 1 and {MAX_LIMIT}")));
        }
        Ok(Self { peer: raw.peer, state: raw.state.map(state).transpose()?, limit: raw.limit, after: raw.cursor })
    }
}

impl Filter {
    fn keeps_all(&self) -> bool {
        *self == Self::default()
    }

    fn keeps(&self, peer: &PeerHealth) -> bool {
        let id = peer.facts.id.as_str();
        self.peer.as_ref().is_none_or(|wanted| wanted == id)
            && self.state.is_none_or(|state| state == peer.state)
            && self.after.as_ref().is_none_or(|after| id > after.as_str())
    }
}

fn render(snapshot: &Snapshot, filter: &Filter) -> Result<Bytes, ApiError> {
    let document = document(snapshot, filter);
    serde_json::to_vec(&document).map(Bytes::from).map_err(|source| ApiError::Unwritable { source })
}

/// Returns the peers that `filter` keeps, by id. The summary is of all peers, whatever is kept.
fn document<'a>(snapshot: &'a Snapshot, filter: &Filter) -> Document<'a> {
    let mut kept = snapshot.peers().iter().filter(|peer| filter.keeps(peer)).map(Entry);
    let peers: Vec<_> = kept.by_ref().take(filter.limit.unwrap_or(usize::MAX)).collect();
    let last = peers.last().map(|Entry(peer)| peer.facts.id.as_str());
    let next_cursor = kept.next().and(last);
    let counts = snapshot.summary();
    let summary = Counts {
        eligible_peers: counts.eligible(),
        unhealthy_peers: counts.unhealthy,
        pending_reassignments: counts.pending_reassignments,
    };
    Document { peers, summary, next_cursor }
}

/// The whole answer. Fields are added at the end, never renamed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    peers: Vec<Entry<'a>>,
    summary: Counts,
    /// Only where a limit cut the peers off: the cursor of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    eligible_peers: usize,
    unhealthy_peers: usize,
    pending_reassignments: usize,
}

struct Entry<'a>(&'a PeerHealth);

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let facts = &self.0.facts;
        let mut entry = serializer.serialize_struct("Entry", 8)?;
        entry.serialize_field("peerId", facts.id.as_str())?;
        entry.serialize_field("lastHeartbeat", &self.0.last_heartbeat.map_or_else(|| NEVER.to_owned(), written))?;
        entry.serialize_field("lastDisconnect", &self.0.last_disconnect.map(written))?;
        entry.serialize_field("isHealthy", &self.0.is_healthy())?;
        entry.serialize_field("activeAssignments", &facts.leases.len())?;
        entry.serialize_field("pendingReassignments", &facts.pending.len())?;
        entry.serialize_field("activeLeases", &Leases(&facts.leases))?;
        entry.serialize_field("metadata", &Pairs(&facts.metadata))?;
        entry.end()
    }
}

fn written(time: WallTime) -> String {
    // Steps are of 100 ns; past the year 9999 there is nothing to write.
    rfc3339(Timestamp::from_nanosecond(i128::from(time.steps()) * 100).unwrap_or(Timestamp::MAX))
}

struct Leases<'a>(&'a [Lease]);

impl Serialize for Leases<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|lease| Grant {
            sequence_id: lease.sequence_id,
            attempt: lease.attempt,
            lease_id: lease.lease_id.to_string(),
        }))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    sequence_id: u64,
    attempt: u32,
    lease_id: String,
}

struct Pairs<'a>(&'a Metadata);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::time::{Duration, SystemTime};

    use peer_health::{LeaseId, Moment, Options, Release, Source, Tick, Timeline, Tracker, Verdict};

    use super::*;

    const EMPTY: &str = r#"{"peers":[],"summary":{"eligiblePeers":0,"unhealthyPeers":0,"pendingReassignments":0}}"#;

    /// The document of contracts §2, its spaces left out.
    const ONE: &str = concat!(
        r#"{"peers":[{"peerId":"mesh-worker-a","lastHeartbeat":"2025-11-19T15:23:04.1234567+00:00","lastDisconnect":null,"#,
        r#""isHealthy":true,"activeAssignments":1,"pendingReassignments":0,"#,
        r#""activeLeases":[{"sequenceId":42,"attempt":1,"leaseId":"0f8fad5b-d9cb-469f-a165-70867728950e"}],"#,
        r#""metadata":{"mesh.role":"worker","mesh.cluster":"prod","mesh.region":"eu-1","mesh.version":"1.0.0","mesh.http3":"true","label.rack":"r1"}}],"#,
        r#""summary":{"eligiblePeers":1,"unhealthyPeers":0,"pendingReassignments":0}}"#,
    );

    const NEVER_HEARD: &str = concat!(
        r#"{"peers":[{"peerId":"b","lastHeartbeat":"0001-01-01T00:00:00+00:00","lastDisconnect":"2025-11-19T15:23:04.1234567+00:00","#,
        r#""isHealthy":false,"activeAssignments":0,"pendingReassignments":1,"activeLeases":[],"metadata":{"disconnect.reason":"reset"}}],"#,
        r#""summary":{"eligiblePeers":3,"unhealthyPeers":1,"pendingReassignments":1}}"#,
    );

    fn now() -> Moment {
        let wall = SystemTime::UNIX_EPOCH + Duration::new(1_763_565_784, 123_456_789);
        Moment { tick: Tick::from_millis(1), wall: wall.into() }
    }

    fn shown(tracker: Option<Tracker>, filter: &Filter) -> Result<String, Box<dyn Error>> {
        let providers = tracker.map(|tracker| Arc::new(tracker) as _).into_iter().collect();
        let board = HealthBoard::new(Timeline::starting(Now::read().monotonic), providers);
        Ok(serde_json::to_string(&document(&board.refresh(now()), filter))?)
    }

    fn tracker() -> Tracker {
        Tracker::new(Options::default())
    }

    #[test]
    fn without_providers_or_peers_the_document_is_empty() -> Result<(), Box<dyn Error>> {
        assert_eq!(shown(None, &Filter::default())?, EMPTY);
        assert_eq!(shown(Some(tracker()), &Filter::default())?, EMPTY);
        Ok(())
    }

    #[test]
    fn one_peer_is_the_document_of_the_contracts() -> Result<(), Box<dyn Error>> {
        let (tracker, peer) = (tracker(), "mesh-worker-a".parse()?);
        let mesh = [
            ("mesh.role", "worker"),
            ("mesh.cluster", "prod"),
            ("mesh.region", "eu-1"),
            ("mesh.version", "1.0.0"),
            ("mesh.http3", "true"),
            ("label.rack", "r1"),
        ];
        tracker.set_metadata(&peer, &mesh, now())?;
        tracker.record_heartbeat(&peer, now())?;
        let lease_id = LeaseId::from_u128(0x0F8F_AD5B_D9CB_469F_A165_7086_7728_950E);
        tracker.record_assignment(&peer, Lease { sequence_id: 42, attempt: 1, lease_id }, now())?;
        assert_eq!(shown(Some(tracker), &Filter::default())?, ONE);
        Ok(())
    }

    /// Tracks `a` healthy, `b` disconnected with work to give away, `c` degraded, `d` unknown.
    fn many() -> Result<Tracker, Box<dyn Error>> {
        let (tracker, b) = (tracker(), "b".parse()?);
        tracker.record_heartbeat(&"a".parse()?, now())?;
        let lease = Lease { sequence_id: 1, attempt: 1, lease_id: LeaseId::from_u128(1) };
        tracker.record_assignment(&b, lease, now())?;
        tracker.record_disconnect(&b, Some("reset"), now())?;
        tracker.record_release(&b, lease, Release::Requeued)?;
        tracker.record(&"c".parse()?, Source::Probe, Verdict::Degraded, now())?;
        tracker.handle(&"d".parse()?, now())?;
        Ok(tracker)
    }

    #[test]
    fn a_peer_never_heard_of_and_its_lost_work_are_shown_and_the_summary_is_of_all() -> Result<(), Box<dyn Error>> {
        let filter = Filter { peer: Some("b".to_owned()), ..Filter::default() };
        assert_eq!(shown(Some(many()?), &filter)?, NEVER_HEARD);
        Ok(())
    }

    #[track_caller]
    fn check(query: [Option<&str>; 3], limit: Option<usize>, expected: Result<(&[&str], Option<&str>), &str>) {
        let [peer, state, cursor] = query.map(|text| text.map(str::to_owned));
        let filter = Filter::try_from(RawFilter { peer, state, limit, cursor });
        let page = filter.map_err(|error| error.to_string()).map(|filter| {
            let text = shown(many().ok(), &filter).unwrap_or_default();
            let page: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let ids: Vec<_> =
                page["peers"].as_array().into_iter().flatten().map(|entry| entry["peerId"].to_string()).collect();
            (ids, page.get("nextCursor").map(ToString::to_string))
        });
        let quoted = |text: &str| format!("\"{text}\"");
        let expected = expected.map(|(ids, next)| (ids.iter().map(|id| quoted(id)).collect(), next.map(quoted)));
        assert_eq!(page, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_filter_keeps_a_peer_and_a_state_and_pages_follow_each_other() {
        let all: &[&str] = &["a", "b", "c", "d"];
        check([None, None, None], None, Ok((all, None)));
        check([Some("c"), None, None], None, Ok((&["c"], None)));
        check([Some("C"), None, None], None, Ok((&[], None)));
        check([None, Some("Healthy"), None], None, Ok((&["a"], None)));
        check([None, Some("unhealthy"), None], None, Ok((&["b"], None)));
        check([None, Some("degraded"), None], None, Ok((&["c"], None)));
        check([None, Some("unknown"), None], None, Ok((&["d"], None)));
        check([Some("a"), Some("unknown"), None], None, Ok((&[], None)));
        check([None, None, None], Some(4), Ok((all, None)));
        check([None, None, None], Some(3), Ok((&["a", "b", "c"], Some("c"))));
        check([None, None, Some("c")], Some(3), Ok((&["d"], None)));
        check([None, None, Some("bb")], Some(1), Ok((&["c"], Some("c"))));
        check([None, None, Some("d")], Some(1), Ok((&[], None)));
        check([None, None, None], Some(0), Err("limit 0 is not between 1 and 10000"));
        check([None, None, None], Some(10_001), Err("limit 10001 is not between 1 and 10000"));
        check(
            [None, Some("dead"), None],
            None,
            Err("state `dead` is not one of unknown, healthy, degraded, unhealthy"),
        );
    }
}
