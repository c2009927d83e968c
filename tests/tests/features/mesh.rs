//! A mesh of real nodes on loopback, and people with certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use identity::{CertificateFiles, Credentials};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tempfile::TempDir;
use test_authority::{Authority, Holder, wall_clock};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};
use tokio_rustls::TlsConnector;

use crate::application::{Application, SERVICE};
use crate::process::{Run, command, node_binary, within_limit};
use crate::view::Members;
use crate::{Failure, Outcome};

/// Whoever may change things.
pub(crate) const OPERATOR: &str = "olga";
/// Whoever may look, and call what is open to the mesh.
pub(crate) const VISITOR: &str = "victor";

/// A folder with certificates, and the nodes that were started there.
pub(crate) struct Mesh {
    folder: TempDir,
    authority: Authority,
    seed: Option<SocketAddr>,
}

/// A running node. Dropped, it is killed.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) process: Child,
    pub(crate) control: SocketAddr,
    /// Where it takes calls of the mesh.
    pub(crate) rpc: SocketAddr,
    /// Where it takes calls of applications beside it.
    pub(crate) local: Option<String>,
    /// Held so that the node can go on writing.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    /// Asks it to end in order.
    pub(crate) fn stop(&self) -> Outcome {
        let pid = self.process.id().ok_or("it has ended before")?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?)
    }
}

impl Mesh {
    /// Makes certificates for an operator and a visitor; no node runs yet.
    pub(crate) fn new() -> Result<Self, Failure> {
        let mesh = Self { folder: TempDir::new()?, authority: Authority::new()?, seed: None };
        fs::write(mesh.path().join("ca.pem"), mesh.authority.trust_bundle_pem())?;
        mesh.issue(OPERATOR, "operator")?;
        mesh.issue(VISITOR, "worker")?;
        Ok(mesh)
    }

