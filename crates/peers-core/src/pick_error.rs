//! Why nobody was chosen.

use crate::Tick;

/// Why no peer was leased. The messages are those that OmniRelay's callers know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// The table is empty.
    #[error("No peers are registered for the requested service.")]
    NoPeers,
    /// There are usable peers, and each has as much as it may have or was tried before.
    #[error("All peers are busy.")]
    AllBusy,
    /// No peer takes calls now.
    #[error("No peers are currently available.")]
    NoneAvailable {
        /// When the first breaker lets a call through; `None` if that takes a change of the peers.
        retry_at: Option<Tick>,
    },
    /// There was no peer before the caller's deadline.
    #[error("Peer acquisition deadline expired.")]
    DeadlineExpired,
    /// Nobody owns the shard.
    #[error("Shard has no owner.")]
    ShardUnowned,
    /// There is a newer shard map than this node's, so that the owner may be another.
    #[error("Shard map {held} is older than {newest}.")]
    ShardMapOutdated {
        /// Version of this node's map.
        held: u64,
        /// Newest version it has heard of.
        newest: u64,
    },
}

impl PickError {
    /// Returns the status by which callers are told, in gRPC's words.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self {
            Self::NoPeers | Self::ShardUnowned | Self::ShardMapOutdated { .. } => "unavailable",
            Self::AllBusy | Self::NoneAvailable { .. } => "resource-exhausted",
            Self::DeadlineExpired => "deadline-exceeded",
        }
    }
}
