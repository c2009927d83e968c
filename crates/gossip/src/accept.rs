//! The side that is dialled: handshake, identity, hello.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::{Credentials, RefusalReason, refusal_reason_of_alert};
use mesh_proto::MAX_HELLO_BYTES;
use quinn::{Connection, ConnectionError, Incoming, ReadToEndError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use crate::close::{Close, close};
use crate::link::{self, NewLink, Report, peer_of};
use crate::observe;

/// How long a node that dials may take from its first packet to its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes one incoming connection through to a running link. Gives back its `room` once the hello is answered.
pub(crate) async fn accept(
    incoming: Incoming,
    credentials: Arc<Credentials>,
    reports: mpsc::Sender<Report>,
    room: OwnedSemaphorePermit,
) {
    let address = incoming.remote_address();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => return refused_by_error(address, &error),
    };
    match timeout(HELLO_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => welcome(connection, address, &credentials, reports, room).await,
        Ok(Err(error)) => refused_by_error(address, &error),
        Err(elapsed) => observe::refused(address, "handshake_timeout", &elapsed),
    }
}

async fn welcome(
    connection: Connection,
    address: SocketAddr,
    credentials: &Credentials,
    reports: mpsc::Sender<Report>,
    room: OwnedSemaphorePermit,
) {
    let peer = match peer_of(&connection, credentials) {
        Ok(peer) => peer,
        Err(error) => {
            observe::refused(address, error.reason().as_str(), &error);
            return close(&connection, Close::Refused, &error.to_string());
        }
    };
    let hello = async {
        let (send, mut receive) = connection.accept_bi().await?;
        Ok::<_, ConnectionError>((send, receive.read_to_end(MAX_HELLO_BYTES).await))
    };
    let (mut send, hello_bytes) = match timeout(HELLO_TIMEOUT, hello).await {
        Ok(Ok((send, Ok(bytes)))) => (send, bytes),
        Ok(Ok((_, Err(ReadToEndError::TooLong)))) => {
            observe::refused(address, "oversize", &format_args!("hello is longer than {MAX_HELLO_BYTES} bytes"));
            return close(&connection, Close::Refused, "hello over the size limit");
        }
        Ok(Ok((_, Err(ReadToEndError::Read(error))))) => {
            observe::refused(address, "bad_hello", &error);
            return close(&connection, Close::Refused, "no readable hello");
        }
        Ok(Err(error)) => return refused_by_error(address, &error),
        Err(elapsed) => {
            observe::refused(address, "hello_timeout", &elapsed);
            return close(&connection, Close::Refused, "no hello in time");
        }
    };
    let node = peer.node.clone();
    let (link, queue) = NewLink::new(peer, connection.clone());
    let (answer, answered) = oneshot::channel();
    if reports.send(Report::Hello { link, bytes: hello_bytes.into(), answer }).await.is_err() {
        return;
    }
    match answered.await {
        Ok(Ok(ack)) => {
            let written = send.write_all(&ack).await.is_ok() && send.finish().is_ok();
            if !written {
                observe::refused(address, "hello_unanswered", &"the connection broke while the hello was answered");
            }
            drop(room);
            link::run(node, connection, queue, reports).await;
        }
        Ok(Err(error)) => {
            observe::refused(address, error.reason(), &error);
            close(&connection, Close::Refused, &error.to_string());
        }
        // The driver has stopped, and closes everything.
        Err(_stopped) => {}
    }
}

/// Counts and logs a connection that failed, with what TLS says about it.
fn refused_by_error(address: SocketAddr, error: &ConnectionError) {
    observe::refused(address, tls_reason(error).map_or("handshake", RefusalReason::as_str), error);
}

/// Returns the TLS alert behind a failed connection as a reason; QUIC carries it as `0x100 + alert`
/// (RFC 9001 §4.8).
pub(crate) fn tls_reason(error: &ConnectionError) -> Option<RefusalReason> {
    let (code, text) = match error {
        ConnectionError::TransportError(error) => (u64::from(error.code), error.reason.clone()),
        ConnectionError::ConnectionClosed(close) => {
            (u64::from(close.error_code), String::from_utf8_lossy(&close.reason).into_owned())
        }
        _ => return None,
    };
    // Only codes from 0x100 to 0x1ff carry an alert.
    let alert = code.checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok())?;
    Some(refusal_reason_of_alert(alert, &text))
}
