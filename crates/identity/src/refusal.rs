//! Why a connection between nodes was refused, in a word.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};

/// Why a connection between nodes was refused.
///
/// A closed set of words for metrics and logs; `Display` says the same in words for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The peer showed no certificate.
    NoCertificate,
    /// The certificate was issued by a CA outside the trust bundle.
    UnknownCa,
    /// The certificate's time has passed. As an alert also: it has not come yet (TLS has one word for both).
    Expired,
    /// The certificate's time has not come yet.
    NotYetValid,
    /// The certificate holds no URI.
    NoSpiffeId,
    /// The certificate holds more than one URI.
    SeveralSpiffeIds,
    /// The certificate's URI is not the SPIFFE ID of a node.
    BadSpiffeId,
    /// The peer belongs to another trust domain.
    WrongTrustDomain,
    /// The peer belongs to another cluster.
    WrongCluster,
    /// The peer is another than the one that was dialled.
    WrongPeer,
    /// A rule of our own refuses the peer.
    OwnRule,
    /// The certificate is good, and its holder is not let in: of another cluster, say. Only an alert says so.
    AccessDenied,
    /// The certificate was revoked.
    Revoked,
    /// The revocation list of the certificate's CA is overdue, and such lists are not relied on.
    StaleRevocations,
    /// The certificate is broken, badly signed or not meant for this use.
    BadCertificate,
    /// The peer does not speak TLS 1.3.
    TlsVersion,
    /// The peer speaks no application protocol that we speak.
    ApplicationProtocol,
    /// The handshake failed for a reason that has nothing to do with certificates.
    Handshake,
}

impl RefusalReason {
    /// Returns whether it is about who the two are, and not about what they speak.
    #[must_use]
    pub const fn is_about_identity(self) -> bool {
        !matches!(self, Self::Handshake | Self::ApplicationProtocol | Self::TlsVersion)
    }

    /// Returns the reason in `snake_case`, for metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownCa => "unknown_ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoSpiffeId => "no_spiffe_id",
            Self::SeveralSpiffeIds => "several_spiffe_ids",
            Self::BadSpiffeId => "bad_spiffe_id",
            Self::WrongTrustDomain => "wrong_trust_domain",
            Self::WrongCluster => "wrong_cluster",
            Self::WrongPeer => "wrong_peer",
            Self::OwnRule => "own_rule",
            Self::AccessDenied => "access_denied",
            Self::Revoked => "revoked",
            Self::StaleRevocations => "stale_revocations",
            Self::BadCertificate => "bad_certificate",
            Self::TlsVersion => "tls_version",
            Self::ApplicationProtocol => "application_protocol",
            Self::Handshake => "handshake",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "no certificate",
            Self::UnknownCa => "certificate of an unknown CA",
            Self::Expired => "expired certificate",
            Self::NotYetValid => "certificate not valid yet",
            Self::NoSpiffeId => "certificate without a SPIFFE ID",
            Self::SeveralSpiffeIds => "certificate with several URIs",
            Self::BadSpiffeId => "certificate with a URI that is not a node's SPIFFE ID",
            Self::WrongTrustDomain => "another trust domain",
            Self::WrongCluster => "another cluster",
            Self::WrongPeer => "another peer than the one dialled",
            Self::OwnRule => "a rule of our own",
            Self::AccessDenied => "access denied",
            Self::Revoked => "revoked certificate",
            Self::StaleRevocations => "overdue revocation list",
            Self::BadCertificate => "bad certificate",
            Self::TlsVersion => "no TLS 1.3",
            Self::ApplicationProtocol => "no common application protocol",
            Self::Handshake => "failed handshake",
        })
    }
}

/// Returns why a TLS handshake failed, whichever side refused.
#[must_use]
pub fn refusal_reason(error: &TlsError) -> RefusalReason {
    match error {
        TlsError::NoCertificatesPresented => RefusalReason::NoCertificate,
        TlsError::InvalidCertificate(error) => of_certificate(error),
        TlsError::AlertReceived(alert) => refusal_reason_of_alert(u8::from(*alert), ""),
        TlsError::NoApplicationProtocol => RefusalReason::ApplicationProtocol,
        TlsError::PeerIncompatible(error) if is_version(error) => RefusalReason::TlsVersion,
        _ => RefusalReason::Handshake,
    }
}

