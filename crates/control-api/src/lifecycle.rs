//! What work the local node takes, shown and changed at `/control/lifecycle`.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use mesh_types::{Feature, Member, MemberState, Membership, NodeLifecycle, ParseLifecycleError};
use serde::{Deserialize, Serialize};

use crate::drain::Wish;
use crate::error::ApiError;
use crate::own_node::may_change;
use crate::routes::Ports;
use crate::security::PeerName;
use crate::upgrade;

/// Most bytes of a request.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// Says what work the local node takes. When it is done, the members show it.
pub type ChangeLifecycle = dyn Fn(NodeLifecycle) -> LifecycleFuture + Send + Sync;

/// What [`ChangeLifecycle`] returns.
pub type LifecycleFuture = Pin<Box<dyn Future<Output = Result<(), LifecycleRefused>> + Send>>;

/// Why the node takes the work it took before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleRefused {
    /// The node cannot say so; says why.
    #[error("{reason}")]
    Invalid {
        /// What is wrong, for people.
        reason: String,
    },
    /// The node is about to end.
    #[error("the node is about to end")]
    Ending,
}

/// Returns the routes, at both of their paths.
pub(crate) fn routes() -> Router<Ports> {
    let route = || -> MethodRouter<Ports> { get(show).post(change).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)) };
    Router::new().route("/control/lifecycle", route()).route("/omnirelay/control/lifecycle", route())
}

/// The request as it comes. A misspelt field is refused, not ignored: it may be the one that names the node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    /// Which node the client means; without it, whoever answers.
    node_id: Option<String>,
    lifecycle: String,
    /// Of a drain: how long calls under way may take.
    timeout_ms: Option<u64>,
}

/// The answer. Fields are added at the end, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    node_id: &'a str,
    metadata_version: u64,
    lifecycle: &'static str,
    /// Members that do not know of lifecycles: they go on giving work to a node that wants none.
    unaware: Vec<&'a str>,
}

async fn show(State(ports): State<Ports>) -> Result<Response, ApiError> {
    answer(&ports.members.current())
}

async fn change(
    State(ports): State<Ports>,
    peer: Option<Extension<PeerName>>,
    body: Result<Json<Change>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(Change { node_id, lifecycle, timeout_ms }) = body?;
    let by = may_change(&ports.members.current(), peer, node_id, "change the lifecycle")?;
    let wish = Wish { lifecycle: lifecycle.parse()?, timeout: upgrade::timeout(timeout_ms)?, reason: None };
    let wanted = wish.lifecycle;
    upgrade::kept(&ports)?.change(wish).await?;
    // The audit trail: who did it is nowhere else.
    tracing::info!(by, lifecycle = wanted.as_str(), "lifecycle changed");
    answer(&ports.members.current())
}

fn answer(membership: &Arc<Membership>) -> Result<Response, ApiError> {
    let local: &Member = membership.get(&membership.local).ok_or(ApiError::NotKept { what: "the local node" })?;
    let is_there = |member: &&Member| !matches!(member.state, MemberState::Dead | MemberState::Left);
    let is_unaware = |member: &&Member| !member.metadata.features.contains(Feature::Lifecycle);
    let unaware = membership.members.iter().filter(is_there).filter(is_unaware);
    let document = Document {
        node_id: local.id.as_str(),
        metadata_version: local.metadata_version.0,
        lifecycle: local.metadata.lifecycle.as_str(),
        unaware: unaware.map(|member| member.id.as_str()).collect(),
    };
    Ok(Json(document).into_response())
}

impl From<ParseLifecycleError> for ApiError {
    fn from(error: ParseLifecycleError) -> Self {
        Self::InvalidArgument { message: error.to_string() }
    }
}

impl From<LifecycleRefused> for ApiError {
    fn from(refused: LifecycleRefused) -> Self {
        match refused {
            LifecycleRefused::Invalid { reason } => Self::InvalidArgument { message: reason },
            LifecycleRefused::Ending => Self::Ending,
        }
    }
}
