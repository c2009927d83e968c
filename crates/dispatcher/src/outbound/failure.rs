//! Why a call finds nobody, in the words that callers know.

use std::sync::Arc;

use grpc_client_factory::{ChannelError, FactoryError, NOT_PROCESSED};
use http::HeaderValue;
use mesh_types::{NodeId, ServiceName};
use peers_core::PickError;
use tonic::Code;

use crate::status::Status;

use super::hop::Delegate;

/// Nobody in the mesh serves the service.
pub(crate) fn nobody() -> Status {
    of_pick(&PickError::NoPeers)
}

/// The call was sent here by another node, for a service that is not here any more: it may ask the next.
pub(crate) fn not_here(node: &NodeId, service: &ServiceName) -> Status {
    let mut status = Status::new(Code::Unavailable, format!("node `{node}` does not serve `{service}`"));
    status.metadata_mut().insert(NOT_PROCESSED, HeaderValue::from_static("1"));
    status
}

pub(crate) fn no_delegate(delegate: &Delegate) -> Status {
    let text = format!("routing delegate `{delegate}` is neither a service nor a node of the mesh");
    Status::new(Code::NotFound, text)
}

pub(crate) fn no_channel(error: &ChannelError) -> Status {
    Status::new(Code::Unavailable, error.to_string()).with_source(Arc::new(error.clone()))
}

/// What the client factory has to say. Why no peer was had is told in the words of the contract.
pub(crate) fn of_call(status: tonic::Status) -> Status {
    match FactoryError::of(&status) {
        Some(FactoryError::NoPeer { source, .. }) => of_pick(source),
        _ => Status::from(status),
    }
}

fn of_pick(error: &PickError) -> Status {
    let code = match error {
        PickError::AllBusy | PickError::NoneAvailable { .. } => Code::ResourceExhausted,
        PickError::DeadlineExpired => Code::DeadlineExceeded,
        _ => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}
