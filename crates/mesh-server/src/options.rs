//! What a server is asked to do.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use h3_transport::{NodeSecret, QuicOptions};
use lanes::Lanes;

/// What a server is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens, on TCP and on UDP; default `0.0.0.0` and a free port.
    pub address: SocketAddr,
    /// How QUIC connections carry their packets. `None` serves no HTTP/3.
    pub quic: Option<QuicOptions>,
    /// Room that is asked of the system for UDP packets each way, in bytes, default 4 MiB. With the system's own 208 KiB,
    /// bursts lose packets.
    pub udp_buffer_bytes: usize,
    /// A secret that outlives the process: with it, clients notice a restart at once instead of when their connections
    /// time out. Default none.
    pub node_secret: Option<NodeSecret>,
    /// How HTTP/2 connections carry their frames.
    pub http2: Http2Options,
    /// What callers may take up.
    pub limits: Limits,
    /// Threads that connections are dealt out to. Each stays on its own, with the handlers of its calls: for services that hand calls on, and
    /// compute nothing. Packets of QUIC come in on the first. Default none: connections are served by the runtime that the server is in.
    pub lanes: Option<Lanes>,
    /// Age at which a client is asked to connect anew, a tenth more or less; default none. It spreads clients over
    /// servers that have come since.
    pub max_connection_age: Option<Duration>,
    /// Longest wait for the calls under way when the server stops or a connection is too old, default 10 s; then they
    /// are cut off.
    pub drain_timeout: Duration,
    /// How long clients of HTTP/1 and HTTP/2 may remember that there is HTTP/3 at this port (`Alt-Svc`), default a day;
    /// `None` does not tell them.
    pub advertise_http3: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            quic: Some(QuicOptions::default()),
            udp_buffer_bytes: 4 * 1024 * 1024,
            node_secret: None,
            http2: Http2Options::default(),
            limits: Limits::default(),
            lanes: None,
            max_connection_age: None,
            drain_timeout: Duration::from_secs(10),
            advertise_http3: Some(Duration::from_secs(24 * 60 * 60)),
        }
    }
}

/// How HTTP/2 connections carry their frames.
///
/// The window of a whole connection is that of a stream times [`Http2Options::max_streams`], at most 2 GiB: otherwise a few
/// streams that nobody reads would stop all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Options {
    /// Bytes of one request that the client may send ahead of its handler, default 1 MiB. A stream gets at most this much
    /// a round trip; each that is not read holds it in memory.
    pub stream_window_bytes: u32,
    /// Requests at once on one connection, default 256.
    pub max_streams: u32,
    /// Silence after which the client is asked whether it is still there, default 20 s: later than clients ask, who need to know sooner.
    pub keep_alive: Duration,
    /// How long it may take to answer that, default 5 s.
    pub keep_alive_timeout: Duration,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            stream_window_bytes: 1024 * 1024,
            max_streams: 256,
            keep_alive: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(5),
        }
    }
}

impl Http2Options {
    pub(crate) fn connection_window_bytes(&self) -> u32 {
        /// RFC 9113 §6.9.1.
        const MOST: u32 = (1 << 31) - 1;
        self.stream_window_bytes.saturating_mul(self.max_streams).min(MOST)
    }
}

/// What callers may take up. What goes beyond is refused, and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, of all protocols, default 4096. One takes about 40 KiB over TCP, 130 KiB over QUIC.
    pub max_connections: usize,
    /// Handshakes under way at once on each of TCP and UDP, default 256. On TCP more wait in the system's queue, on UDP
    /// they are refused. With 0 nobody gets in.
    pub max_handshakes: usize,
    /// QUIC handshakes under way at which further clients have to prove first that they are at the address they write
    /// from (RFC 9000 §8.1.2), default 64. It costs them a round trip, and a flood of false addresses its effect.
    pub retry_above: usize,
    /// Longest handshake, default 5 s. Lower frees slots from clients that stall, higher serves slow links.
    pub handshake_timeout: Duration,
    /// Longest wait for the head of a request, default 10 s. An HTTP/1 connection may idle this long between two requests.
    pub head_timeout: Duration,
    /// Most bytes of a request's head, as HTTP/2 counts them, default 64 KiB.
    pub head_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_handshakes: 256,
            retry_above: 64,
            handshake_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            head_bytes: 64 * 1024,
        }
    }
}
