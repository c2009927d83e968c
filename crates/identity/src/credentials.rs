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
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::checks::{self, Checked, Window};
use crate::error::{CredentialsError, CredentialsInput, LoadCredentialsError};
use crate::expected::ExpectedPeer;
use crate::file_contents::Contents;
use crate::peer::{self, PeerRefused};
use crate::peer_check::PeerCheck;
use crate::pem;
use crate::presented::Presented;
use crate::revocation_list::Authorities;
use crate::revocations::Revocations;
use crate::spiffe::SpiffeId;
use crate::verifier::{ChainVerifier, Side};

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
/// renewed certificate, load again; connections that are open keep what they began with. A
/// [`CredentialSource`](crate::CredentialSource) tells who uses them that there are others. What they know of
/// revoked certificates is no part of them but shared: see [`Revocations`]. Cloning is a handful of reference counts.
#[derive(Clone)]
pub struct Credentials {
    spiffe_id: SpiffeId,
    window: Window,
    certified: Arc<CertifiedKey>,
    /// The trust bundle, then the intermediates of our own chain: who may sign revocation lists.
    authorities: Arc<[CertificateDer<'static>]>,
    verifier: ChainVerifier,
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
        let CertificateFiles { certificate, key, trust_bundle } = files;
        Contents::read(&[certificate.clone(), key.clone(), trust_bundle.clone()]).credentials(files, now)
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
        let bundle = certificates(trust_bundle, CredentialsInput::TrustBundle)?;
        let authorities = bundle.iter().chain(chain.iter().skip(1)).cloned().collect();
        let roots = Arc::new(anchors(bundle)?);
        let provider = provider();
        let certified = Arc::new(certified_key(chain, key, &provider)?);
        let verifier = ChainVerifier::new(roots, &provider, Revocations::default());
        let Checked { spiffe_id, window } = checks::check(&certified, &verifier, now)?;
        Ok(Self::assemble(spiffe_id, window, certified, authorities, verifier))
    }

    fn assemble(
        spiffe_id: SpiffeId,
        window: Window,
        certified: Arc<CertifiedKey>,
        authorities: Arc<[CertificateDer<'static>]>,
        verifier: ChainVerifier,
    ) -> Self {
        let client = Arc::new(client_base(verifier.clone(), Arc::clone(&certified)));
        let server = Arc::new(server_base(verifier.clone(), Arc::clone(&certified)));
        Self { spiffe_id, window, certified, authorities, verifier, client, server }
    }

    /// Returns the same credentials, which check peers against `revocations` instead of a set of their own.
    #[must_use]
    pub fn with_revocations(&self, revocations: &Revocations) -> Self {
        let Self { spiffe_id, window, certified, authorities, verifier, .. } = self.clone();
        Self::assemble(spiffe_id, window, certified, authorities, verifier.with_revocations(revocations.clone()))
    }

    /// Returns the same credentials, which also ask `rule` about each peer.
    #[must_use]
    pub fn with_check(&self, rule: Arc<dyn PeerCheck>) -> Self {
        let Self { spiffe_id, window, certified, authorities, verifier, .. } = self.clone();
        Self::assemble(spiffe_id, window, certified, authorities, verifier.with_rule(rule))
    }

    /// Returns the rule that is asked about each peer, if there is one.
    #[must_use]
    pub const fn check(&self) -> Option<&Arc<dyn PeerCheck>> {
        self.verifier.rule()
    }

    /// Returns the lists of revoked certificates that peers are checked against.
    #[must_use]
    pub const fn revocations(&self) -> &Revocations {
        self.verifier.revocations()
    }

    /// Returns who may sign revocation lists.
    pub(crate) fn authorities(&self) -> Authorities<'_> {
        Authorities { certificates: &self.authorities, algorithms: self.verifier.algorithms() }
    }

