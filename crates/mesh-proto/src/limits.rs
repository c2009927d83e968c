//! Protocol numbers and size limits.

/// ALPN protocol name of gossip links.
pub const GOSSIP_ALPN: &[u8] = b"omnirelay-gossip/1";

/// Lowest gossip protocol number this build speaks.
pub const GOSSIP_PROTOCOL_MIN: u32 = 1;

/// Highest gossip protocol number this build speaks.
pub const GOSSIP_PROTOCOL_MAX: u32 = 1;

/// Largest datagram sent, in bytes: what fits a QUIC packet at the least MTU of 1,200 (RFC 9000 §14).
pub const MAX_DATAGRAM_BYTES: usize = 1_150;

/// Largest encoded `NodeRecord`, in bytes. A bigger record is refused at its origin and by every receiver.
pub const MAX_RECORD_BYTES: usize = 8 * 1024;

/// Largest Hello or HelloAck, in bytes.
pub const MAX_HELLO_BYTES: usize = 16 * 1024;

/// Largest message on a stream, in bytes: a sync of some 10,000 records.
pub const MAX_STREAM_BYTES: usize = 4 * 1024 * 1024;

/// Largest list of revocation heads, in bytes: 64 of them.
pub const MAX_REVOCATIONS_HELD_BYTES: usize = 8 * 1024;

/// Largest answer with revocation lists, in bytes; what finds no room is asked for again.
pub const MAX_REVOCATIONS_NEWER_BYTES: usize = 1024 * 1024;

/// Buckets that a delta sync compares the tables by.
pub const SYNC_BUCKETS: usize = 256;