/// Returns why a handshake failed, from its TLS alert and the text that came with it, if any.
///
/// QUIC carries both when a connection closes, whichever side refused: the alert as the error code
/// `0x100 + alert` (RFC 9001 §4.8), the text as the reason phrase. TLS has one alert for a certificate
/// whose time is past and one whose time is to come; only the text, where rustls wrote it, tells which.
#[must_use]
pub fn refusal_reason_of_alert(alert: u8, text: &str) -> RefusalReason {
    match AlertDescription::from(alert) {
        AlertDescription::NoCertificate | AlertDescription::CertificateRequired => RefusalReason::NoCertificate,
        AlertDescription::UnknownCA => RefusalReason::UnknownCa,
        AlertDescription::CertificateExpired if text.contains(NOT_YET_VALID) => RefusalReason::NotYetValid,
        AlertDescription::CertificateExpired => RefusalReason::Expired,
        AlertDescription::CertificateRevoked => RefusalReason::Revoked,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => RefusalReason::BadCertificate,
        AlertDescription::AccessDenied => RefusalReason::AccessDenied,
        AlertDescription::ProtocolVersion => RefusalReason::TlsVersion,
        AlertDescription::NoApplicationProtocol => RefusalReason::ApplicationProtocol,
        _ => RefusalReason::Handshake,
    }
}

/// Returns why a QUIC handshake failed, from the error code and the text that its connection was closed with; `None` if the code
/// carries no alert.
#[must_use]
pub fn refusal_reason_of_quic(code: u64, text: &str) -> Option<RefusalReason> {
    // RFC 9001 §4.8: 0x100 + alert.
    let alert = u8::try_from(code.checked_sub(0x100)?);
    alert.map_or(None, |alert| Some(refusal_reason_of_alert(alert, text)))
}

/// What rustls writes of a certificate whose time is to come.
const NOT_YET_VALID: &str = "certificate not valid yet";

fn of_certificate(error: &CertificateError) -> RefusalReason {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => RefusalReason::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => RefusalReason::NotYetValid,
        CertificateError::UnknownIssuer => RefusalReason::UnknownCa,
        CertificateError::Revoked => RefusalReason::Revoked,
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            RefusalReason::StaleRevocations
        }
        _ => RefusalReason::BadCertificate,
    }
}

/// Whether the peer is refused for the versions of TLS it offers.
const fn is_version(error: &PeerIncompatible) -> bool {
    matches!(
        error,
        PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn an_alert_names_the_reason_the_peer_had() {
        // RFC 8446 §6.2 and RFC 7301 §3.2
        for (alert, reason) in [
            (41, "no_certificate"),
            (116, "no_certificate"),
            (48, "unknown_ca"),
            (45, "expired"),
            (44, "revoked"),
            (42, "bad_certificate"),
            (43, "bad_certificate"),
            (46, "bad_certificate"),
            (49, "access_denied"),
            (70, "tls_version"),
            (120, "application_protocol"),
            (40, "handshake"),
            (255, "handshake"),
        ] {
            assert_eq!(refusal_reason_of_alert(alert, "").as_str(), reason, "alert {alert}");
        }
    }

    #[test]
    fn the_text_tells_a_certificate_of_the_future_from_an_expired_one() {
        let at = |secs| UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(2) };
        let late = CertificateError::ExpiredContext { time: at(2), not_after: at(1) };
        let reason = |error: CertificateError| refusal_reason_of_alert(45, &TlsError::from(error).to_string());
        assert_eq!((reason(early), reason(late)), (RefusalReason::NotYetValid, RefusalReason::Expired));
    }

    #[test]
    fn only_quic_codes_of_alerts_have_a_reason() {
        let of = |code| refusal_reason_of_quic(code, "");
        assert_eq!((of(0x100 + 44), of(0x100 + 48)), (Some(RefusalReason::Revoked), Some(RefusalReason::UnknownCa)));
        assert_eq!((of(0xff), of(0x200), of(44)), (None, None, None));
    }

    #[test]
    fn an_alert_received_is_the_reason_of_its_number() {
        let error = TlsError::AlertReceived(AlertDescription::CertificateRequired);
        assert_eq!(refusal_reason(&error), RefusalReason::NoCertificate);
    }

    #[test]
    fn a_revoked_certificate_is_told_from_a_bad_one() {
        assert_eq!(refusal_reason(&CertificateError::Revoked.into()), RefusalReason::Revoked);
        assert_eq!(refusal_reason(&CertificateError::BadSignature.into()), RefusalReason::BadCertificate);
    }
}
