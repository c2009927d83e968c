//! Who a certificate says its holder is, and whether we talk to them.

use mesh_types::ClusterId;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::expected::ExpectedPeer;
use crate::peer_check::PeerCheck;
use crate::refusal::{RefusalReason, refusal_reason};
use crate::spiffe::{ParseSpiffeIdError, SpiffeId};
use crate::trust_domain::TrustDomain;

/// Why no SPIFFE ID could be read from a certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadSpiffeIdError {
    /// The certificate cannot be decoded.
    #[error("certificate cannot be decoded")]
    BadCertificate {
        /// What is wrong with it.
        source: webpki::Error,
    },
    /// The certificate's subject alternative names hold no URI.
    #[error("certificate holds no SPIFFE ID")]
    NoUri,
    /// The certificate's subject alternative names hold more than one URI (X509-SVID §2 allows one).
    #[error("certificate holds more than one URI")]
    SeveralUris,
    /// The certificate's URI is not the SPIFFE ID of a node.
    #[error("certificate's URI is not the SPIFFE ID of a node")]
    NotANode {
        /// What is wrong with it.
        source: ParseSpiffeIdError,
    },
}

impl ReadSpiffeIdError {
    /// Returns the reason in a word, for metrics.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::BadCertificate { .. } => RefusalReason::BadCertificate,
            Self::NoUri => RefusalReason::NoSpiffeId,
            Self::SeveralUris => RefusalReason::SeveralSpiffeIds,
            Self::NotANode { .. } => RefusalReason::BadSpiffeId,
        }
    }
}

/// Reads the SPIFFE ID from the one URI in the certificate's subject alternative names.
pub(crate) fn spiffe_id_of(certificate: &CertificateDer<'_>) -> Result<SpiffeId, ReadSpiffeIdError> {
    let certificate =
        EndEntityCert::try_from(certificate).map_err(|source| ReadSpiffeIdError::BadCertificate { source })?;
    let mut uris = certificate.valid_uri_names();
    let uri = uris.next().ok_or(ReadSpiffeIdError::NoUri)?;
    if uris.next().is_some() {
        return Err(ReadSpiffeIdError::SeveralUris);
    }
    uri.parse().map_err(|source| ReadSpiffeIdError::NotANode { source })
}

/// Returns a certificate's serial number in hexadecimal; empty if it cannot be decoded.
pub(crate) fn serial_of(certificate: &CertificateDer<'_>) -> String {
    let Ok(decoded) = EndEntityCert::try_from(certificate) else { return String::new() };
    decoded.serial().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a peer whose certificate chain is good is refused all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerRefused {
    /// The peer showed no certificate.
    #[error("peer showed no certificate")]
    NoCertificate,
    /// The peer's certificate is not good, or is no longer.
    #[error("peer's certificate is not acceptable")]
    Certificate {
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The peer's certificate does not say who it is.
    #[error("peer's certificate does not say which node it is")]
    Unnamed {
        /// Why not.
        source: ReadSpiffeIdError,
    },
    /// The peer belongs to another trust domain.
    #[error("peer {id} is not of trust domain `{ours}`")]
    WrongTrustDomain {
        /// Who the peer is.
        id: SpiffeId,
        /// The trust domain we belong to.
        ours: TrustDomain,
    },
    /// The peer belongs to another cluster.
    #[error("peer {id} is not of cluster `{ours}`")]
    WrongCluster {
        /// Who the peer is.
        id: SpiffeId,
        /// The cluster we belong to.
        ours: ClusterId,
    },
    /// The peer is another than the one that was dialled.
    #[error("peer is {found}, not {expected}")]
    WrongPeer {
        /// Who the peer is.
        found: Box<SpiffeId>,
        /// Who was dialled.
        expected: Box<ExpectedPeer>,
    },
    /// A rule of our own refuses the peer.
    #[error("peer {} is refused: {words}", id.as_ref().map_or_else(|| "without a SPIFFE ID".to_owned(), |id| id.to_string()))]
    Check {
        /// Who the peer is, if its certificate says so.
        id: Option<Box<SpiffeId>>,
        /// What the [`PeerCheck`](crate::PeerCheck) says.
        words: String,
    },
    /// The peer's certificate is not good for the DNS name that was dialled.
    #[error("peer's certificate is not good for `{expected}`")]
    WrongName {
        /// The name that was dialled.
        expected: String,
        /// What is wrong with it.
        source: webpki::Error,
    },
}

impl PeerRefused {
    /// Returns the reason in a word, for metrics.
    #[must_use]
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::NoCertificate => RefusalReason::NoCertificate,
            Self::Certificate { source } => refusal_reason(source),
            Self::Unnamed { source } => source.reason(),
            Self::WrongTrustDomain { .. } => RefusalReason::WrongTrustDomain,
            Self::WrongCluster { .. } => RefusalReason::WrongCluster,
            Self::WrongPeer { .. } | Self::WrongName { .. } => RefusalReason::WrongPeer,
            Self::Check { .. } => RefusalReason::OwnRule,
        }
    }
}

/// Returns who the holder of `chain` is, if `own` may talk to it.
pub(crate) fn verify(own: &SpiffeId, chain: &[CertificateDer<'_>]) -> Result<SpiffeId, PeerRefused> {
    let id = identify(chain)?;
    if id.trust_domain() != own.trust_domain() {
        return Err(PeerRefused::WrongTrustDomain { id, ours: own.trust_domain().clone() });
    }
    if id.cluster() != own.cluster() {
        return Err(PeerRefused::WrongCluster { id, ours: own.cluster().clone() });
    }
    Ok(id)
}

/// Returns whether a rule of our own, if there is one, lets us talk to `id`.
pub(crate) fn check(
    rule: Option<&dyn PeerCheck>,
    id: Option<&SpiffeId>,
    chain: &[CertificateDer<'_>],
) -> Result<(), PeerRefused> {
    let Some(rule) = rule else { return Ok(()) };
    rule.check(id, chain).map_err(|words| PeerRefused::Check { id: id.cloned().map(Box::new), words })
}

/// Returns whom `chain` names.
pub(crate) fn identify(chain: &[CertificateDer<'_>]) -> Result<SpiffeId, PeerRefused> {
    let leaf = chain.first().ok_or(PeerRefused::NoCertificate)?;
    spiffe_id_of(leaf).map_err(|source| PeerRefused::Unnamed { source })
}
