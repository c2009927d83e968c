//! A server over HTTP/3 of its own, no larger than it takes to see what clients do.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h3::error::Code;
use h3::frame::FrameStream;
use h3::server::RequestStream;
use h3::stream::BufRecvStream;
use h3_transport::{QuicOptions, RecvStream, Stream};
use http::Request;
use http_body::{Body, Frame};
use identity::{CredentialSource, live_server_config};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime};
use test_rpc::EchoService;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::codegen::Service;

/// A server over HTTP/3. Dropped, it is gone without a word.
pub(crate) struct Quic {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    drains: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

impl Quic {
    pub(crate) fn start(address: SocketAddr, credentials: Arc<dyn CredentialSource>, echo: EchoService) -> Self {
        let crypto = QuicServerConfig::try_from(live_server_config(credentials, &[b"h3"])).expect("TLS 1.3");
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(QuicOptions::default().transport_config()));
        let socket = std::net::UdpSocket::bind(address).expect("the port of TCP");
        let bound = socket.local_addr().expect("an address");
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime));
        let (accepted, drains) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(endpoint.expect("an endpoint"), echo, Arc::clone(&accepted), drains.clone()));
        Self { address: bound, accepted, drains, _tasks: tasks }
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Lets all connections end with their calls, by GOAWAY; new ones are accepted as before.
    pub(crate) fn drain(&self) {
        self.drains.send_modify(|drains| *drains += 1);
    }
}

async fn accept(endpoint: Endpoint, echo: EchoService, accepted: Arc<AtomicUsize>, drains: watch::Sender<u64>) {
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        accepted.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(incoming, echo.clone(), drains.subscribe()));
    }
}

async fn serve(incoming: Incoming, echo: EchoService, mut drains: watch::Receiver<u64>) {
    let Ok(quic) = incoming.await else { return };
    let transport = h3_transport::Connection::server(quic);
    let Ok(mut connection) = h3::server::Connection::<_, Bytes>::new(transport).await else { return };
    let mut calls = JoinSet::new();
    let mut is_draining = false;
    loop {
        let stream = tokio::select! {
            accepted = poll_fn(|cx| connection.poll_accept_request_stream(cx)) => match accepted {
                Ok(Some(stream)) => stream,
                Ok(None) | Err(_) => return,
            },
            _ = drains.changed(), if !is_draining => {
                is_draining = true;
                connection.shutdown(1).await.expect("a GOAWAY");
                continue;
            }
        };
        if is_draining {
            stream.reject(Code::H3_REQUEST_REJECTED);
            continue;
        }
        let stopped = stream.when_stopped();
        let request = connection.create_resolver(FrameStream::new(BufRecvStream::new(stream)));
        let echo = echo.clone();
        calls.spawn(async move {
            let Ok((head, both)) = request.resolve_request().await else { return };
            tokio::select! {
                () = answer(head, both, echo) => {}
                _ = stopped => {}
            }
        });
    }
}

async fn answer(asked: Request<()>, stream: RequestStream<Stream, Bytes>, echo: EchoService) {
    let (mut sending, receiving) = stream.split();
    let mut service = EchoServer::new(echo).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
    let request = asked.map(|()| tonic::body::Body::new(Incoming3 { receiving, is_over: false }));
    let answered: Result<_, Infallible> = service.call(request).await;
    let (head, mut body) = answered.expect("tonic's services answer").into_parts();
    let sent = async {
        sending.send_response(http::Response::from_parts(head, ())).await?;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.into_data() {
                Ok(data) => sending.send_data(data).await?,
                Err(frame) => sending.send_trailers(frame.into_trailers().expect("trailers")).await?,
            }
        }
        sending.finish().await
    };
    drop(pin!(sent).await);
}

struct Incoming3 {
    receiving: RequestStream<RecvStream, Bytes>,
    is_over: bool,
}

impl Body for Incoming3 {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let data = ready!(self.receiving.poll_recv_data(cx)).map_err(|error| Status::cancelled(error.to_string()))?;
        self.is_over = data.is_none();
        Poll::Ready(data.map(|mut data| Ok(Frame::data(data.copy_to_bytes(data.remaining())))))
    }
}

/// Carries packets between one client and a server, until it is told to swallow those of the client.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    swallows: Arc<AtomicBool>,
    moves: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Wire {
    pub(crate) async fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let near = UdpSocket::bind(from).await.expect("the port of TCP");
        let address = near.local_addr().expect("an address");
        let (swallows, moves) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(carry(near, to, Arc::clone(&swallows), Arc::clone(&moves)));
        Self { address, swallows, moves, _tasks: tasks }
    }

    /// Lets the client's packets come from another port from now on, as a NAT does that has forgotten it.
    pub(crate) fn move_on(&self) {
        self.moves.notify_one();
    }

    /// Loses what the client sends from now on. What the server sends still arrives.
    pub(crate) fn swallow(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }

    /// Carries them again.
    pub(crate) fn carry(&self) {
        self.swallows.store(false, Ordering::SeqCst);
    }
}

async fn towards(to: SocketAddr) -> UdpSocket {
    let far = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    far.connect(to).await.expect("loopback");
    far
}

async fn carry(near: UdpSocket, to: SocketAddr, swallows: Arc<AtomicBool>, moves: Arc<Notify>) {
    let mut far = towards(to).await;
    let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((bytes, from)) = near.recv_from(&mut there) => {
                client = Some(from);
                if !swallows.load(Ordering::SeqCst) {
                    drop(far.send(&there[..bytes]).await);
                }
            }
            () = moves.notified() => {
                // Bound while the old one is still there: a port of its own.
                far = towards(to).await;
            }
            Ok(bytes) = far.recv(&mut back) => {
                if let Some(client) = client {
                    drop(near.send_to(&back[..bytes], client).await);
                }
            }
        }
    }
}
