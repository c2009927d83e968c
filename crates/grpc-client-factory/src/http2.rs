//! Connections over HTTP/2.

mod answer;
mod driver;
mod request;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2_transport::{ReadAhead, gather, read_ahead};
use http::{Request, Response};
use identity::Credentials;
use metrics::Histogram;
use rustls::pki_types::{CertificateDer, ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Cause, FactoryError};
use crate::eyeballs::connect_first;
use crate::profile::{Http2Options, Profile};
use crate::request_body::RequestBody;
use crate::target::{Protocol, Target};
use crate::tasks::Tasks;
use crate::tls_failure::TlsFailure;
use crate::watched::{TlsNote, Watched, tls_error};
pub(crate) use answer::Answer;
use driver::Driver;

const ALPN: &[u8] = b"h2";
const PROTOCOL: Protocol = Protocol::Http2;

/// Most bytes of a head, as HTTP counts them.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// How many calls may begin before the server has said how many it takes: fewer than it refuses.
const STREAMS_AT_FIRST: usize = 100;

/// The least that the system counts in when it asks whether a host is there.
const QUESTION_MIN: Duration = Duration::from_secs(1);

/// A connection over HTTP/2. It closes once it is dropped and all calls on it are over.
#[derive(Debug)]
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    note: TlsNote,
    is_closed: Arc<AtomicBool>,
    /// Ends the connection at once.
    cut: Mutex<Option<oneshot::Sender<()>>>,
    tasks: Weak<Tasks>,
}

/// What a handshake has brought.
#[derive(Debug)]
pub(crate) struct Dialled<D> {
    pub(crate) http2: Http2,
    /// The certificates that the server has shown.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Runs the connection; resolves to why it has ended.
    pub(crate) driver: D,
}

/// A call that came to nothing.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Nothing of it was sent; here is its body back.
    Unsent(Box<RequestBody>, FactoryError),
    /// The server says that it took no notice of it.
    Refused(FactoryError),
    /// Nobody knows what became of it.
    Failed(FactoryError),
}

type Tls = TlsStream<ReadAhead<TcpStream>>;

/// Connects to one of `addresses`, checks who answers, and speaks HTTP/2.
pub(crate) async fn dial(
    target: &Target,
    addresses: &[SocketAddr],
    profile: &Profile,
    credentials: &Credentials,
    (tasks, rtt_seconds): (Weak<Tasks>, Histogram),
) -> Result<Dialled<impl Future<Output = Option<Cause>> + Send + 'static>, FactoryError> {
    let options = &profile.http2;
    let tcp = connect(target, addresses, options).await?;
    let note = TlsNote::default();
    let tls = handshake(target, tcp, credentials).await?;
    let chain: Vec<_> = tls.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let (io, outlet) = gather(Watched::new(tls, note.clone()));
    let failed = |source| failed(target, Arc::new(source));
    let (sender, connection) = builder(options).handshake(io).await.map_err(failed)?;
    let (cut, is_cut) = oneshot::channel();
    let is_closed = Arc::new(AtomicBool::new(false));
    let driver = Driver::new(connection, outlet, is_cut, (options, rtt_seconds), Arc::clone(&is_closed));
    let http2 = Http2 { sender, note, is_closed, cut: Mutex::new(Some(cut)), tasks };
    Ok(Dialled { http2, chain, driver })
}

fn failed(target: &Target, source: Cause) -> FactoryError {
    FactoryError::Connect { endpoint: target.endpoint.clone(), protocol: PROTOCOL, source }
}

async fn connect(target: &Target, addresses: &[SocketAddr], options: &Http2Options) -> Result<TcpStream, FactoryError> {
    let connect = |address| async move {
        let connected = connect_one(address, options).await;
        connected.map_err(|error| failed(target, Arc::new(error)))
    };
    let nowhere = || Err(failed(target, Arc::new(io::Error::from(io::ErrorKind::AddrNotAvailable))));
    connect_first(addresses, connect).await.unwrap_or_else(nowhere)
}

async fn connect_one(address: SocketAddr, options: &Http2Options) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_user_timeout(Some(options.unacknowledged_timeout))?;
    socket.set_tcp_keepalive(&questions(options.unacknowledged_timeout))?;
    Ok(stream)
}

/// Returns when the system asks a host that is silent whether it is there, so that one that is gone is given up within `in_time` of its last
/// word, also if nothing is sent to it. The host's system answers: a server that is busy is not taken for gone, and one that counts pings
/// (gRPC's own do) is not bothered.
fn questions(in_time: Duration) -> TcpKeepalive {
    TcpKeepalive::new().with_time((in_time / 2).max(QUESTION_MIN)).with_interval(QUESTION_MIN)
}

