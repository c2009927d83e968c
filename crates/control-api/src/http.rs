//! One connection: handshake, identity, requests.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::security::{PeerName, Security, VerifyPeer, handshake_reason};
use crate::server::Limits;

/// Longest wait for a refused client to close its side.
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes of a refused client that are read and thrown away.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;

/// What all connections share.
pub(crate) struct Http {
    router: Router,
    security: Security,
    limits: Limits,
    streams: Streams,
    shutdown: CancellationToken,
}

/// Which HTTP a connection speaks: TLS has agreed on it, or it is plain and of the first kind.
#[derive(Clone, Copy)]
enum Version {
    Http1,
    Http2,
}

/// The tasks that HTTP/2 makes for its streams: ended together with the server.
#[derive(Clone, Default)]
pub(crate) struct Streams {
    tasks: TaskTracker,
    cut_off: CancellationToken,
}

impl Streams {
    pub(crate) fn cut_off(&self) -> CancellationToken {
        self.cut_off.clone()
    }

    /// Cuts off the streams whose connections are gone, and waits until no task is left.
    pub(crate) async fn close(&self) {
        self.cut_off.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let cut_off = self.cut_off.clone();
        drop(self.tasks.spawn(async move {
            // Cut off or finished, nobody waits for the answer.
            cut_off.run_until_cancelled_owned(stream).await;
        }));
    }
}

impl Http {
    pub(crate) fn new(
        router: Router,
        security: Security,
        limits: Limits,
        streams: Streams,
        shutdown: CancellationToken,
    ) -> Self {
        Self { router, security, limits, streams, shutdown }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr) {
        match &self.security {
            Security::PlaintextLoopback => self.answer(tcp, Version::Http1, self.router.clone(), remote).await,
            Security::MutualTls { config, verify_peer } => {
                let acceptor = TlsAcceptor::from(Arc::clone(config));
                // What is under way at shutdown here is no request yet: nobody waits for it.
                let admitted = self.shutdown.run_until_cancelled(self.admit(&acceptor, &**verify_peer, tcp, remote));
                let Some(Some((tls, peer))) = admitted.await else { return };
                tracing::debug!(%remote, %peer, "control connection");
                let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                let version = if is_http2 { Version::Http2 } else { Version::Http1 };
                self.answer(tls, version, self.router.clone().layer(Extension(peer)), remote).await;
            }
        }
    }

    /// Returns the encrypted connection and who is at its other end, or refuses it.
    async fn admit(
        &self,
        acceptor: &TlsAcceptor,
        verify_peer: &VerifyPeer,
        tcp: TcpStream,
        remote: SocketAddr,
    ) -> Option<(TlsStream<TcpStream>, PeerName)> {
        let tls = match timeout(self.limits.handshake_timeout, acceptor.accept(tcp).into_fallible()).await {
            Ok(Ok(tls)) => tls,
            Ok(Err((error, tcp))) => {
                refuse(remote, handshake_reason(&error), &error);
                hang_up(tcp).await;
                return None;
            }
            Err(elapsed) => {
                refuse(remote, "handshake_timeout", &elapsed);
                return None;
            }
        };
        match verify_peer(tls.get_ref().1.peer_certificates().unwrap_or_default()) {
            Ok(peer) => Some((tls, peer)),
            Err(refused) => {
                refuse(remote, refused.reason, &*refused.source);
                hang_up(tls).await;
                None
            }
        }
    }

    async fn answer<I>(&self, io: I, version: Version, router: Router, remote: SocketAddr)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = self.builder(version);
        let connection = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.closing() => {
                connection.as_mut().graceful_shutdown();
                timeout(self.limits.drain_timeout, connection).await.unwrap_or_else(|elapsed| Err(elapsed.into()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%remote, error = &*error, "control connection broke off");
        }
    }

    /// Resolves when a connection that is accepted now has to close.
    async fn closing(&self) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = sleep(self.limits.connection_lifetime) => {}
        }
    }

    fn builder(&self, version: Version) -> auto::Builder<Streams> {
        // The version is settled before the first byte: guessing it would wait for that byte without a limit.
        let builder = auto::Builder::new(self.streams.clone());
        let mut builder = match version {
            Version::Http1 => builder.http1_only(),
            Version::Http2 => builder.http2_only(),
        };
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.header_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.max_requests_per_connection)
            .keep_alive_interval(self.limits.header_timeout)
            .keep_alive_timeout(self.limits.header_timeout);
        builder
    }
}

fn refuse(remote: SocketAddr, reason: &'static str, error: &(dyn Error + 'static)) {
    metrics::counter!("omnirelay_control_refused_total", "reason" => reason).increment(1);
    tracing::info!(%remote, reason, error, "control connection refused");
}

/// Closes our side and gives the client a moment to close its own: a connection closed with its bytes
/// unread is reset, and the reset overtakes the alert that says why it is refused.
async fn hang_up<I: AsyncRead + AsyncWrite + Unpin>(mut io: I) {
    let until_closed = async {
        io.shutdown().await?;
        tokio::io::copy(&mut io.take(UNREAD_BYTES_MAX), &mut tokio::io::sink()).await
    };
    match timeout(HANG_UP_TIMEOUT, until_closed).await {
        // However it went, the client was refused already and is gone now.
        Ok(Ok(_) | Err(_)) | Err(_) => {}
    }
}
