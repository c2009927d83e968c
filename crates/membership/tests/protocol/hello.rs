//! The first words on a link: who is let in, and why not.

use bytes::Bytes;
use membership::{HelloError, Input, Options, RecordError};
use mesh_proto::{MAX_HELLO_BYTES, Message as _, gossip as proto};

use crate::kit::{Lab, OWN_BOOT, PEER_BOOT, hello, id, record, sender, update};

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the cases read better without borrows")]
fn check(change: impl FnOnce(&mut proto::Hello), refused: Option<HelloError>) {
    let mut hello = hello(update("p1"));
    change(&mut hello);
    let mut lab = Lab::new(0);
    let result = lab.say_hello("p1", &hello);
    assert_eq!(result.err(), refused);
    assert_eq!(lab.state("p1").is_some(), refused.is_none());
}

#[track_caller]
fn check_record(change: impl FnOnce(&mut proto::NodeRecord), refused: HelloError) {
    let mut record = record("p1");
    change(&mut record);
    let own = proto::Update { record: record.encode_to_vec().into(), ..update("p1") };
    check(|hello| hello.own = Some(own), Some(refused));
}

fn own_field(detail: &str) -> Option<HelloError> {
    Some(HelloError::Field { field: "own", detail: detail.to_owned() })
}

#[test]
fn a_valid_hello_is_answered_with_the_own_entry() {
    let mut lab = Lab::new(0);
    let ack = lab.say_hello("p1", &hello(update("p1")));
    let expected = proto::HelloAck { protocol: 1, own: Some(update("a")), features: 0, known_boot_epoch: 0 };
    assert_eq!(ack, Ok(expected.clone()));
    assert_eq!(lab.events, ["joined p1 500.0 v1"]);
    let again = lab.say_hello("p1", &hello(proto::Update { boot_epoch: 400, ..update("p1") }));
    assert_eq!(again, Ok(proto::HelloAck { known_boot_epoch: PEER_BOOT, ..expected }));
}

#[test]
fn a_newer_protocol_that_overlaps_is_spoken_at_the_highest_common_number() {
    let mut lab = Lab::new(0);
    let newer = proto::Hello { protocol_max: 9, ..hello(update("p1")) };
    assert_eq!(lab.say_hello("p1", &newer).map(|ack| ack.protocol), Ok(1));
}

#[test]
fn no_common_protocol_is_refused_with_the_numbers_of_both() {
    let refused = |theirs_min, theirs_max| Some(HelloError::NoCommonProtocol { theirs_min, theirs_max });
    check(|h| (h.protocol_min, h.protocol_max) = (2, 3), refused(2, 3));
    check(|h| (h.protocol_min, h.protocol_max) = (0, 0), refused(0, 0));
    let error = HelloError::NoCommonProtocol { theirs_min: 2, theirs_max: 3 };
    assert_eq!(error.to_string(), "it speaks gossip protocol 2 to 3, this node 1 to 1");
    assert_eq!(error.reason(), "protocol_version");
}

#[test]
fn who_is_not_who_the_certificate_says_is_refused() {
    let other = Some(HelloError::WrongNode { claimed: id("p2"), certified: id("p1") });
    check(|h| h.own = Some(update("p2")), other);
    let role = |name: &str| name.parse().expect("a name");
    let refused = HelloError::WrongRole { claimed: role("gateway"), certified: role("worker") };
    check_record(|r| r.role = "gateway".to_owned(), refused);
}

#[test]
fn another_cluster_is_refused_wherever_it_is_named() {
    let refused =
        || HelloError::WrongCluster { theirs: "beta".to_owned(), ours: "alpha".parse().expect("a cluster id") };
    check(|h| h.cluster = "beta".to_owned(), Some(refused()));
    check_record(|r| r.cluster = "beta".to_owned(), refused());
    assert_eq!(refused().to_string(), "it is of cluster `beta`, this node of `alpha`");
}

#[test]
fn a_node_refuses_itself() {
    let mut lab = Lab::new(0);
    assert_eq!(lab.say_hello("a", &hello(update("a"))), Err(HelloError::Itself));
}

#[test]
fn an_entry_that_is_missing_or_wrong_is_named() {
    check(|h| h.own = None, own_field("it is missing"));
    let with = |change: fn(&mut proto::Update)| {
        move |hello: &mut proto::Hello| {
            if let Some(own) = hello.own.as_mut() {
                change(own);
            }
        }
    };
    check(with(|u| u.boot_epoch = 0), own_field("update lacks required field `boot_epoch`"));
    check(with(|u| u.metadata_version = 0), own_field("update lacks required field `metadata_version`"));
    check(with(|u| u.state = 0), own_field("update lacks required field `state`"));
    check(with(|u| u.state = 9), own_field("update has state 9, which this version does not know"));
    check(with(|u| u.state = 4), own_field("it does not say that its node is alive"));
    check(with(|u| u.boot_epoch = u64::MAX), own_field("update field `boot_epoch` is at its ceiling"));
    check(with(|u| u.record.clear()), Some(HelloError::Record(RecordError::Missing { field: "schema" })));
}

