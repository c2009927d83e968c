//! The servers: tonic's own and ours, side by side in a process that serves one of them at a time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use identity::{Credentials, live_server_config};
use mesh_server::{CancellationToken, Options};
use test_authority::wall_clock;
use test_rpc::EchoService;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::{BoxError, observe};

/// Says that this process is to serve.
pub(crate) const FLAG: &str = "--serve";
/// Whom the servers' certificate names.
pub(crate) const NODE: &str = "server";
/// Variables that say what certificate the servers have.
pub(crate) const CERTIFICATE: &str = "RPC_BENCH_CERTIFICATE";
pub(crate) const KEY: &str = "RPC_BENCH_KEY";
pub(crate) const TRUST_BUNDLE: &str = "RPC_BENCH_TRUST_BUNDLE";

/// Says that metrics are kept and spans are made.
pub(crate) const OBSERVED: &str = "RPC_BENCH_OBSERVED";

/// Largest message either way.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes of one call that may be on their way: tonic's channel and server get what ours have by default.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all calls of a connection.
pub(crate) const CONNECTION_WINDOW: u32 = 256 << 20;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Prints where tonic's server, the same without TLS, and ours listen, and the port at which ours listens on all addresses; serves until the
/// standard input ends.
pub(crate) fn until_nobody_listens() -> Result<(), BoxError> {
    let runtime = crate::runtime()?;
    if std::env::var_os(OBSERVED).is_some() {
        observe::begin()?;
    }
    let credentials = Arc::new(credentials()?);
    let mut tasks = JoinSet::new();
    let (tonic, plain, mesh, anywhere) = runtime.block_on(async {
        let tonic = serve_tonic(Arc::clone(&credentials), &mut tasks).await?;
        let plain = serve_plain(&mut tasks).await?;
        let mesh = serve_mesh(HERE, Arc::clone(&credentials), &mut tasks)?;
        Ok::<_, BoxError>((tonic, plain, mesh, serve_mesh(Ipv4Addr::UNSPECIFIED, credentials, &mut tasks)?.port()))
    })?;
    println!("{tonic} {plain} {mesh} {anywhere}");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn credentials() -> Result<Credentials, BoxError> {
    let variable = |name: &str| std::env::var(name);
    let (certificate, key, bundle) = (variable(CERTIFICATE)?, variable(KEY)?, variable(TRUST_BUNDLE)?);
    Ok(Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), bundle.as_bytes(), wall_clock())?)
}

/// Starts tonic's own server behind the same TLS.
async fn serve_tonic(credentials: Arc<Credentials>, tasks: &mut JoinSet<()>) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((HERE, 0)).await?;
    let address = listener.local_addr()?;
    let tls = TlsAcceptor::from(live_server_config(credentials, &[b"h2"]));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let handshakes = incoming.map_ok(move |tcp| tls.accept(tcp)).try_buffer_unordered(64).boxed();
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(echo());
    tasks.spawn(async move { server.serve_with_incoming(handshakes).await.expect("serves until the process ends") });
    Ok(address)
}

/// Starts tonic's own server for what is on the same machine.
async fn serve_plain(tasks: &mut JoinSet<()>) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((HERE, 0)).await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(echo());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tasks.spawn(async move { server.serve_with_incoming(incoming).await.expect("serves until the process ends") });
    Ok(address)
}

fn echo() -> EchoServer<EchoService> {
    let echo = EchoServer::new(EchoService::default());
    echo.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn serve_mesh(at: Ipv4Addr, credentials: Arc<Credentials>, tasks: &mut JoinSet<()>) -> Result<SocketAddr, BoxError> {
    let server = mesh_server::Server::bind(Options { address: (at, 0).into(), ..Options::default() }, credentials)?;
    let address = server.local_addr();
    let routes = Routes::new(echo());
    tasks.spawn(async move {
        server.run(routes, CancellationToken::new()).await;
    });
    Ok(address)
}
