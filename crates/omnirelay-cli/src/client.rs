//! One request to the control API.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use grpc_client_factory::{
    Cause, Channel, ChannelFactory as _, ClientFactory, FactoryError, FactoryOptions, Http3Mode, Profile, Target,
    TlsFailure,
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use identity::{Credentials, ExpectedPeer, PeerRefused};
use serde_json::Value;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower_service::Service as _;

use crate::args::Global;
use crate::credentials;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{CliError, chain};

/// Most bytes of an answer that are read: a hundred times what 200 members need.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Name of the one profile of our factory.
const PROFILE: &str = "control";

/// Asks the control API of one node.
pub(crate) struct Client {
    endpoint: Endpoint,
    /// `None` for plain text to loopback.
    credentials: Option<Credentials>,
    /// The way to the node over mutual TLS, once it was needed.
    channel: OnceLock<Channel>,
    timeout: Duration,
}

/// What is asked of the control API; without a body where there is nothing to send.
struct Question<'a> {
    method: Method,
    path: &'a str,
    body: Bytes,
}

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("no answer from {endpoint} within {timeout:?}")]
    Timeout { endpoint: Endpoint, timeout: Duration },
    #[error("cannot resolve `{host}`")]
    Resolve { host: String, source: io::Error },
    #[error("`{host}` is not on this machine, and plain http:// is for loopback addresses only")]
    NotLoopback { host: String },
    #[error("nothing listens at {endpoint}")]
    Refused { endpoint: Endpoint, source: Cause },
    #[error("cannot connect to {endpoint}")]
    Connect { endpoint: Endpoint, source: Cause },
    #[error("TLS with {endpoint} failed")]
    Tls { endpoint: Endpoint, source: Cause },
    #[error("{endpoint} does not speak TLS")]
    NotTls { endpoint: Endpoint, source: Cause },
    #[error("the node at {endpoint} is not one of our mesh")]
    WrongNode { endpoint: Endpoint, source: Cause },
    #[error("cannot ask {endpoint}: {words}")]
    Failed { endpoint: Endpoint, words: String },
    #[error("{endpoint} closed the connection without an answer")]
    Closed { endpoint: Endpoint, source: hyper::Error },
    #[error("{endpoint} does not answer in HTTP")]
    Http { endpoint: Endpoint, source: hyper::Error },
    #[error("answer of {endpoint} is larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge { endpoint: Endpoint },
    #[error("answer of {endpoint} broke off")]
    BrokeOff { endpoint: Endpoint, source: Box<dyn Error + Send + Sync> },
    #[error("{endpoint} answered {status}: {message}")]
    Status { endpoint: Endpoint, status: StatusCode, message: String },
    #[error("answer of {endpoint} is not JSON")]
    NotJson { endpoint: Endpoint, source: serde_json::Error },
    #[error("answer of {endpoint} has no list `{field}`; it is not the control API of a node")]
    NotTheApi { endpoint: Endpoint, field: &'static str },
}

impl RequestError {
    /// Returns what to do about it.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Timeout { .. } => Some("is the node overloaded or a firewall between? --timeout sets the wait"),
            Self::Refused { .. } => Some("is the node running? --endpoint says where its control endpoint is"),
            Self::Resolve { .. } | Self::Connect { .. } | Self::Failed { .. } => {
                Some("--endpoint says where the node's control endpoint is")
            }
            Self::NotLoopback { .. } => Some("use https:// with --cert, --key and --ca"),
            Self::Tls { .. } | Self::WrongNode { .. } => {
                Some("do --cert, --key and --ca belong to this node's mesh, and are they still valid?")
            }
            Self::NotTls { .. } => Some("a development node may speak plain HTTP: try --endpoint http://…"),
            Self::Closed { .. } => Some("it may refuse our certificate (see --cert, --key, --ca): its log says why"),
            Self::Http { .. } => Some("does the node want https:// ? --endpoint says how to speak to it"),
            Self::TooLarge { .. }
            | Self::BrokeOff { .. }
            | Self::Status { .. }
            | Self::NotJson { .. }
            | Self::NotTheApi { .. } => None,
        }
    }
}

