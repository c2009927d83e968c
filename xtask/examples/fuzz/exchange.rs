//! Questions for revocation lists, and the answers: what one node holds, and what another has that is newer.

use bytes::Bytes;
use identity::{CrlNumber, RevocationHead, Revocations, StaleLists};
use mesh_proto::Message as _;
use mesh_proto::gossip::{self as proto, RevocationsHeld, RevocationsNewer};

/// Returns a question and an answer.
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    let head = |scope| proto::RevocationHead { scope, number: Bytes::from_static(&[1, 0]), issued_at: 1_800_000_000 };
    let question = RevocationsHeld { heads: vec![head(7), head(u64::MAX)] };
    let answer = RevocationsNewer { lists: vec![Bytes::from_static(b"list"), Bytes::new()] };
    vec![question.encode_to_vec(), answer.encode_to_vec()]
}

/// Takes `data` for a question and for an answer, and says what became of it.
pub(crate) fn take(data: &[u8]) -> &'static str {
    let revocations = Revocations::new(StaleLists::Keep);
    let answer = RevocationsNewer::decode(data);
    let Ok(question) = RevocationsHeld::decode(data) else {
        return if answer.is_ok() { "accepted, answer" } else { "malformed" };
    };
    let heads = question.heads.iter().filter_map(|head| {
        let number = CrlNumber::from_be_bytes(&head.number)?;
        Some(RevocationHead { scope: head.scope, number, issued_at_secs: head.issued_at })
    });
    let heads: Vec<_> = heads.take(Revocations::MAX_LISTS).collect();
    assert!(revocations.newer_than(&heads).is_empty(), "who has no lists sends none");
    assert!(revocations.is_behind(&heads) != heads.is_empty(), "who has no lists lacks any that there is");
    if answer.is_ok() { "accepted, both" } else { "accepted, question" }
}
