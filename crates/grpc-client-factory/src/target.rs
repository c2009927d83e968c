//! What is called.

use std::fmt;

use identity::ExpectedPeer;
use mesh_types::Endpoint;

use crate::http3_mode::Http3Mode;
use crate::profile::Profile;

/// What is called: where, and who must answer there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where it listens, with HTTP/2 on TCP and HTTP/3 on UDP at one port number.
    pub endpoint: Endpoint,
    /// Who must answer. Anybody else is refused before a byte of a call is sent.
    pub peer: ExpectedPeer,
    /// Whether it may speak HTTP/3, default true: it is tried. If it is known that it does not, HTTP/2 is used at once, unless the
    /// profile insists on HTTP/3 ([`Http3Mode::Only`]) or [`ClientFactory::set_http3`](crate::ClientFactory::set_http3) says otherwise.
    pub supports_http3: bool,
}

impl Target {
    /// Returns the target that `peer` is at `endpoint`.
    #[must_use]
    pub const fn new(endpoint: Endpoint, peer: ExpectedPeer) -> Self {
        Self { endpoint, peer, supports_http3: true }
    }

    /// Returns the target, of which it is known whether it speaks HTTP/3.
    #[must_use]
    pub fn with_http3(self, supports_http3: bool) -> Self {
        Self { supports_http3, ..self }
    }

    /// Returns whether HTTP/3 is used, as far as a profile and the target say.
    pub(crate) const fn mode(&self, profile: &Profile) -> Http3Mode {
        match (self.supports_http3, profile.http3.mode) {
            (false, Http3Mode::Auto) => Http3Mode::Off,
            // Who insists on HTTP/3 would rather fail than go without.
            (_, mode) => mode,
        }
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
