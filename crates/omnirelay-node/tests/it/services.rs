//! Applications that call each other by name, each through the node beside it.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bootstrap::{DevCa, Validity};
use dispatcher::LocalListener;
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
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

use crate::process::{TestResult, line_with, node, send, within_limit};

type BoxError = Box<dyn Error + Send + Sync>;

/// An application that serves `test_rpc`.
pub(crate) struct App {
    pub(crate) echo: EchoService,
    address: String,
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

    async fn start(&mut self, name: &str, role: &str, more: &str) -> Result<Node, Box<dyn Error>> {
        let id = format!("spiffe://mesh.example/cluster/alpha/role/{role}/node/{name}").parse()?;
        self.ca.issue_files(&id, self.validity, self.path())?;
        let seed = self.seed.as_ref().map(|seed| format!("mesh.gossip.seedPeers = ['{seed}']")).unwrap_or_default();
        let text = format!(
            "mesh.gossip.bindAddress = '127.0.0.1'\nmesh.gossip.port = 0\nmesh.gossip.profile = 'fast'\n\
             control.enabled = false\nrpc.address = '127.0.0.1:0'\n{seed}\n{more}\n\
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
        let services = format!("rpc.services = {{ 'omnirelay.test.v1.Echo' = '{}' }}", app.address);
        self.start(name, "worker", &services).await
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

/// Callers that go on until they are told to stop.
struct Load {
    done: Arc<AtomicUsize>,
    stop: CancellationToken,
    callers: JoinSet<Result<(), BoxError>>,
}

impl Load {
    fn start(client: &EchoClient<Channel>, is_idempotent: bool) -> Self {
        let (done, stop, mut callers) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new(), JoinSet::new());
        for _ in 0..8 {
            let (mut client, done, stop) = (client.clone(), Arc::clone(&done), stop.clone());
            callers.spawn(async move {
                while !stop.is_cancelled() {
                    client.unary(says("a", is_idempotent)).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { done, stop, callers }
    }

    /// Waits until so many more calls have been answered.
    async fn more(&self, count: usize) -> TestResult {
        let (wanted, mut ticks) = (self.done.load(Ordering::Relaxed) + count, interval(Duration::from_millis(5)));
        let answered = async {
            // A caller that has failed has ended.
            while self.done.load(Ordering::Relaxed) < wanted && !self.callers.is_empty() {
                ticks.tick().await;
            }
        };
        within_limit(answered).await
    }

    /// Ends the load; fails if a call has.
    async fn end(mut self) -> TestResult {
        self.stop.cancel();
        while let Some(ended) = within_limit(self.callers.join_next()).await? {
            ended?.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_application_reaches_another_by_name_and_a_killed_node_costs_no_idempotent_call() -> TestResult {
    let (app, other, mut mesh) = (App::start().await?, App::start().await?, Mesh::new()?);
    let (_node, socket) = mesh.dispatcher("dispatcher").await?;
    let mut workers = [mesh.worker("node-b", &app).await?, mesh.worker("node-c", &other).await?];
    let mut client = client(socket).await?;
    until_all_answer(&mut client, &[&app, &other]).await?;
    let load = Load::start(&client, true);
    load.more(200).await?;
    workers[0].process.kill().await?;
    load.more(400).await?;
    load.end().await
}

#[tokio::test]
async fn a_node_that_is_stopped_under_load_costs_no_call() -> TestResult {
    let (app, other, mut mesh) = (App::start().await?, App::start().await?, Mesh::new()?);
    let (_node, socket) = mesh.dispatcher("gateway").await?;
    let mut workers = [mesh.worker("node-b", &app).await?, mesh.worker("node-c", &other).await?];
    let mut client = client(socket).await?;
    until_all_answer(&mut client, &[&app, &other]).await?;
    let load = Load::start(&client, false);
    load.more(200).await?;
    send(&workers[0].process, Signal::SIGTERM)?;
    load.more(200).await?;
    assert_eq!(within_limit(workers[0].process.wait()).await??.code(), Some(0));
    load.more(200).await?;
    load.end().await
}

#[tokio::test]
async fn a_worker_takes_no_calls_of_applications() -> TestResult {
    let mut mesh = Mesh::new()?;
    let Err(error) = mesh.dispatcher("worker").await else { return Err("it has started".into()) };
    assert!(error.to_string().contains("never came"), "{error}");
    Ok(())
}
