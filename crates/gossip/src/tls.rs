//! What links are begun with: the configurations of one set of credentials.

use std::io;
use std::sync::Arc;

use identity::{Credentials, Presented};
use mesh_proto::GOSSIP_ALPN;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, ServerConfig, TransportConfig};

/// The configurations that links are begun with, from one change of the credentials to the next.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) credentials: Arc<Credentials>,
    /// How many certificates this node has shown before, in this life.
    pub(crate) generation: u64,
    server: ServerConfig,
    client: ClientConfig,
    transport: Arc<TransportConfig>,
}

impl Tls {
    pub(crate) fn new(credentials: Arc<Credentials>, transport: Arc<TransportConfig>) -> io::Result<Self> {
        let mut server = ServerConfig::with_crypto(server_crypto(credentials.server_config(&[GOSSIP_ALPN]))?);
        server.transport_config(Arc::clone(&transport));
        let client = client(&credentials, &transport)?;
        Ok(Self { credentials, generation: 0, server, client, transport })
    }

    /// Returns the configurations for new credentials. Another certificate begins another generation.
    pub(crate) fn renewed(&self, credentials: Arc<Credentials>) -> io::Result<Self> {
        let is_same = credentials.shows_same_certificate(&self.credentials);
        let generation = if is_same { self.generation } else { self.generation + 1 };
        // The rest stays, the key of address tokens included: those that are under way stay good.
        let mut server = self.server.clone();
        server.crypto = server_crypto(credentials.server_config(&[GOSSIP_ALPN]))?;
        let client = client(&credentials, &self.transport)?;
        Ok(Self { credentials, generation, server, client, transport: Arc::clone(&self.transport) })
    }

    /// Returns what the endpoint listens with. Each connection is accepted with [`Tls::accepting`].
    pub(crate) fn listening(&self) -> ServerConfig {
        self.server.clone()
    }

    /// Returns what one connection is accepted with, and a note of whom the other side claims to be.
    pub(crate) fn accepting(&self) -> io::Result<(Arc<ServerConfig>, Presented)> {
        let presented = Presented::default();
        let mut server = self.server.clone();
        server.crypto = server_crypto(self.credentials.server_config_noting(&[GOSSIP_ALPN], &presented))?;
        Ok((Arc::new(server), presented))
    }

    /// Returns what one connection is dialled with.
    pub(crate) fn dialling(&self) -> ClientConfig {
        self.client.clone()
    }
}

fn server_crypto(config: Arc<rustls::ServerConfig>) -> io::Result<Arc<QuicServerConfig>> {
    Ok(Arc::new(QuicServerConfig::try_from(config).map_err(no_suite)?))
}

fn client(credentials: &Credentials, transport: &Arc<TransportConfig>) -> io::Result<ClientConfig> {
    let crypto = QuicClientConfig::try_from(credentials.client_config(&[GOSSIP_ALPN])).map_err(no_suite)?;
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(Arc::clone(transport));
    Ok(client)
}

/// TLS 1.3 always has the suite that QUIC starts with.
fn no_suite(error: NoInitialCipherSuite) -> io::Error {
    io::Error::other(error)
}
