//! How connections are told that they are no longer welcome.

use h3::error::Code;
use quinn::VarInt;

/// Code with which a QUIC connection is closed whose peer is not, or no longer, acceptable: 0x100 plus the number of
/// TLS's alert `access_denied`. HTTP/3 has none of its own; the reason is beside it in words.
pub(crate) const ACCESS_DENIED: VarInt = VarInt::from_u32(0x100 + 49);

/// Closes a connection with a code of HTTP/3.
pub(crate) fn close(connection: &quinn::Connection, code: Code, reason: &str) {
    connection.close(VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX), reason.as_bytes());
}
