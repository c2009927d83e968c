//! A running server, and what it is asked with.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use identity::{Credentials, SharedCredentials};
use mesh_server::{CancellationToken, DrainReport, Handle, Inflight, Options, PeerIdentity, Server};
use test_authority::Authority;
use test_rpc::EchoService;
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::util::BoxCloneService;

use crate::http3_client::Http3Client;
use crate::tcp_client;

pub(crate) type Outcome = Result<(), BoxError>;
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
/// What carries calls, whichever protocol it speaks.
pub(crate) type Channel = BoxCloneService<http::Request<Body>, http::Response<Body>, Status>;

/// A server that runs.
type Running = Pin<Box<dyn Future<Output = DrainReport> + Send>>;

/// Messages may be this large.
pub(crate) const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// How a client calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// tonic's own channel.
    Tonic,
    /// HTTP/2 without tonic, which keeps deadlines by itself.
    Http2,
    Http3,
}

/// A server with the echo service at its paths, and `/who`, which says who calls.
pub(crate) struct Served {
    pub(crate) authority: Authority,
    pub(crate) credentials: Arc<SharedCredentials>,
    pub(crate) echo: EchoService,
    pub(crate) handle: Handle,
    pub(crate) shutdown: CancellationToken,
    /// Counts the calls if it was started so.
    pub(crate) inflight: Inflight,
    running: JoinSet<DrainReport>,
}

impl Served {
    pub(crate) fn start() -> Result<Self, BoxError> {
        Self::start_with(options())
    }

    pub(crate) fn start_with(options: Options) -> Result<Self, BoxError> {
        Self::start_as(options, |server, router, _inflight, shutdown| Box::pin(server.run(router, shutdown)))
    }

    pub(crate) fn start_guarded(options: Options) -> Result<Self, BoxError> {
        let run = |server: Server, router, inflight: &Inflight, shutdown| -> Running {
            Box::pin(server.run(inflight.guard(router), shutdown))
        };
        Self::start_as(options, run)
    }

    fn start_as(
        options: Options,
        run: impl FnOnce(Server, Router, &Inflight, CancellationToken) -> Running,
    ) -> Result<Self, BoxError> {
        let authority = Authority::new()?;
        let credentials = Arc::new(SharedCredentials::new((*authority.credentials("server")?).clone()));
        let server = Server::bind(options, Arc::clone(&credentials) as _)?;
        let (handle, echo, shutdown) = (server.handle(), EchoService::default(), CancellationToken::new());
        let service = EchoServer::new(echo.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        let router = Routes::new(service).into_axum_router().route("/who", get(who));
        let router = router.route("/never", get(std::future::pending::<()>)).route("/thread", get(thread));
        let mut running = JoinSet::new();
        let inflight = Inflight::new();
        running.spawn(run(server, router, &inflight, shutdown.clone()));
        Ok(Self { authority, credentials, echo, handle, shutdown, inflight, running })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    pub(crate) fn origin(&self) -> Result<http::Uri, BoxError> {
        Ok(format!("https://{}", self.address()).parse()?)
    }

    pub(crate) async fn client(&self, by: By) -> Result<EchoClient<Channel>, BoxError> {
        self.client_of(by, &*self.authority.credentials("client")?).await
    }

    pub(crate) async fn client_of(&self, by: By, credentials: &Credentials) -> Result<EchoClient<Channel>, BoxError> {
        let channel = self.channel(by, credentials).await?;
        let client = EchoClient::with_origin(channel, self.origin()?);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES).max_encoding_message_size(MESSAGE_BYTES))
    }

    pub(crate) async fn channel(&self, by: By, credentials: &Credentials) -> Result<Channel, BoxError> {
        Ok(match by {
            By::Tonic => tcp_client::tonic(self.address(), credentials).await?,
            By::Http2 => tcp_client::http2(self.address(), credentials).await?,
            By::Http3 => Channel::new(Http3Client::connect(self.address(), credentials).await?),
        })
    }

    /// Waits until as many connections are open.
    pub(crate) async fn wait_for_connections(&self, count: usize) {
        within("connections", async {
            while self.handle.connections().len() != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Tells the server to stop, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<DrainReport, BoxError> {
        self.shutdown.cancel();
        Ok(within("the end", self.running.join_next()).await.ok_or("it has ended before")??)
    }
}

async fn who(Extension(peer): Extension<PeerIdentity>) -> String {
    format!("{} by {}", peer.spiffe_id().node(), peer.protocol().as_str())
}

async fn thread() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

pub(crate) fn options() -> Options {
    Options { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), udp_buffer_bytes: 128 * 1024, ..Options::default() }
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let came = timeout(LIMIT, future).await;
    came.unwrap_or_else(|elapsed| unreachable!("waited for {what} in vain: {elapsed}"))
}

pub(crate) fn says(text: &'static str) -> EchoRequest {
    EchoRequest { payload: Bytes::from_static(text.as_bytes()), ..EchoRequest::default() }
}

pub(crate) fn held() -> EchoRequest {
    EchoRequest { held: true, ..says("held") }
}
