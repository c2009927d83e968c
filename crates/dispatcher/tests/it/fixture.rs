//! A front on loopback, and what it is called with.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dispatcher::{Body, Call, Forward, Forwarded, Front, ServiceName, Status};
use futures_util::future::BoxFuture;
use grpc_client_factory::{Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Http3Mode, Target};
use identity::ExpectedPeer;
use mesh_server::{CancellationToken, DrainReport, Options, Server};
use mesh_types::Endpoint;
use test_authority::Authority;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};
use tower::ServiceExt as _;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type Outcome = Result<(), BoxError>;
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A front that a server of the mesh serves.
pub(crate) struct Served {
    authority: Authority,
    address: SocketAddr,
    factory: ClientFactory,
    shutdown: CancellationToken,
    running: JoinSet<DrainReport>,
}

impl Served {
    pub(crate) fn start(front: Front) -> Result<Self, BoxError> {
        let authority = Authority::new()?;
        let options = Options {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            udp_buffer_bytes: 128 * 1024,
            ..Options::default()
        };
        let server = Server::bind(options, authority.credentials("server")?)?;
        let (address, shutdown) = (server.local_addr(), CancellationToken::new());
        let mut running = JoinSet::new();
        running.spawn(server.run(front, shutdown.clone()));
        let factory = ClientFactory::new(authority.credentials("client")?, FactoryOptions::default())?;
        Ok(Self { authority, address, factory, shutdown, running })
    }

    /// Returns a channel that speaks only what `mode` says.
    pub(crate) fn channel(&self, mode: Http3Mode) -> Result<Channel, BoxError> {
        let endpoint: Endpoint = self.address.to_string().parse()?;
        self.factory.set_http3(&endpoint, Some(mode))?;
        let target = Target::new(endpoint, ExpectedPeer::Node("server".parse()?));
        Ok(self.factory.channel(&target, FactoryOptions::DATA_PLANE)?)
    }

    /// Makes a call of one message over HTTP/3, by the way out that embedders have.
    pub(crate) async fn ask(&self, call: Call) -> Result<Result<Bytes, Status>, BoxError> {
        let by = Forwarded::new(Arc::new(Through(self.channel(Http3Mode::Only)?)), 1024);
        let reply = within("an answer", by.oneshot(call)).await;
        Ok(match reply {
            Ok(reply) => reply.messages.only().await,
            Err(status) => Err(status),
        })
    }

    /// Returns a connection for this protocol.
    pub(crate) async fn tls(&self, protocol: &[u8]) -> Result<TlsStream<TcpStream>, BoxError> {
        let config = self.authority.credentials("client")?.client_config(&[protocol]);
        let tcp = TcpStream::connect(self.address).await?;
        Ok(TlsConnector::from(config).connect("mesh".try_into()?, tcp).await?)
    }

    /// Returns a WebSocket to `path`, with these headers.
    pub(crate) async fn websocket(
        &self,
        path: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<Socket, BoxError> {
        let tls = self.tls(b"http/1.1").await?;
        let mut request = format!("wss://mesh{path}").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, http::HeaderValue::from_static(value));
        }
        let (socket, _response) = Box::pin(within("the handshake", client_async(request, tls))).await?;
        Ok(socket)
    }

    pub(crate) async fn stop(mut self) -> Outcome {
        self.factory.close(Duration::ZERO).await;
        self.shutdown.cancel();
        within("the end", self.running.join_next()).await.ok_or("it has ended before")??;
        Ok(())
    }
}

/// A way out over a channel of the factory.
#[derive(Debug)]
struct Through(Channel);

impl Forward for Through {
    fn knows(&self, _service: &ServiceName) -> bool {
        true
    }

    fn forward(
        &self,
        _service: &ServiceName,
        request: http::Request<Body>,
    ) -> BoxFuture<'static, http::Response<Body>> {
        let channel = self.0.clone();
        Box::pin(async move {
            match channel.oneshot(request).await {
                Ok(response) => response.map(Body::new),
                Err(status) => status.into_http(),
            }
        })
    }
}

/// A way out that leads to another front in this process.
#[derive(Debug)]
pub(crate) struct To(pub(crate) Front, pub(crate) ServiceName);

impl Forward for To {
    fn knows(&self, service: &ServiceName) -> bool {
        *service == self.1
    }

    fn forward(
        &self,
        _service: &ServiceName,
        request: http::Request<Body>,
    ) -> BoxFuture<'static, http::Response<Body>> {
        let front = self.0.clone();
        Box::pin(async move {
            let Ok(response) = front.oneshot(request).await;
            response
        })
    }
}

/// Returns a front that leads all calls of `service` to `front`.
pub(crate) fn forwarding(front: Front, service: &str) -> Front {
    let to = To(front, service.parse().expect("a name"));
    Front::builder(dispatcher::Dispatcher::default()).forward(Arc::new(to)).build()
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let came = timeout(LIMIT, future).await;
    came.unwrap_or_else(|elapsed| unreachable!("waited for {what} in vain: {elapsed}"))
}
