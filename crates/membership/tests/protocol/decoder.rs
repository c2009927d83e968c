//! The decoder: whatever the bytes, it returns. The fuzz target looks further for the same.

use bytes::Bytes;
use membership::{Rejected, decode};
use mesh_proto::gossip::envelope::Body;
use mesh_proto::{Message as _, SYNC_BUCKETS, gossip as proto};
use proptest::prelude::*;

use crate::kit::{envelope, update, verdict};

/// One valid body of each kind, with updates of every state.
fn bodies() -> Vec<Body> {
    let states = [proto::State::Unreachable, proto::State::Dead, proto::State::Left];
    let mut updates = vec![update("p1")];
    updates.extend(states.map(|state| verdict("p2", state, &["p3", "p4"])));
    let subject = "p1".to_owned();
    vec![
        Body::Probe(proto::Probe {
            sequence: 7,
            digest: 9,
            updates: updates.clone(),
            reliable: true,
            again_in_ms: 8_000,
        }),
        Body::Ack(proto::Ack { sequence: 7, digest: 9, updates: updates.clone() }),
        Body::Flood(proto::Flood { updates: updates.clone() }),
        Body::VerifyRequest(proto::VerifyRequest {
            accusation: 3,
            subject: subject.clone(),
            boot_epoch: 5,
            incarnation: 6,
        }),
        Body::VerifyReply(proto::VerifyReply { accusation: 3, subject: subject.clone(), answered: true }),
        Body::SyncStart(proto::SyncStart { bucket_sums: (0..SYNC_BUCKETS as u64).collect() }),
        Body::SyncDiff(proto::SyncDiff { buckets: vec![0, 255], entries: updates.clone() }),
        Body::SyncRecords(proto::SyncRecords { updates, wanted: vec![subject] }),
    ]
}

/// Decodes bytes that may be anything: the outcome is a message or an error that can be counted.
fn outcome(bytes: Vec<u8>) -> &'static str {
    decode(Bytes::from(bytes)).map_or_else(|error| error.reason(), |_| "message")
}

const OUTCOMES: [&str; 5] = ["message", "malformed", "no_body", "bad_name", "bad_bucket"];

#[test]
fn a_message_of_each_kind_cut_short_anywhere_is_refused_or_shorter() {
    for body in bodies() {
        let bytes = envelope("p1", body);
        for length in 0..bytes.len() {
            let outcome = outcome(bytes.slice(..length).to_vec());
            assert!(OUTCOMES.contains(&outcome), "{outcome}");
            assert_ne!(outcome, "message", "cut at {length} of {}", bytes.len());
        }
    }
}

#[test]
fn an_empty_message_lacks_a_sender() {
    let refused = decode(Bytes::new()).map_err(|error| error.to_string());
    assert_eq!(refused, Err("message field `sender` is not valid".to_owned()));
    let anonymous = proto::Envelope { sender: "p1".to_owned(), body: None }.encode_to_vec();
    assert_eq!(decode(anonymous.into()), Err(Rejected::NoBody));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused_with_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(OUTCOMES.contains(&outcome(bytes)));
    }

    #[test]
    fn a_message_with_a_changed_byte_is_refused_or_read(
        kind in 0..bodies().len(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = envelope("p1", bodies().swap_remove(kind)).to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        prop_assert!(OUTCOMES.contains(&outcome(bytes)));
    }
}
