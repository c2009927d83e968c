//! A process that serves.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::HeaderValue;
use identity::{
    CertificateFiles, CredentialSource as _, FileCredentials, FileOptions, SharedCredentials, live_server_config,
};
use mesh_server::{
    CancellationToken, DrainReport, Http2Options, NodeSecret, Options, PeerIdentity, QuicOptions, Server,
};
use test_authority::wall_clock;
use test_rpc::EchoService;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use crate::certificates::BUNDLE;

/// Header of a request: which call it is.
pub(crate) const CALL: &str = "call";
/// Header of an answer: by which protocol the request came.
pub(crate) const BY: &str = "by";

/// Calls that one connection may have under way.
pub(crate) const STREAMS: u32 = 4_096;

const MESSAGE_BYTES: usize = 16 << 20;

/// A secret of the node that outlives the process. It protects nothing here.
const SECRET: [u8; 32] = [7; 32];

/// How often it is looked whether there are new certificates.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// mesh-server.
    Ours,
    /// tonic's own.
    Tonic,
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "ours" => Ok(Self::Ours),
            "tonic" => Ok(Self::Tonic),
            _ => bail!("a server is `ours` or `tonic`, not `{text}`"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Tonic => "tonic",
        })
    }
}

/// Which calls have been executed.
#[derive(Debug, Clone, Default)]
struct Executed(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    names: HashSet<Vec<u8>>,
    twice: u64,
}

impl Executed {
    fn note(&self, call: &[u8]) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.twice += u64::from(!calls.names.insert(call.to_owned()));
    }

    fn twice(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).twice
    }
}

/// What commands are about.
struct Serving {
    echo: EchoService,
    executed: Executed,
    credentials: Arc<SharedCredentials>,
    shutdown: CancellationToken,
    running: JoinSet<DrainReport>,
    /// tonic's own.
    others: JoinSet<()>,
}

/// Serves at `address` and, if `count` is more than one, at those that follow it; prints `KIND at ADDRESS` and then an answer to
/// each command, until the standard input ends.
pub(crate) async fn run(kind: Kind, address: SocketAddr, count: u8, folder: &Path) -> anyhow::Result<()> {
    let file = |ending: &str| folder.join(format!("server.{ending}"));
    let paths = CertificateFiles { certificate: file("pem"), key: file("key"), trust_bundle: folder.join(BUNDLE) };
    let options = FileOptions { look_every: LOOK_EVERY, ..FileOptions::new(paths) };
    let files = FileCredentials::load(options, wall_clock())?;
    let credentials = files.source();
    let mut watching = JoinSet::new();
    watching.spawn(files.run());
    let (echo, executed, shutdown) = (EchoService::default(), Executed::default(), CancellationToken::new());
    let mut serving =
        Serving { echo, executed, credentials, shutdown, running: JoinSet::new(), others: JoinSet::new() };
    let (mut at, mut first) = (address, None);
    for _ in 0..count {
        let bound = match kind {
            Kind::Ours => serving.start(at)?,
            Kind::Tonic => serving.start_tonic(at).await?,
        };
        first.get_or_insert(bound);
        at = next(bound)?;
    }
    println!("{kind} at {}", first.context("there is nothing to serve")?);
    let mut commands = BufReader::new(stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        println!("{}", serving.obey(&command).await.with_context(|| format!("cannot obey `{command}`"))?);
    }
    Ok(())
}

/// Returns the address that follows this one, at the same port.
pub(crate) fn next(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let IpAddr::V4(ip) = address.ip() else { bail!("{address} is not of IPv4") };
    Ok(SocketAddr::from(((u32::from(ip) + 1).to_be_bytes(), address.port())))
}

impl Serving {
    fn service(&self) -> EchoServer<EchoService> {
        EchoServer::new(self.echo.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
    }

    fn start(&mut self, address: SocketAddr) -> anyhow::Result<SocketAddr> {
        let options = Options {
            address,
            node_secret: Some(NodeSecret::new(&SECRET)),
            quic: Some(QuicOptions { max_streams: STREAMS, ..QuicOptions::default() }),
            http2: Http2Options { max_streams: STREAMS, ..Http2Options::default() },
            // 200 of them in one process.
            udp_buffer_bytes: 512 * 1024,
            ..Options::default()
        };
        let server = Server::bind(options, Arc::clone(&self.credentials) as _)?;
        let bound = server.local_addr();
        let router = Routes::new(self.service()).into_axum_router();
        let router = router.layer(from_fn_with_state(self.executed.clone(), note));
        self.running.spawn(server.run(router, self.shutdown.clone()));
        Ok(bound)
    }

    async fn start_tonic(&mut self, address: SocketAddr) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        let tls = TlsAcceptor::from(live_server_config(Arc::clone(&self.credentials) as _, &[b"h2"]));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let handshakes = incoming.map_ok(move |tcp| tls.accept(tcp)).try_buffer_unordered(64).boxed();
        let server = tonic::transport::Server::builder().add_service(self.service());
        self.others.spawn(async move {
            server.serve_with_incoming(handshakes).await.expect("it serves until the process ends");
        });
        Ok(bound)
    }

    async fn obey(&mut self, command: &str) -> anyhow::Result<String> {
        let (word, number) = command.split_once(' ').unwrap_or((command, "0"));
        let number: u64 = number.parse()?;
        match word {
            "running" => drop(self.echo.wait_for(|calls| calls.running() >= number).await),
            "dropped" => drop(self.echo.wait_for(|calls| calls.dropped >= number).await),
            "release" => self.echo.release(),
            "drain" => self.shutdown.cancel(),
            "ended" => {
                let report = self.running.join_next().await.context("no server runs")??;
                ensure!(self.running.is_empty(), "there were several servers");
                return Ok(format!("{} cut off", report.cut_off));
            }
            "serial" => return Ok(self.credentials.current().serial()),
            "calls" => return Ok(self.echo.calls().begun.to_string()),
            "twice" => return Ok(self.executed.twice().to_string()),
            _ => bail!("no such command"),
        }
        Ok("done".to_owned())
    }
}

/// Notes which call it is, and says by which protocol it came.
async fn note(State(executed): State<Executed>, request: Request, next: Next) -> Response {
    let by = request.extensions().get::<PeerIdentity>().map(|peer| peer.protocol().as_str());
    if let Some(call) = request.headers().get(CALL) {
        executed.note(call.as_bytes());
    }
    let mut response = next.run(request).await;
    if let Some(by) = by {
        response.headers_mut().insert(BY, HeaderValue::from_static(by));
    }
    response
}
