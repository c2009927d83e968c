//! Revocation lists pass from node to node.
//!
//! Who asks says what it holds, and gets what is newer. The asked sees from that whether it is behind itself, and asks
//! back. So one exchange serves to spread a list, to bring a newcomer up to date and to repair what was missed. A list is
//! worth nothing without its CA's signature, so that no node can revoke another.

use std::time::Duration;

use bytes::Bytes;
use identity::{CrlNumber, RevocationHead, Revocations};
use mesh_proto::gossip as proto;
use mesh_proto::{DecodeError, MAX_REVOCATIONS_HELD_BYTES, MAX_REVOCATIONS_NEWER_BYTES, Message as _};
use mesh_types::NodeId;
use quinn::{ClosedStream, Connection, ConnectionError, ReadToEndError, RecvStream, SendStream, WriteError};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::link::Report;
use crate::observe;

/// How long one exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an exchange came to nothing. The next one makes up for it.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("connection failed")]
    Connection(#[from] ConnectionError),
    #[error("cannot write")]
    Write(#[from] WriteError),
    #[error("stream is closed")]
    Closed(#[from] ClosedStream),
    #[error("cannot read")]
    Read(#[from] ReadToEndError),
    #[error("message cannot be decoded")]
    Malformed(#[from] DecodeError),
    #[error("it took too long")]
    Timeout,
}

impl ExchangeError {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Read(ReadToEndError::TooLong) => "oversize",
            Self::Malformed(_) => "malformed",
            _ => "exchange",
        }
    }
}

/// Asks `peer` for what is newer than `held`, and reports what it gets.
pub(crate) async fn ask(
    peer: NodeId,
    connection: Connection,
    held: Vec<RevocationHead>,
    reports: mpsc::Sender<Report>,
) {
    let asked = timeout(EXCHANGE_TIMEOUT, request(&connection, &held)).await.unwrap_or(Err(ExchangeError::Timeout));
    match asked {
        Ok(lists) if lists.is_empty() => {}
        // The driver may be gone already; then nobody needs to know.
        Ok(lists) => drop(reports.send(Report::RevocationLists { from: peer, lists }).await),
        // The link is gone, and with it the question.
        Err(ExchangeError::Connection(_)) => {}
        Err(error) => observe::rejected(&peer, error.reason(), &observe::chain(&error)),
    }
}

async fn request(connection: &Connection, held: &[RevocationHead]) -> Result<Vec<Bytes>, ExchangeError> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let heads = held.iter().map(encode_head).collect();
    send.write_all(&proto::RevocationsHeld { heads }.encode_to_vec()).await?;
    send.finish()?;
    let newer = receive.read_to_end(MAX_REVOCATIONS_NEWER_BYTES).await?;
    Ok(proto::RevocationsNewer::decode(newer.as_slice())?.lists)
}

/// Answers all that the other side of a link asks, until the connection ends.
pub(crate) async fn answer(
    peer: &NodeId,
    connection: &Connection,
    revocations: &Revocations,
    reports: &mpsc::Sender<Report>,
) -> Option<ConnectionError> {
    loop {
        let (send, receive) = match connection.accept_bi().await {
            Ok(streams) => streams,
            Err(error) => return Some(error),
        };
        let answered = timeout(EXCHANGE_TIMEOUT, respond(send, receive, revocations)).await;
        match answered.unwrap_or(Err(ExchangeError::Timeout)) {
            Ok(held) if revocations.is_behind(&held) => {
                // A full queue is no reason to wait: it asks again, or somebody else does.
                if reports.try_send(Report::RevocationsBehind { peer: peer.clone() }).is_err() {
                    observe::dropped("inbound");
                }
            }
            Ok(_held) => {}
            Err(error) => observe::rejected(peer, error.reason(), &observe::chain(&error)),
        }
    }
}

/// Returns what the other side holds.
async fn respond(
    mut send: SendStream,
    mut receive: RecvStream,
    revocations: &Revocations,
) -> Result<Vec<RevocationHead>, ExchangeError> {
    let asked = receive.read_to_end(MAX_REVOCATIONS_HELD_BYTES).await?;
    let held = proto::RevocationsHeld::decode(asked.as_slice())?.heads;
    // A head that cannot be read is of no list that we could have.
    let held: Vec<_> = held.iter().filter_map(decode_head).take(Revocations::MAX_LISTS).collect();
    send.write_all(&newer_than(&held, revocations).encode_to_vec()).await?;
    send.finish()?;
    Ok(held)
}

/// Returns as many of the lists that the other side lacks as an answer has room for.
fn newer_than(held: &[RevocationHead], revocations: &Revocations) -> proto::RevocationsNewer {
    let mut room = MAX_REVOCATIONS_NEWER_BYTES;
    let mut newer = proto::RevocationsNewer::default();
    for list in revocations.newer_than(held) {
        // Tag and length take five bytes at most.
        let Some(left) = room.checked_sub(list.len() + 5) else { break };
        room = left;
        newer.lists.push(list.into());
    }
    newer
}

fn encode_head(head: &RevocationHead) -> proto::RevocationHead {
    let number = head.number.as_be_bytes();
    let start = number.iter().take_while(|byte| **byte == 0).count();
    let number = Bytes::copy_from_slice(number.get(start..).unwrap_or_default());
    proto::RevocationHead { scope: head.scope, number, issued_at: head.issued_at_secs }
}

fn decode_head(head: &proto::RevocationHead) -> Option<RevocationHead> {
    let number = CrlNumber::from_be_bytes(&head.number)?;
    Some(RevocationHead { scope: head.scope, number, issued_at_secs: head.issued_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_same_after_its_way_over_the_wire_and_a_number_too_long_is_none() {
        let head = |number: &[u8]| {
            let number = CrlNumber::from_be_bytes(number)?;
            Some(RevocationHead { scope: u64::MAX, number, issued_at_secs: 7 })
        };
        for number in [&[][..], &[1, 0], &[0xff; CrlNumber::MAX_BYTES]] {
            let head = head(number);
            let encoded = head.as_ref().map(encode_head).unwrap_or_default();
            assert_eq!((encoded.number.as_ref(), decode_head(&encoded)), (number, head));
        }
        let number = Bytes::from_static(&[1; CrlNumber::MAX_BYTES + 1]);
        assert_eq!(decode_head(&proto::RevocationHead { number, ..proto::RevocationHead::default() }), None);
    }
}
