//! When a call is over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tonic::Code;

use crate::call::Reply;
use crate::messages::Messages;
use crate::status::Status;

/// What has become of a call. Whatever is dropped before its end was cancelled.
pub(crate) trait Ends: Send + Unpin + 'static {
    /// Takes note of the end; called once.
    fn ended(&mut self, code: Code);
}

/// Tells `ends` what becomes of a call that `answered` so.
pub(crate) fn watch<E: Ends>(answered: Result<Reply, Status>, ends: E) -> Result<Reply, Status> {
    let mut watched = Watched::new(ends);
    match answered {
        Ok(Reply { meta, messages }) if messages.is_there() => {
            watched.end(Code::Ok);
            Ok(Reply { meta, messages })
        }
        Ok(Reply { meta, messages }) => {
            Ok(Reply { meta, messages: Messages::stream(WatchedMessages { messages, watched }) })
        }
        Err(status) => {
            watched.end(status.code());
            Err(status)
        }
    }
}

/// Tells of the end, however it comes.
pub(crate) struct Watched<E: Ends>(Option<E>);

impl<E: Ends> Watched<E> {
    pub(crate) const fn new(ends: E) -> Self {
        Self(Some(ends))
    }

    /// Waits for the head of an answer, and tells what becomes of the call from here on.
    pub(crate) async fn over(
        mut self,
        answering: impl Future<Output = Result<Reply, Status>>,
    ) -> Result<Reply, Status> {
        let answered = answering.await;
        match self.0.take() {
            Some(ends) => watch(answered, ends),
            None => answered,
        }
    }

    fn end(&mut self, code: Code) {
        if let Some(mut ends) = self.0.take() {
            ends.ended(code);
        }
    }
}

impl<E: Ends> Drop for Watched<E> {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

struct WatchedMessages<E: Ends> {
    messages: Messages,
    watched: Watched<E>,
}

impl<E: Ends> Stream for WatchedMessages<E> {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.messages.poll_next_unpin(cx));
        match &message {
            Some(Ok(_)) => {}
            Some(Err(status)) => self.watched.end(status.code()),
            None => self.watched.end(Code::Ok),
        }
        Poll::Ready(message)
    }
}
