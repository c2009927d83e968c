//! What is asked at which path, and where the answer comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mesh_types::NodeId;
use peer_health::{HealthBoard, Readiness};
use peers_core::{Calls, MembershipView};

use crate::clock::Now;
use crate::drain::DrainHandle;
use crate::error::ApiError;
use crate::known::Known;
use crate::labels::{self, ChangeLabels};
use crate::lease_health;
use crate::lifecycle;
use crate::peers::{Filter, RawFilter, document};
use crate::toggles::{self, Toggle};
use crate::upgrade;

/// Says what has come of the calls to each peer.
pub type PeerCalls = dyn Fn() -> BTreeMap<NodeId, Calls> + Send + Sync;

/// Where the answers come from. Cloning shares them.
#[derive(Clone)]
pub struct Ports {
    /// Shows the members.
    pub members: Arc<dyn MembershipView>,
    /// Returns the metrics of the process as Prometheus text; called once for each scrape, must not block.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Says whether the node may get work.
    pub readiness: Readiness,
    /// Shows the health of peers; without it the route answers 404.
    pub lease_health: Option<Arc<HealthBoard>>,
    /// Returns what has come of the node's calls to its peers; called once for each list of peers, must not block. Without it
    /// nothing is shown of calls.
    pub calls: Option<Arc<PeerCalls>>,
    /// Changes labels of the local node; without it, changing them answers 404.
    pub labels: Option<Arc<ChangeLabels>>,
    /// Says what work the local node takes, and empties it; without it, changing that answers 404.
    pub drain: Option<DrainHandle>,
    /// Which log events are written; without it the route answers 404.
    pub log_filter: Option<Toggle<String>>,
    /// Share of the traces begun here that are kept, if they go anywhere; without it, changing it answers 404.
    pub sample_ratio: Option<Toggle<f64>>,
}

impl Ports {
    /// Makes ports without what may be left out.
    #[must_use]
    pub fn new(
        members: Arc<dyn MembershipView>,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
        readiness: Readiness,
    ) -> Self {
        let (lease_health, calls, labels, drain, log_filter, sample_ratio) = Default::default();
        Self { members, metrics, readiness, lease_health, calls, labels, drain, log_filter, sample_ratio }
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// Returns the routes of the control endpoint. It needs no runtime or socket to answer a request.
pub fn router(ports: Ports) -> Router {
    let work = Router::new()
        .route("/control/peers", get(peers))
        .route("/omnirelay/control/peers", get(peers))
        .route("/metrics", get(metrics_text))
        .merge(labels::routes())
        .merge(lifecycle::routes())
        .merge(upgrade::routes())
        .merge(toggles::routes())
        .merge(lease_health::routes(ports.lease_health.clone()))
        .route_layer(from_fn_with_state(ports.clone(), count_active));
    Router::new()
        .merge(work)
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn(finish))
        .with_state(ports)
}

async fn peers(
    State(ports): State<Ports>,
    query: Result<Query<RawFilter>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(raw) = query?;
    let filter = Filter::try_from(raw)?;
    let now = Now::read();
    let known = Known::read(&ports, &now);
    Ok(Json(document(&ports.members.current(), &known, &now, &filter)).into_response())
}

async fn metrics_text(State(ports): State<Ports>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (ports.metrics)()).into_response()
}

/// Answers 200 whatever the issues: it says that the process lives, and killing it would cure none of them.
async fn healthz(State(ports): State<Ports>) -> Response {
    Json(ports.readiness.health()).into_response()
}

async fn readyz(State(ports): State<Ports>) -> Response {
    let health = ports.readiness.health();
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::NotFound { path: uri.path().to_owned() }
}

async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::MethodNotAllowed { method: method.to_string() }
}

async fn count_active(State(ports): State<Ports>, request: Request, next: Next) -> Response {
    let _active = ports.readiness.begin_request();
    next.run(request).await
}

/// Counts the request by route, never by path: paths are the client's to invent.
async fn finish(request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().into());
    let mut response = next.run(request).await;
    let code = response.status().as_u16().to_string();
    metrics::counter!("omnirelay_control_requests_total", "route" => route, "code" => code).increment(1);
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