#[test]
fn a_record_that_lacks_a_field_is_refused_by_its_name() {
    let missing = |field| HelloError::Record(RecordError::Missing { field });
    check_record(|r| r.schema = 0, missing("schema"));
    check_record(|r| r.region.clear(), missing("region"));
    check_record(|r| r.endpoint.clear(), missing("endpoint"));
    assert_eq!(missing("region").reason(), "schema");
}

#[test]
fn a_hello_is_refused_one_byte_past_its_limit() {
    let mut lab = Lab::new(0);
    let mut bytes = hello(update("p1")).encode_to_vec();
    // Field 100, as many bytes as are left: unknown, so it is ignored.
    bytes.extend([0xa2, 0x06]);
    let room = MAX_HELLO_BYTES - bytes.len() - 2;
    bytes.extend([u8::try_from(room & 0x7f).expect("7 bits") | 0x80, u8::try_from(room >> 7).expect("14 bits")]);
    bytes.resize(MAX_HELLO_BYTES, 0);
    let mut say = |said: Vec<u8>| lab.core.handle_hello(&sender("p1"), &said.into(), lab.now).map(drop);
    assert_eq!(say(bytes.clone()), Ok(()));
    bytes.push(0);
    assert_eq!(say(bytes), Err(HelloError::TooLarge { bytes: MAX_HELLO_BYTES + 1 }));
}

#[test]
fn bytes_that_are_no_hello_are_refused_with_the_decoders_reason() {
    let mut lab = Lab::new(0);
    let bytes = Bytes::from_static(&[0x1a, 0x05, b'a']);
    let source = proto::Hello::decode(bytes.clone()).expect_err("it is cut short");
    let refused = lab.core.handle_hello(&sender("p1"), &bytes, lab.now);
    assert_eq!(refused, Err(HelloError::Malformed { source }));
    let ack_refused = lab.core.handle_hello_ack(&sender("p1"), &bytes, lab.now);
    assert_eq!(ack_refused.map_err(|error| error.reason()), Err("malformed"));
}

#[test]
fn unknown_fields_are_ignored() {
    let mut lab = Lab::new(0);
    let mut bytes = hello(update("p1")).encode_to_vec();
    // Field 99, varint 7.
    bytes.extend([0x98, 0x06, 0x07]);
    assert!(lab.core.handle_hello(&sender("p1"), &bytes.into(), lab.now).is_ok());
    assert_eq!(lab.shown("p1").map(|member| member.boot_epoch.0), Some(PEER_BOOT));
}

#[test]
fn a_full_table_refuses_newcomers_and_knows_its_members() {
    let mut lab = Lab::with(1, Options { max_members: 2, ..Options::default() });
    assert_eq!(lab.say_hello("p2", &hello(update("p2"))), Err(HelloError::TableFull));
    assert_eq!(lab.events, ["rejected p2: table_full: table is full with 2 members"]);
    lab.greet("p1");
}

#[test]
fn who_has_left_refuses_everybody() {
    let mut lab = Lab::new(1);
    lab.core.handle(Input::Leave, lab.now).expect("leaving needs no valid input");
    assert_eq!(lab.say_hello("p1", &hello(update("p1"))), Err(HelloError::Stopped));
}

#[test]
fn the_answer_to_a_hello_is_checked_like_a_hello() {
    let ack = |own, protocol| proto::HelloAck { protocol, own: Some(own), features: 0, known_boot_epoch: 0 };
    let check_ack = |answer: proto::HelloAck, expected: Result<(), HelloError>| {
        let mut lab = Lab::new(0);
        let result = lab.core.handle_hello_ack(&sender("p1"), &answer.encode_to_vec().into(), lab.now);
        assert_eq!(result, expected);
    };
    check_ack(ack(update("p1"), 1), Ok(()));
    check_ack(ack(update("p1"), 2), Err(HelloError::NoCommonProtocol { theirs_min: 2, theirs_max: 2 }));
    check_ack(ack(update("p2"), 1), Err(HelloError::WrongNode { claimed: id("p2"), certified: id("p1") }));
    let oversize = Bytes::from(vec![0; MAX_HELLO_BYTES + 1]);
    let mut lab = Lab::new(0);
    let refused = lab.core.handle_hello_ack(&sender("p1"), &oversize, lab.now);
    assert_eq!(refused, Err(HelloError::TooLarge { bytes: MAX_HELLO_BYTES + 1 }));
    assert_eq!(lab.core.boot_epoch().0, OWN_BOOT);
}
