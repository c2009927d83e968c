//! Nodes of a small mesh, and a wire between two of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstrap::{DevCa, Issued, Validity};
use identity::{Credentials, RefusalReason, SpiffeId, refusal_reason};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

pub(crate) const DOMAIN: &str = "mesh.example";
pub(crate) const ALPN: &[&[u8]] = &[b"mesh/1"];

/// The first moment of `year`, give or take some days.
pub(crate) fn year(year: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952)
}

/// The moment the tests load credentials at, unless they say otherwise.
pub(crate) fn now() -> SystemTime {
    year(2025)
}

/// From 2020 to 2120.
pub(crate) fn a_century() -> Validity {
    Validity { not_before: year(2020), not_after: year(2120) }
}

pub(crate) fn ca() -> DevCa {
    DevCa::generate(DOMAIN, a_century()).expect("a CA")
}

pub(crate) fn id(cluster: &str, node: &str) -> SpiffeId {
    format!("spiffe://{DOMAIN}/cluster/{cluster}/role/worker/node/{node}").parse().expect("a SPIFFE ID")
}

/// Credentials of `node` in cluster `alpha`, which trust their own CA.
pub(crate) fn node(ca: &DevCa, node: &str) -> Credentials {
    member(ca, &id("alpha", node), &ca.trust_bundle_pem())
}

/// Credentials of `id`, which trust the CAs in `bundle`.
pub(crate) fn member(ca: &DevCa, id: &SpiffeId, bundle: &str) -> Credentials {
    member_in(ca, id, bundle, a_century(), now())
}

/// Credentials of `id`, issued for `validity` and loaded at `loaded_at`.
pub(crate) fn member_in(
    ca: &DevCa,
    id: &SpiffeId,
    bundle: &str,
    validity: Validity,
    loaded_at: SystemTime,
) -> Credentials {
    let issued = ca.issue(id, validity).expect("a certificate");
    let (certificate, key) = (issued.certificate_pem().as_bytes(), issued.key_pem().as_bytes());
    Credentials::from_pem(certificate, key, bundle.as_bytes(), loaded_at).expect("credentials")
}

/// One end of a connection, and the error that ended it.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) error: Option<rustls::Error>,
}

impl End {
    pub(crate) fn reason(&self) -> Option<RefusalReason> {
        self.error.as_ref().map(refusal_reason)
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// How many tickets this end was given to resume with, if it is a client.
    pub(crate) fn tickets(&self) -> Option<u32> {
        match &self.connection {
            Connection::Client(client) => Some(client.tls13_tickets_received()),
            Connection::Server(_) => None,
        }
    }

    /// Hands all that this end has to say to the other; says whether that was anything.
    fn say(&mut self, other: &mut Self) -> bool {
        let mut wire = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut wire).expect("memory takes all");
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() && other.error.is_none() {
            other.connection.read_tls(&mut rest).expect("memory can be read");
            other.error = other.connection.process_new_packets().err();
        }
        !wire.is_empty()
    }
}

/// Lets both ends talk until neither has more to say.
pub(crate) fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (End, End) {
    let name = ServerName::try_from("nobody.checks.this").expect("a name");
    let client = ClientConnection::new(client, name).expect("a client");
    let server = ServerConnection::new(server).expect("a server");
    let mut client = End { connection: client.into(), error: None };
    let mut server = End { connection: server.into(), error: None };
    // bitwise, so that both speak in each round
    while client.say(&mut server) | server.say(&mut client) {}
    (client, server)
}

pub(crate) fn connect_nodes(client: &Credentials, server: &Credentials) -> (End, End) {
    connect(client.client_config(ALPN), server.server_config(ALPN))
}

/// A CA that issues what `DevCa` never would.
pub(crate) struct LooseCa {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) bundle: String,
}

/// A certificate with its key, in PEM.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl From<&Issued> for Leaf {
    fn from(issued: &Issued) -> Self {
        Self { certificate: issued.certificate_pem().to_owned(), key: issued.key_pem().to_owned() }
    }
}

impl LooseCa {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "loose CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let bundle = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), bundle }
    }

    /// A leaf with these URIs, for servers and clients.
    pub(crate) fn with_uris(&self, uris: &[&str]) -> Leaf {
        self.leaf(uris, &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth])
    }

    pub(crate) fn leaf(&self, uris: &[&str], usages: &[ExtendedKeyUsagePurpose]) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(uris, usages).signed_by(&key, &self.issuer).expect("a certificate").pem();
        Leaf { certificate, key: key.serialize_pem() }
    }

    /// A leaf with these DNS names, for servers.
    pub(crate) fn with_dns_names(&self, names: &[&str]) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(&[], &[ExtendedKeyUsagePurpose::ServerAuth]);
        let name = |name: &&str| SanType::DnsName((*name).try_into().expect("ASCII"));
        params.subject_alt_names = names.iter().map(name).collect();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Leaf { certificate, key: key.serialize_pem() }
    }

    /// A leaf for the first URIs, and one for the others that is signed with the key of the first.
    pub(crate) fn signed_by_a_leaf(&self, first: &[&str], second: &[&str]) -> Leaf {
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (first_key, second_key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let first = params(first, &usages);
        let first_pem = first.signed_by(&first_key, &self.issuer).expect("a certificate").pem();
        let issuer = Issuer::new(first, first_key);
        let second_pem = params(second, &usages).signed_by(&second_key, &issuer).expect("a certificate").pem();
        Leaf { certificate: format!("{second_pem}{first_pem}"), key: second_key.serialize_pem() }
    }

    pub(crate) fn credentials(&self, leaf: &Leaf) -> Result<Credentials, identity::CredentialsError> {
        Credentials::from_pem(leaf.certificate.as_bytes(), leaf.key.as_bytes(), self.bundle.as_bytes(), now())
    }
}

fn params(uris: &[&str], usages: &[ExtendedKeyUsagePurpose]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("leaf of {uris:?}"));
    let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("ASCII"));
    params.subject_alt_names = uris.iter().map(uri).collect();
    params.extended_key_usages = usages.to_vec();
    params
}

/// The certificate and key as rustls takes them, unchecked.
pub(crate) fn unchecked(leaf: &Leaf) -> Arc<SingleCertAndKey> {
    let chain = CertificateDer::pem_slice_iter(leaf.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("a key");
    let key = default_provider().key_provider.load_private_key(key).expect("a key for signing");
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain.expect("a chain"), key)))
}

/// `config`, but showing `leaf`.
pub(crate) fn showing(config: &ClientConfig, leaf: &Leaf) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.client_auth_cert_resolver = unchecked(leaf);
    Arc::new(config)
}
