//! How a server hears that a client gives up.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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

/// The end of the stream that a server's connection has accepted last; clones share it.
///
/// h3 has no word for a client that stops an answer which nobody is writing at the moment. So this is kept beside: take it
/// after each request that h3 hands out. h3 hands one out as soon as it has accepted it, so that the last one is its.
#[derive(Debug, Clone, Default)]
pub struct LastAccepted(Arc<Mutex<Option<WhenStopped>>>);

impl LastAccepted {
    /// Returns what resolves when the answer to the last request has ended; `None` if it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<WhenStopped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn set(&self, stream: &quinn::SendStream) {
        let stopped = WhenStopped(Box::pin(stream.stopped()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stopped);
    }
}
