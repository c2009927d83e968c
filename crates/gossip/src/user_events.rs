//! User events on their way to the driver.

use bytes::Bytes;
use tokio::sync::oneshot;

/// Events under way to the driver; callers beyond it wait.
pub(crate) const WAITING: usize = 64;

/// Why a user event was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendUserEventError {
    /// It breaks a bound, or there were too many of late.
    #[error("event is refused")]
    Refused(#[from] membership::SendEventError),
    /// The service has ended, or ends.
    #[error("gossip has ended")]
    Ended,
}

/// A user event on its way to the driver.
#[derive(Debug)]
pub(crate) struct SendRequest {
    pub(crate) name: String,
    pub(crate) payload: Bytes,
    /// Told its number once it is on its way.
    pub(crate) answer: oneshot::Sender<Result<u64, SendUserEventError>>,
}
