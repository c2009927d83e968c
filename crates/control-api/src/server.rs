//! The listener: over mutual TLS that of `mesh-server`, in plain text our own.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Extension, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use mesh_server::PeerIdentity;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::plain::PlainServer;
use crate::security::{PeerName, Security};

/// Why the control endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Plain HTTP was wanted on an address that others can reach.
    #[error("control endpoint {addr} is not a loopback address, and plain HTTP is served on loopback only")]
    NotLoopback {
        /// The address as given.
        addr: SocketAddr,
    },
    /// The system refused plain HTTP there: the address is in use, or not this machine's.
    #[error("cannot open control endpoint {addr}")]
    Plain {
        /// The address as given.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused TCP or UDP there, or the credentials cannot be used.
    #[error("cannot open control endpoint {addr}")]
    Mesh {
        /// The address as given.
        addr: SocketAddr,
        /// Which of them, and why.
        source: mesh_server::BindError,
    },
}

/// A control endpoint that is bound and not yet served.
#[derive(Debug)]
pub struct Server(Listener);

#[derive(Debug)]
enum Listener {
    Mesh(Box<mesh_server::Server>),
    Plain(PlainServer),
}

impl Server {
    /// Binds `addr`; port 0 takes a free one, which [`Server::local_addr`] tells. With mutual TLS it takes UDP at the same
    /// port, too.
    ///
    /// # Errors
    /// The address is in use, not this machine's, or must not be served in plain text.
    ///
    /// # Cancel safety
    /// Dropping the future binds nothing.
    pub async fn bind(addr: SocketAddr, security: Security, limits: Limits) -> Result<Self, BindError> {
        let listener = match security {
            Security::PlaintextLoopback if !addr.ip().is_loopback() => return Err(BindError::NotLoopback { addr }),
            Security::PlaintextLoopback => {
                let bound = PlainServer::bind(addr, limits).await;
                Listener::Plain(bound.map_err(|source| BindError::Plain { addr, source })?)
            }
            Security::MutualTls { credentials, node_secret } => {
                let bound = mesh_server::Server::bind(limits.options(addr, node_secret), credentials);
                Listener::Mesh(Box::new(bound.map_err(|source| BindError::Mesh { addr, source })?))
            }
        };
        Ok(Self(listener))
    }

    /// Returns the address that is bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        match &self.0 {
            Listener::Mesh(server) => server.local_addr(),
            Listener::Plain(server) => server.local_addr(),
        }
    }

    /// Serves `router` until `shutdown`, then finishes what is under way for at most
    /// [`Limits::drain_timeout`]. No task is left when it returns.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and cuts all connections off.
    pub async fn run(self, router: Router, shutdown: CancellationToken) {
        match self.0 {
            Listener::Plain(server) => server.run(router, shutdown).await,
            Listener::Mesh(server) => {
                // What it has to tell it has logged: connections that did not drain.
                let _report = server.run(router.layer(from_fn(name_client)), shutdown).await;
            }
        }
    }
}

/// Tells handlers who asks. Without an identity nobody gets further: one without a name is this machine's own.
async fn name_client(Extension(peer): Extension<PeerIdentity>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(PeerName::from(peer.spiffe_id().clone()));
    next.run(request).await
}
