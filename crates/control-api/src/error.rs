//! What a client is told when it asks for something it cannot have.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mesh_types::NodeId;
use serde::Serialize;

use crate::security::PeerName;

/// Why a request is refused; answered as `{"error":{"code":…,"message":…}}`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{message}")]
    InvalidArgument { message: String },
    #[error(
        "nothing is at `{path}`; see /control/peers, /control/labels, /control/lifecycle, /control/upgrade, /control/logging, \
         /control/tracing, /metrics, /healthz, /readyz"
    )]
    NotFound { path: String },
    #[error("{what} is not kept on this node")]
    NotKept { what: &'static str },
    #[error("{peer} may not {what}: its role is not `operator`, and it is not this node")]
    NotAllowed { peer: PeerName, what: &'static str },
    #[error("this is `{local}`, not `{asked}`: ask at the control endpoint of `{asked}`")]
    OtherNode { asked: String, local: NodeId },
    #[error("the node is about to end")]
    Ending,
    #[error("`{method}` is not possible here")]
    MethodNotAllowed { method: String },
}

#[derive(Serialize)]
struct Body {
    error: Detail,
}

#[derive(Serialize)]
struct Detail {
    code: &'static str,
    message: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Self::InvalidArgument { .. } => (StatusCode::BAD_REQUEST, "invalid-argument"),
            Self::NotFound { .. } | Self::NotKept { .. } => (StatusCode::NOT_FOUND, "not-found"),
            Self::NotAllowed { .. } => (StatusCode::FORBIDDEN, "permission-denied"),
            Self::OtherNode { .. } => (StatusCode::PRECONDITION_FAILED, "failed-precondition"),
            Self::Ending => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
        };
        (status, Json(Body { error: Detail { code, message: self.to_string() } })).into_response()
    }
}
