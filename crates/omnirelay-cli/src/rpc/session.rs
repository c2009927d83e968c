//! The way to a listener that takes calls.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use dispatcher::{Code, Status};
use grpc_client_factory::{Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Profile, Target};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::ExpectedPeer;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service as _;

use crate::args::Global;
use crate::credentials;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::CliError;
use crate::rpc::answer::{Answer, Body, BoxError, CallError, read};
use crate::rpc::spec::{CallSpec, Wire};

/// Name of the one profile of our factory.
const PROFILE: &str = "cli";

/// The way to a listener that takes calls.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Over mutual TLS, by HTTP/3 or HTTP/2. All sessions share a connection.
    Mesh { channel: Box<Channel>, authority: String },
    /// Plain text to a listener of this machine. Each session has a connection.
    Local { endpoint: Endpoint },
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
    pub(crate) fn new(global: &Global, endpoint: &Endpoint, wire: Wire) -> Result<Self, CliError> {
        if endpoint.scheme == Scheme::Http {
            return Ok(Self::Local { endpoint: endpoint.clone() });
        }
        let own = credentials::load(global)?;
        let mut profile = Profile::data_plane();
        if wire == Wire::Http {
            // Its messages are no messages of gRPC: what stands where their lengths would must not be taken for one.
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
        let calling = async {
            let response = self.send(spec).await?;
            read(response, spec.wire, message).await
        };
        // Others keep the deadline, too, and what they say of it is worth a moment.
        let Ok(called) = timeout(spec.deadline + Duration::from_millis(250), calling).await else {
            // What is still to come on this connection would be taken for the next answer.
            self.link = None;
            let text = format!("no answer within {:?}", spec.deadline);
            return Err(CallError::Status(Status::new(Code::DeadlineExceeded, text)));
        };
        called
    }

    async fn send(&mut self, spec: &CallSpec) -> Result<Response<Body>, CallError> {
        match &mut self.way {
            Way::Mesh { channel, authority } => {
                let request = spec.request("https", authority).map(tonic::body::Body::new);
                let response = channel.call(request).await.map_err(|status| CallError::Status(status.into()))?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
            Way::Local { endpoint } => {
                let request = spec.request("http", &endpoint.authority());
                let failed = |source: BoxError| CallError::Way { at: endpoint.to_string(), source };
                let link = match self.link.take().filter(Link::is_open) {
                    Some(open) => open,
                    None => Link::connect(endpoint, spec.wire).await.map_err(failed)?,
                };
                let link = self.link.insert(link);
                let response = link.send(request).await.map_err(|error| failed(error.into()))?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
        }
    }
}

impl Link {
    async fn connect(endpoint: &Endpoint, wire: Wire) -> Result<Self, BoxError> {
        let addrs: Vec<SocketAddr> = lookup_host((endpoint.host.as_str(), endpoint.port)).await?.collect();
        if !addrs.iter().all(|addr| addr.ip().is_loopback()) {
            return Err(io::Error::other("plain http:// is for loopback addresses only").into());
        }
        let tcp = TcpStream::connect(addrs.as_slice()).await?;
        tcp.set_nodelay(true)?;
        let (io, mut driver) = (TokioIo::new(tcp), JoinSet::new());
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
