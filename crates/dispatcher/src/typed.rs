//! Calls as typed handlers see them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use http::Extensions;
use tokio::time::Instant;

use crate::messages::Messages;
use crate::meta::{RequestMeta, ResponseMeta};
use crate::status::Status;

/// A call to a typed handler.
#[derive(Debug)]
pub struct Request<T> {
    /// What the caller says beside its messages.
    pub meta: RequestMeta,
    /// When nobody waits for the answer any more.
    pub deadline: Option<Instant>,
    /// What the way here has added, such as `mesh_server::PeerIdentity`.
    pub extensions: Extensions,
    /// The message, or [`Incoming`] messages where there may be more than one.
    pub message: T,
}

/// The answer of a typed handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<T> {
    /// What goes before the messages.
    pub meta: ResponseMeta,
    /// The message, or a stream of them where there may be more than one.
    pub message: T,
}

impl<T> Response<T> {
    /// Makes an answer without metadata.
    #[must_use]
    pub fn new(message: T) -> Self {
        Self { meta: ResponseMeta::default(), message }
    }
}

type Decode<T> = dyn Fn(Bytes) -> Result<T, Status> + Send + Sync;

/// The messages of a caller, decoded as they are asked for. After a failure nothing comes.
pub struct Incoming<T> {
    messages: Messages,
    decode: Arc<Decode<T>>,
}

impl<T> Incoming<T> {
    pub(crate) fn new(messages: Messages, decode: Arc<Decode<T>>) -> Self {
        Self { messages, decode }
    }

    /// Returns the next message; `None` when the caller has sent all.
    ///
    /// # Errors
    /// The caller has broken off, or what it sent cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn message(&mut self) -> Result<Option<T>, Status> {
        self.next().await.transpose()
    }
}

impl<T> Stream for Incoming<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.messages.poll_next_unpin(cx));
        let decoded = message.map(|message| message.and_then(|bytes| (self.decode)(bytes)));
        if matches!(decoded, Some(Err(_))) {
            self.messages = Messages::empty();
        }
        Poll::Ready(decoded)
    }
}

impl<T> fmt::Debug for Incoming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("messages", &self.messages).finish_non_exhaustive()
    }
}
