//! A control endpoint in front of a node of the test, and a client that shows a certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use control_api::{Limits, Ports, Readiness, Security, Server, router};
use identity::Credentials;
use rustls::pki_types::ServerName;
use test_cluster::{Cluster, Node};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Failure, LIMIT};

/// A control endpoint that serves until it is dropped.
pub(crate) struct Control {
    address: SocketAddr,
    credentials: Arc<Credentials>,
    _shutdown: DropGuard,
    _server: JoinSet<()>,
}

impl Control {
    /// Serves what `node` sees, and what `metrics` renders, to whoever the cluster's authority certifies.
    pub(crate) async fn start(
        cluster: &Cluster,
        node: &Node,
        metrics: impl Fn() -> String + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let authority = cluster.authority();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let security =
            Security::MutualTls { credentials: authority.credentials(node.id().as_str())?, node_secret: None };
        let server = Server::bind(any_port, security, Limits::default()).await?;
        let members = Arc::new(node.handle().clone());
        let ports = Ports::new(members, Arc::new(metrics), Readiness::new("worker"));
        let (address, shutdown) = (server.local_addr(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(router(ports), shutdown.clone()));
        let credentials = authority.credentials("operator")?;
        Ok(Self { address, credentials, _shutdown: shutdown.drop_guard(), _server: tasks })
    }

    /// Asks for `path` over mutual TLS and returns the body of the answer, which must be 200.
    pub(crate) async fn get(&self, path: &str) -> Result<String, Failure> {
        let answer = timeout(LIMIT, self.talk(path)).await??;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without an end of its head")?;
        match head.starts_with("HTTP/1.1 200 ") {
            true => Ok(body.to_owned()),
            false => Err(answer.into()),
        }
    }

    async fn talk(&self, path: &str) -> Result<String, Failure> {
        let config = self.credentials.client_config(&[b"http/1.1"]);
        let tcp = TcpStream::connect(self.address).await?;
        let mut tls = TlsConnector::from(config).connect(ServerName::try_from("unused")?, tcp).await?;
        tls.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        tls.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}
