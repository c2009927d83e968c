//! A span a call.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tonic::Code;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span, field};

use crate::call::{Call, Reply};
use crate::code;
use crate::handler::Handler;
use crate::messages::Messages;
use crate::middleware::Around;
use crate::middleware::ended::{Ends, Watched};
use crate::status::Status;

/// Makes a span a call, within that of the request if there is one: procedure, shape, who calls by its own word, and how it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace;

impl Around for Trace {
    async fn around(self, call: Call, next: Handler) -> Result<Reply, Status> {
        let span = tracing::info_span!(
            "procedure",
            rpc.service = call.procedure.service().as_str(),
            rpc.method = call.procedure.name(),
            rpc.shape = call.shape.as_str(),
            rpc.caller = call.meta.caller.as_ref().map(field::display),
            rpc.status = field::Empty,
        );
        let answering = next.oneshot(call).instrument(span.clone());
        let mut reply = Watched::new(OfSpan(span.clone())).over(answering).await?;
        if !reply.messages.is_there() {
            reply.messages = Messages::stream(InSpan { messages: reply.messages, span });
        }
        Ok(reply)
    }
}

struct OfSpan(Span);

impl Ends for OfSpan {
    fn ended(&mut self, ended: Code) {
        self.0.record("rpc.status", code::word(ended));
    }
}

struct InSpan {
    messages: Messages,
    span: Span,
}

impl Stream for InSpan {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { messages, span } = &mut *self;
        span.in_scope(|| messages.poll_next_unpin(cx))
    }
}
