//! The way out, as the inbounds see it.

use std::fmt;

use futures_util::future::BoxFuture;
use mesh_types::ServiceName;
use tonic::body::Body;

use crate::introspect::OutboundSummary;

/// Where calls go that this process does not handle itself.
///
/// Called on every call, so `knows` and `forward` may not block or wait for the control plane.
pub trait Forward: Send + Sync + fmt::Debug {
    /// Returns whether anybody serves `service`, here or in the mesh, as far as this process knows.
    fn knows(&self, service: &ServiceName) -> bool;

    /// Returns what this process sends out, for people to read; called when somebody asks, and must not block.
    fn outbounds(&self) -> Vec<OutboundSummary> {
        Vec::new()
    }

    /// Takes a gRPC request on, its frames untouched, and returns the answer of whoever serves `service`.
    ///
    /// Whatever goes wrong, there is an answer: a gRPC status that says what. Dropping the future, or the body of the
    /// answer, gives the call up.
    fn forward(&self, service: &ServiceName, request: http::Request<Body>) -> BoxFuture<'static, http::Response<Body>>;
}
