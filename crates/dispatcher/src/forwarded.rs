//! Calls that begin here and are answered elsewhere.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::Service;

use crate::call::{Call, Reply};
use crate::forward::Forward;
use crate::grpc::client;
use crate::late;
use crate::status::Status;

/// Calls through a [`Forward`], as a service: what procedures are on the way in, this is on the way out, and takes the same middleware.
///
/// The path of the request is `/service/procedure`. The deadline of a call holds for all of its answer. Cloning is a reference
/// count.
#[derive(Debug, Clone)]
pub struct Forwarded {
    forward: Arc<dyn Forward>,
    message_bytes_max: usize,
}

impl Forwarded {
    /// Makes a service that takes messages of up to `message_bytes_max` bytes back.
    #[must_use]
    pub fn new(forward: Arc<dyn Forward>, message_bytes_max: usize) -> Self {
        Self { forward, message_bytes_max }
    }
}

impl Service<Call> for Forwarded {
    type Response = Reply;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Reply, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Self { forward, message_bytes_max } = self.clone();
        Box::pin(async move {
            let (service, deadline) = (call.procedure.service().clone(), call.deadline);
            let request = client::request(call)?;
            let answered = async { client::reply(forward.forward(&service, request).await, message_bytes_max) };
            let mut reply = late::within(deadline, answered).await?;
            reply.messages = late::until(deadline, reply.messages);
            Ok(reply)
        })
    }
}