impl Client {
    /// Loads the certificate if the endpoint wants one; opens nothing yet.
    pub(crate) fn new(global: &Global) -> Result<Self, CliError> {
        let credentials = match global.endpoint.scheme {
            Scheme::Https => Some(credentials::load(global)?),
            Scheme::Http => None,
        };
        Ok(Self { endpoint: global.endpoint.clone(), credentials, channel: OnceLock::new(), timeout: global.timeout })
    }

    /// Returns the JSON document at `path`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, RequestError> {
        self.ask(Question { method: Method::GET, path, body: Bytes::new() }).await
    }

    /// Sends `document` to `path` and returns the JSON document that answers it.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the node may have done what it was asked or not.
    pub(crate) async fn post(&self, path: &str, document: &Value) -> Result<Value, RequestError> {
        self.ask(Question { method: Method::POST, path, body: document.to_string().into() }).await
    }

    async fn ask(&self, question: Question<'_>) -> Result<Value, RequestError> {
        let endpoint = self.endpoint.clone();
        let Ok(answer) = timeout(self.timeout, self.fetch(question)).await else {
            return Err(RequestError::Timeout { endpoint, timeout: self.timeout });
        };
        serde_json::from_slice(&answer?).map_err(|source| RequestError::NotJson { endpoint, source })
    }

    /// Returns the error for an answer that lacks the list `field`.
    pub(crate) fn not_the_api(&self, field: &'static str) -> RequestError {
        RequestError::NotTheApi { endpoint: self.endpoint.clone(), field }
    }

    async fn fetch(&self, question: Question<'_>) -> Result<Bytes, RequestError> {
        match &self.credentials {
            None => self.over_loopback(question).await,
            Some(credentials) => self.over_tls(credentials, question).await,
        }
    }

    fn request(&self, Question { method, path, body }: Question<'_>) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("omnirelay/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .expect("the path and the headers are made of checked parts")
    }

    async fn over_tls(&self, credentials: &Credentials, question: Question<'_>) -> Result<Bytes, RequestError> {
        let channel = match self.channel.get() {
            Some(channel) => channel,
            None => {
                let made = self.make_channel(credentials).map_err(|error| self.failed(&*error))?;
                self.channel.get_or_init(|| made)
            }
        };
        let request = self.request(question).map(tonic::body::Body::new);
        let response = channel.clone().call(request).await.map_err(|status| self.explain(&status))?;
        self.read(response).await
    }

    /// Makes the way to the node. HTTP/2 is all it takes: who asks once has nothing of HTTP/3, and a port that nobody listens at says
    /// so at once over TCP only.
    fn make_channel(&self, credentials: &Credentials) -> Result<Channel, Box<dyn Error>> {
        let mut profile = Profile::control_plane();
        profile.http3.mode = Http3Mode::Off;
        // Ours is for all of it.
        profile.head_timeout = None;
        profile.max_receive_bytes = MAX_ANSWER_BYTES;
        let profiles = HashMap::from([(PROFILE.to_owned(), profile)]);
        let options = FactoryOptions { profiles, seed: process::id().into(), ..FactoryOptions::default() };
        let factory = ClientFactory::new(Arc::new(credentials.clone()), options)?;
        let target = Target::new(self.endpoint.authority().parse()?, ExpectedPeer::Member);
        Ok(factory.channel(&target, PROFILE)?)
    }

    async fn connect(&self) -> Result<TcpStream, RequestError> {
        let Endpoint { scheme, host, port } = &self.endpoint;
        let resolve = |source| RequestError::Resolve { host: host.clone(), source };
        let addrs: Vec<SocketAddr> = lookup_host((host.as_str(), *port)).await.map_err(resolve)?.collect();
        if *scheme == Scheme::Http && !addrs.iter().all(|addr| addr.ip().is_loopback()) {
            return Err(RequestError::NotLoopback { host: host.clone() });
        }
        let failed = |source: io::Error| self.unconnected(Arc::new(source));
        let tcp = TcpStream::connect(addrs.as_slice()).await.map_err(failed)?;
        // The request follows the end of the handshake: Nagle's algorithm would hold it back for 40 ms.
        tcp.set_nodelay(true).map_err(failed)?;
        Ok(tcp)
    }

    async fn over_loopback(&self, question: Question<'_>) -> Result<Bytes, RequestError> {
        let io = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::handshake(io).await.map_err(|source| self.http_error(source))?;
        let mut request = self.request(question);
        let host = self.endpoint.authority().parse().expect("an authority is a header value");
        request.headers_mut().insert(HOST, host);
        let answer = async {
            let response = sender.send_request(request).await.map_err(|source| self.http_error(source))?;
            self.read(response).await
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answered = answer.as_mut() => answered,
            // The connection is through: what it read lies ready, and its error comes with the answer.
            _ended = connection => answer.await,
        }
    }

    async fn read<B>(&self, response: Response<B>) -> Result<Bytes, RequestError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|source| self.body_error(source))?.to_bytes();
        if status == StatusCode::OK { Ok(body) } else { Err(self.status_error(status, &body)) }
    }

    fn unconnected(&self, source: Cause) -> RequestError {
        let endpoint = self.endpoint.clone();
        match source.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => RequestError::Refused { endpoint, source },
            _ => RequestError::Connect { endpoint, source },
        }
    }

    fn failed(&self, error: &(dyn Error + 'static)) -> RequestError {
        RequestError::Failed { endpoint: self.endpoint.clone(), words: chain(error) }
    }

    /// Says why the factory's call has failed.
    fn explain(&self, status: &tonic::Status) -> RequestError {
        match FactoryError::of(status) {
            Some(FactoryError::Tls(failure)) => self.tls_error(failure),
            Some(FactoryError::Connect { source, .. }) => self.unconnected(Arc::clone(source)),
            Some(error) => self.failed(error),
            None => self.failed(status),
        }
    }

    fn tls_error(&self, failure: &TlsFailure) -> RequestError {
        let (endpoint, source) = (self.endpoint.clone(), Arc::clone(&failure.source));
        match source.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidMessage(_)) => RequestError::NotTls { endpoint, source },
            None if source.is::<PeerRefused>() => RequestError::WrongNode { endpoint, source },
            _ => RequestError::Tls { endpoint, source },
        }
    }

    fn http_error(&self, error: hyper::Error) -> RequestError {
        let endpoint = self.endpoint.clone();
        if error.is_parse() || spoke_first(&error) {
            RequestError::Http { endpoint, source: error }
        } else {
            RequestError::Closed { endpoint, source: error }
        }
    }

    fn body_error(&self, source: Box<dyn Error + Send + Sync>) -> RequestError {
        let endpoint = self.endpoint.clone();
        if source.is::<LengthLimitError>() {
            RequestError::TooLarge { endpoint }
        } else {
            RequestError::BrokeOff { endpoint, source }
        }
    }

    fn status_error(&self, status: StatusCode, body: &[u8]) -> RequestError {
        // An answer in another form is shown as it is, in part.
        let message = serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|body| body.pointer("/error/message").and_then(Value::as_str).map(str::to_owned))
            .unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(200).collect());
        RequestError::Status { endpoint: self.endpoint.clone(), status, message: crate::table::printable(&message) }
    }
}

/// Whether something came before we asked: hyper then cancels the request and names its own error as cause.
fn spoke_first(error: &hyper::Error) -> bool {
    let lost = causes(error).any(|cause| cause.is::<io::Error>());
    error.is_canceled() && !lost && error.source().is_some_and(|cause| cause.is::<hyper::Error>())
}

/// Returns the error itself and all its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}
