//! Nodes as processes of their own, applications beside them, and callers.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bootstrap::{DevCa, Validity};
use dispatcher::LocalListener;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use test_rpc::EchoService;
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};

use crate::process::{TestResult, line_with, node, within_limit};

/// An application that serves `test_rpc`.
pub(crate) struct App {
    pub(crate) echo: EchoService,
    pub(crate) address: String,
    _running: JoinSet<()>,
}

impl App {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let loopback: SocketAddr = "127.0.0.1:0".parse()?;
        let listener = LocalListener::bind(dispatcher::LocalEndpoint::Tcp(loopback)).await?;
        let (echo, address, mut running) = (EchoService::default(), listener.endpoint().to_string(), JoinSet::new());
        let routes = Routes::new(EchoServer::new(echo.clone()));
        running.spawn(listener.run(routes, Duration::ZERO, CancellationToken::new()));
        Ok(Self { echo, address, _running: running })
    }

    /// Returns what the configuration of a node says that serves it.
    pub(crate) fn served(&self) -> String {
        format!("rpc.services = {{ 'omnirelay.test.v1.Echo' = '{}' }}", self.address)
    }
}

/// A node's process, and what it says where it listens.
pub(crate) struct Node {
    pub(crate) process: Child,
    pub(crate) ready: Value,
    /// Held so that the node can go on writing.
    _lines: Lines<BufReader<ChildStdout>>,
}

/// A folder with certificates, and the nodes that were started there.
pub(crate) struct Mesh {
    dir: TempDir,
    ca: DevCa,
    validity: Validity,
    seed: Option<String>,
}

impl Mesh {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        #[expect(clippy::disallowed_methods, reason = "the nodes under test read the clock of the system")]
        let validity = Validity::starting(SystemTime::now(), Duration::from_secs(3600));
        Ok(Self { dir: TempDir::new()?, ca: DevCa::generate("mesh.example", validity)?, validity, seed: None })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a certificate.
    pub(crate) fn issue(&self, name: &str, role: &str) -> TestResult {
        let id = format!("spiffe://mesh.example/cluster/alpha/role/{role}/node/{name}").parse()?;
        self.ca.issue_files(&id, self.validity, self.path())?;
        Ok(())
    }

    /// Starts a node with `more` in its configuration.
    pub(crate) async fn start(&mut self, name: &str, role: &str, more: &str) -> Result<Node, Box<dyn Error>> {
        self.issue(name, role)?;
        let control = if more.contains("control.") { "" } else { "control.enabled = false" };
        let seed = self.seed.as_ref().map(|seed| format!("mesh.gossip.seedPeers = ['{seed}']")).unwrap_or_default();
        let text = format!(
            "mesh.gossip.bindAddress = '127.0.0.1'\nmesh.gossip.port = 0\nmesh.gossip.profile = 'fast'\n\
             {control}\nrpc.address = '127.0.0.1:0'\n{seed}\n{more}\n\
             mesh.gossip.tls = {{ certificate = '{name}.pem', key = '{name}.key', trustBundle = 'ca.pem' }}\n"
        );
        let file = format!("{name}.toml");
        std::fs::write(self.path().join(&file), text)?;
        let mut process = node(self.path(), &["run", "--events", "jsonl", "--config", &file]).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no stdout")?).lines();
        let ready: Value = serde_json::from_str(&line_with(&mut lines, "\"ready\"").await?)?;
        self.seed.get_or_insert(ready["gossip"].as_str().ok_or("no gossip")?.to_owned());
        Ok(Node { process, ready, _lines: lines })
    }

    /// Starts a node where an application calls, and returns the socket.
    pub(crate) async fn dispatcher(&mut self, role: &str) -> Result<(Node, PathBuf), Box<dyn Error>> {
        let socket = self.path().join("node.sock");
        let node = self.start("node-a", role, &format!("rpc.local = 'unix:{}'", socket.display())).await?;
        assert_eq!(node.ready["local"], format!("unix:{}", socket.display()));
        Ok((node, socket))
    }

    pub(crate) async fn worker(&mut self, name: &str, app: &App) -> Result<Node, Box<dyn Error>> {
        self.start(name, "worker", &app.served()).await
    }
}

pub(crate) async fn client(socket: PathBuf) -> Result<EchoClient<Channel>, Box<dyn Error>> {
    let connect = tower::service_fn(move |_uri| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    Ok(EchoClient::new(Endpoint::from_static("http://own-node").connect_with_connector(connect).await?))
}

pub(crate) fn says(text: &'static str, is_idempotent: bool) -> tonic::Request<EchoRequest> {
    let mut request = tonic::Request::new(EchoRequest { payload: text.into(), ..EchoRequest::default() });
    if is_idempotent {
        request.metadata_mut().insert("rpc-idempotent", MetadataValue::from_static("true"));
    }
    request
}

/// Calls until each of `apps` has answered: the news of a service takes its time.
pub(crate) async fn until_all_answer(client: &mut EchoClient<Channel>, apps: &[&App]) -> TestResult {
    let mut ticks = interval(Duration::from_millis(10));
    let calls = async {
        while apps.iter().any(|app| app.echo.calls().ended == 0) {
            ticks.tick().await;
            // Whoever is not known yet does not answer.
            drop(client.unary(says("a", false)).await);
        }
    };
    within_limit(calls).await
}
