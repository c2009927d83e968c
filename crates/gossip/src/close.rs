//! Why a link is closed, as the code and words that the other side sees.

use std::fmt;

use identity::{RefusalReason, refusal_reason_of_quic};
use membership::HelloError;
use quinn::{ConnectionError, VarInt};

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
    /// A link with newer certificates has taken its place.
    Renewed,
    /// The other side's identity or hello is not acceptable.
    Refused,
    /// The other side does not keep to the protocol.
    Protocol,
    /// No protocol number is spoken by both sides.
    Incompatible,
    /// The other side's certificate has been revoked.
    Revoked,
    /// The other side's certificate has run out.
    Expired,
    /// The other side's certificate is not good any more, such as after a change of the trust bundle.
    Untrusted,
}

impl Close {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Leaving => 0,
            Self::Duplicate => 1,
            Self::Unused => 2,
            Self::Dead => 3,
            Self::Renewed => 4,
            Self::Refused => 16,
            Self::Protocol => 17,
            Self::Incompatible => 18,
            Self::Revoked => 42,
            Self::Expired => 43,
            Self::Untrusted => 44,
        })
    }

    /// Returns how a link ends whose member's identity is refused for `reason`.
    pub(crate) const fn of_identity(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::Revoked => Self::Revoked,
            RefusalReason::Expired => Self::Expired,
            _ => Self::Untrusted,
        }
    }

    /// Returns how a link ends whose hello is refused.
    pub(crate) const fn of_hello(error: &HelloError) -> Self {
        match error {
            HelloError::NoCommonProtocol { .. } => Self::Incompatible,
            _ => Self::Refused,
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaving => "leaving",
            Self::Duplicate => "duplicate link",
            Self::Unused => "unused link",
            Self::Dead => "held for dead",
            Self::Renewed => "renewed link",
            Self::Refused => "refused",
            Self::Protocol => "protocol violation",
            Self::Incompatible => "no common protocol",
            Self::Revoked => "certificate revoked",
            Self::Expired => "certificate expired",
            Self::Untrusted => "certificate no longer trusted",
        })
    }
}

/// Closes a connection, telling the other side why.
pub(crate) fn close(connection: &quinn::Connection, why: Close, detail: &str) {
    let text = if detail.is_empty() { why.to_string() } else { format!("{why}: {detail}") };
    connection.close(why.code(), text.as_bytes());
}

/// Returns why the other side refuses this node for its certificate, if that is how a connection ended.
pub(crate) fn refused_by_other(error: &ConnectionError) -> Option<RefusalReason> {
    let reason = match error {
        ConnectionError::ApplicationClosed(close) => {
            let identities = [
                (Close::Revoked, RefusalReason::Revoked),
                (Close::Expired, RefusalReason::Expired),
                (Close::Untrusted, RefusalReason::UnknownCa),
            ];
            let found = identities.into_iter().find(|(kind, _)| kind.code() == close.error_code);
            return found.map(|(_, reason)| reason);
        }
        ConnectionError::ConnectionClosed(close) => {
            let text = String::from_utf8_lossy(&close.reason);
            refusal_reason_of_quic(u64::from(close.error_code), &text)?
        }
        _ => return None,
    };
    reason.is_about_identity().then_some(reason)
}

/// Returns the TLS alert behind a failed connection as a reason, whichever side raised it.
pub(crate) fn tls_reason(error: &ConnectionError) -> Option<RefusalReason> {
    let (code, text) = match error {
        ConnectionError::TransportError(error) => (u64::from(error.code), error.reason.clone()),
        ConnectionError::ConnectionClosed(close) => {
            (u64::from(close.error_code), String::from_utf8_lossy(&close.reason).into_owned())
        }
        _ => return None,
    };
    refusal_reason_of_quic(code, &text)
}
