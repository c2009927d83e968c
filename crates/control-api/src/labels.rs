//! Labels of the local node, shown and changed at `/control/labels`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use mesh_types::{Member, Membership};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::own_node::may_change;
use crate::routes::Ports;
use crate::security::PeerName;

/// Most bytes of a request: many times what all labels of a node may have.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What to do with labels: a value sets the label, none takes it away. Labels that are not named stay.
pub type LabelChanges = BTreeMap<String, Option<String>>;

/// Changes labels of the local node, all or none. When it is done, the members show them.
pub type ChangeLabels = dyn Fn(LabelChanges) -> LabelsFuture + Send + Sync;

/// What [`ChangeLabels`] returns.
pub type LabelsFuture = Pin<Box<dyn Future<Output = Result<(), LabelsRefused>> + Send>>;

/// Why labels stayed as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsRefused {
    /// There would be too many, or one is too long; says which bound.
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
    Router::new().route("/control/labels", route()).route("/omnirelay/control/labels", route())
}

/// The request as it comes. A misspelt field is refused, not ignored: it may be the one that names the node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    /// Whose labels the client means to change; without it, those of whoever answers.
    node_id: Option<String>,
    labels: LabelChanges,
}

/// The answer. Fields are added at the end, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    node_id: &'a str,
    metadata_version: u64,
    labels: &'a BTreeMap<String, String>,
}

async fn show(State(ports): State<Ports>) -> Result<Response, ApiError> {
    answer(&ports.members.current())
}

async fn change(
    State(ports): State<Ports>,
    peer: Option<Extension<PeerName>>,
    body: Result<Json<Change>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(Change { node_id, labels }) = body?;
    let by = may_change(&ports.members.current(), peer, node_id, "change labels")?;
    let Some(change_labels) = &ports.labels else { return Err(ApiError::NotKept { what: "a way to change labels" }) };
    let names: Vec<String> = labels.keys().cloned().collect();
    change_labels(labels).await?;
    // The audit trail: the values are in the members, who did it is nowhere else.
    tracing::info!(by, labels = ?names, "labels changed");
    answer(&ports.members.current())
}

fn answer(membership: &Arc<Membership>) -> Result<Response, ApiError> {
    let local: &Member = membership.get(&membership.local).ok_or(ApiError::NotKept { what: "the local node" })?;
    let labels = &local.metadata.labels;
    let metadata_version = local.metadata_version.0;
    Ok(Json(Document { node_id: local.id.as_str(), metadata_version, labels }).into_response())
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::InvalidArgument { message: rejection.body_text() }
    }
}

impl From<LabelsRefused> for ApiError {
    fn from(refused: LabelsRefused) -> Self {
        match refused {
            LabelsRefused::Invalid { reason } => Self::InvalidArgument { message: reason },
            LabelsRefused::Ending => Self::Ending,
        }
    }
}
