//! A node's certificate, key and trust bundle, ready for both sides of a connection.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::checks::{self, Checked, Window};
use crate::error::{CredentialsError, CredentialsInput, LoadCredentialsError};
use crate::peer::{self, PeerRefused};
use crate::pem;
use crate::spiffe::SpiffeId;
use crate::verifier::ServerChainVerifier;

/// Where a node's credentials lie, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The node's certificate, followed by intermediates if there are any.
    pub certificate: PathBuf,
    /// The certificate's private key (PKCS#8, PKCS#1 or SEC1, not encrypted).
    pub key: PathBuf,
    /// The certificates of the CAs that vouch for peers, our own among them.
    pub trust_bundle: PathBuf,
}

/// A node's certificate, key and trust bundle: parsed, checked and immutable.
///
/// Credentials that exist were good at the time they were loaded: the key is the certificate's, the chain
/// leads to the trust bundle for clients and for servers, the certificate names one node. To take up a
/// renewed certificate, load again; connections that are open keep what they began with. Cloning is a
/// handful of reference counts.
#[derive(Clone)]
pub struct Credentials {
    spiffe_id: SpiffeId,
    window: Window,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Credentials {
    /// Most bytes a file may have: 1 MiB.
    pub const MAX_INPUT_BYTES: usize = 1024 * 1024;

    /// Loads and checks credentials as of `now`. Blocks on the file system.
    ///
    /// # Errors
    /// The first fault, and the file it was found in.
    pub fn load(files: &CertificateFiles, now: SystemTime) -> Result<Self, LoadCredentialsError> {
        let read = |input| {
            let path = path_of(files, input);
            read_bounded(path).map_err(|source| LoadCredentialsError::Read { input, path: path.to_owned(), source })
        };
        let certificate = read(CredentialsInput::Certificate)?;
        let key = read(CredentialsInput::Key)?;
        let trust_bundle = read(CredentialsInput::TrustBundle)?;
        Self::from_pem(&certificate, &key, &trust_bundle, now).map_err(|source| {
            let input = source.input();
            LoadCredentialsError::Unusable { input, path: path_of(files, input).to_owned(), source }
        })
    }

    /// Parses and checks credentials as of `now`; each part is PEM of at most 1 MiB.
    ///
    /// # Errors
    /// The first fault; [`CredentialsError::input`] says in which part.
    pub fn from_pem(
        certificate: &[u8],
        key: &[u8],
        trust_bundle: &[u8],
        now: SystemTime,
    ) -> Result<Self, CredentialsError> {
        let chain = certificates(certificate, CredentialsInput::Certificate)?;
        let roots = Arc::new(anchors(trust_bundle)?);
        let provider = provider();
        let certified = Arc::new(certified_key(chain, key, &provider)?);

        let algorithms = provider.signature_verification_algorithms;
        let server_verifier = ServerChainVerifier { roots: Arc::clone(&roots), algorithms };
        let client_verifier = client_verifier(roots, Arc::clone(&provider));
        let Checked { spiffe_id, window } = checks::check(&certified, &server_verifier, client_verifier.as_ref(), now)?;

        let client = client_base(server_verifier, Arc::clone(&certified), Arc::clone(&provider));
        let server = server_base(client_verifier, certified, provider);
        Ok(Self { spiffe_id, window, client: Arc::new(client), server: Arc::new(server) })
    }

    /// Returns who we are, as our certificate says.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// Returns the first moment our certificate is valid at.
    #[must_use]
    pub const fn not_before(&self) -> SystemTime {
        self.window.not_before
    }

    /// Returns the last moment our certificate is valid at.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.window.not_after
    }

