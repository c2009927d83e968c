//! Handlers that panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _};
use tonic::Code;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::handler::Handler;
use crate::messages::Messages;
use crate::middleware::Around;
use crate::procedure::ProcedureName;
use crate::status::Status;

/// Has a handler that panics, or whose messages do, fail its own call only, as `internal`. What the panic says is logged and not
/// told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatchPanic;

impl Around for CatchPanic {
    async fn around(self, call: Call, next: Handler) -> Result<Reply, Status> {
        let procedure = call.procedure.clone();
        let answered = AssertUnwindSafe(next.oneshot(call)).catch_unwind().await;
        let mut reply = answered.unwrap_or_else(|panic| Err(panicked(&procedure, &*panic)))?;
        if !reply.messages.is_there() {
            reply.messages = Messages::stream(Caught { messages: reply.messages, procedure });
        }
        Ok(reply)
    }
}

struct Caught {
    messages: Messages,
    procedure: ProcedureName,
}

impl Stream for Caught {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match catch_unwind(AssertUnwindSafe(|| this.messages.poll_next_unpin(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                this.messages = Messages::empty();
                Poll::Ready(Some(Err(panicked(&this.procedure, &*panic))))
            }
        }
    }
}

fn panicked(procedure: &ProcedureName, panic: &(dyn Any + Send)) -> Status {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(%procedure, panic = text.unwrap_or("no text"), "a handler has panicked; its call fails");
    Status::new(Code::Internal, "the handler has panicked")
}
