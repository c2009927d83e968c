//! A member that speaks QUIC and encodes its own messages, and that others can dial.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use identity::Credentials;
use mesh_proto::gossip as proto;
use mesh_proto::{GOSSIP_ALPN, MAX_HELLO_BYTES, Message as _};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};

use crate::Failure;
use crate::raw::{hello, tls};

/// A member of the test's making.
pub(crate) struct RawPeer {
    name: String,
    endpoint: Endpoint,
    credentials: Arc<Credentials>,
}

/// Somebody who has dialled a [`RawPeer`] and said hello.
pub(crate) struct Caller {
    pub(crate) connection: Connection,
    pub(crate) hello: Vec<u8>,
    answer: SendStream,
}

impl RawPeer {
    /// Listens as the node that `credentials` name.
    pub(crate) fn listen(credentials: Arc<Credentials>) -> Result<Self, Failure> {
        let crypto = QuicServerConfig::try_from(credentials.server_config(&[GOSSIP_ALPN]))?;
        let config = ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let name = credentials.spiffe_id().node().to_string();
        Ok(Self { name, endpoint, credentials })
    }

    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.endpoint.local_addr()?)
    }

    /// Returns what this member says of itself.
    pub(crate) fn hello(&self) -> Result<proto::Hello, Failure> {
        let mut hello = hello(&self.name);
        let own = hello.own.as_mut().ok_or("a hello has an entry")?;
        let mut record = proto::NodeRecord::decode(own.record.clone())?;
        record.endpoint = self.address()?.to_string();
        own.record = record.encode_to_vec().into();
        Ok(hello)
    }

    /// Dials `node` and is let in.
    pub(crate) async fn dial(&self, node: SocketAddr) -> Result<Connection, Failure> {
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls(&self.credentials))?));
        let connection = self.endpoint.connect_with(config, node, "unused")?.await?;
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(&self.hello()?.encode_to_vec()).await?;
        send.finish()?;
        proto::HelloAck::decode(receive.read_to_end(MAX_HELLO_BYTES).await?.as_slice())?;
        Ok(connection)
    }

    /// Waits for the next to dial, up to its hello.
    pub(crate) async fn called(&self) -> Result<Caller, Failure> {
        let connection = self.endpoint.accept().await.ok_or("the endpoint is open")?.await?;
        let (answer, mut receive) = connection.accept_bi().await?;
        let hello = receive.read_to_end(MAX_HELLO_BYTES).await?;
        Ok(Caller { connection, hello, answer })
    }
}

impl Caller {
    /// Answers the hello as a good member would, but for the protocol number.
    pub(crate) async fn answer(&mut self, peer: &RawPeer, protocol: u32) -> Result<(), Failure> {
        let ack = proto::HelloAck { protocol, own: peer.hello()?.own, ..proto::HelloAck::default() };
        self.answer.write_all(&ack.encode_to_vec()).await?;
        Ok(self.answer.finish()?)
    }
}

/// Waits for a question about revocation lists, which are all that is asked on a stream after the hello.
pub(crate) async fn asked(connection: &Connection) -> Result<(SendStream, proto::RevocationsHeld), Failure> {
    let (answer, mut question): (SendStream, RecvStream) = connection.accept_bi().await?;
    let held = question.read_to_end(MAX_HELLO_BYTES).await?;
    Ok((answer, proto::RevocationsHeld::decode(held.as_slice())?))
}