    /// Returns a configuration for connections we open, which offers the protocols `alpn`, best first.
    ///
    /// It shows our certificate, speaks TLS 1.3 only and never resumes. It checks that the server's chain
    /// leads to the trust bundle, but no name: call [`Credentials::verify_peer`] before any data flows.
    /// The server name that rustls and quinn ask for is neither checked nor sent.
    #[must_use]
    pub fn client_config(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.client);
        config.alpn_protocols = owned(alpn);
        Arc::new(config)
    }

    /// Returns a configuration for connections we accept, which speaks the protocols `alpn`, best first.
    ///
    /// It demands a client certificate whose chain leads to the trust bundle, speaks TLS 1.3 only and issues
    /// no tickets. Call [`Credentials::verify_peer`] before any data flows.
    #[must_use]
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.server);
        config.alpn_protocols = owned(alpn);
        Arc::new(config)
    }

    /// Returns who the peer is, if it is of our trust domain and our cluster.
    ///
    /// `chain` is what the peer showed in a handshake made with our configurations, leaf first: that
    /// handshake has checked signatures and dates, this reads the one URI of the leaf.
    ///
    /// # Errors
    /// Why the peer is refused; [`PeerRefused::reason`] has it as a word for metrics.
    pub fn verify_peer(&self, chain: &[CertificateDer<'_>]) -> Result<SpiffeId, PeerRefused> {
        peer::verify(&self.spiffe_id, chain)
    }
}

impl fmt::Debug for Credentials {
    /// Says who and until when, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spiffe_id, window, .. } = self;
        f.debug_struct("Credentials").field("spiffe_id", spiffe_id).field("window", window).finish_non_exhaustive()
    }
}

/// The one crypto provider of the mesh. Never the process default, which another crate could set.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads one byte past the limit at most, for `from_pem` to refuse.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(Credentials::MAX_INPUT_BYTES).map_err(io::Error::other)?;
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn path_of(files: &CertificateFiles, input: CredentialsInput) -> &Path {
    match input {
        CredentialsInput::Certificate => &files.certificate,
        CredentialsInput::Key => &files.key,
        CredentialsInput::TrustBundle => &files.trust_bundle,
    }
}

fn bounded(bytes: &[u8], input: CredentialsInput) -> Result<&[u8], CredentialsError> {
    let limit = Credentials::MAX_INPUT_BYTES;
    if bytes.len() > limit { Err(CredentialsError::TooLarge { input, limit }) } else { Ok(bytes) }
}

fn certificates(bytes: &[u8], input: CredentialsInput) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let found = pem::certificates(bounded(bytes, input)?).map_err(|source| CredentialsError::Pem { input, source })?;
    if found.is_empty() { Err(CredentialsError::NoCertificate { input }) } else { Ok(found) }
}

fn anchors(bytes: &[u8]) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(bytes, CredentialsInput::TrustBundle)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|source| CredentialsError::BadAnchor { position: index + 1, source })?;
    }
    Ok(roots)
}

fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    bytes: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CredentialsError> {
    let input = CredentialsInput::Key;
    let mut keys =
        pem::private_keys(bounded(bytes, input)?).map_err(|source| CredentialsError::Pem { input, source })?;
    let key = keys.pop().ok_or(CredentialsError::NoKey)?;
    if !keys.is_empty() {
        return Err(CredentialsError::SeveralKeys { count: keys.len() + 1 });
    }
    let key = provider.key_provider.load_private_key(key).map_err(|source| CredentialsError::BadKey { source })?;
    Ok(CertifiedKey::new(chain, key))
}

/// Demands a certificate, and sends no list of CAs: each node has one certificate to show.
fn client_verifier(roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Arc<dyn ClientCertVerifier> {
    WebPkiClientVerifier::builder_with_provider(roots, provider)
        .clear_root_hint_subjects()
        .build()
        .expect("there is a trust anchor, and no revocation list that could be malformed")
}

fn client_base(
    verifier: ServerChainVerifier,
    certified: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // A resumed session skips the certificates: a revoked or renewed one would go unseen.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config
}

fn server_base(
    verifier: Arc<dyn ClientCertVerifier>,
    certified: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // See `client_base`: no resumption, so neither sessions nor tickets.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}
