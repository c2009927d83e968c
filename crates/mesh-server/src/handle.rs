//! What others may ask of a running server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::CredentialSource;

use crate::peer::PeerIdentity;
use crate::registry::{Registry, wall_clock};

/// A running server, to those who look at it from outside. Cloning is cheap; it keeps nothing alive.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) local_addr: SocketAddr,
    pub(crate) registry: Registry,
    pub(crate) source: Arc<dyn CredentialSource>,
}

impl Handle {
    /// Returns the address it listens on, on TCP and on UDP.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns whose connections are open, one entry each, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<PeerIdentity> {
        self.registry.peers()
    }

    /// Checks the certificates of all open connections again, and cuts off those that would not be let in now; returns how
    /// many. A running server does so by itself when credentials or revocation lists change and when a certificate runs
    /// out. It takes about a tenth of a millisecond a connection, on the caller's thread.
    pub fn sweep(&self) -> usize {
        let (credentials, now) = (self.source.current(), wall_clock());
        self.registry.entries().iter().filter(|entry| entry.cut_unless_trusted(&credentials, now)).count()
    }
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were open when it was asked to stop.
    pub connections: usize,
    /// Those of them that were cut off: their calls had not ended within [`Options::drain_timeout`](crate::Options).
    pub cut_off: usize,
    /// How long it took.
    pub took: Duration,
}
