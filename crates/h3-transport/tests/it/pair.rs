//! Two ends of one connection over loopback.

use std::error::Error;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use h3::client::SendRequest;
use h3::frame::FrameStream;
use h3::stream::BufRecvStream;
use h3_transport::{Connection, Opener, QuicOptions, RecvStream, SendStream, Stream, WhenStopped};
use identity::Credentials;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use test_authority::Authority;
use tokio::task::JoinSet;

pub(crate) type Outcome = Result<(), Box<dyn Error>>;
pub(crate) type Client = SendRequest<Opener, Bytes>;
pub(crate) type ClientStream = h3::client::RequestStream<Stream, Bytes>;
pub(crate) type ServerStream = h3::server::RequestStream<Stream, Bytes>;
pub(crate) type Sender = h3::server::RequestStream<SendStream, Bytes>;
pub(crate) type Receiver = h3::server::RequestStream<RecvStream, Bytes>;

const ALPN: &[&[u8]] = &[b"h3"];

/// A client and a server that have connected.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: h3::server::Connection<Connection, Bytes>,
    /// Of the client.
    pub(crate) quic: quinn::Connection,
    _drivers: JoinSet<()>,
    _endpoints: [Endpoint; 2],
}

impl Pair {
    pub(crate) async fn connect(options: &QuicOptions) -> Result<Self, Box<dyn Error>> {
        let authority = Authority::new()?;
        let server = listen(any_port(), EndpointConfig::default(), &*authority.credentials("server")?, options)?;
        let client = dialler(&*authority.credentials("client")?, options)?;
        let accepted = async { Ok::<_, Box<dyn Error>>(server.accept().await.ok_or("the endpoint is closed")?.await?) };
        let dialled = async { Ok(client.connect(server.local_addr()?, "mesh")?.await?) };
        let (accepted, quic) = tokio::try_join!(accepted, dialled)?;
        let serving = h3::server::Connection::new(Connection::server(accepted)).await?;
        let (mut driver, requests) = h3::client::new(Connection::client(quic.clone())).await?;
        let mut drivers = JoinSet::new();
        drivers.spawn(async move {
            // However the connection ends, the tests see it at what they do with it.
            drop(driver.wait_idle().await);
        });
        Ok(Self { client: requests, server: serving, quic, _drivers: drivers, _endpoints: [server, client] })
    }

    /// Sends a request without a body, which stays open to be answered, and takes it in.
    pub(crate) async fn request(&mut self) -> Result<(ClientStream, ServerStream, WhenStopped), Box<dyn Error>> {
        let mut asking = self.client.send_request(http::Request::post("https://mesh/").body(())?).await?;
        asking.finish().await?;
        let accepted = poll_fn(|cx| self.server.poll_accept_request_stream(cx)).await?;
        let accepted = accepted.ok_or("the connection is closed")?;
        let stopped = accepted.when_stopped();
        let resolver = self.server.create_resolver(FrameStream::new(BufRecvStream::new(accepted)));
        let (_, answering) = resolver.resolve_request().await?;
        Ok((asking, answering, stopped))
    }
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(crate) fn listen(
    address: SocketAddr,
    config: EndpointConfig,
    credentials: &Credentials,
    options: &QuicOptions,
) -> Result<Endpoint, Box<dyn Error>> {
    let tls = QuicServerConfig::try_from(credentials.server_config(ALPN))?;
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    server.transport_config(Arc::new(options.transport_config()));
    let socket = h3_transport::bind_udp(address, 256 * 1024)?;
    Ok(Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime))?)
}

pub(crate) fn dialler(credentials: &Credentials, options: &QuicOptions) -> Result<Endpoint, Box<dyn Error>> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(credentials.client_config(ALPN))?));
    config.transport_config(Arc::new(options.transport_config()));
    let mut endpoint = Endpoint::client(any_port())?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

pub(crate) async fn answer(stream: &mut ServerStream, body: Bytes) -> Outcome {
    stream.send_response(http::Response::new(())).await?;
    stream.send_data(body).await?;
    Ok(stream.finish().await?)
}

/// Takes the answer in, and returns its body.
pub(crate) async fn body_of(stream: &mut ClientStream) -> Result<Bytes, h3::error::StreamError> {
    stream.recv_response().await?;
    let mut body = BytesMut::new();
    while let Some(mut data) = stream.recv_data().await? {
        body.extend(data.copy_to_bytes(data.remaining()));
    }
    Ok(body.freeze())
}
