//! How a sender hears that the other side gives up, or has got everything.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use quinn::{StoppedError, VarInt};

/// How what was sent on a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// The other side has got everything and has said so, or has taken note of our reset.
    Acknowledged,
    /// The other side wants no more, for the reason that this code gives.
    Stopped(u64),
    /// The connection is gone.
    Lost,
}

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync>>;

/// Resolves when what is sent on a stream has ended, also while nobody sends. It outlives the stream.
///
/// # Cancel safety
/// Dropping it loses nothing but itself.
pub struct WhenStopped(Stopped);

impl WhenStopped {
    pub(crate) fn of(stream: &quinn::SendStream) -> Self {
        Self(Box::pin(stream.stopped()))
    }
}

impl Future for WhenStopped {
    type Output = StreamEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<StreamEnd> {
        Poll::Ready(match ready!(self.0.as_mut().poll(cx)) {
            Ok(None) => StreamEnd::Acknowledged,
            Ok(Some(code)) => StreamEnd::Stopped(code.into_inner()),
            // The other reason, refused early data, cannot be: there is none.
            Err(StoppedError::ConnectionLost(_) | StoppedError::ZeroRttRejected) => StreamEnd::Lost,
        })
    }
}

impl fmt::Debug for WhenStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhenStopped").finish_non_exhaustive()
    }
}
