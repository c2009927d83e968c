//! Wire schema of OmniRelay: protobuf messages, protocol numbers, size limits.
