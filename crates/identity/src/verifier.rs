//! The checks of the other side's certificate: the chain and its revocation, not a name.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::peer::{self, PeerRefused};
use crate::peer_check::PeerCheck;
use crate::presented::Presented;
use crate::revocations::Revocations;
use crate::spiffe::SpiffeId;

/// Which side of a connection somebody is on; their certificate must be good for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The side that dialled.
    Client,
    /// The side that was dialled.
    Server,
}

/// Checks that a certificate was issued by a CA of the trust bundle and has not been revoked.
///
/// The name that was dialled is not looked at: a node is known by its SPIFFE ID, and the caller
/// checks that before any data flows ([`Credentials::verify_peer`](crate::Credentials::verify_peer)).
///
/// Revocation is checked here and not by webpki: that takes the first list of the issuer's name, so that a CA which got a
/// new key under its old name would have its certificates refused while both lists are about.
#[derive(Debug, Clone)]
pub(crate) struct ChainVerifier {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    revocations: Revocations,
    /// Where what clients show is noted.
    presented: Option<Presented>,
    /// Clients that this node takes no connections from are refused.
    admits_to: Option<SpiffeId>,
    /// A rule of the embedder's.
    rule: Option<Arc<dyn PeerCheck>>,
}

impl ChainVerifier {
    pub(crate) fn new(roots: Arc<RootCertStore>, provider: &Arc<CryptoProvider>, revocations: Revocations) -> Self {
        // No list of CAs is sent along: each node has one certificate to show.
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
            .clear_root_hint_subjects()
            .build()
            .expect("there is a trust anchor, and no revocation list that could be malformed");
        let algorithms = provider.signature_verification_algorithms;
        Self { roots, clients, algorithms, revocations, presented: None, admits_to: None, rule: None }
    }

    pub(crate) fn with_revocations(&self, revocations: Revocations) -> Self {
        Self { revocations, ..self.clone() }
    }

    pub(crate) fn with_rule(&self, rule: Arc<dyn PeerCheck>) -> Self {
        Self { rule: Some(rule), ..self.clone() }
    }

    pub(crate) const fn rule(&self) -> Option<&Arc<dyn PeerCheck>> {
        self.rule.as_ref()
    }

    /// Returns who a client or another node of ours is, if we talk to it.
    pub(crate) fn verify_peer(&self, own: &SpiffeId, chain: &[CertificateDer<'_>]) -> Result<SpiffeId, PeerRefused> {
        let id = peer::verify(own, chain)?;
        peer::check(self.rule.as_deref(), Some(&id), chain)?;
        Ok(id)
    }

    pub(crate) fn noting(&self, presented: Presented) -> Self {
        Self { presented: Some(presented), ..self.clone() }
    }

    /// Lets in only clients that `own` takes connections from.
    pub(crate) fn admitting(&self, own: SpiffeId, presented: Presented) -> Self {
        Self { admits_to: Some(own), ..self.noting(presented) }
    }

    pub(crate) const fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.algorithms
    }

    pub(crate) const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Checks all there is to check of somebody on `side`.
    pub(crate) fn verify(
        &self,
        side: Side,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.verify_chain(side, leaf, intermediates, now)?;
        let chain = std::iter::once(leaf).chain(intermediates);
        self.revocations.check(chain, now).map_err(Error::InvalidCertificate)
    }

    /// Checks the chain, and not whether it was revoked.
    pub(crate) fn verify_chain(
        &self,
        side: Side,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        match side {
            Side::Client => self.clients.verify_client_cert(leaf, intermediates, now).map(|_verified| ()),
            Side::Server => {
                let leaf = ParsedCertificate::try_from(leaf)?;
                verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, self.algorithms.all)
            }
        }
    }
}

impl ChainVerifier {
    fn admit(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), Error> {
        let Some(own) = &self.admits_to else { return Ok(()) };
        let chain: Vec<_> = std::iter::once(leaf).chain(intermediates).cloned().collect();
        let Err(refused) = self.verify_peer(own, &chain) else { return Ok(()) };
        if let Some(presented) = &self.presented {
            presented.refuse(refused);
        }
        // The alert `access_denied`: a good certificate, and not for us (RFC 8446 §6.2).
        Err(CertificateError::ApplicationVerificationFailure.into())
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(Side::Server, end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 was not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for ChainVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(presented) = &self.presented {
            presented.note(end_entity);
        }
        self.verify(Side::Client, end_entity, intermediates, now)?;
        self.admit(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}
