//! A server configuration that follows its credentials.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use crate::credentials::{owned, server_config};
use crate::source::CredentialSource;

/// Returns a configuration as [`Credentials::server_config`](crate::Credentials::server_config) does, which takes certificate and trust
/// bundle anew from `source` for each handshake: for a listener that has one configuration for its life.
#[must_use]
pub fn live_server_config(source: Arc<dyn CredentialSource>, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let live = Arc::new(Live { source });
    let mut config = server_config(Arc::clone(&live) as _, live);
    config.alpn_protocols = owned(alpn);
    Arc::new(config)
}

#[derive(Debug)]
struct Live {
    source: Arc<dyn CredentialSource>,
}

impl ResolvesServerCert for Live {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.source.current().certified()))
    }
}

impl ClientCertVerifier for Live {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // As everywhere: each node has one certificate to show.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.source.current().verifier().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls12_signature(self.source.current().verifier(), message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls13_signature(self.source.current().verifier(), message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(self.source.current().verifier())
    }
}
