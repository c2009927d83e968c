//! One link: an authenticated connection to another member, once its hello is through.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use identity::{Credentials, PeerRefused, Revocations};
use membership::{HelloError, Sender};
use mesh_proto::MAX_STREAM_BYTES;
use mesh_types::NodeId;
use quinn::{Connection, ConnectionError, ReadToEndError, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::close::{Close, close};
use crate::dial::{DialError, Target};
use crate::follow::Change;
use crate::tls::Tls;
use crate::{exchange, observe};

/// Messages on streams that wait for one link.
const STREAM_QUEUE: usize = 64;

/// How long one message on a stream may take, each way.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection whose certificate has been read.
#[derive(Debug)]
pub(crate) struct NewLink {
    pub(crate) peer: Sender,
    pub(crate) connection: Connection,
    pub(crate) streams: mpsc::Sender<Bytes>,
    /// What this side began it with.
    pub(crate) began: Began,
}

/// What one side knew when it began a connection: what it has learnt since was not looked at in the handshake.
#[derive(Debug, Clone)]
pub(crate) struct Began {
    pub(crate) tls: Arc<Tls>,
    pub(crate) revocations: u64,
}

impl Began {
    pub(crate) fn with(tls: Arc<Tls>) -> Self {
        let revocations = tls.credentials.revocations().version();
        Self { tls, revocations }
    }
}

impl NewLink {
    /// Makes the driver's end of a link, and the queue that [`run`] sends from.
    pub(crate) fn new(peer: Sender, connection: Connection, began: Began) -> (Self, mpsc::Receiver<Bytes>) {
        let (streams, queue) = mpsc::channel(STREAM_QUEUE);
        (Self { peer, connection, streams, began }, queue)
    }
}

/// What links and dials tell the driver.
#[derive(Debug)]
pub(crate) enum Report {
    /// A node dialled and said hello; the answer goes back.
    Hello { link: NewLink, bytes: Bytes, answer: oneshot::Sender<Result<Bytes, HelloError>> },
    /// A node that was dialled answered the hello; whether the link is accepted goes back.
    HelloAck { target: Target, link: NewLink, bytes: Bytes, answer: oneshot::Sender<Result<(), HelloError>> },
    /// A message came in.
    Message { from: NodeId, bytes: Bytes },
    /// A link is gone.
    Down { peer: NodeId, connection: usize, error: ConnectionError },
    /// A dial came to nothing.
    DialFailed { target: Target, error: DialError },
    /// Something has happened to the credentials.
    Credentials(Change),
    /// A link is to be begun anew with the certificate that is current.
    RenewalDue { peer: NodeId },
    /// A member has a revocation list that is lacking here, or newer than here.
    RevocationsBehind { peer: NodeId },
    /// A member is to be asked for revocation lists.
    AskDue { peer: NodeId },
    /// A member has sent revocation lists that it was asked for.
    RevocationLists { from: NodeId, lists: Vec<Bytes> },
}

/// Reads who the other side of a connection is, and checks that it belongs to the mesh.
pub(crate) fn peer_of(connection: &Connection, credentials: &Credentials) -> Result<Sender, PeerRefused> {
    let id = credentials.verify_peer(&chain_of(connection))?;
    Ok(Sender { node: id.node().clone(), role: id.role().clone() })
}

/// Returns the certificates that the other side of a connection has shown, its own first.
pub(crate) fn chain_of(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    identity.map(|chain| *chain).unwrap_or_default()
}

/// Carries messages both ways until the connection ends, or the driver drops its end of the queue and all that
/// was in it has been delivered.
pub(crate) async fn run(
    peer: NodeId,
    connection: Connection,
    mut queue: mpsc::Receiver<Bytes>,
    revocations: Revocations,
    reports: mpsc::Sender<Report>,
) {
    let error = tokio::select! {
        error = read_datagrams(&peer, &connection, &reports) => error,
        error = read_streams(&peer, &connection, &reports) => error,
        error = write_streams(&connection, &mut queue) => error,
        error = exchange::answer(&peer, &connection, &revocations, &reports) => error,
    };
    let error = error.unwrap_or(ConnectionError::LocallyClosed);
    close(&connection, Close::Leaving, "");
    let down = Report::Down { peer, connection: connection.stable_id(), error };
    // The driver may be gone already; then nobody needs to know.
    drop(reports.send(down).await);
}

async fn read_datagrams(
    peer: &NodeId,
    connection: &Connection,
    reports: &mpsc::Sender<Report>,
) -> Option<ConnectionError> {
    loop {
        let bytes = match connection.read_datagram().await {
            Ok(bytes) => bytes,
            Err(error) => return Some(error),
        };
        // A slow driver must not stop QUIC: datagrams may be lost anyway.
        if reports.try_send(Report::Message { from: peer.clone(), bytes }).is_err() {
            observe::dropped("inbound");
        }
    }
}

async fn read_streams(
    peer: &NodeId,
    connection: &Connection,
    reports: &mpsc::Sender<Report>,
) -> Option<ConnectionError> {
    loop {
        let mut stream = match connection.accept_uni().await {
            Ok(stream) => stream,
            Err(error) => return Some(error),
        };
        match timeout(STREAM_TIMEOUT, stream.read_to_end(MAX_STREAM_BYTES)).await {
            Ok(Ok(bytes)) => {
                let message = Report::Message { from: peer.clone(), bytes: bytes.into() };
                if reports.send(message).await.is_err() {
                    return None;
                }
            }
            Ok(Err(ReadToEndError::TooLong)) => {
                observe::rejected(peer, "oversize", &"message on a stream is over the limit");
                close(connection, Close::Protocol, "message over the size limit");
            }
            Ok(Err(ReadToEndError::Read(error))) => {
                observe::rejected(peer, "stream_broken", &error);
            }
            Err(elapsed) => {
                observe::rejected(peer, "stream_slow", &elapsed);
                // The sender gave up by itself or will: it is told that nobody reads.
                if stream.stop(VarInt::from_u32(0)).is_err() {
                    observe::dropped("inbound");
                }
            }
        }
    }
}

async fn write_streams(connection: &Connection, queue: &mut mpsc::Receiver<Bytes>) -> Option<ConnectionError> {
    while let Some(bytes) = queue.recv().await {
        if !matches!(timeout(STREAM_TIMEOUT, write_stream(connection, &bytes)).await, Ok(true)) {
            observe::sent(false);
            continue;
        }
        observe::sent(true);
    }
    connection.close_reason()
}

/// Sends one message and waits until the other side has all of it; returns whether it has.
async fn write_stream(connection: &Connection, bytes: &Bytes) -> bool {
    let Ok(mut stream) = connection.open_uni().await else { return false };
    if stream.write_all(bytes).await.is_err() || stream.finish().is_err() {
        return false;
    }
    matches!(stream.stopped().await, Ok(None))
}