    /// Starts the usual mesh: a dispatcher, a gateway, and a worker beside each application.
    pub(crate) async fn start(applications: &[&Application]) -> Result<(Self, Vec<Node>), Failure> {
        let mut mesh = Self::new()?;
        let mut nodes = Vec::new();
        for role in ["dispatcher", "gateway"] {
            let local = format!("rpc.local = 'unix:{}'", mesh.path().join(role).with_extension("sock").display());
            nodes.push(mesh.node(role, role, &local).await?);
        }
        for (number, application) in applications.iter().enumerate() {
            nodes.push(mesh.worker(&format!("worker-{number}"), application).await?);
        }
        let all: Vec<_> = nodes.iter().collect();
        let count = u64::try_from(all.len())?;
        mesh.seen_by_one(&all, &Members::of(&[("alive", count)], &[("active", count)])).await?;
        Ok((mesh, nodes))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn issue(&self, name: &str, role: &str) -> Result<(), Failure> {
        let issued = self.authority.issue(&Holder { role: role.to_owned(), ..Holder::new(name) })?;
        fs::write(self.path().join(format!("{name}.pem")), issued.certificate_pem())?;
        fs::write(self.path().join(format!("{name}.key")), issued.key_pem())?;
        Ok(())
    }

    pub(crate) async fn worker(&mut self, name: &str, beside: &Application) -> Result<Node, Failure> {
        self.node(name, "worker", &format!("rpc.services = {{ '{SERVICE}' = 'http://{}' }}", beside.address)).await
    }

    /// Writes the configuration of a node with this role in its certificate, and returns the name of the file.
    pub(crate) fn configure(&self, name: &str, role: &str, more: &str) -> Result<String, Failure> {
        self.issue(name, role)?;
        let seed = self.seed.map(|seed| format!("mesh.gossip.seedPeers = ['{seed}']")).unwrap_or_default();
        let text = format!(
            "mesh.gossip.bindAddress = '127.0.0.1'\nmesh.gossip.port = 0\nmesh.gossip.profile = 'fast'\n\
             control.address = '127.0.0.1:0'\nrpc.address = '127.0.0.1:0'\n{seed}\n{more}\n\
             mesh.gossip.tls = {{ certificate = '{name}.pem', key = '{name}.key', trustBundle = 'ca.pem' }}\n"
        );
        let file = format!("{name}.toml");
        fs::write(self.path().join(&file), text)?;
        Ok(file)
    }

    /// Starts a node, and waits until it is ready.
    pub(crate) async fn node(&mut self, name: &str, role: &str, more: &str) -> Result<Node, Failure> {
        let file = self.configure(name, role, more)?;
        let mut command = command(&node_binary()?, self.path());
        let log = fs::File::create(self.log(name))?;
        command.args(["run", "--events", "jsonl", "--config", &file]).stderr(Stdio::from(log));
        let mut process = command.spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no stdout")?).lines();
        let first = within_limit(&format!("{name} is ready"), lines.next_line()).await??;
        let first = first.ok_or_else(|| format!("{name} has ended: {}", self.logged(name)))?;
        let ready: Value = serde_json::from_str(&first)?;
        let address = |what: &str| ready[what].as_str().ok_or_else(|| format!("{name} has no {what}: {first}"));
        let (gossip, control, rpc) = (address("gossip")?, address("control")?.parse()?, address("rpc")?.parse()?);
        self.seed.get_or_insert(gossip.parse()?);
        let local = ready["local"].as_str().map(str::to_owned);
        Ok(Node { name: name.to_owned(), process, control, rpc, local, _lines: lines })
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.log"))
    }

    /// Returns what a node has logged so far.
    pub(crate) fn logged(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_else(|error| format!("no log: {error}"))
    }

    /// Runs the command line tool as `who`, at the control endpoint of `node`.
    pub(crate) async fn cli(&self, who: &str, node: &Node, args: &[&str]) -> Result<Run, Failure> {
        let tool = node_binary()?.with_file_name("omnirelay");
        let mut command = command(&tool, self.path());
        command.env("OMNIRELAY_ENDPOINT", format!("https://{}", node.control));
        for (variable, file) in [("CERT", format!("{who}.pem")), ("KEY", format!("{who}.key")), ("CA", "ca.pem".into())]
        {
            command.env(format!("OMNIRELAY_{variable}"), file);
        }
        command.args(args);
        Run::of(command).await
    }

    /// Runs it as the operator, and returns what it prints.
    pub(crate) async fn operate(&self, node: &Node, args: &[&str]) -> Result<String, Failure> {
        let run = self.cli(OPERATOR, node, args).await?;
        run.done().map_err(|error| format!("`omnirelay {}`: {error}", args.join(" ")).into())
    }

    /// Asks the control endpoint of a node as `who`; returns status and body.
    pub(crate) async fn ask(&self, who: &str, node: &Node, request: &str) -> Result<(u16, String), Failure> {
        let config = self.credentials(who)?.client_config(&[b"http/1.1"]);
        let tcp = TcpStream::connect(node.control).await?;
        let mut tls = TlsConnector::from(config).connect(ServerName::try_from("unused")?, tcp).await?;
        tls.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        within_limit(request, tls.read_to_string(&mut answer)).await??;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without an end of its head")?;
        let status = head.split(' ').nth(1).ok_or("no status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// Returns what the control endpoint of a node has at `path`.
    pub(crate) async fn get(&self, node: &Node, path: &str) -> Result<(u16, String), Failure> {
        self.ask(VISITOR, node, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await
    }

    /// Returns the document that it has there.
    pub(crate) async fn document(&self, node: &Node, path: &str) -> Result<Value, Failure> {
        Ok(serde_json::from_str(&self.get(node, path).await?.1)?)
    }

    /// Posts a document to it, and returns status and answer.
    pub(crate) async fn post(&self, who: &str, node: &Node, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, answer) = self.ask(who, node, &request).await?;
        Ok((status, serde_json::from_str(&answer)?))
    }

    pub(crate) fn credentials(&self, who: &str) -> Result<Arc<Credentials>, Failure> {
        let file = |ending: &str| self.path().join(format!("{who}.{ending}"));
        let files =
            CertificateFiles { certificate: file("pem"), key: file("key"), trust_bundle: self.path().join("ca.pem") };
        Ok(Arc::new(Credentials::load(&files, wall_clock())?))
    }
}
