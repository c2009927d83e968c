//! Connections over HTTP/3.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h3::ConnectionState as _;
use h3::client::{RequestStream, SendRequest};
use h3::error::StreamError;
use h3_transport::{Opener, RecvStream, SendStream};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use identity::Credentials;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, VarInt};
use rustls::pki_types::CertificateDer;

use crate::error::{Cause, FactoryError};
use crate::eyeballs::connect_first;
use crate::http2::Unanswered;
use crate::profile::Http3Options;
use crate::request_body::RequestBody;
use crate::target::{Protocol, Target};
use crate::tasks::{Pump, Tasks};
use crate::tls_failure::TlsFailure;
use crate::udp::{NO_ERROR, Udp};

const ALPN: &[u8] = b"h3";
const PROTOCOL: Protocol = Protocol::Http3;

/// Most bytes of a head, as HTTP counts them.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// A connection over HTTP/3. h3 closes it when the last sender is dropped, streams included: whoever has a call under way holds it.
pub(crate) struct Http3 {
    connection: quinn::Connection,
    sender: SendRequest<Opener, Bytes>,
    tasks: Weak<Tasks>,
    /// Why the server is not trusted any more.
    condemned: OnceLock<rustls::Error>,
}

/// What a handshake has brought.
pub(crate) struct Dialled<D> {
    pub(crate) http3: Http3,
    /// The certificates that the server has shown.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Runs the connection; resolves to why it has ended.
    pub(crate) driver: D,
}

/// Connects to one of `addresses`, checks who answers, and speaks HTTP/3.
pub(crate) async fn dial(
    target: &Target,
    addresses: &[SocketAddr],
    options: &Http3Options,
    credentials: &Credentials,
    (udp, tasks): (&Udp, Weak<Tasks>),
) -> Result<Dialled<impl Future<Output = Cause> + Send + 'static>, FactoryError> {
    let connection = connect(target, addresses, client_config(target, options, credentials)?, (udp, &tasks)).await?;
    let chain = chain_of(&connection);
    if let Err(refusal) = credentials.verify_expected(&target.peer, &chain) {
        connection.close(VarInt::from_u32(NO_ERROR), b"another peer was expected");
        return Err(TlsFailure::of_identity(target, PROTOCOL, refusal).into());
    }
    let transport = h3_transport::Connection::client(connection.clone());
    let built = h3::client::builder().max_field_section_size(HEAD_BYTES_MAX).send_grease(false).build(transport).await;
    let (mut driver, sender) = built.map_err(|error| ended(target, &connection, Arc::new(error)))?;
    let driver = async move { Arc::new(poll_fn(|cx| driver.poll_close(cx)).await) as Cause };
    let http3 = Http3 { connection, sender, tasks, condemned: OnceLock::new() };
    Ok(Dialled { http3, chain, driver })
}

fn client_config(
    target: &Target,
    options: &Http3Options,
    credentials: &Credentials,
) -> Result<ClientConfig, FactoryError> {
    let tls = credentials.client_config_for(&target.peer, &[ALPN]);
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| failed(target, Arc::new(error)))?;
    let mut transport = options.quic.transport_config();
    // HTTP/3 has no streams of both directions that a server opens.
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

async fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    config: ClientConfig,
    (udp, tasks): (&Udp, &Weak<Tasks>),
) -> Result<quinn::Connection, FactoryError> {
    let connect = |address| {
        let config = config.clone();
        async move {
            let endpoint = udp.endpoint(address, tasks).map_err(|error| failed(target, Arc::new(error)))?;
            let refused = udp.refused(address);
            let connecting = endpoint.connect_with(config, address, target.peer.server_name());
            let connecting = connecting.map_err(|error| failed(target, Arc::new(error)))?;
            let connected = tokio::select! {
                connected = connecting => connected,
                () = refused => {
                    return Err(failed(target, Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused))));
                }
            };
            connected.map_err(|error| match TlsFailure::of_quic(target, &error) {
                Some(failure) => failure.into(),
                None => failed(target, Arc::new(error)),
            })
        }
    };
    let nowhere = || Err(failed(target, Arc::new(io::Error::from(io::ErrorKind::AddrNotAvailable))));
    connect_first(addresses, connect).await.unwrap_or_else(nowhere)
}

fn chain_of(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let identity =
        connection.peer_identity().and_then(|identity| identity.downcast().map_or(None, |chain| Some(*chain)));
    identity.unwrap_or_default()
}

fn failed(target: &Target, source: Cause) -> FactoryError {
    FactoryError::Connect { endpoint: target.endpoint.clone(), protocol: PROTOCOL, source }
}

/// Says what the end of a connection means.
fn ended(target: &Target, connection: &quinn::Connection, source: Cause) -> FactoryError {
    let reason = connection.close_reason();
    if let Some(failure) = reason.as_ref().and_then(|reason| TlsFailure::of_quic(target, reason)) {
        return failure.into();
    }
    let source = reason.map_or(source, |reason| Arc::new(reason) as Cause);
    FactoryError::Lost { endpoint: target.endpoint.clone(), protocol: PROTOCOL, source }
}

