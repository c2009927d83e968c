//! Wire schema of OmniRelay: protobuf messages, protocol numbers, size limits. Nothing else.
//!
//! The code under `src/generated` is checked in; a test compares it with the `.proto` files, so building needs
//! no protobuf compiler. These types stay behind the converters of the crates that speak them.

mod limits;

pub use limits::{
    GOSSIP_ALPN, GOSSIP_PROTOCOL_MAX, GOSSIP_PROTOCOL_MIN, MAX_DATAGRAM_BYTES, MAX_HELLO_BYTES, MAX_RECORD_BYTES,
    MAX_REVOCATIONS_HELD_BYTES, MAX_REVOCATIONS_NEWER_BYTES, MAX_STREAM_BYTES, SYNC_BUCKETS,
};
pub use prost::{DecodeError, Message};

/// Messages of `proto/omnirelay/gossip/v1/gossip.proto`.
#[expect(
    missing_docs,
    clippy::doc_markdown,
    clippy::trivially_copy_pass_by_ref,
    reason = "generated: the .proto file is the documentation, and the generator's signatures stay"
)]
pub mod gossip {
    include!("generated/omnirelay.gossip.v1.rs");
}
