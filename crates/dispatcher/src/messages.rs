//! The messages of one direction of a call.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tonic::Code;

use crate::status::Status;

/// The messages of one direction of a call, pulled one after the other: none is read before it is asked for. After a failure
/// nothing comes.
///
/// A direction of one message costs no allocation.
#[derive(Default)]
pub struct Messages(Source);

#[derive(Default)]
enum Source {
    #[default]
    Over,
    One(Bytes),
    Many(Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>),
}

impl Messages {
    /// Makes a direction without messages.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Source::Over)
    }

    /// Makes a direction of one message.
    #[must_use]
    pub fn one(message: impl Into<Bytes>) -> Self {
        Self(Source::One(message.into()))
    }

    /// Makes a direction of what `stream` yields.
    #[must_use]
    pub fn stream(stream: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Self {
        Self(Source::Many(Box::pin(stream)))
    }

    /// Returns whether all that is to come is there already.
    pub(crate) const fn is_there(&self) -> bool {
        matches!(self.0, Source::Over | Source::One(_))
    }

    /// Returns the one message that there is.
    ///
    /// # Errors
    /// Reading failed, or there is no message or more than one: `invalid-argument`.
    ///
    /// # Cancel safety
    /// Dropping the future drops the messages.
    pub async fn only(mut self) -> Result<Bytes, Status> {
        if let Source::One(message) = self.0 {
            return Ok(message);
        }
        let count = |text: &str| Status::new(Code::InvalidArgument, text);
        let first = self.next().await.ok_or_else(|| count("there is no message where there is to be one"))??;
        match self.next().await {
            None => Ok(first),
            Some(Ok(_second)) => Err(count("there is more than one message where there is to be one")),
            Some(Err(status)) => Err(status),
        }
    }
}

impl Stream for Messages {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = match &mut self.0 {
            Source::Many(stream) => ready!(stream.as_mut().poll_next(cx)),
            one_or_none => match mem::take(one_or_none) {
                Source::One(message) => Some(Ok(message)),
                Source::Over | Source::Many(_) => None,
            },
        };
        if !matches!(message, Some(Ok(_))) {
            self.0 = Source::Over;
        }
        Poll::Ready(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Source::Over => (0, Some(0)),
            Source::One(_) => (1, Some(1)),
            Source::Many(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Source::Over => "Messages(over)",
            Source::One(_) => "Messages(one)",
            Source::Many(_) => "Messages(many)",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn many(items: Vec<Result<&'static str, Status>>) -> Messages {
        Messages::stream(stream::iter(items).map(|item| item.map(|text| Bytes::from_static(text.as_bytes()))))
    }

    async fn texts(messages: Messages) -> Vec<Result<String, (Code, String)>> {
        let text = |message: Bytes| String::from_utf8_lossy(&message).into_owned();
        let failure = |status: Status| (status.code(), status.message().to_owned());
        messages.map(|item| item.map(text).map_err(failure)).collect().await
    }

    fn broken() -> Status {
        Status::new(Code::Aborted, "the caller is gone")
    }

    #[tokio::test]
    async fn messages_come_in_order_and_end_with_a_failure() {
        assert_eq!(texts(Messages::empty()).await, []);
        assert_eq!(texts(Messages::one("a")).await, [Ok("a".to_owned())]);
        let aborted = Err((Code::Aborted, "the caller is gone".to_owned()));
        let told = texts(many(vec![Ok("a"), Ok("b"), Err(broken()), Ok("never")])).await;
        assert_eq!(told, [Ok("a".to_owned()), Ok("b".to_owned()), aborted]);
    }

    #[tokio::test]
    async fn where_one_message_is_due_none_and_two_are_errors() {
        async fn only(messages: Messages) -> Result<Bytes, (Code, String)> {
            messages.only().await.map_err(|status| (status.code(), status.message().to_owned()))
        }
        assert_eq!(only(Messages::one("a")).await, Ok(Bytes::from_static(b"a")));
        assert_eq!(only(many(vec![Ok("a")])).await, Ok(Bytes::from_static(b"a")));
        let none = "there is no message where there is to be one".to_owned();
        assert_eq!(only(Messages::empty()).await, Err((Code::InvalidArgument, none)));
        let two = "there is more than one message where there is to be one".to_owned();
        assert_eq!(only(many(vec![Ok("a"), Ok("b")])).await, Err((Code::InvalidArgument, two)));
        let lost = (Code::Aborted, "the caller is gone".to_owned());
        assert_eq!(only(many(vec![Err(broken())])).await, Err(lost.clone()));
        assert_eq!(only(many(vec![Ok("a"), Err(broken())])).await, Err(lost));
    }
}
