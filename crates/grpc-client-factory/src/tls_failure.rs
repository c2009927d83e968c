//! Certificates that one side does not accept.

use std::fmt;

use identity::{PeerRefused, RefusalReason, refusal_reason, refusal_reason_of_quic};
use quinn::{ConnectionError, VarInt};
use rustls::Error as TlsError;

use crate::error::Cause;
use crate::target::{Protocol, Target};

/// How a server of the mesh closes a connection to whom it does not let in: the alert `access_denied`, as QUIC would carry it.
const ACCESS_DENIED: VarInt = VarInt::from_u32(0x100 + 49);

/// Which side refused the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refuser {
    /// We do not accept what the server shows.
    Us,
    /// The server does not accept what we show.
    Peer,
}

impl Refuser {
    /// Returns the word for metric labels: `us` or `peer`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Peer => "peer",
        }
    }
}

/// A TLS handshake that failed: what, whose certificate, and what to do.
#[derive(Debug, thiserror::Error)]
pub struct TlsFailure {
    /// Who was called.
    pub target: Target,
    /// Over what.
    pub protocol: Protocol,
    /// Who refused whom.
    pub refuser: Refuser,
    /// Why, in a word.
    pub reason: RefusalReason,
    /// What was seen.
    #[source]
    pub source: Cause,
}

impl TlsFailure {
    /// Makes it of what rustls says.
    pub(crate) fn of_tls(target: &Target, protocol: Protocol, error: TlsError) -> Self {
        let refuser = if matches!(error, TlsError::AlertReceived(_)) { Refuser::Peer } else { Refuser::Us };
        let reason = refusal_reason(&error);
        Self { target: target.clone(), protocol, refuser, reason, source: std::sync::Arc::new(error) }
    }

    /// Makes it of how a QUIC connection ended, if that is about who the two are.
    pub(crate) fn of_quic(target: &Target, error: &ConnectionError) -> Option<Self> {
        let (refuser, code, text) = match error {
            ConnectionError::TransportError(error) => (Refuser::Us, u64::from(error.code), error.reason.clone()),
            ConnectionError::ConnectionClosed(close) => {
                (Refuser::Peer, u64::from(close.error_code), String::from_utf8_lossy(&close.reason).into_owned())
            }
            // The certificate was good, and its holder is not let in: that is known only after the handshake.
            ConnectionError::ApplicationClosed(close) if close.error_code == ACCESS_DENIED => {
                (Refuser::Peer, u64::from(close.error_code), String::new())
            }
            _ => return None,
        };
        let reason = refusal_reason_of_quic(code, &text).filter(|reason| reason.is_about_identity())?;
        let source = std::sync::Arc::new(error.clone());
        Some(Self { target: target.clone(), protocol: Protocol::Http3, refuser, reason, source })
    }

    /// Makes it of our judgement of who answered.
    pub(crate) fn of_identity(target: &Target, protocol: Protocol, error: PeerRefused) -> Self {
        let reason = error.reason();
        Self { target: target.clone(), protocol, refuser: Refuser::Us, reason, source: std::sync::Arc::new(error) }
    }

    /// Returns what to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match (self.refuser, self.reason) {
            (Refuser::Us, RefusalReason::UnknownCa) => {
                "add its CA to our trust bundle, or call an endpoint of our mesh"
            }
            (Refuser::Peer, RefusalReason::UnknownCa) => "have our CA added to the trust bundle of the server",
            (Refuser::Us, RefusalReason::Expired) => "renew the server's certificate, and compare the clocks",
            (Refuser::Peer, RefusalReason::Expired) => "renew our certificate, and compare the clocks",
            (_, RefusalReason::NotYetValid) => "compare the clocks of both sides",
            (Refuser::Us, RefusalReason::Revoked) => "the server has to get a new certificate from its CA",
            (Refuser::Peer, RefusalReason::Revoked) => "we have to get a new certificate from our CA",
            (_, RefusalReason::StaleRevocations) => "get a newer revocation list from the CA",
            (_, RefusalReason::NoCertificate) => "have both sides configured with a certificate",
            (Refuser::Us, RefusalReason::WrongPeer | RefusalReason::WrongTrustDomain | RefusalReason::WrongCluster) => {
                "another than the one expected listens there: look at the address, and at who is expected"
            }
            (
                Refuser::Peer,
                RefusalReason::WrongTrustDomain | RefusalReason::WrongCluster | RefusalReason::WrongPeer,
            ) => "the server takes no calls from our trust domain or cluster",
            (Refuser::Us, RefusalReason::NoSpiffeId | RefusalReason::SeveralSpiffeIds | RefusalReason::BadSpiffeId) => {
                "have the server's certificate issued for one node of the mesh"
            }
            (Refuser::Us, RefusalReason::OwnRule) => "a rule of our own is against it, in the words below",
            (_, RefusalReason::ApplicationProtocol) => "have the server speak gRPC over TLS at this port",
            (_, RefusalReason::TlsVersion) => "have the server speak TLS 1.3",
            (Refuser::Us, _) => "look at the server's certificate, and at what listens there",
            (Refuser::Peer, _) => "look at our certificate, and at the log of the server",
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, protocol, refuser, reason, .. } = self;
        let hint = self.hint();
        match refuser {
            Refuser::Us => write!(f, "certificate shown for {target} over {protocol} is refused ({reason}); {hint}"),
            Refuser::Peer => write!(f, "our certificate is refused by {target} over {protocol} ({reason}); {hint}"),
        }
    }
}