    /// Returns whether our own certificate, or one of those it comes with, has been revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        let checked = self.revocations().check(self.certified.cert.iter(), checks::unix(SystemTime::UNIX_EPOCH));
        checked == Err(rustls::CertificateError::Revoked)
    }

    /// Returns whether both show the same certificate.
    #[must_use]
    pub fn shows_same_certificate(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }

    /// Returns the serial number of our certificate in hexadecimal, as the CA's records have it.
    #[must_use]
    pub fn serial(&self) -> String {
        self.certified.cert.first().map(peer::serial_of).unwrap_or_default()
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

    /// Returns [`Credentials::client_config`] for a connection to `expected`, which also sends the name of a server that is
    /// expected by its DNS name. Call [`Credentials::verify_expected`] before any data flows.
    #[must_use]
    pub fn client_config_for(&self, expected: &ExpectedPeer, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.client);
        config.alpn_protocols = owned(alpn);
        config.enable_sni = matches!(expected, ExpectedPeer::Dns(_));
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

    /// Returns [`Credentials::server_config`] for one connection, which notes in `presented` whom the client claims to be,
    /// even if it is refused.
    #[must_use]
    pub fn server_config_noting(&self, alpn: &[&[u8]], presented: &Presented) -> Arc<ServerConfig> {
        let mut config = server_base(self.verifier.noting(presented.clone()), Arc::clone(&self.certified));
        config.alpn_protocols = owned(alpn);
        Arc::new(config)
    }

    /// Returns [`Credentials::server_config_noting`] that also refuses whom [`Credentials::verify_peer`] refuses, in the handshake:
    /// the client reads the alert `access_denied`, whichever protocol it speaks, and [`Presented::refused`] has the reason.
    #[must_use]
    pub fn server_config_admitting(&self, alpn: &[&[u8]], presented: &Presented) -> Arc<ServerConfig> {
        let verifier = self.verifier.admitting(self.spiffe_id.clone(), presented.clone());
        let mut config = server_base(verifier, Arc::clone(&self.certified));
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
        self.verifier.verify_peer(&self.spiffe_id, chain)
    }

    /// Returns who the peer is, if it is the one that was dialled; `None` if that was a DNS name and the certificate names no
    /// node. `chain` is as in [`Credentials::verify_peer`].
    ///
    /// # Errors
    /// Why the peer is refused.
    pub fn verify_expected(
        &self,
        expected: &ExpectedPeer,
        chain: &[CertificateDer<'_>],
    ) -> Result<Option<SpiffeId>, PeerRefused> {
        let id = expected.verify(&self.spiffe_id, chain)?;
        peer::check(self.check().map(Arc::as_ref), id.as_ref(), chain)?;
        Ok(id)
    }

    /// Checks a server again that was dialled as `expected` and whose connection is open, as [`Credentials::recheck`] does.
    ///
    /// # Errors
    /// Why the connection must not go on.
    pub fn recheck_expected(
        &self,
        expected: &ExpectedPeer,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), PeerRefused> {
        let (leaf, intermediates) = chain.split_first().ok_or(PeerRefused::NoCertificate)?;
        let checked = self.verifier.verify(Side::Server, leaf, intermediates, checks::unix(now));
        checked.map_err(|source| PeerRefused::Certificate { source })?;
        self.verify_expected(expected, chain).map(|_id| ())
    }

    /// Checks a peer again whose connection is open: whether a handshake now would succeed.
    ///
    /// TLS looks at certificates once. Call this when the credentials or their revocations have changed, and when the
    /// peer's certificate runs out ([`Credentials::peer_not_after`]). `side` is the peer's.
    ///
    /// # Errors
    /// Why the connection must not go on.
    pub fn recheck(&self, side: Side, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<SpiffeId, PeerRefused> {
        let (leaf, intermediates) = chain.split_first().ok_or(PeerRefused::NoCertificate)?;
        let checked = self.verifier.verify(side, leaf, intermediates, checks::unix(now));
        checked.map_err(|source| PeerRefused::Certificate { source })?;
        self.verify_peer(chain)
    }

    /// Checks again whether a peer whose connection is open has been revoked: all there is to ask when only the lists have
    /// changed, and a small part of what [`Credentials::recheck`] costs, which verifies signatures.
    ///
    /// # Errors
    /// Why the connection must not go on.
    pub fn recheck_revocation(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<(), PeerRefused> {
        let checked = self.revocations().check(chain, checks::unix(now));
        checked.map_err(|source| PeerRefused::Certificate { source: source.into() })
    }

    /// Returns the last moment at which the certificate of a peer is valid; `None` if that cannot be read.
    #[must_use]
    pub fn peer_not_after(&self, chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
        let leaf = chain.first()?;
        let window = checks::window(|time| self.verifier.verify_chain(Side::Server, leaf, &[], time));
        Some(window.ok()?.not_after)
    }

    pub(crate) const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    pub(crate) const fn verifier(&self) -> &ChainVerifier {
        &self.verifier
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
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(Credentials::MAX_INPUT_BYTES).map_err(io::Error::other)?;
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn path_of(files: &CertificateFiles, input: CredentialsInput) -> &Path {
    match input {
        CredentialsInput::Key => &files.key,
        CredentialsInput::TrustBundle => &files.trust_bundle,
        // Lists have a file of their own, which no fault in these three names.
        CredentialsInput::Certificate | CredentialsInput::RevocationLists => &files.certificate,
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

fn anchors(bundle: Vec<CertificateDer<'static>>) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in bundle.into_iter().enumerate() {
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

fn client_base(verifier: ChainVerifier, certified: Arc<CertifiedKey>) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
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

fn server_base(verifier: ChainVerifier, certified: Arc<CertifiedKey>) -> ServerConfig {
    server_config(Arc::new(verifier), Arc::new(SingleCertAndKey::from(certified)))
}

/// Makes the one kind of server configuration there is.
pub(crate) fn server_config(
    verifier: Arc<dyn ClientCertVerifier>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    // See `client_base`: no resumption, so neither sessions nor tickets.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

pub(crate) fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}
