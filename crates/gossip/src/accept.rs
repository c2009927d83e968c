//! The side that is dialled: handshake, identity, hello.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use identity::RefusalReason;
use mesh_proto::MAX_HELLO_BYTES;
use quinn::{Connection, ConnectionError, Incoming, ReadToEndError, SendStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use crate::audit::{self, Applicant};
use crate::close::{Close, close, tls_reason};
use crate::link::{self, Began, NewLink, Report, peer_of};
use crate::tls::Tls;

/// How long a node that dials may take from its first packet to its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes one incoming connection through to a running link. Gives back its `room` once the hello is answered.
pub(crate) async fn accept(
    incoming: Incoming,
    tls: Arc<Tls>,
    reports: mpsc::Sender<Report>,
    room: OwnedSemaphorePermit,
) {
    let address = incoming.remote_address();
    let anybody = Applicant { address, name: None };
    let began = Began::with(tls);
    let (config, presented) = match began.tls.accepting() {
        Ok(accepting) => accepting,
        Err(error) => return audit::refused(anybody, "handshake", &error),
    };
    let connecting = match incoming.accept_with(config) {
        Ok(connecting) => connecting,
        Err(error) => return refused_by_error(anybody, &error),
    };
    let connected = timeout(HELLO_TIMEOUT, connecting).await;
    let applicant = Applicant { address, name: presented.name() };
    match connected {
        Ok(Ok(connection)) => welcome(connection, applicant, began, reports, room).await,
        Ok(Err(error)) => refused_by_error(applicant, &error),
        Err(elapsed) => audit::refused(applicant, "handshake_timeout", &elapsed),
    }
}

async fn welcome(
    connection: Connection,
    applicant: Applicant<'_>,
    began: Began,
    reports: mpsc::Sender<Report>,
    room: OwnedSemaphorePermit,
) {
    let peer = match peer_of(&connection, &began.tls.credentials) {
        Ok(peer) => peer,
        Err(error) => {
            audit::refused(applicant, error.reason().as_str(), &error);
            return close(&connection, Close::Refused, &error.to_string());
        }
    };
    let Some((mut send, hello)) = read_hello(&connection, applicant).await else { return };
    let node = peer.node.clone();
    let revocations = began.tls.credentials.revocations().clone();
    let (link, queue) = NewLink::new(peer, connection.clone(), began);
    let (answer, answered) = oneshot::channel();
    if reports.send(Report::Hello { link, bytes: hello, answer }).await.is_err() {
        return;
    }
    match answered.await {
        Ok(Ok(ack)) => {
            let written = send.write_all(&ack).await.is_ok() && send.finish().is_ok();
            if !written {
                let error = "the connection broke while the hello was answered";
                audit::refused(applicant, "hello_unanswered", &error);
            }
            drop(room);
            link::run(node, connection, queue, revocations, reports).await;
        }
        Ok(Err(error)) => {
            audit::refused(applicant, error.reason(), &error);
            close(&connection, Close::of_hello(&error), &error.to_string());
        }
        // The driver does not want it, and closes it; or has stopped, and closes everything.
        Err(_stopped) => {}
    }
}

/// Returns the hello, and the stream that it is to be answered on. If there is none, that is audited and the connection
/// closed.
async fn read_hello(connection: &Connection, applicant: Applicant<'_>) -> Option<(SendStream, Bytes)> {
    let hello = async {
        let (send, mut receive) = connection.accept_bi().await?;
        Ok::<_, ConnectionError>((send, receive.read_to_end(MAX_HELLO_BYTES).await))
    };
    match timeout(HELLO_TIMEOUT, hello).await {
        Ok(Ok((send, Ok(bytes)))) => return Some((send, bytes.into())),
        Ok(Ok((_, Err(ReadToEndError::TooLong)))) => {
            audit::refused(applicant, "oversize", &format_args!("hello is longer than {MAX_HELLO_BYTES} bytes"));
            close(connection, Close::Refused, "hello over the size limit");
        }
        Ok(Ok((_, Err(ReadToEndError::Read(error))))) => {
            audit::refused(applicant, "bad_hello", &error);
            close(connection, Close::Refused, "no readable hello");
        }
        Ok(Err(error)) => refused_by_error(applicant, &error),
        Err(elapsed) => {
            audit::refused(applicant, "hello_timeout", &elapsed);
            close(connection, Close::Refused, "no hello in time");
        }
    }
    None
}

/// Counts and logs a connection that failed, with what TLS says about it.
fn refused_by_error(applicant: Applicant<'_>, error: &ConnectionError) {
    audit::refused(applicant, tls_reason(error).map_or("handshake", RefusalReason::as_str), error);
}
