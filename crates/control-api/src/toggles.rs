//! What is written of the node's doings, changed while it runs: `/omnirelay/control/logging` and `/tracing`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::directives::{Directives, LEVELS, is_target, known};
use crate::error::ApiError;
use crate::own_node::may_change;
use crate::routes::Ports;
use crate::security::PeerName;

/// Most bytes of a request.
const BODY_BYTES_MAX: usize = 8 * 1024;

/// Most targets that one request names.
const TARGETS_MAX: usize = 32;

/// A setting that is read and changed while the node runs. Neither may block. Clones share it.
#[derive(Clone)]
pub struct Toggle<T> {
    get: Arc<dyn Fn() -> T + Send + Sync>,
    set: Arc<dyn Fn(T) -> Result<(), String> + Send + Sync>,
}

impl<T> Toggle<T> {
    /// Makes one of what reads and what changes it; a value that is refused changes nothing, and the text says why.
    #[must_use]
    pub fn new(
        get: impl Fn() -> T + Send + Sync + 'static,
        set: impl Fn(T) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { get: Arc::new(get), set: Arc::new(set) }
    }

    fn set(&self, value: T) -> Result<(), ApiError> {
        (self.set)(value).map_err(|message| ApiError::InvalidArgument { message })
    }
}

impl<T: fmt::Debug> fmt::Debug for Toggle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Toggle").field(&(self.get)()).finish()
    }
}

/// Returns the routes, at both of their paths.
pub(crate) fn routes() -> Router<Ports> {
    let limit = DefaultBodyLimit::max(BODY_BYTES_MAX);
    let logging = || -> MethodRouter<Ports> { get(show_logging).post(change_logging).layer(limit) };
    let tracing = || -> MethodRouter<Ports> { get(show_tracing).post(change_tracing).layer(limit) };
    Router::new()
        .route("/control/logging", logging())
        .route("/omnirelay/control/logging", logging())
        .route("/control/tracing", tracing())
        .route("/omnirelay/control/tracing", tracing())
}

/// The request as it comes. A misspelt field is refused, not ignored: it may be the one that names the node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LoggingChange {
    /// Which node the client means; without it, whoever answers.
    node_id: Option<String>,
    /// All of it anew; alone.
    filter: Option<String>,
    level: Option<String>,
    /// A level sets that of a target, none gives it back to the general one. Targets that are not named stay.
    #[serde(default)]
    targets: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TracingChange {
    node_id: Option<String>,
    sample_ratio: f64,
}

/// The answers. Fields are added at the end, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggingDocument<'a> {
    node_id: &'a str,
    level: String,
    targets: BTreeMap<String, String>,
    filter: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TracingDocument<'a> {
    node_id: &'a str,
    /// Whether spans go anywhere.
    exporting: bool,
    sample_ratio: Option<f64>,
}

async fn show_logging(State(ports): State<Ports>) -> Result<Response, ApiError> {
    logging_answer(&ports, kept_logging(&ports)?)
}

async fn change_logging(
    State(ports): State<Ports>,
    peer: Option<Extension<PeerName>>,
    body: Result<Json<LoggingChange>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(LoggingChange { node_id, filter, level, targets }) = body?;
    let by = may_change(&ports.members.current(), peer, node_id, "change what is logged")?;
    let toggle = kept_logging(&ports)?;
    let wanted = match filter {
        Some(filter) if level.is_none() && targets.is_empty() => filter,
        None if level.is_some() || !targets.is_empty() => amended(&(toggle.get)(), level, targets)?,
        Some(_) | None => {
            let message = "give either `filter`, or `level` or `targets` or both".to_owned();
            return Err(ApiError::InvalidArgument { message });
        }
    };
    // Before and after: one of them might not be written.
    tracing::info!(by, from = (toggle.get)(), to = wanted, "log filter is to change");
    toggle.set(wanted.clone())?;
    tracing::info!(by, filter = wanted, "log filter changed");
    logging_answer(&ports, toggle)
}

/// Returns `filter` with other levels.
fn amended(filter: &str, level: Option<String>, targets: BTreeMap<String, Option<String>>) -> Result<String, ApiError> {
    let invalid = |message: String| ApiError::InvalidArgument { message };
    let checked = |word: String| {
        let found = known(&word).map(str::to_owned);
        found.ok_or_else(|| invalid(format!("level `{word}` is not one of {}", LEVELS.join(", "))))
    };
    if targets.len() > TARGETS_MAX {
        return Err(invalid(format!("{} targets, more than {TARGETS_MAX}", targets.len())));
    }
    let mut directives = Directives::of(filter);
    if let Some(level) = level {
        directives.level = Some(checked(level)?);
    }
    for (target, wanted) in targets {
        if !is_target(&target) {
            return Err(invalid(format!("target `{target}` is not a path of modules of up to 64 bytes")));
        }
        match wanted {
            Some(wanted) => drop(directives.targets.insert(target, checked(wanted)?)),
            None => drop(directives.targets.remove(&target)),
        }
    }
    Ok(directives.to_filter())
}

async fn show_tracing(State(ports): State<Ports>) -> Response {
    tracing_answer(&ports)
}

async fn change_tracing(
    State(ports): State<Ports>,
    peer: Option<Extension<PeerName>>,
    body: Result<Json<TracingChange>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(TracingChange { node_id, sample_ratio }) = body?;
    let by = may_change(&ports.members.current(), peer, node_id, "change what is traced")?;
    let Some(toggle) = &ports.sample_ratio else {
        return Err(ApiError::NotKept { what: "a collector of spans" });
    };
    toggle.set(sample_ratio)?;
    // The audit trail: who did it is nowhere else.
    tracing::info!(by, sample_ratio, "sampling of traces changed");
    Ok(tracing_answer(&ports))
}

fn kept_logging(ports: &Ports) -> Result<&Toggle<String>, ApiError> {
    ports.log_filter.as_ref().ok_or(ApiError::NotKept { what: "a log filter" })
}

fn logging_answer(ports: &Ports, toggle: &Toggle<String>) -> Result<Response, ApiError> {
    let filter = (toggle.get)();
    let Directives { level, targets, .. } = Directives::of(&filter);
    let members = ports.members.current();
    let level = level.unwrap_or_else(|| "off".to_owned());
    Ok(Json(LoggingDocument { node_id: members.local.as_str(), level, targets, filter }).into_response())
}

fn tracing_answer(ports: &Ports) -> Response {
    let members = ports.members.current();
    let sample_ratio = ports.sample_ratio.as_ref().map(|toggle| (toggle.get)());
    let node_id = members.local.as_str();
    Json(TracingDocument { node_id, exporting: sample_ratio.is_some(), sample_ratio }).into_response()
}
