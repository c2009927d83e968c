//! The audit trail: who was not let in, and who was cut off.
//!
//! Its log events have the target `audit`, so that they can be kept apart from the rest and for longer.

use std::error::Error;
use std::net::SocketAddr;

use identity::{PeerRefused, Presented, RefusalReason, refusal_reason, refusal_reason_of_alert};
use metrics::counter;
use quinn::ConnectionError;
use tracing::{debug, warn};

use crate::peer::PeerIdentity;

/// Somebody who wants in.
#[derive(Debug, Clone)]
pub(crate) struct Applicant {
    pub(crate) address: SocketAddr,
    /// `tcp` or `quic`.
    pub(crate) transport: &'static str,
    /// Whom the certificate shown names, be it good or not.
    pub(crate) presented: Presented,
}

impl Applicant {
    /// Counts a handshake that failed, for `reason` if TLS has one; logs it if that is who they are or are not.
    pub(crate) fn turned_away(&self, reason: Option<RefusalReason>, error: &(dyn Error + 'static)) {
        match (self.presented.refused(), reason) {
            // TLS has but one word for all of these.
            (Some(refused), _) => self.refused(refused.reason(), refused),
            (None, Some(reason)) => self.refused(reason, error),
            (None, None) => self.failed("connection_lost", error),
        }
    }

    /// Counts and logs that they were not let in, because of who they are or are not.
    pub(crate) fn refused(&self, reason: RefusalReason, error: &(dyn Error + 'static)) {
        let Self { address, transport, presented } = self;
        self.count(reason.as_str());
        let san = presented.name().unwrap_or("none shown");
        warn!(target: "audit", %address, transport, san, reason = reason.as_str(), error, "connection refused");
    }

    /// Counts a connection that came to nothing for a reason that has nothing to do with who they are.
    pub(crate) fn failed(&self, reason: &'static str, error: &(dyn Error + 'static)) {
        self.count(reason);
        debug!(address = %self.address, transport = self.transport, reason, error, "connection failed");
    }

    /// Counts a connection that found no room.
    pub(crate) fn no_room(&self, reason: &'static str) {
        self.count(reason);
        debug!(address = %self.address, transport = self.transport, reason, "connection turned away");
    }

    fn count(&self, reason: &'static str) {
        counter!("grpc_inbound_handshake_failures_total", "transport" => self.transport, "reason" => reason)
            .increment(1);
    }
}

/// Counts and logs a connection in use that is cut because its peer's certificate is no longer acceptable.
pub(crate) fn cut(peer: &PeerIdentity, refused: &PeerRefused) {
    let (reason, error): (_, &(dyn Error + 'static)) = (refused.reason().as_str(), refused);
    counter!("grpc_inbound_connections_cut_total", "reason" => reason).increment(1);
    warn!(target: "audit", address = %peer.address(), peer = %peer.spiffe_id(), reason, error, "connection cut");
}

/// Returns why a handshake over TCP failed, if TLS is the reason.
pub(crate) fn tls_reason(error: &std::io::Error) -> Option<RefusalReason> {
    Some(refusal_reason(error.get_ref()?.downcast_ref::<rustls::Error>()?))
}

/// Returns why a handshake over QUIC failed, if TLS is the reason.
pub(crate) fn quic_reason(error: &ConnectionError) -> Option<RefusalReason> {
    let (code, text) = match error {
        ConnectionError::TransportError(error) => (u64::from(error.code), error.reason.as_str()),
        ConnectionError::ConnectionClosed(close) => {
            (u64::from(close.error_code), str::from_utf8(&close.reason).unwrap_or_default())
        }
        _ => return None,
    };
    // QUIC carries an alert as `0x100 + alert` (RFC 9001 §4.8).
    let alert = (0x100..0x200).contains(&code).then(|| code.to_le_bytes()[0])?;
    Some(refusal_reason_of_alert(alert, text))
}
