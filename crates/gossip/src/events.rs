//! What happened to the members, in order, for whoever follows.

use std::time::Instant;

use membership::Event;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio_util::sync::CancellationToken;

/// Happenings that are kept for a follower who is behind.
pub(crate) const KEPT: usize = 512;

/// One thing that happened, and when this node knew.
#[derive(Debug, Clone)]
pub struct Happened {
    /// When the node took it in, on the monotonic clock.
    pub at: Instant,
    /// What happened.
    pub event: Event,
}

/// A follower was so far behind that happenings were given up for it: the snapshot says how things are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{count} events were missed")]
pub struct Missed {
    /// How many.
    pub count: u64,
}

/// What happens to the members from the subscription on, see [`Handle::events`](crate::Handle::events).
///
/// At most 512 happenings wait for a follower; then the oldest are given up, and it is told how many.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Happened>,
    ended: CancellationToken,
}

impl Events {
    pub(crate) const fn new(receiver: broadcast::Receiver<Happened>, ended: CancellationToken) -> Self {
        Self { receiver, ended }
    }

    /// Waits for the next happening; `None` once the service has ended and all has been read.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Happened, Missed>> {
        tokio::select! {
            biased;
            received = self.receiver.recv() => match received {
                Ok(happened) => Some(Ok(happened)),
                Err(RecvError::Lagged(count)) => Some(Err(Missed { count })),
                Err(RecvError::Closed) => None,
            },
            // Whatever was told before the end came from the arm above, which is asked first.
            () = self.ended.cancelled() => self.try_next(),
        }
    }

    /// Returns the next happening if it is there already.
    pub fn try_next(&mut self) -> Option<Result<Happened, Missed>> {
        match self.receiver.try_recv() {
            Ok(happened) => Some(Ok(happened)),
            Err(TryRecvError::Lagged(count)) => Some(Err(Missed { count })),
            Err(TryRecvError::Closed | TryRecvError::Empty) => None,
        }
    }
}
