//! The health of peers as `/omnirelay/control/lease-health` shows it (contracts §2).

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use peer_health::{DocumentFilter, HealthBoard, HealthState};
use serde::Deserialize;

use crate::clock::Now;
use crate::error::ApiError;

/// Most peers on one page.
const MAX_LIMIT: usize = 10_000;

/// Returns the route; without a board it answers that peer health is not kept here.
pub(crate) fn routes<S>(board: Option<Arc<HealthBoard>>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    // Versions begin anew with each process: the time tells its documents from those of an earlier one.
    let started = Now::read().wall.as_microsecond();
    let route = Route { board, started };
    Router::new().route("/omnirelay/control/lease-health", get(show)).with_state(Arc::new(route))
}

struct Route {
    board: Option<Arc<HealthBoard>>,
    started: i64,
}

async fn show(
    State(route): State<Arc<Route>>,
    headers: HeaderMap,
    query: Result<Query<RawFilter>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(raw) = query?;
    let filter = DocumentFilter::try_from(raw)?;
    let Some(board) = &route.board else { return Err(ApiError::NotKept { what: "the health of peers" }) };
    let now = Now::read();
    let snapshot = board.snapshot(board.moment(now.monotonic, now.wall.into()));
    let tag = format!("\"{:x}-{}\"", route.started, snapshot.version());
    let mut response = if is_known(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], snapshot.lease_health(&filter)).into_response()
    };
    let shown = response.headers_mut();
    shown.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        shown.insert(ETAG, tag);
    }
    Ok(response)
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

impl TryFrom<RawFilter> for DocumentFilter {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: Option<&str>, limit: Option<usize>, expected: Result<(Option<HealthState>, Option<usize>), &str>) {
        let raw = RawFilter { peer: None, state: state.map(str::to_owned), limit, cursor: None };
        let read = DocumentFilter::try_from(raw).map(|filter| (filter.state, filter.limit));
        assert_eq!(read.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_state_is_a_known_word_in_any_case_and_a_limit_has_bounds() {
        check(None, None, Ok((None, None)));
        check(Some("Healthy"), None, Ok((Some(HealthState::Healthy), None)));
        check(Some("unknown"), None, Ok((Some(HealthState::Unknown), None)));
        check(Some("dead"), None, Err("state `dead` is not one of unknown, healthy, degraded, unhealthy"));
        check(None, Some(1), Ok((None, Some(1))));
        check(None, Some(10_000), Ok((None, Some(10_000))));
        check(None, Some(0), Err("limit 0 is not between 1 and 10000"));
        check(None, Some(10_001), Err("limit 10001 is not between 1 and 10000"));
    }
}
