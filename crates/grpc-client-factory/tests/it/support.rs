//! A small mesh: its CA, tonic's own server behind mutual TLS, and factories.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use grpc_client_factory::{Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Http3Mode, Profile, Target};
use identity::{CredentialSource, Credentials, ExpectedPeer, live_server_config};
use mesh_types::Endpoint;
use test_authority::Authority;
use test_rpc::EchoService;
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::Server;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Longest that anything may take before the test counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const SERVER: &str = "server";
pub(crate) const CLIENT: &str = "client";

pub(crate) fn says(text: &'static str) -> EchoRequest {
    EchoRequest { payload: Bytes::from_static(text.as_bytes()), ..EchoRequest::default() }
}

pub(crate) fn held() -> EchoRequest {
    EchoRequest { held: true, ..EchoRequest::default() }
}

/// Finds a port that nobody has, neither of TCP nor of UDP: a client's socket may have any.
pub(crate) async fn bind_both() -> io::Result<(TcpListener, UdpSocket)> {
    let mut taken = Vec::new();
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        match UdpSocket::bind(listener.local_addr()?).await {
            Ok(socket) => return Ok((listener, socket)),
            // Kept, so that the next is another.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && taken.len() < 16 => taken.push(listener),
            Err(error) => return Err(error),
        }
    }
}

/// tonic's own server, which nothing of ours but the TLS configuration has touched.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) echo: EchoService,
    accepted: Arc<AtomicUsize>,
    drains: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

impl Serving {
    pub(crate) async fn start(credentials: Arc<dyn CredentialSource>) -> Self {
        // UDP is free at its end, for what a test starts there or leaves out.
        let (listener, _udp) = bind_both().await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let echo = EchoService::default();
        let (accepted, drains) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, credentials, echo.clone(), Arc::clone(&accepted), drains.subscribe()));
        Self { address, echo, accepted, drains, _tasks: tasks }
    }

    /// Lets all connections end with their calls, by GOAWAY; new ones are accepted as before.
    pub(crate) fn drain(&self) {
        self.drains.send_modify(|drains| *drains += 1);
    }

    /// How many TCP connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.address.into()
    }

    pub(crate) fn target(&self) -> Target {
        Target::new(self.endpoint(), ExpectedPeer::Node(SERVER.parse().expect("a name")))
    }
}

async fn accept(
    listener: TcpListener,
    credentials: Arc<dyn CredentialSource>,
    echo: EchoService,
    accepted: Arc<AtomicUsize>,
    mut drains: watch::Receiver<u64>,
) {
    let acceptor = TlsAcceptor::from(live_server_config(credentials, &[b"h2"]));
    let mut tasks = JoinSet::new();
    let queue = Queue::default();
    loop {
        let incoming = stream::unfold(queue.clone(), |queue| async move {
            let connection = queue.pop().await;
            Some((Ok::<_, io::Error>(connection), queue))
        });
        let (drain, mut drained) = (drains.clone(), drains.clone());
        let server = Server::builder().add_service(
            EchoServer::new(echo.clone()).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20),
        );
        let seen = *drains.borrow_and_update();
        let is_later = move |count: &u64| *count > seen;
        tasks.spawn(async move {
            let mut drain = drain;
            let signal = async move { drop(drain.wait_for(is_later).await) };
            server.serve_with_incoming_shutdown(incoming, signal).await.expect("a server");
        });
        loop {
            tokio::select! {
                _ = drained.wait_for(is_later) => break,
                connection = listener.accept() => {
                    let (tcp, _) = connection.expect("a connection");
                    accepted.fetch_add(1, Ordering::SeqCst);
                    tcp.set_nodelay(true).expect("a socket");
                    tasks.spawn(greet(acceptor.clone(), tcp, queue.clone()));
                }
            }
        }
    }
}

/// Connections for whichever server takes them: what is accepted while one stops is served by the next.
#[derive(Clone, Default)]
struct Queue {
    connections: Arc<Mutex<VecDeque<TlsStream<TcpStream>>>>,
    more: Arc<Notify>,
}

impl Queue {
    fn push(&self, connection: TlsStream<TcpStream>) {
        self.connections.lock().expect("nobody panics with it").push_back(connection);
        self.more.notify_waiters();
    }

    async fn pop(&self) -> TlsStream<TcpStream> {
        loop {
            let mut more = std::pin::pin!(self.more.notified());
            more.as_mut().enable();
            if let Some(connection) = self.connections.lock().expect("nobody panics with it").pop_front() {
                return connection;
            }
            more.await;
        }
    }
}

/// Shakes hands. Who is refused gets the alert before the connection ends.
async fn greet(acceptor: TlsAcceptor, tcp: TcpStream, queue: Queue) {
    match acceptor.accept(tcp).into_fallible().await {
        Ok(tls) => queue.push(tls),
        Err((_, mut tcp)) => {
            drop(tcp.shutdown().await);
            let mut rest = [0; 4096];
            let read = async { while tcp.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {} };
            drop(timeout(Duration::from_secs(1), read).await);
        }
    }
}

/// The control-plane profile without HTTP/3 and without second attempts, changed.
pub(crate) fn profile(change: impl FnOnce(&mut Profile)) -> Profile {
    let mut profile = over_http2(Profile::control_plane());
    profile.retry.max_attempts = 1;
    change(&mut profile);
    profile
}

/// The profile, for tests that a machine may leave standing: no call fails because time has passed in which nobody could answer.
pub(crate) fn unhurried(mut profile: Profile) -> Profile {
    profile.head_timeout = Some(Duration::from_mins(2));
    profile
}

/// The profile, without HTTP/3.
pub(crate) fn over_http2(mut profile: Profile) -> Profile {
    profile.http3.mode = Http3Mode::Off;
    profile
}

/// Returns a factory that has the profile `test`, and the same once more as `other`.
pub(crate) fn factory(credentials: Arc<dyn CredentialSource>, profile: Profile) -> ClientFactory {
    let profiles = HashMap::from([("test".to_owned(), profile.clone()), ("other".to_owned(), profile)]);
    ClientFactory::new(credentials, FactoryOptions { profiles, ..FactoryOptions::default() }).expect("a factory")
}

pub(crate) fn channel(factory: &ClientFactory, target: &Target) -> Channel {
    factory.channel(target, "test").expect("a channel")
}

/// A server, and a factory of a client that both trust.
pub(crate) struct Pair {
    pub(crate) authority: Authority,
    pub(crate) serving: Serving,
    pub(crate) factory: ClientFactory,
}

impl Pair {
    /// A client that speaks HTTP/2 only, as the server does.
    pub(crate) async fn new() -> Self {
        Self::with(over_http2(Profile::control_plane())).await
    }

    pub(crate) async fn with(profile: Profile) -> Self {
        let authority = Authority::new().expect("a CA");
        let serving = Serving::start(credentials(&authority, SERVER)).await;
        let factory = factory(credentials(&authority, CLIENT), profile);
        Self { authority, serving, factory }
    }

    pub(crate) fn channel(&self) -> Channel {
        channel(&self.factory, &self.serving.target())
    }

    pub(crate) fn client(&self) -> EchoClient<Channel> {
        EchoClient::new(self.channel())
    }
}

pub(crate) fn credentials(authority: &Authority, node: &str) -> Arc<Credentials> {
    authority.credentials(node).expect("credentials")
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let met = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            while !condition() {
                ticks.tick().await;
            }
        };
        assert!(timeout(PATIENCE, met).await.is_ok(), "never met: the condition at {caller}");
    }
}
