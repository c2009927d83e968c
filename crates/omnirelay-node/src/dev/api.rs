//! Asks a node's control API for its members.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use identity::Credentials;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Longest wait for an answer of a process on the same machine.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Why a node gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("server is refused")]
    Identity(#[source] identity::PeerRefused),
    #[error("request failed")]
    Http(#[from] hyper::Error),
    #[error("request cannot be written")]
    Request(#[from] http::Error),
    #[error("answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("answered with status {0}")]
    Status(StatusCode),
    #[error("answer is not a list of members")]
    Json(#[from] serde_json::Error),
}

/// The control API of one node, over one connection that is kept.
#[derive(Debug)]
pub(crate) struct Api {
    address: SocketAddr,
    credentials: Option<Arc<Credentials>>,
    link: Option<Link>,
}

/// An open connection and the task that drives it; the task ends with it.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Empty<Bytes>>,
    _driver: JoinSet<()>,
}

/// What a node says of one member.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    pub(crate) node_id: String,
    pub(crate) status: String,
    /// The exact word behind `status`.
    pub(crate) state: Option<String>,
}

/// What a node says of all members, itself first.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) members: Vec<Member>,
    /// The same, as the node wrote them.
    pub(crate) documents: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Document {
    peers: Vec<Box<RawValue>>,
}

impl Api {
    /// Makes the client; `credentials` if the node asks for them.
    pub(crate) const fn new(address: SocketAddr, credentials: Option<Arc<Credentials>>) -> Self {
        Self { address, credentials, link: None }
    }

    /// Asks for the members.
    pub(crate) async fn members(&mut self) -> Result<Answer, ApiError> {
        // A failed connection is not used again: it may hold half an answer.
        let mut link = self.link.take();
        let answer = timeout(TIMEOUT, self.ask(&mut link)).await.unwrap_or(Err(ApiError::Timeout))?;
        self.link = link;
        let documents = serde_json::from_slice::<Document>(&answer)?.peers;
        let members =
            documents.iter().map(|document| serde_json::from_str(document.get())).collect::<Result<_, _>>()?;
        Ok(Answer { members, documents })
    }

    async fn ask(&self, link: &mut Option<Link>) -> Result<Bytes, ApiError> {
        let link = match link.take().filter(|link| !link.sender.is_closed()) {
            Some(open) => link.insert(open),
            None => link.insert(self.connect().await?),
        };
        link.sender.ready().await?;
        let request = Request::get("/control/peers").header(HOST, self.address.to_string()).body(Empty::new())?;
        let answer = link.sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(ApiError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(ApiError::Body)?;
        Ok(body.to_bytes())
    }

    async fn connect(&self) -> Result<Link, ApiError> {
        let tcp = TcpStream::connect(self.address).await.map_err(ApiError::Connect)?;
        tcp.set_nodelay(true).map_err(ApiError::Connect)?;
        let Some(credentials) = &self.credentials else { return drive(tcp).await };
        let name = ServerName::from(self.address.ip());
        let connector = TlsConnector::from(credentials.client_config(&[b"http/1.1"]));
        let tls = connector.connect(name, tcp).await.map_err(ApiError::Connect)?;
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        credentials.verify_peer(chain).map_err(ApiError::Identity)?;
        drive(tls).await
    }
}

async fn drive(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Link, ApiError> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a control API failed");
        }
    });
    Ok(Link { sender, _driver: driver })
}

impl Answer {
    /// Returns how many members are alive.
    pub(crate) fn alive(&self) -> usize {
        self.members.iter().filter(|member| member.status == "Alive").count()
    }
}

impl Member {
    /// Returns the exact state, in the words of the API.
    pub(crate) fn word(&self) -> &str {
        self.state.as_deref().unwrap_or(&self.status)
    }
}
