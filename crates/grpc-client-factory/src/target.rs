//! What is called.

use std::fmt;

use identity::ExpectedPeer;
use mesh_types::Endpoint;

/// What is called: where, and who must answer there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where it listens, with HTTP/2 on TCP and HTTP/3 on UDP at one port number.
    pub endpoint: Endpoint,
    /// Who must answer. Anybody else is refused before a byte of a call is sent.
    pub peer: ExpectedPeer,
}

impl Target {
    /// Returns the target that `peer` is at `endpoint`.
    #[must_use]
    pub const fn new(endpoint: Endpoint, peer: ExpectedPeer) -> Self {
        Self { endpoint, peer }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at `{}`", self.peer, self.endpoint)
    }
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/2 over TLS over TCP.
    Http2,
    /// HTTP/3 over QUIC.
    Http3,
}

impl Protocol {
    /// Returns the word for metric labels: `http2` or `http3`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http2 => "http2",
            Self::Http3 => "http3",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        })
    }
}
