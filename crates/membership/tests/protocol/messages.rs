//! Messages on a link: what is dropped, with which reason, and what is used all the same.

use bytes::Bytes;
use membership::{Options, Rejected};
use mesh_proto::gossip::envelope::Body;
use mesh_proto::{MAX_STREAM_BYTES, Message as _, SYNC_BUCKETS, gossip as proto};
use mesh_types::NodeId;

use crate::kit::{Lab, envelope, id, record, update};

fn flood(updates: Vec<proto::Update>) -> Body {
    Body::Flood(proto::Flood { updates })
}

fn name_error(text: &str) -> mesh_types::NameError {
    text.parse::<NodeId>().expect_err("no name")
}

#[test]
fn a_message_that_claims_another_sender_is_dropped() {
    let mut lab = Lab::new(2);
    let refused = lab.hear_bytes("p1", envelope("p2", flood(vec![update("p3")])));
    assert_eq!(refused, Err(Rejected::SenderMismatch { claimed: id("p2"), link: id("p1") }));
    assert_eq!(lab.state("p3"), None);
}

#[test]
fn a_message_before_the_hello_is_dropped() {
    let mut lab = Lab::new(1);
    let refused = lab.try_hear("p9", flood(vec![update("p9")]));
    assert_eq!(refused, Err(Rejected::UnknownSender { link: id("p9") }));
    assert_eq!(lab.state("p9"), None);
}

#[test]
fn a_body_of_a_newer_protocol_is_dropped() {
    let mut lab = Lab::new(1);
    let mut bytes = proto::Envelope { sender: "p1".to_owned(), body: None }.encode_to_vec();
    // Field 31, empty: a body that only a newer version knows.
    bytes.extend([0xfa, 0x01, 0x00]);
    assert_eq!(lab.hear_bytes("p1", bytes.into()), Err(Rejected::NoBody));
}

#[test]
fn a_bucket_that_does_not_exist_is_dropped() {
    let mut lab = Lab::new(1);
    let start = |sums: usize| Body::SyncStart(proto::SyncStart { bucket_sums: vec![0; sums] });
    assert_eq!(lab.try_hear("p1", start(SYNC_BUCKETS)), Ok(()));
    let refused = lab.try_hear("p1", start(SYNC_BUCKETS - 1));
    assert_eq!(refused, Err(Rejected::Bucket { bucket: SYNC_BUCKETS - 1 }));
    let diff = |bucket: u32| Body::SyncDiff(proto::SyncDiff { buckets: vec![bucket], entries: Vec::new() });
    assert_eq!(lab.try_hear("p1", diff(255)), Ok(()));
    assert_eq!(lab.try_hear("p1", diff(256)), Err(Rejected::Bucket { bucket: 256 }));
}

#[test]
fn a_message_is_dropped_one_byte_past_its_limit() {
    let refused = membership::decode(Bytes::from(vec![0; MAX_STREAM_BYTES + 1]));
    assert_eq!(refused, Err(Rejected::TooLarge { bytes: MAX_STREAM_BYTES + 1 }));
    let at_limit = membership::decode(Bytes::from(vec![0; MAX_STREAM_BYTES]));
    assert_eq!(at_limit.map_err(|error| error.reason()).map(drop), Err("malformed"));
}

#[test]
fn a_name_that_is_none_is_dropped_with_its_field() {
    let mut lab = Lab::new(1);
    let bad = |field| Err(Rejected::Name { field, source: name_error("a/b") });
    assert_eq!(lab.hear_bytes("p1", envelope("a/b", flood(Vec::new()))), bad("sender"));
    let subject = "a/b".to_owned();
    let request = proto::VerifyRequest { accusation: 1, subject: subject.clone(), boot_epoch: 1, incarnation: 0 };
    assert_eq!(lab.try_hear("p1", Body::VerifyRequest(request)), bad("subject"));
    let reply = proto::VerifyReply { accusation: 1, subject: subject.clone(), answered: true };
    assert_eq!(lab.try_hear("p1", Body::VerifyReply(reply)), bad("subject"));
    let records = proto::SyncRecords { updates: Vec::new(), wanted: vec![subject] };
    assert_eq!(lab.try_hear("p1", Body::SyncRecords(records)), bad("wanted"));
}

#[test]
fn an_update_that_cannot_be_used_does_not_spoil_the_others() {
    let mut lab = Lab::new(1);
    let unknown_state = proto::Update { state: 9, ..update("p2") };
    lab.hear_updates("p1", vec![unknown_state, update("p3")]);
    let rejected = "rejected p2: bad_update: update has state 9, which this version does not know";
    assert_eq!(lab.events, [rejected, "joined p3 500.0 v1"]);
    assert_eq!(lab.state("p2"), None);
}

#[test]
fn an_update_that_is_refused_names_the_field() {
    let check = |change: fn(&mut proto::Update), rejected: &str| {
        let mut lab = Lab::with(1, Options { max_members: 3, ..Options::default() });
        let mut bad = update("p2");
        change(&mut bad);
        lab.hear_updates("p1", vec![bad]);
        assert_eq!(lab.events, [rejected]);
    };
    let with_record = |change: fn(&mut proto::NodeRecord)| {
        let mut changed = record("p2");
        change(&mut changed);
        Bytes::from(changed.encode_to_vec())
    };
    assert!(with_record(|_| {}) == update("p2").record);
    check(|u| u.record.clear(), "rejected p2: bad_update: update lacks required field `record`");
    check(|u| u.boot_epoch = 0, "rejected p2: bad_update: update lacks required field `boot_epoch`");
    check(|u| u.incarnation = u64::MAX, "rejected p2: bad_update: update field `incarnation` is at its ceiling");
    check(|u| u.witnesses = vec!["w".to_owned(); 9], "rejected p2: bad_update: update names 9 witnesses, more than 8");
    check(
        |u| u.node = "p/2".to_owned(),
        "rejected p/2: bad_update: update field `node` is not valid: node id `p/2` holds '/'; letters, digits, `.`, \
         `_` and `-` are valid",
    );
    check(
        |u| u.record = proto::NodeRecord { region: String::new(), ..record("p2") }.encode_to_vec().into(),
        "rejected p2: schema: record lacks required field `region`",
    );
    check(
        |u| u.record = proto::NodeRecord { cluster: "beta".to_owned(), ..record("p2") }.encode_to_vec().into(),
        "rejected p2: wrong_cluster: update is of a node of cluster `beta`",
    );
}

#[test]
fn fields_of_a_newer_schema_survive_the_way_through_a_node() {
    let mut lab = Lab::new(2);
    let mut bytes = record("p3").encode_to_vec();
    // Field 99, varint 7: this build does not know it.
    bytes.extend([0x98, 0x06, 0x07]);
    lab.hear_updates("p1", vec![proto::Update { record: bytes.clone().into(), ..update("p3") }]);
    lab.run(std::time::Duration::from_millis(5));
    let forwarded = lab.told("p3");
    assert_eq!(forwarded.len(), 1);
    assert!(forwarded.iter().all(|(to, update)| to == "p2" && update.record == bytes));
}

#[test]
fn a_dropped_message_changes_nothing() {
    let mut lab = Lab::new(2);
    let (version, digest) = (lab.core.version(), lab.core.digest());
    let refused = lab.hear_bytes("p1", Bytes::from_static(b"\xff\xff\xff"));
    assert_eq!(refused.map_err(|error| error.reason()), Err("malformed"));
    assert_eq!((lab.core.version(), lab.core.digest()), (version, digest));
    assert!(lab.events.is_empty() && lab.sent.is_empty());
}
