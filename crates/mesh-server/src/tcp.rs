//! A connection over TCP: handshake, identity, HTTP/2 or HTTP/1.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{self, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2_transport::{Outlet, ReadAhead, gather, read_ahead};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::Presented;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::audit::{Applicant, tls_reason};
use crate::body::Body;
use crate::call::Begun;
use crate::linger::Linger;
use crate::options::Options;
use crate::peer::{PeerIdentity, Protocol};
use crate::registry::Registered;
use crate::serve::Serve;
use crate::server::{Ended, Shared};
use crate::streams::Streams;
use crate::upgrade::Upgrades;

type Tls = TlsStream<ReadAhead<TcpStream>>;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Serves one connection to its end. Gives back its `handshake` slot when that is over.
pub(crate) async fn serve<S: Serve>(
    shared: Arc<Shared<S>>,
    tcp: net::TcpStream,
    address: SocketAddr,
    handshake: OwnedSemaphorePermit,
) -> Ended {
    let tcp = match TcpStream::from_std(tcp) {
        Ok(tcp) => tcp,
        Err(error) => {
            tracing::warn!(%address, %error, "cannot serve a connection");
            return Ended::Finished;
        }
    };
    // What is under way here at shutdown is no call yet: nobody waits for it.
    let admitted = shared.shutdown.run_until_cancelled(admit(&shared, tcp, address, handshake));
    let Some(Some((tls, registered))) = admitted.await else { return Ended::Finished };
    tracing::debug!(peer = ?registered.peer(), "connected");
    let streams = Streams::default();
    let ended = tokio::select! {
        ended = answer(&shared, tls, &registered, &streams) => ended,
        () = registered.is_cut() => Ended::CutOff,
    };
    streams.ended().await;
    ended
}

/// Returns the encrypted connection and its place in the registry, or refuses it.
async fn admit<S>(
    shared: &Shared<S>,
    tcp: TcpStream,
    address: SocketAddr,
    handshake: OwnedSemaphorePermit,
) -> Option<(Tls, Registered)> {
    let applicant = Applicant { address, transport: "tcp", presented: Presented::default() };
    if let Err(error) = tcp.set_nodelay(true) {
        // Nagle's algorithm would hold back all but the first piece of an answer.
        tracing::debug!(%address, %error, "connection waits before it sends");
    }
    let credentials = shared.source.current();
    let revocations = credentials.revocations().version();
    let acceptor = TlsAcceptor::from(credentials.server_config_admitting(&[HTTP2, HTTP1], &applicant.presented));
    let accepted =
        timeout(shared.options.limits.handshake_timeout, acceptor.accept(read_ahead(tcp)).into_fallible()).await;
    drop(handshake);
    let tls = match accepted {
        Ok(Ok(tls)) => tls,
        Ok(Err((error, raw))) => {
            applicant.turned_away(tls_reason(&error), &error);
            // In TLS 1.3 the client hears of its refusal after its own handshake is done.
            Linger::new(raw).hang_up().await;
            return None;
        }
        Err(elapsed) => {
            applicant.failed("handshake_timeout", &elapsed);
            return None;
        }
    };
    let session = tls.get_ref().1;
    let protocol = if session.alpn_protocol() == Some(HTTP2) { Protocol::Http2 } else { Protocol::Http1 };
    let chain = session.peer_certificates().unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();
    match shared.admit(&credentials, revocations, chain, (address, protocol)) {
        Ok(registered) => Some((tls, registered)),
        Err(refused) => {
            applicant.refused(refused.reason(), &refused);
            Linger::new(tls).hang_up().await;
            None
        }
    }
}

async fn answer<S: Serve>(shared: &Shared<S>, tls: Tls, registered: &Registered, streams: &Streams) -> Ended {
    let peer = registered.peer();
    let calls = shared.calls(peer);
    let upgrades = Upgrades::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (mut head, body) = request.into_parts();
        upgrades.offer(&mut head.extensions);
        let begun = Begun::with(head);
        streams.expect(begun.timing());
        calls.answer(begun, Body::tcp(body)).map(Ok::<_, Infallible>)
    });
    let (io, outlet) = gather(Linger::new(tls));
    let io = TokioIo::new(io);
    // The version is settled: guessing it would wait for the first byte without a limit.
    let ended = if peer.protocol() == Protocol::Http2 {
        let connection = http2_builder(&shared.options, streams).serve_connection(io, service);
        run(shared, peer, &outlet, connection, http2::Connection::graceful_shutdown).await
    } else {
        let connection = http1_builder(&shared.options).serve_connection(io, service).with_upgrades();
        run(shared, peer, &outlet, connection, http1::UpgradeableConnection::graceful_shutdown).await
    };
    match upgrades.take().filter(|_work| ended == Ended::Finished) {
        Some(work) => go_on(shared, peer, work, &outlet).await,
        None => ended,
    }
}

/// Runs a connection to its end. When it is to leave, `leave` tells it so, and it has some time to finish its calls.
async fn run<S, C: Future<Output = hyper::Result<()>>>(
    shared: &Shared<S>,
    peer: &PeerIdentity,
    outlet: &Outlet<Linger<Tls>>,
    connection: C,
    leave: impl FnOnce(Pin<&mut C>),
) -> Ended {
    let mut connection = pin!(connection);
    let leaving = tokio::select! {
        ended = turns(connection.as_mut(), outlet) => Some(ended),
        () = shared.is_to_leave(peer) => None,
    };
    let ended = match leaving {
        Some(ended) => ended,
        None => {
            // hyper sends two GOAWAYs, a round trip apart: the first promises that all which comes meanwhile is served.
            leave(connection.as_mut());
            match timeout(shared.options.drain_timeout, turns(connection, outlet)).await {
                Ok(ended) => ended,
                Err(_elapsed) => return Ended::CutOff,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(?peer, error = &error as &dyn std::error::Error, "connection broke off");
    }
    Ended::Finished
}

/// Does what is to be done with a connection that is no longer HTTP, as long as the server does not stop.
async fn go_on<S>(
    shared: &Shared<S>,
    peer: &PeerIdentity,
    mut work: BoxFuture<'static, ()>,
    outlet: &Outlet<Linger<Tls>>,
) -> Ended {
    tokio::select! {
        () = turns(Pin::new(&mut work), outlet) => return Ended::Finished,
        () = shared.is_to_leave(peer) => {}
    }
    match timeout(shared.options.drain_timeout, turns(Pin::new(&mut work), outlet)).await {
        Ok(()) => Ended::Finished,
        Err(_elapsed) => Ended::CutOff,
    }
}

/// Polls a connection to its end, and sends after each turn what it has written.
async fn turns<C: Future>(mut connection: Pin<&mut C>, outlet: &Outlet<Linger<Tls>>) -> C::Output {
    poll_fn(|cx| {
        let turn = connection.as_mut().poll(cx);
        outlet.after(turn, cx)
    })
    .await
}

fn http1_builder(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(options.limits.head_timeout);
    builder
}

fn http2_builder(Options { http2, limits, .. }: &Options, streams: &Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(http2.max_streams)
        .initial_stream_window_size(http2.stream_window_bytes)
        .initial_connection_window_size(http2.connection_window_bytes())
        .max_header_list_size(limits.head_bytes)
        .keep_alive_interval(http2.keep_alive)
        .keep_alive_timeout(http2.keep_alive_timeout);
    builder
}
