//! Bounds of a tracker, and what is said when one is met.

use std::time::Duration;

use mesh_types::NodeId;

use crate::evidence::Freshness;
use crate::metadata::Metadata;

/// How a tracker judges, and how much it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long what each source says counts.
    pub freshness: Freshness,
    /// Failures of calls in a row after which transport says *down*, default 3; one fewer is *degraded*. 0 is as 1.
    /// Lower reacts sooner, and to a single lost call.
    pub transport_failures: u32,
    /// Most peers, default 10,000, about 1 KiB each. One more is refused.
    pub max_peers: usize,
    /// Most leases of one peer, default 1,024; as many pending reassignments. One more is refused.
    pub max_leases_per_peer: usize,
    /// Most metadata entries of one peer, default 64. One more is refused. Membership alone brings up to 37.
    pub max_metadata_entries: usize,
    /// Age past which a peer that is gone is forgotten, default 10 min. Longer shows it longer after it is gone.
    pub tombstone_ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            freshness: Freshness::default(),
            transport_failures: 3,
            max_peers: 10_000,
            max_leases_per_peer: 1_024,
            max_metadata_entries: 64,
            tombstone_ttl: Duration::from_secs(600),
        }
    }
}

/// Why something about a peer could not be recorded. What was there before stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// The tracker is full.
    #[error("peer `{peer}` is one more than the {limit} that are tracked")]
    TooManyPeers {
        /// The peer that found no room.
        peer: NodeId,
        /// [`Options::max_peers`].
        limit: usize,
    },
    /// The peer holds as many leases as one may, or as much of its work waits for reassignment.
    #[error("peer `{peer}` has {limit} leases or reassignments and cannot have one more")]
    TooManyLeases {
        /// Whose lease it is.
        peer: NodeId,
        /// [`Options::max_leases_per_peer`].
        limit: usize,
    },
    /// The peer has as many metadata entries as one may.
    #[error("peer `{peer}` has {limit} metadata entries and cannot have `{key}`")]
    TooManyMetadata {
        /// Whose entry it is.
        peer: NodeId,
        /// The first key that found no room.
        key: String,
        /// [`Options::max_metadata_entries`].
        limit: usize,
    },
    /// A metadata key is empty or too long.
    #[error("metadata key of peer `{peer}` is {bytes} bytes long; 1 to {} are valid", Metadata::MAX_KEY_BYTES)]
    MetadataKey {
        /// Whose entry it is.
        peer: NodeId,
        /// The key's length.
        bytes: usize,
    },
    /// A metadata value is too long.
    #[error("metadata `{key}` of peer `{peer}` is {bytes} bytes long, more than {}", Metadata::MAX_VALUE_BYTES)]
    MetadataValue {
        /// Whose entry it is.
        peer: NodeId,
        /// Its key.
        key: String,
        /// The value's length.
        bytes: usize,
    },
}
