//! Why a link is closed, as the code and words that the other side sees.

use std::fmt;

use quinn::VarInt;

/// Why this node closes a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// The service stops.
    Leaving,
    /// Another link to the same member is kept.
    Duplicate,
    /// Links are scarce, and this one was used least.
    Unused,
    /// The member is dead.
    Dead,
    /// The other side's identity or hello is not acceptable.
    Refused,
    /// The other side does not keep to the protocol.
    Protocol,
}

impl Close {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Leaving => 0,
            Self::Duplicate => 1,
            Self::Unused => 2,
            Self::Dead => 3,
            Self::Refused => 16,
            Self::Protocol => 17,
        })
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaving => "leaving",
            Self::Duplicate => "duplicate link",
            Self::Unused => "unused link",
            Self::Dead => "held for dead",
            Self::Refused => "refused",
            Self::Protocol => "protocol violation",
        })
    }
}

/// Closes a connection, telling the other side why.
pub(crate) fn close(connection: &quinn::Connection, why: Close, detail: &str) {
    let text = if detail.is_empty() { why.to_string() } else { format!("{why}: {detail}") };
    connection.close(why.code(), text.as_bytes());
}
