//! Emptying the node before it is replaced, at `/control/upgrade`.

use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mesh_types::NodeLifecycle;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::{Now, rfc3339};
use crate::drain::{DrainHandle, TIMEOUT, Wish};
use crate::error::ApiError;
use crate::own_node::may_change;
use crate::routes::Ports;
use crate::security::PeerName;

/// Most bytes of a request.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// Longest that calls under way may be given: a day.
const TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 256;

/// Returns the routes, at both of their paths.
pub(crate) fn routes() -> Router<Ports> {
    let at = |path: &str| {
        Router::new()
            .route(path, get(show))
            .route(&format!("{path}/drain"), post(drain))
            .route(&format!("{path}/resume"), post(resume))
    };
    let routes = at("/control/upgrade").merge(at("/omnirelay/control/upgrade"));
    routes.layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// The request as it comes; there may be none. A misspelt field is refused, not ignored: it may be the one that names the node.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DrainRequest {
    /// Which node the client means; without it, whoever answers.
    node_id: Option<String>,
    timeout_ms: Option<u64>,
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResumeRequest {
    node_id: Option<String>,
}

/// The answer. Fields are added at the end, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    node_id: &'a str,
    state: &'static str,
    lifecycle: &'static str,
    since: String,
    /// How long what is under way may still take before it is cut off.
    remaining_ms: Option<u64>,
    reason: Option<String>,
    active_requests: usize,
    cut_requests: usize,
    workloads: Vec<WorkloadEntry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadEntry {
    name: &'static str,
    active_requests: usize,
    cut_requests: usize,
}

async fn show(State(ports): State<Ports>) -> Result<Response, ApiError> {
    answer(&ports)
}

async fn drain(
    State(ports): State<Ports>,
    peer: Option<Extension<PeerName>>,
    body: Result<Option<Json<DrainRequest>>, JsonRejection>,
) -> Result<Response, ApiError> {
    let DrainRequest { node_id, timeout_ms, reason } = body?.map(|Json(request)| request).unwrap_or_default();
    let by = may_change(&ports.members.current(), peer, node_id, "drain the node")?;
    let wish = Wish { lifecycle: NodeLifecycle::Draining, timeout: timeout(timeout_ms)?, reason: checked(reason)? };
    // The audit trail: who did it is nowhere else.
    tracing::info!(by, timeout = ?wish.timeout, reason = wish.reason, "drain asked for");
    kept(&ports)?.change(wish).await?;
    answer(&ports)
}

async fn resume(
    State(ports): State<Ports>,
    peer: Option<Extension<PeerName>>,
    body: Result<Option<Json<ResumeRequest>>, JsonRejection>,
) -> Result<Response, ApiError> {
    let ResumeRequest { node_id } = body?.map(|Json(request)| request).unwrap_or_default();
    let by = may_change(&ports.members.current(), peer, node_id, "resume the node")?;
    tracing::info!(by, "end of the drain asked for");
    kept(&ports)?.change(Wish { lifecycle: NodeLifecycle::Active, timeout: TIMEOUT, reason: None }).await?;
    answer(&ports)
}

/// Returns how long calls under way may take.
pub(crate) fn timeout(timeout_ms: Option<u64>) -> Result<Duration, ApiError> {
    match timeout_ms {
        None => Ok(TIMEOUT),
        Some(ms) if ms <= TIMEOUT_MS_MAX => Ok(Duration::from_millis(ms)),
        Some(ms) => Err(ApiError::InvalidArgument { message: format!("timeoutMs {ms} is more than {TIMEOUT_MS_MAX}") }),
    }
}

fn checked(reason: Option<String>) -> Result<Option<String>, ApiError> {
    match reason {
        Some(reason) if reason.len() > REASON_BYTES_MAX => {
            let message = format!("reason has {} bytes, more than {REASON_BYTES_MAX}", reason.len());
            Err(ApiError::InvalidArgument { message })
        }
        reason => Ok(reason),
    }
}

/// Returns who empties the node, if anybody does here.
pub(crate) fn kept(ports: &Ports) -> Result<&DrainHandle, ApiError> {
    ports.drain.as_ref().ok_or(ApiError::NotKept { what: "a way to change the lifecycle" })
}

fn answer(ports: &Ports) -> Result<Response, ApiError> {
    let handle = kept(ports)?;
    let (status, now, members) = (handle.status(), Now::read(), ports.members.current());
    let entry = |(index, workload): (usize, &crate::Workload)| WorkloadEntry {
        name: workload.name,
        active_requests: workload.inflight.active(),
        cut_requests: status.cut.get(index).copied().unwrap_or_default(),
    };
    let workloads: Vec<_> = handle.workloads().iter().enumerate().map(entry).collect();
    let document = Document {
        node_id: members.local.as_str(),
        state: status.state.as_str(),
        lifecycle: status.lifecycle.as_str(),
        since: rfc3339(now.wall_at(status.since.into_std())),
        remaining_ms: status.deadline.map(|deadline| whole_ms(deadline.saturating_duration_since(Instant::now()))),
        reason: status.reason.clone(),
        active_requests: workloads.iter().map(|workload| workload.active_requests).sum(),
        cut_requests: workloads.iter().map(|workload| workload.cut_requests).sum(),
        workloads,
    };
    Ok(Json(document).into_response())
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
