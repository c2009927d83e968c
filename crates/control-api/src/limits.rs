//! What clients of the control endpoint may take up.

use std::net::SocketAddr;
use std::time::Duration;

use mesh_server::{Http2Options, NodeSecret, Options, QuicOptions};

/// Bytes of one request that are taken in ahead of its handler: more than any may have.
const REQUEST_BYTES: u32 = 128 * 1024;

/// Room for UDP packets: what the system gives without being asked. A control endpoint has no bursts.
const UDP_BUFFER_BYTES: usize = 128 * 1024;

/// Bounds of the control endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, default 256; one more is closed as it comes. More cost about 50 KiB each over TCP,
    /// 130 KiB over QUIC.
    pub max_connections: usize,
    /// Requests at once on one connection of HTTP/2 or HTTP/3, default 32.
    pub max_requests_per_connection: u32,
    /// Longest handshake, default 5 s. Lower frees slots from clients that stall, higher serves slow links.
    pub handshake_timeout: Duration,
    /// Longest wait for the head of a request, default 10 s. An HTTP/1 connection may idle this long between
    /// two requests; an HTTP/2 client is asked this often whether it is still there.
    pub header_timeout: Duration,
    /// Age at which a connection is asked to close, default 10 min: the client connects anew.
    pub connection_lifetime: Duration,
    /// Longest wait for requests under way when closing, default 5 s; then they are cut off.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_requests_per_connection: 32,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            connection_lifetime: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Returns the same in the words of `mesh-server`, for a listener at `address`.
    pub(crate) fn options(&self, address: SocketAddr, node_secret: Option<NodeSecret>) -> Options {
        let max_streams = self.max_requests_per_connection;
        Options {
            address,
            quic: Some(QuicOptions { stream_window_bytes: REQUEST_BYTES, max_streams, ..QuicOptions::default() }),
            udp_buffer_bytes: UDP_BUFFER_BYTES,
            node_secret,
            http2: Http2Options {
                stream_window_bytes: REQUEST_BYTES,
                max_streams,
                keep_alive: self.header_timeout,
                keep_alive_timeout: self.header_timeout,
            },
            limits: mesh_server::Limits {
                max_connections: self.max_connections,
                handshake_timeout: self.handshake_timeout,
                head_timeout: self.header_timeout,
                ..mesh_server::Limits::default()
            },
            max_connection_age: Some(self.connection_lifetime),
            drain_timeout: self.drain_timeout,
            ..Options::default()
        }
    }
}
