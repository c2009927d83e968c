//! The QUIC endpoint: one UDP socket, both directions, mutual TLS only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::Tls;

/// Receive buffer asked of the system, in bytes: what arrives while a busy process waits for its turn.
const RECEIVE_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of datagrams a link keeps for sending; beyond it the oldest are dropped.
const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;

/// Streams the other side may have open at a time: syncs, and messages over the datagram limit.
const STREAMS: u32 = 64;

/// Binds the socket and makes the endpoint; must run inside a tokio runtime. Dials bring a configuration of their own.
pub(crate) fn bind(address: SocketAddr, tls: &Tls) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Endpoint::new(EndpointConfig::default(), Some(tls.listening()), socket.into(), Arc::new(TokioRuntime))
}

/// Returns how links of all generations carry their packets.
pub(crate) fn transport(idle: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle_ms = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
    config
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        // Peers are near: a lost first packet is sent again after 3 × this.
        .initial_rtt(Duration::from_millis(100))
        // Datagrams are made to fit the least MTU, so searching for a larger one would only cost packets.
        .mtu_discovery_config(None)
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        // The hello, and questions for revocation lists.
        .max_concurrent_bidi_streams(VarInt::from_u32(2))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES));
    config
}
