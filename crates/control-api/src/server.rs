//! The listener: accepts, bounds and drains connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::http::{Http, Streams};
use crate::security::Security;

/// Pause after a failed accept: the usual cause is no free file descriptor, and that needs time to cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of the control endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, default 256; one more is closed as it comes. More cost about 50 KiB each.
    pub max_connections: usize,
    /// Requests at once on one HTTP/2 connection, default 32.
    pub max_requests_per_connection: u32,
    /// Longest TLS handshake, default 5 s. Lower frees slots from clients that stall, higher serves slow links.
    pub handshake_timeout: Duration,
    /// Longest wait for the head of a request, default 10 s. An HTTP/1 connection may idle this long between
    /// two requests; an HTTP/2 client is asked this often whether it is still there.
    pub header_timeout: Duration,
    /// Age at which a connection is asked to close, default 10 min: the client connects anew, and its
    /// certificate is looked at again.
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
    /// Another process listens there.
    #[error("control endpoint {addr} is in use by another process")]
    InUse {
        /// The address as given.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot open control endpoint {addr}")]
    Io {
        /// The address as given.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A control endpoint that is bound and not yet served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    security: Security,
    limits: Limits,
}

impl Server {
    /// Binds `addr`; port 0 takes a free one, which [`Server::local_addr`] tells.
    ///
    /// # Errors
    /// The address is in use, not this machine's, or must not be served in plain text.
    ///
    /// # Cancel safety
    /// Dropping the future binds nothing.
    pub async fn bind(addr: SocketAddr, security: Security, limits: Limits) -> Result<Self, BindError> {
        match security {
            Security::PlaintextLoopback if !addr.ip().is_loopback() => return Err(BindError::NotLoopback { addr }),
            Security::PlaintextLoopback | Security::MutualTls { .. } => {}
        }
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { addr, source },
            _ => BindError::Io { addr, source },
        };
        let listener = TcpListener::bind(addr).await.map_err(refused)?;
        let local_addr = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, local_addr, security, limits })
    }

    /// Returns the address that is bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves `router` until `shutdown`, then finishes what is under way for at most
    /// [`Limits::drain_timeout`]. No task is left when it returns.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and cuts all connections off.
    pub async fn run(self, router: Router, shutdown: CancellationToken) {
        let Self { listener, security, limits, .. } = self;
        let streams = Streams::default();
        // Whatever ends this future, an abort too, ends the HTTP/2 streams with it.
        let _cut_off = streams.cut_off().drop_guard();
        let http = Arc::new(Http::new(router, security, limits.clone(), streams.clone(), shutdown.clone()));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => log_panic(ended),
                accepted = listener.accept() => match accepted {
                    Ok((_, remote)) if connections.len() >= limits.max_connections => too_many(remote),
                    Ok((tcp, remote)) => {
                        send_at_once(&tcp, remote);
                        connections.spawn(Arc::clone(&http).serve(tcp, remote));
                    }
                    Err(error) => pause_after(&error).await,
                },
            }
        }
        drop(listener);
        drain(connections, limits.drain_timeout).await;
        streams.close().await;
    }
}

async fn drain(mut connections: JoinSet<()>, drain_timeout: Duration) {
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    if timeout(drain_timeout, all_ended).await.is_err() {
        tracing::warn!(open = connections.len(), ?drain_timeout, "control connections cut off: they did not drain");
        connections.shutdown().await;
    }
}

/// Answers are written in a few pieces: Nagle's algorithm would hold back all but the first for 40 ms.
fn send_at_once(tcp: &TcpStream, remote: SocketAddr) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%remote, %error, "control connection waits before it sends");
    }
}

async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "control endpoint cannot accept a connection");
    metrics::counter!("omnirelay_control_refused_total", "reason" => "accept_failed").increment(1);
    sleep(ACCEPT_PAUSE).await;
}

fn too_many(remote: SocketAddr) {
    const REASON: &str = "too_many_connections";
    metrics::counter!("omnirelay_control_refused_total", "reason" => REASON).increment(1);
    tracing::info!(%remote, reason = REASON, "control connection refused");
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "control connection failed");
    }
}
