//! Who must answer where somebody dials.

use std::fmt;

use mesh_types::NodeId;
use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use webpki::EndEntityCert;

use crate::peer::{self, PeerRefused};
use crate::spiffe::SpiffeId;
use crate::trust_domain::TrustDomain;

/// Who must answer where somebody dials. Whoever else answers is refused before any data flows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExpectedPeer {
    /// Any node of our trust domain and our cluster.
    Member,
    /// This node of our trust domain and our cluster, whatever its role.
    Node(NodeId),
    /// Exactly this ID, of whatever trust domain and cluster.
    Spiffe(SpiffeId),
    /// Any node of this trust domain, whatever its cluster.
    TrustDomain(TrustDomain),
    /// A server whose certificate is good for this DNS name; it needs no SPIFFE ID. The name is sent along (SNI).
    Dns(DnsName<'static>),
}

impl ExpectedPeer {
    /// Returns the name that rustls and quinn ask for, a valid DNS name. Only that of [`ExpectedPeer::Dns`] is sent.
    #[must_use]
    pub fn server_name(&self) -> &str {
        match self {
            Self::Dns(name) => name.as_ref(),
            Self::Member | Self::Node(_) | Self::Spiffe(_) | Self::TrustDomain(_) => "omnirelay",
        }
    }

    /// Returns who the holder of `chain` is, as [`Credentials::verify_expected`](crate::Credentials::verify_expected) says.
    pub(crate) fn verify(&self, own: &SpiffeId, chain: &[CertificateDer<'_>]) -> Result<Option<SpiffeId>, PeerRefused> {
        match self {
            Self::Member => peer::verify(own, chain).map(Some),
            Self::Node(node) => {
                let found = peer::verify(own, chain)?;
                if found.node() == node { Ok(Some(found)) } else { Err(self.not(found)) }
            }
            Self::Spiffe(id) => {
                let found = peer::identify(chain)?;
                if found == *id { Ok(Some(found)) } else { Err(self.not(found)) }
            }
            Self::TrustDomain(domain) => {
                let found = peer::identify(chain)?;
                if found.trust_domain() == domain {
                    return Ok(Some(found));
                }
                Err(PeerRefused::WrongTrustDomain { id: found, ours: domain.clone() })
            }
            Self::Dns(name) => verify_name(name, chain),
        }
    }

    fn not(&self, found: SpiffeId) -> PeerRefused {
        PeerRefused::WrongPeer { found: Box::new(found), expected: Box::new(self.clone()) }
    }
}

fn verify_name(name: &DnsName<'static>, chain: &[CertificateDer<'_>]) -> Result<Option<SpiffeId>, PeerRefused> {
    let leaf = chain.first().ok_or(PeerRefused::NoCertificate)?;
    let wrong = |source| PeerRefused::WrongName { expected: name.as_ref().to_owned(), source };
    let certificate = EndEntityCert::try_from(leaf).map_err(wrong)?;
    certificate.verify_is_valid_for_subject_name(&ServerName::DnsName(name.clone())).map_err(wrong)?;
    // A server from outside the mesh names no node, which is no fault here.
    let Ok(id) = peer::identify(chain) else { return Ok(None) };
    Ok(Some(id))
}

impl fmt::Display for ExpectedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member => f.write_str("a node of this cluster"),
            Self::Node(node) => write!(f, "node `{node}` of this cluster"),
            Self::Spiffe(id) => write!(f, "{id}"),
            Self::TrustDomain(domain) => write!(f, "a node of trust domain `{domain}`"),
            Self::Dns(name) => write!(f, "`{}`", name.as_ref()),
        }
    }
}
