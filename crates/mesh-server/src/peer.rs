//! Who calls.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use identity::SpiffeId;
use rustls::pki_types::CertificateDer;

/// The HTTP that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 over TLS over TCP.
    Http1,
    /// HTTP/2 over TLS over TCP.
    Http2,
    /// HTTP/3 over QUIC.
    Http3,
}

impl Protocol {
    /// Returns the name for metrics: `http1`, `http2` or `http3`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Http3 => "http3",
        }
    }
}

/// Who is at the other end of the connection that a request came by. Handlers find it among the request's extensions.
///
/// Its certificate was checked when the connection began, and is checked again when trust changes. Cloning is a
/// reference count.
#[derive(Clone)]
pub struct PeerIdentity(Arc<Peer>);

struct Peer {
    spiffe_id: SpiffeId,
    chain: Vec<CertificateDer<'static>>,
    address: SocketAddr,
    protocol: Protocol,
}

impl PeerIdentity {
    pub(crate) fn new(
        spiffe_id: SpiffeId,
        chain: Vec<CertificateDer<'static>>,
        address: SocketAddr,
        protocol: Protocol,
    ) -> Self {
        Self(Arc::new(Peer { spiffe_id, chain, address, protocol }))
    }

    /// Returns who it is, as its certificate says.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.0.spiffe_id
    }

    /// Returns the certificates it has shown, its own first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// Returns the address it connected from. A QUIC connection may have moved since.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Returns the protocol of its connection.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.0.protocol
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Peer { spiffe_id, address, protocol, .. } = &*self.0;
        f.debug_struct("PeerIdentity")
            .field("spiffe_id", spiffe_id)
            .field("address", address)
            .field("protocol", protocol)
            .finish_non_exhaustive()
    }
}
