//! The side that dials: resolve, handshake, identity, hello.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use identity::{PeerRefused, RefusalReason};
use mesh_proto::MAX_HELLO_BYTES;
use mesh_types::{Endpoint, NodeId};
use quinn::{ConnectError, Connection, ConnectionError, ReadError, ReadToEndError, WriteError};
use tokio::net::lookup_host;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::close::{Close, close, refused_by_other, tls_reason};
use crate::link::{self, Began, NewLink, Report, peer_of};
use crate::tls::Tls;

/// TLS wants a name; who the other side is stands in its certificate's SPIFFE ID, which is checked instead.
const SERVER_NAME: &str = "omnirelay";

/// What is dialled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A member: nobody else will do.
    Peer(NodeId),
    /// A seed: whoever listens there.
    Seed(Endpoint),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(node) => fmt::Display::fmt(node, f),
            Self::Seed(endpoint) => fmt::Display::fmt(endpoint, f),
        }
    }
}

/// Everything a dial needs.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) tls: Arc<Tls>,
    pub(crate) target: Target,
    pub(crate) address: Endpoint,
    pub(crate) hello: Bytes,
    pub(crate) patience: Duration,
    pub(crate) reports: mpsc::Sender<Report>,
}

/// Why a dial came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("cannot resolve `{address}`")]
    Resolve { address: Endpoint, source: io::Error },
    #[error("`{address}` has no address")]
    NoAddress { address: Endpoint },
    #[error("cannot dial")]
    Connect(#[from] ConnectError),
    #[error("no answer in time")]
    Timeout,
    #[error("connection failed")]
    Connection(#[from] ConnectionError),
    #[error("its identity is not acceptable")]
    Identity(#[from] PeerRefused),
    #[error("it is `{found}`, not `{expected}`")]
    WrongNode { expected: NodeId, found: NodeId },
    #[error("cannot send the hello")]
    Write(#[from] WriteError),
    #[error("cannot end the hello")]
    Finish(#[from] quinn::ClosedStream),
    #[error("cannot read the answer to the hello")]
    Read(#[from] ReadToEndError),
    #[error("its answer to the hello is not acceptable")]
    Hello(#[from] membership::HelloError),
    #[error("the link is not wanted any more")]
    Unwanted,
}

impl DialError {
    /// Returns the error of the connection, if it was that which failed.
    fn connection(&self) -> Option<&ConnectionError> {
        match self {
            Self::Connection(error)
            | Self::Write(WriteError::ConnectionLost(error))
            | Self::Read(ReadToEndError::Read(ReadError::ConnectionLost(error))) => Some(error),
            _ => None,
        }
    }

    /// Returns why the other side refuses this node for its certificate, if it does.
    pub(crate) fn refused_by_other(&self) -> Option<RefusalReason> {
        refused_by_other(self.connection()?)
    }

    /// Returns the outcome as a metric label.
    pub(crate) fn outcome(&self) -> &'static str {
        match (self.connection(), self) {
            (Some(error), _) if tls_reason(error).is_some() => "tls",
            (Some(ConnectionError::ApplicationClosed(_)), _) | (None, Self::Identity(_) | Self::Hello(_)) => "refused",
            (Some(ConnectionError::TimedOut), _) | (None, Self::Timeout) => "timeout",
            (None, Self::Resolve { .. } | Self::NoAddress { .. }) => "resolve",
            (None, Self::WrongNode { .. }) => "wrong_node",
            _ => "failed",
        }
    }
}

impl Dial {
    /// Dials, says hello, and runs the link if it is accepted. Every failure is reported.
    pub(crate) async fn run(self) {
        let (target, reports) = (self.target.clone(), self.reports.clone());
        if let Err(error) = self.try_run().await {
            // The driver may be gone already; then nobody needs to know.
            drop(reports.send(Report::DialFailed { target, error }).await);
        }
    }

    async fn try_run(self) -> Result<(), DialError> {
        let greeting = timeout(self.patience, self.greet()).await;
        let (connection, link, queue, ack) = match greeting {
            Ok(result) => result?,
            Err(_elapsed) => return Err(DialError::Timeout),
        };
        let node = link.peer.node.clone();
        let (answer, answered) = oneshot::channel();
        let report = Report::HelloAck { target: self.target, link, bytes: ack, answer };
        if self.reports.send(report).await.is_err() {
            return Err(DialError::Unwanted);
        }
        match answered.await {
            Ok(Ok(())) => {
                let revocations = self.tls.credentials.revocations().clone();
                link::run(node, connection, queue, revocations, self.reports).await;
            }
            Ok(Err(error)) => {
                close(&connection, Close::of_hello(&error), &error.to_string());
                return Err(error.into());
            }
            Err(_dropped) => return Err(DialError::Unwanted),
        }
        Ok(())
    }

    async fn greet(&self) -> Result<(Connection, NewLink, mpsc::Receiver<Bytes>, Bytes), DialError> {
        let address = match self.address.socket_addr() {
            Some(address) => address,
            None => self.resolve().await?,
        };
        let began = Began::with(Arc::clone(&self.tls));
        let connection = self.endpoint.connect_with(self.tls.dialling(), address, SERVER_NAME)?.await?;
        let peer = peer_of(&connection, &self.tls.credentials).inspect_err(|error| {
            close(&connection, Close::Refused, &error.to_string());
        })?;
        if let Target::Peer(expected) = &self.target
            && *expected != peer.node
        {
            close(&connection, Close::Refused, "another node was dialled");
            return Err(DialError::WrongNode { expected: expected.clone(), found: peer.node });
        }
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(&self.hello).await?;
        send.finish()?;
        let ack = receive.read_to_end(MAX_HELLO_BYTES).await?;
        let (link, queue) = NewLink::new(peer, connection.clone(), began);
        Ok((connection, link, queue, ack.into()))
    }

    async fn resolve(&self) -> Result<std::net::SocketAddr, DialError> {
        let name = (self.address.host(), self.address.port());
        let resolved = lookup_host(name).await;
        let mut addresses = resolved.map_err(|source| DialError::Resolve { address: self.address.clone(), source })?;
        addresses.next().ok_or_else(|| DialError::NoAddress { address: self.address.clone() })
    }
}
