//! The way to a listener that takes calls.

use std::collections::HashMap;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use dispatcher::{Code, LocalEndpoint, Status};
use grpc_client_factory::{Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Profile, Target};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::ExpectedPeer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service as _;

use crate::args::Global;
use crate::credentials;
use crate::error::CliError;
use crate::rpc::answer::{Answer, Body, BoxError, CallError, read};
use crate::rpc::listener::Listener;
use crate::rpc::spec::{CallSpec, Wire};

/// Name of the one profile of our factory.
const PROFILE: &str = "cli";

/// The way to a listener that takes calls.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Over mutual TLS, by HTTP/3 or HTTP/2. All sessions share a connection.
    Mesh { channel: Box<Channel>, authority: String },
    /// Plain text to a listener of this machine. Each session has a connection.
    Local { endpoint: LocalEndpoint },
}

/// One caller at a time.
#[derive(Debug)]
pub(crate) struct Session {
    way: Way,
    link: Option<Link>,
}

/// A connection of our own, and the task that drives it, which ends with it.
#[derive(Debug)]
struct Link {
    sender: Sender,
    _driver: JoinSet<()>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Way {
    /// Loads the certificate if the listener wants one; opens nothing yet. Needs a runtime.
    pub(crate) fn new(global: &Global, listener: &Listener, wire: Wire) -> Result<Self, CliError> {
        let endpoint = match listener {
            Listener::Local(endpoint) => return Ok(Self::Local { endpoint: endpoint.clone() }),
            Listener::Node(endpoint) => endpoint,
        };
        let own = credentials::load(global)?;
        let mut profile = Profile::data_plane();
        if wire == Wire::Http {
            // All of an answer is one message there, however long its stream goes on.
            (profile.max_send_bytes, profile.max_receive_bytes) = (u32::MAX as usize, u32::MAX as usize);
        }
        let profiles = HashMap::from([(PROFILE.to_owned(), profile)]);
        let options = FactoryOptions { profiles, seed: process::id().into(), ..FactoryOptions::default() };
        let authority = endpoint.authority();
        let unusable = |source: BoxError| CliError::Listener { endpoint: endpoint.clone(), source };
        let at = authority.parse().map_err(|error: mesh_types::ParseEndpointError| unusable(error.into()))?;
        let factory = ClientFactory::new(Arc::new(own), options).map_err(|error| unusable(error.into()))?;
        let channel = factory.channel(&Target::new(at, ExpectedPeer::Member), PROFILE);
        let channel = Box::new(channel.map_err(|error| unusable(error.into()))?);
        Ok(Self::Mesh { channel, authority })
    }

    /// Begins a session; it connects when it calls.
    pub(crate) fn session(&self) -> Session {
        Session { way: self.clone(), link: None }
    }
}

impl Session {
    /// Makes one call, and hands on the messages of its answer as they come.
    ///
    /// # Cancel safety
    /// Dropping the future gives the call up.
    pub(crate) async fn call(&mut self, spec: &CallSpec, message: impl FnMut(Bytes)) -> Result<Answer, CallError> {
        // Others keep the deadline, too, and what they say of it is worth a moment.
        let limit = spec.deadline + Duration::from_millis(250);
        self.ask(spec.wire, limit, |scheme, authority| spec.request(scheme, authority), message).await
    }

    /// Gets the document at `path`.
    ///
    /// # Cancel safety
    /// Dropping the future gives it up.
    pub(crate) async fn get(&mut self, path: &'static str, limit: Duration) -> Result<Bytes, CallError> {
        let request = |scheme: &str, authority: &str| {
            let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
            let mut request = Request::new(Full::default());
            *request.uri_mut() = uri.expect("authorities are made of what a URI takes");
            let host = HeaderValue::from_str(authority).expect("an authority is visible ASCII");
            request.headers_mut().insert(HOST, host);
            request
        };
        let mut document = Bytes::new();
        self.ask(Wire::Http, limit, request, |body| document = body).await?;
        Ok(document)
    }

    async fn ask(
        &mut self,
        wire: Wire,
        limit: Duration,
        request: impl FnOnce(&str, &str) -> Request<Full<Bytes>>,
        message: impl FnMut(Bytes),
    ) -> Result<Answer, CallError> {
        let asking = async {
            let response = self.send(wire, request).await?;
            read(response, wire, message).await
        };
        let Ok(answer) = timeout(limit, asking).await else {
            // What is still to come on this connection would be taken for the next answer.
            self.link = None;
            return Err(CallError::Status(Status::new(Code::DeadlineExceeded, format!("no answer within {limit:?}"))));
        };
        answer
    }

    async fn send(
        &mut self,
        wire: Wire,
        request: impl FnOnce(&str, &str) -> Request<Full<Bytes>>,
    ) -> Result<Response<Body>, CallError> {
        match &mut self.way {
            Way::Mesh { channel, authority } => {
                let request = request("https", authority).map(tonic::body::Body::new);
                let response = channel.call(request).await.map_err(|status| CallError::Status(status.into()))?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
            Way::Local { endpoint } => {
                let failed = |source: BoxError| CallError::Way { at: endpoint.to_string(), source };
                let link = match self.link.take().filter(Link::is_open) {
                    Some(open) => open,
                    None => Link::connect(endpoint, wire).await.map_err(failed)?,
                };
                let link = self.link.insert(link);
                let response = link.send(request("http", &authority_of(endpoint))).await;
                let response = response.map_err(|error| failed(error.into()))?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
        }
    }
}

fn authority_of(endpoint: &LocalEndpoint) -> String {
    match endpoint {
        LocalEndpoint::Tcp(address) => address.to_string(),
        LocalEndpoint::Unix(_) => "localhost".to_owned(),
    }
}

impl Link {
    async fn connect(endpoint: &LocalEndpoint, wire: Wire) -> Result<Self, BoxError> {
        match endpoint {
            LocalEndpoint::Tcp(address) => {
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                Self::over(tcp, wire).await
            }
            LocalEndpoint::Unix(path) => Self::over(UnixStream::connect(path).await?, wire).await,
        }
    }

    async fn over<I>(io: I, wire: Wire) -> Result<Self, BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (io, mut driver) = (TokioIo::new(io), JoinSet::new());
        // Why a connection ends is told to its calls.
        let sender = match wire {
            Wire::Grpc => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                driver.spawn(async { drop(connection.await) });
                Sender::Http2(sender)
            }
            Wire::Http => {
                let (sender, connection) = http1::handshake(io).await?;
                driver.spawn(async { drop(connection.await) });
                Sender::Http1(sender)
            }
        };
        Ok(Self { sender, _driver: driver })
    }

    fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                // HTTP/1 has the path only; who is asked stands in the header.
                if let Some(path) = request.uri().path_and_query().cloned() {
                    *request.uri_mut() = path.into();
                }
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}
