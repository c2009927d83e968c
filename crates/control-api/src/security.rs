//! Who may connect.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use mesh_types::{NodeId, Role};
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, PeerIncompatible, ServerConfig};

/// Reads who the client is from its certificates, the leaf first, and decides whether it may connect.
pub type VerifyPeer = dyn Fn(&[CertificateDer<'_>]) -> Result<PeerName, PeerRefused> + Send + Sync;

/// How clients prove who they are.
#[derive(Clone)]
pub enum Security {
    /// TLS, and every client has a certificate.
    MutualTls {
        /// Asks for and checks client certificates; its ALPN list names `h2` and `http/1.1`.
        config: Arc<ServerConfig>,
        /// Called once for each connection, after the certificates were checked against the CA.
        verify_peer: Arc<VerifyPeer>,
    },
    /// Plain HTTP for the newcomer's own machine: anybody on it may ask. Any other address is refused.
    PlaintextLoopback,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MutualTls { .. } => "MutualTls",
            Self::PlaintextLoopback => "PlaintextLoopback",
        })
    }
}

/// Role of those who may change things: people and their tools.
const OPERATOR: &str = "operator";

/// Who a client is, as its certificate says. Handlers find it among the extensions of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName {
    name: Arc<str>,
    node: NodeId,
    role: Role,
}

impl PeerName {
    /// Makes a name of what the certificate says: all of it, such as a SPIFFE ID, and the node and role in it.
    #[must_use]
    pub fn new(name: &str, node: NodeId, role: Role) -> Self {
        Self { name: name.into(), node, role }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    pub(crate) const fn node(&self) -> &NodeId {
        &self.node
    }

    pub(crate) fn is_operator(&self) -> bool {
        self.role.as_str() == OPERATOR
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Why a client with a valid certificate may still not connect.
#[derive(Debug, thiserror::Error)]
#[error("client is refused: {reason}")]
pub struct PeerRefused {
    /// One word of a small fixed set, for the metric, such as `wrong_cluster`.
    pub reason: &'static str,
    /// What was found.
    pub source: Box<dyn Error + Send + Sync>,
}

/// Returns the word for the metric: why a TLS handshake failed, in the words that gossip uses too.
pub(crate) fn handshake_reason(error: &std::io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        None => "connection_lost",
        Some(rustls::Error::NoCertificatesPresented) => "no_certificate",
        Some(rustls::Error::InvalidCertificate(reason)) => certificate_reason(reason),
        Some(rustls::Error::InvalidMessage(_)) => "not_tls",
        Some(rustls::Error::NoApplicationProtocol) => "application_protocol",
        Some(rustls::Error::PeerIncompatible(reason)) => incompatible_reason(reason),
        Some(rustls::Error::AlertReceived(_)) => "refused_by_client",
        Some(_) => "handshake",
    }
}

const fn incompatible_reason(error: &PeerIncompatible) -> &'static str {
    match error {
        PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "tls_version",
        _ => "handshake",
    }
}

const fn certificate_reason(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::UnknownIssuer => "unknown_ca",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not_yet_valid",
        CertificateError::Revoked => "revoked",
        _ => "bad_certificate",
    }
}
