//! One call, whichever wire it comes by.

use std::fmt;

use http::Extensions;
use tokio::time::Instant;

use crate::messages::Messages;
use crate::meta::{RequestMeta, ResponseMeta};
use crate::procedure::{ProcedureName, Shape};

/// A call as handlers and middleware see it. Handlers are `tower::Service<Call, Response = Reply, Error = Status>`.
pub struct Call {
    /// What is called.
    pub procedure: ProcedureName,
    /// How many messages go either way.
    pub shape: Shape,
    /// What the caller says beside its messages.
    pub meta: RequestMeta,
    /// When nobody waits for the answer any more. It is the earliest of all that the caller has said.
    pub deadline: Option<Instant>,
    /// The caller's messages, still encoded.
    pub messages: Messages,
    /// What the way here has added, such as `mesh_server::PeerIdentity`.
    pub extensions: Extensions,
}

/// The answer to a [`Call`] that did not fail at once.
#[derive(Debug, Default)]
pub struct Reply {
    /// What goes before the messages.
    pub meta: ResponseMeta,
    /// The messages, encoded; a failure in the midst of them ends the call with its status.
    pub messages: Messages,
}

impl Call {
    /// Makes a call without metadata or deadline.
    #[must_use]
    pub fn new(procedure: ProcedureName, shape: Shape, messages: Messages) -> Self {
        let (meta, extensions) = (RequestMeta::default(), Extensions::new());
        Self { procedure, shape, meta, deadline: None, messages, extensions }
    }
}

impl Reply {
    /// Makes an answer without metadata.
    #[must_use]
    pub fn new(messages: Messages) -> Self {
        Self { meta: ResponseMeta::default(), messages }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What callers send may be secret.
        f.debug_struct("Call")
            .field("procedure", &self.procedure)
            .field("shape", &self.shape)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
