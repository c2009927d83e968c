//! A client that speaks QUIC and encodes its own messages, so that it can do what a node would not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use identity::Credentials;
use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body;
use mesh_proto::{GOSSIP_ALPN, GOSSIP_PROTOCOL_MAX, GOSSIP_PROTOCOL_MIN, MAX_HELLO_BYTES, Message as _};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use crate::Failure;

/// A connection of the raw client, with the endpoint that carries it.
pub(crate) struct Raw {
    _endpoint: Endpoint,
    pub(crate) connection: Connection,
}

impl Raw {
    /// Connects to `node` as `credentials` has it.
    pub(crate) async fn connect(node: SocketAddr, credentials: &Credentials) -> Result<Self, Failure> {
        Self::connect_with(node, tls(credentials)).await
    }

    /// Connects with a TLS configuration that a node would not use.
    pub(crate) async fn connect_with(node: SocketAddr, tls: rustls::ClientConfig) -> Result<Self, Failure> {
        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        let connection = endpoint.connect_with(config, node, "unused")?.await?;
        Ok(Self { _endpoint: endpoint, connection })
    }

    /// Sends `hello` as it is, and returns the answer.
    pub(crate) async fn say(&self, hello: &[u8]) -> Result<Vec<u8>, Failure> {
        let (mut send, mut receive) = self.connection.open_bi().await?;
        // A node that has read enough stops reading: what it says then is worth more than the broken pipe.
        let written = async {
            send.write_all(hello).await?;
            send.finish()?;
            Ok::<_, Failure>(())
        };
        let (written, answer) = tokio::join!(written, receive.read_to_end(MAX_HELLO_BYTES));
        let answer = answer?;
        written?;
        Ok(answer)
    }

    /// Connects as a good node called `name` and is let in.
    pub(crate) async fn let_in(node: SocketAddr, credentials: &Credentials) -> Result<Self, Failure> {
        let raw = Self::connect(node, credentials).await?;
        let answer = raw.say(&hello(credentials.spiffe_id().node().as_str()).encode_to_vec()).await?;
        proto::HelloAck::decode(answer.as_slice())?;
        Ok(raw)
    }

    /// Sends one message on a stream of its own.
    pub(crate) async fn send_stream(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stream = self.connection.open_uni().await?;
        stream.write_all(bytes).await?;
        stream.finish()?;
        Ok(())
    }
}

/// Returns the TLS configuration of a good node.
pub(crate) fn tls(credentials: &Credentials) -> rustls::ClientConfig {
    rustls::ClientConfig::clone(&credentials.client_config(&[GOSSIP_ALPN]))
}

/// Returns `tls` so that it shows no certificate.
pub(crate) fn without_certificate(mut tls: rustls::ClientConfig) -> rustls::ClientConfig {
    tls.client_auth_cert_resolver = Arc::new(Nothing);
    tls
}

#[derive(Debug)]
struct Nothing;

impl ResolvesClientCert for Nothing {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Returns the hello of a good node of cluster `test`.
pub(crate) fn hello(node: &str) -> proto::Hello {
    let record = proto::NodeRecord {
        schema: 1,
        role: "worker".to_owned(),
        cluster: "test".to_owned(),
        region: "local".to_owned(),
        mesh_version: "0.0.1".to_owned(),
        // Nobody listens there.
        endpoint: "127.0.0.1:9".to_owned(),
        ..proto::NodeRecord::default()
    };
    proto::Hello {
        protocol_min: GOSSIP_PROTOCOL_MIN,
        protocol_max: GOSSIP_PROTOCOL_MAX,
        cluster: "test".to_owned(),
        own: Some(proto::Update {
            node: node.to_owned(),
            boot_epoch: 1,
            state: proto::State::Alive.into(),
            metadata_version: 1,
            record: record.encode_to_vec().into(),
            ..proto::Update::default()
        }),
        features: 0,
    }
}

/// Returns a probe that says it comes from `sender`.
pub(crate) fn probe(sender: &str) -> Vec<u8> {
    let body = Body::Probe(proto::Probe { sequence: 7, digest: 0, updates: Vec::new(), ..proto::Probe::default() });
    proto::Envelope { sender: sender.to_owned(), body: Some(body) }.encode_to_vec()
}
