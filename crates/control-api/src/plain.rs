//! Plain HTTP/1.1 on loopback, for development.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;

/// Pause after a failed accept: the usual cause is no free file descriptor, and that needs time to cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener without TLS.
#[derive(Debug)]
pub(crate) struct PlainServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    limits: Limits,
}

/// What all connections share.
struct Http {
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
}

impl PlainServer {
    pub(crate) async fn bind(addr: SocketAddr, limits: Limits) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, limits })
    }

    pub(crate) const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub(crate) async fn run(self, router: Router, shutdown: CancellationToken) {
        let Self { listener, limits, .. } = self;
        let (max_connections, drain_timeout) = (limits.max_connections, limits.drain_timeout);
        let http = Arc::new(Http { router, limits, shutdown: shutdown.clone() });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => log_panic(ended),
                accepted = listener.accept() => match accepted {
                    Ok((_, remote)) if connections.len() >= max_connections => too_many(remote),
                    Ok((tcp, remote)) => {
                        send_at_once(&tcp, remote);
                        connections.spawn(Arc::clone(&http).serve(tcp, remote));
                    }
                    Err(error) => pause_after(&error).await,
                },
            }
        }
        drop(listener);
        drain(connections, drain_timeout).await;
    }
}

impl Http {
    /// Serves one connection to its end.
    async fn serve(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr) {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.header_timeout);
        let service = TowerToHyperService::new(self.router.clone());
        let connection = builder.serve_connection(TokioIo::new(tcp), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.closing() => {
                connection.as_mut().graceful_shutdown();
                match timeout(self.limits.drain_timeout, connection).await {
                    Ok(ended) => ended,
                    Err(elapsed) => {
                        tracing::debug!(%remote, %elapsed, "control connection cut off: it did not drain");
                        return;
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%remote, %error, "control connection broke off");
        }
    }

    /// Resolves when a connection that is accepted now has to close.
    async fn closing(&self) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = sleep(self.limits.connection_lifetime) => {}
        }
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
