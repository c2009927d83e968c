//! Taking a port on TCP and UDP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lanes::Lanes;
use quinn::{Endpoint, EndpointConfig};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;

use crate::options::Options;

/// How often another free port is taken, because somebody else has it on UDP.
const ATTEMPTS: usize = 16;

/// Clients that the system lets wait on TCP while all handshake slots are taken; it may keep to less (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Why a server could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// TCP was refused: the address is in use, or not this machine's.
    #[error("cannot listen on TCP at {address}")]
    Tcp {
        /// The address as given.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// UDP was refused: the address is in use.
    #[error("cannot listen on UDP at {address}")]
    Udp {
        /// The address that TCP has.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The credentials make no configuration for QUIC.
    #[error("cannot use the credentials for QUIC")]
    Quic {
        /// What QUIC misses in them.
        source: quinn::crypto::rustls::NoInitialCipherSuite,
    },
}

/// The two sockets of a server.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) tcp: TcpListener,
    pub(crate) quic: Option<Endpoint>,
    pub(crate) local_addr: SocketAddr,
}

impl Sockets {
    /// Takes TCP first, then UDP at the port that TCP got. If any port is good, one that is free on both is looked for.
    pub(crate) fn bind(options: &Options, quic: Option<&quinn::ServerConfig>) -> Result<Self, BindError> {
        let mut attempts = if options.address.port() == 0 { ATTEMPTS } else { 1 };
        loop {
            attempts -= 1;
            match Self::bind_once(options, quic) {
                Err(BindError::Udp { .. }) if attempts > 0 => {}
                bound => return bound,
            }
        }
    }

    fn bind_once(options: &Options, quic: Option<&quinn::ServerConfig>) -> Result<Self, BindError> {
        let address = options.address;
        let tcp_refused = |source| BindError::Tcp { address, source };
        let tcp = listen(address).map_err(tcp_refused)?;
        let local_addr = tcp.local_addr().map_err(tcp_refused)?;
        let endpoint = quic.map(|server| bind_endpoint(options, server.clone(), local_addr)).transpose();
        let endpoint = endpoint.map_err(|source| BindError::Udp { address: local_addr, source })?;
        Ok(Self { tcp, quic: endpoint, local_addr })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that comes back finds the connections that it had in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_endpoint(options: &Options, server: quinn::ServerConfig, address: SocketAddr) -> io::Result<Endpoint> {
    let socket = h3_transport::bind_udp(address, options.udp_buffer_bytes)?;
    let secret = options.node_secret.as_ref();
    let config = secret.map_or_else(EndpointConfig::default, h3_transport::NodeSecret::endpoint_config);
    let first = options.lanes.as_ref().map(Lanes::first);
    let _entered = first.as_ref().map(Handle::enter);
    Endpoint::new(config, Some(server), socket, Arc::new(h3_transport::GatheredTimers::new()))
}
