//! Certificates and keys: as files, and as others show them in a handshake.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bootstrap::{DevCa, Issued, Validity};
use identity::{Credentials, Side};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// When all this happens.
const NOW: Duration = Duration::from_secs(1_800_000_000);

/// A CA and a node of it.
#[derive(Debug)]
pub(crate) struct Certified {
    bundle: String,
    own: Issued,
    credentials: Credentials,
}

impl Certified {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let validity = Validity::starting(now(), Duration::from_secs(24 * 3600));
        let ca = DevCa::generate("mesh.example", validity)?;
        let own = ca.issue(&"spiffe://mesh.example/cluster/a/role/worker/node/n".parse()?, validity)?;
        let bundle = ca.trust_bundle_pem();
        let credentials = read(own.certificate_pem().as_bytes(), own.key_pem().as_bytes(), bundle.as_bytes());
        Ok(Self { bundle, own, credentials: credentials.context("the target's certificate")? })
    }

    /// Returns the files of the node.
    pub(crate) fn files(&self) -> Vec<Vec<u8>> {
        [self.own.certificate_pem(), self.own.key_pem(), &self.bundle].map(|file| file.as_bytes().to_vec()).to_vec()
    }

    /// Returns the certificates of the node and of its CA, as they go over the wire.
    pub(crate) fn certificates(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).context("a certificate to start from");
        Ok(vec![der(self.own.certificate_pem())?.to_vec()])
    }

    /// Takes `data` for each of the three files, the others being as they should, and says what became of it.
    pub(crate) fn take_file(&self, data: &[u8]) -> &'static str {
        let (certificate, key) = (self.own.certificate_pem().as_bytes(), self.own.key_pem().as_bytes());
        let bundle = self.bundle.as_bytes();
        if read(data, key, bundle).is_ok() {
            "accepted, certificate"
        } else if read(certificate, data, bundle).is_ok() {
            "accepted, key"
        } else if read(certificate, key, data).is_ok() {
            "accepted, trust bundle"
        } else {
            "refused"
        }
    }

    /// Takes `data` for what another node shows, alone and with the CA's certificate, and says what became of it.
    pub(crate) fn take_shown(&self, data: &[u8]) -> &'static str {
        let chain = [CertificateDer::from(data), CertificateDer::from(data)];
        let named = self.credentials.verify_peer(&chain[..1]);
        let checks = [(Side::Client, &chain[..1]), (Side::Server, &chain[..])];
        let is_authentic = checks.map(|(side, shown)| self.credentials.recheck(side, shown, now()).is_ok());
        // What is read of it before anything is verified.
        let expires = self.credentials.peer_not_after(&chain);
        match named {
            Ok(_) if is_authentic[0] => "accepted, authentic",
            Ok(_) if expires.is_some() => "accepted, by name",
            Ok(_) => "named, without an end",
            Err(refused) => refused.reason().as_str(),
        }
    }
}

fn read(certificate: &[u8], key: &[u8], bundle: &[u8]) -> Result<Credentials, identity::CredentialsError> {
    Credentials::from_pem(certificate, key, bundle, now())
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}