impl Http3 {
    /// Returns whether no call can begin: the connection has ended, or the server has said that it will.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closing() || self.connection.close_reason().is_some()
    }

    /// Returns where the server is.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Returns the round-trip time, and how many packets were sent.
    pub(crate) fn progress(&self) -> (Duration, u64) {
        let stats = self.connection.stats();
        (stats.path.rtt, stats.udp_tx.datagrams)
    }

    /// Ends the connection and the calls on it.
    pub(crate) fn cut(&self) {
        self.connection.close(VarInt::from_u32(NO_ERROR), b"given up");
    }

    /// Ends the connection and the calls on it, which are told that the server is not trusted any more.
    pub(crate) fn condemn(&self, error: rustls::Error) {
        self.condemned.get_or_init(|| error);
        self.cut();
    }

    /// # Cancel safety
    /// Dropping the future takes the call back: the server is told.
    pub(crate) async fn send(
        &self,
        target: &Target,
        request: Request<RequestBody>,
    ) -> Result<Response<Answer>, Unanswered> {
        let (parts, body) = request.into_parts();
        // One sender a call: h3 wants it for itself, and it is a handful of reference counts.
        let stream = match self.sender.clone().send_request(Request::from_parts(parts, ())).await {
            Ok(stream) => stream,
            Err(StreamError::HeaderTooBig { actual_size: bytes, max_size: limit }) => {
                return Err(Unanswered::Failed(FactoryError::TooLarge { bytes, limit, done: "sent" }));
            }
            // Without the whole head, the server has nothing to execute.
            Err(error) => {
                let error = self.explain(target, error);
                return Err(Unanswered::Unsent(Box::new(body), error));
            }
        };
        let (sending, mut receiving) = stream.split();
        // A caller that sends a stream may wait for the answer to its beginning.
        let pump = Pump::begin(&self.tasks, send_all(sending, body)).await;
        let head = receiving.recv_response().await.map_err(|error| self.unanswered(target, error))?;
        Ok(head.map(|()| Answer { receiving, pump, has_ended: false }))
    }

    fn unanswered(&self, target: &Target, error: StreamError) -> Unanswered {
        if let StreamError::RemoteTerminate { code } = error
            && code == h3::error::Code::H3_REQUEST_REJECTED
        {
            let (endpoint, protocol) = (target.endpoint.clone(), PROTOCOL);
            return Unanswered::Refused(FactoryError::Refused { endpoint, protocol });
        }
        Unanswered::Failed(self.explain(target, error))
    }

    /// Says what an error of a stream means.
    pub(crate) fn explain(&self, target: &Target, error: StreamError) -> FactoryError {
        if let Some(tls) = self.condemned.get() {
            return TlsFailure::of_tls(target, PROTOCOL, tls.clone()).into();
        }
        match error {
            StreamError::RemoteTerminate { code } | StreamError::StreamError { code, .. } => {
                FactoryError::Reset { endpoint: target.endpoint.clone(), protocol: PROTOCOL, code: code.value() }
            }
            StreamError::HeaderTooBig { actual_size: bytes, max_size: limit } => {
                FactoryError::TooLarge { bytes, limit, done: "received" }
            }
            error => ended(target, &self.connection, Arc::new(error)),
        }
    }

    /// Says what the end of the connection means.
    pub(crate) fn explain_end(&self, target: &Target, cause: Cause) -> FactoryError {
        if let Some(tls) = self.condemned.get() {
            return TlsFailure::of_tls(target, PROTOCOL, tls.clone()).into();
        }
        ended(target, &self.connection, cause)
    }
}

/// Sends a body to its end. That the server wants no more of it is no error here: its answer says why.
async fn send_all(mut sending: RequestStream<SendStream, Bytes>, mut body: RequestBody) {
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let sent = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => sending.send_data(data).await,
                Err(_trailers) => Ok(()), // gRPC has none in requests
            },
            // Dropped before its end, the stream is reset, and the body keeps what was wrong with it.
            Some(Err(_status)) => return,
            None => {
                let finished = sending.finish().await;
                trace_failure(finished);
                return;
            }
        };
        if sent.is_err() {
            trace_failure(sent);
            return;
        }
    }
}

fn trace_failure(sent: Result<(), StreamError>) {
    if let Err(error) = sent {
        tracing::trace!(error = %error, "the server took no more of a request");
    }
}

/// The rest of an answer.
pub(crate) struct Answer {
    receiving: RequestStream<RecvStream, Bytes>,
    pump: Option<Pump>,
    has_ended: bool,
}

impl Answer {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match ready!(self.receiving.poll_recv_data(cx)) {
            Ok(Some(mut data)) => return Poll::Ready(Some(Ok(Frame::data(data.copy_to_bytes(data.remaining()))))),
            Ok(None) => {}
            Err(error) => return Poll::Ready(Some(Err(error))),
        }
        let trailers = ready!(self.receiving.poll_recv_trailers(cx));
        self.has_ended = true;
        self.pump = None;
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pump, has_ended, .. } = self;
        f.debug_struct("Answer").field("pump", pump).field("has_ended", has_ended).finish_non_exhaustive()
    }
}

impl fmt::Debug for Http3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http3").field("connection", &self.connection.stable_id()).finish_non_exhaustive()
    }
}
