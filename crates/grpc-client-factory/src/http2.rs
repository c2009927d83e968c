//! Connections over HTTP/2.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::Credentials;
use rustls::pki_types::{CertificateDer, ServerName};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Cause, FactoryError};
use crate::profile::{Http2Options, Profile};
use crate::request_body::RequestBody;
use crate::target::{Protocol, Target};
use crate::tasks::Spawner;
use crate::tls_failure::TlsFailure;
use crate::watched::{TlsNote, Watched, tls_error};

const ALPN: &[u8] = b"h2";
const PROTOCOL: Protocol = Protocol::Http2;

/// A connection over HTTP/2: hyper's sender, and what TLS says about its end.
#[derive(Debug)]
pub(crate) struct Http2 {
    sender: SendRequest<RequestBody>,
    note: TlsNote,
    tasks: Spawner,
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

/// Connects to one of `addresses`, checks who answers, and speaks HTTP/2.
pub(crate) async fn dial(
    target: &Target,
    addresses: &[SocketAddr],
    profile: &Profile,
    credentials: &Credentials,
    tasks: Spawner,
) -> Result<Dialled<impl Future<Output = Option<Cause>> + Send + 'static>, FactoryError> {
    let tcp = connect(target, addresses, &profile.http2).await?;
    let note = TlsNote::default();
    let tls = handshake(target, tcp, credentials).await?;
    let chain: Vec<_> = tls.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let io = TokioIo::new(Watched::new(tls, note.clone()));
    let failed = |source| failed(target, Arc::new(source));
    let (sender, connection) = builder(&profile.http2, tasks.clone()).handshake(io).await.map_err(failed)?;
    let driver = async move { connection.await.err().map(|error| Arc::new(error) as Cause) };
    Ok(Dialled { http2: Http2 { sender, note, tasks }, chain, driver })
}

fn failed(target: &Target, source: Cause) -> FactoryError {
    FactoryError::Connect { endpoint: target.endpoint.clone(), protocol: PROTOCOL, source }
}

async fn connect(target: &Target, addresses: &[SocketAddr], options: &Http2Options) -> Result<TcpStream, FactoryError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match connect_one(*address, options).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(target, Arc::new(last)))
}

async fn connect_one(address: SocketAddr, options: &Http2Options) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_user_timeout(Some(options.unacknowledged_timeout))?;
    Ok(stream)
}

async fn handshake(
    target: &Target,
    tcp: TcpStream,
    credentials: &Credentials,
) -> Result<TlsStream<TcpStream>, FactoryError> {
    let name = target.peer.server_name().to_owned();
    let name = ServerName::try_from(name).map_err(|error| failed(target, Arc::new(error)))?;
    let config = credentials.client_config_for(&target.peer, &[ALPN]);
    let connecting = TlsConnector::from(config).connect(name, tcp);
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

fn builder(options: &Http2Options, tasks: Spawner) -> http2::Builder<Spawner> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout)
        .keep_alive_while_idle(true);
    builder
}

impl Http2 {
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// # Cancel safety
    /// Dropping the future takes the call back: the server is told.
    pub(crate) async fn send(
        &self,
        target: &Target,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Unanswered> {
        // One sender a call: hyper wants it for itself, and it is a handful of reference counts.
        let mut failure = match self.sender.clone().try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let unsent = failure.take_message();
        let error = failure.into_error();
        match (unsent, is_refusal(&error)) {
            (Some(unsent), _) => Err(Unanswered::Unsent(Box::new(unsent.into_body()), self.explain(target, error))),
            (None, true) => {
                let (endpoint, protocol) = (target.endpoint.clone(), PROTOCOL);
                Err(Unanswered::Refused(FactoryError::Refused { endpoint, protocol }))
            }
            (None, false) => Err(Unanswered::Failed(self.explain(target, error))),
        }
    }

    /// Ends the connection and the calls on it, which are told that the server is not trusted any more.
    pub(crate) fn condemn(&self, error: rustls::Error) {
        self.note.set(error);
        self.cut();
    }

    /// Ends the connection and the calls on it.
    pub(crate) fn cut(&self) {
        self.tasks.cut();
    }

    /// Says what the end of the connection means.
    pub(crate) fn explain_end(&self, target: &Target, source: Cause) -> FactoryError {
        if let Some(tls) = self.note.read() {
            return TlsFailure::of_tls(target, PROTOCOL, tls.clone()).into();
        }
        FactoryError::Lost { endpoint: target.endpoint.clone(), protocol: PROTOCOL, source }
    }

    /// Says what an error of the connection or a stream means.
    pub(crate) fn explain(&self, target: &Target, error: hyper::Error) -> FactoryError {
        let (endpoint, protocol) = (target.endpoint.clone(), PROTOCOL);
        match h2_error(&error).filter(|_error| self.note.read().is_none()) {
            Some(h2) if h2.is_reset() && !h2.is_io() => {
                let code = h2.reason().map_or(u64::MAX, |reason| u32::from(reason).into());
                FactoryError::Reset { endpoint, protocol, code }
            }
            _ => self.explain_end(target, Arc::new(error)),
        }
    }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(found) = cause.downcast_ref::<h2::Error>() {
            return Some(found);
        }
        source = cause.source();
    }
    None
}

/// Whether the server says that it took no notice of the call: it reset the stream as refused, or it is draining and the stream
/// is above the last that it will look at (RFC 9113 §6.8, §8.7).
fn is_refusal(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| {
        let reason = error.reason();
        let refused = error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM);
        let draining = error.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (refused || draining)
    })
}
