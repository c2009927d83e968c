//! The QUIC endpoint: one UDP socket, both directions, mutual TLS only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::Credentials;
use mesh_proto::GOSSIP_ALPN;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

/// Receive buffer asked of the system, in bytes: what arrives while a busy process waits for its turn.
const RECEIVE_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of datagrams a link keeps for sending; beyond it the oldest are dropped.
const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;

/// Streams the other side may have open at a time: syncs, and messages over the datagram limit.
const STREAMS: u32 = 64;

/// Binds the socket and makes the endpoint; must run inside a tokio runtime.
pub(crate) fn bind(address: SocketAddr, credentials: &Credentials, idle: Duration) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let transport = Arc::new(transport(idle));
    let accepting = QuicServerConfig::try_from(credentials.server_config(&[GOSSIP_ALPN])).map_err(no_suite)?;
    let mut server = ServerConfig::with_crypto(Arc::new(accepting));
    server.transport_config(Arc::clone(&transport));
    let dialling = QuicClientConfig::try_from(credentials.client_config(&[GOSSIP_ALPN])).map_err(no_suite)?;
    let mut client = ClientConfig::new(Arc::new(dialling));
    client.transport_config(transport);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket.into(), Arc::new(TokioRuntime))?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

/// TLS 1.3 always has the suite that QUIC starts with.
fn no_suite(error: NoInitialCipherSuite) -> io::Error {
    io::Error::other(error)
}

fn transport(idle: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle_ms = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
    config
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        // Peers are near: a lost first packet is sent again after 3 × this.
        .initial_rtt(Duration::from_millis(100))
        // Datagrams are made to fit the least MTU, so searching for a larger one would only cost packets.
        .mtu_discovery_config(None)
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES));
    config
}