async fn handshake(target: &Target, tcp: TcpStream, credentials: &Credentials) -> Result<Tls, FactoryError> {
    let name = target.peer.server_name().to_owned();
    let name = ServerName::try_from(name).map_err(|error| failed(target, Arc::new(error)))?;
    let config = credentials.client_config_for(&target.peer, &[ALPN]);
    let connecting = TlsConnector::from(config).connect(name, read_ahead(tcp));
    let tls = connecting.await.map_err(|error| match tls_error(&error) {
        Some(tls) => TlsFailure::of_tls(target, PROTOCOL, tls.clone()).into(),
        None => failed(target, Arc::new(error)),
    })?;
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(ALPN) {
        return Err(TlsFailure::of_tls(target, PROTOCOL, rustls::Error::NoApplicationProtocol).into());
    }
    let chain = session.peer_certificates().unwrap_or_default();
    let judged = credentials.verify_expected(&target.peer, chain);
    judged.map_err(|error| TlsFailure::of_identity(target, PROTOCOL, error))?;
    Ok(tls)
}

fn builder(options: &Http2Options) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(STREAMS_AT_FIRST)
        .initial_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_header_list_size(HEAD_BYTES_MAX);
    builder
}

impl Http2 {
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// # Cancel safety
    /// Dropping the future takes the call back: the server is told.
    pub(crate) async fn send(
        &self,
        target: &Target,
        request: Request<RequestBody>,
    ) -> Result<Response<Answer>, Unanswered> {
        let (parts, body) = request.into_parts();
        let is_all = http_body::Body::is_end_stream(&body);
        // A sender of its own: what waits for its turn to begin holds up nobody else.
        let begun = self.sender.clone().send_request(Request::from_parts(parts, ()), is_all);
        let (answering, sending) = match begun {
            Ok(begun) => begun,
            Err(error) if is_ours(&error) => return Err(Unanswered::Failed(self.explain(target, error))),
            Err(error) => return Err(Unanswered::Unsent(Box::new(body), self.explain(target, error))),
        };
        let pump = if is_all { None } else { request::start(sending, body, &self.tasks).await };
        let head = answering.await.map_err(|error| self.unanswered(target, error))?;
        Ok(head.map(|receiving| Answer::new(receiving, pump)))
    }

    fn unanswered(&self, target: &Target, error: h2::Error) -> Unanswered {
        if is_refusal(&error) {
            let (endpoint, protocol) = (target.endpoint.clone(), PROTOCOL);
            return Unanswered::Refused(FactoryError::Refused { endpoint, protocol });
        }
        Unanswered::Failed(self.explain(target, error))
    }

    /// Ends the connection and the calls on it, which are told that the server is not trusted any more.
    pub(crate) fn condemn(&self, error: rustls::Error) {
        self.note.set(error);
        self.cut();
    }

    /// Ends the connection and the calls on it.
    pub(crate) fn cut(&self) {
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(cut) = cut
            && cut.send(()).is_err()
        {
            tracing::trace!("the connection has ended already");
        }
    }

    /// Says what the end of the connection means.
    pub(crate) fn explain_end(&self, target: &Target, source: Cause) -> FactoryError {
        if let Some(tls) = self.note.read() {
            return TlsFailure::of_tls(target, PROTOCOL, tls.clone()).into();
        }
        FactoryError::Lost { endpoint: target.endpoint.clone(), protocol: PROTOCOL, source }
    }

    /// Says what an error of the connection or a stream means.
    pub(crate) fn explain(&self, target: &Target, error: h2::Error) -> FactoryError {
        if error.is_reset() && self.note.read().is_none() {
            let code = error.reason().map_or(u64::MAX, |reason| u32::from(reason).into());
            return FactoryError::Reset { endpoint: target.endpoint.clone(), protocol: PROTOCOL, code };
        }
        self.explain_end(target, Arc::new(error))
    }
}

/// Whether the request is to blame, and not the connection: another would not take it either.
fn is_ours(error: &h2::Error) -> bool {
    !(error.is_io() || error.is_go_away() || error.is_reset() || error.is_library())
}

/// Whether the server says that it took no notice of the call: it reset the stream as refused, or it is draining and the stream
/// is above the last that it will look at (RFC 9113 §6.8, §8.7).
fn is_refusal(error: &h2::Error) -> bool {
    let reason = error.reason();
    let refused = error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM);
    let draining = error.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
    error.is_remote() && (refused || draining)
}
