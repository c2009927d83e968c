//! Delta sync: what travels is the difference.

use std::time::Duration;

use membership::{Channel, Class};
use mesh_proto::gossip::State;
use mesh_proto::gossip::envelope::Body;
use mesh_proto::{MAX_STREAM_BYTES, Message as _, SYNC_BUCKETS, gossip as proto};
use mesh_types::MemberState;

use crate::kit::{Lab, PEER_BOOT, id, record, sender, update, verdict};

fn diffs(lab: &Lab) -> Vec<proto::SyncDiff> {
    let diffs = lab.sent.iter().filter_map(|sent| match &sent.body {
        Body::SyncDiff(diff) => Some(diff.clone()),
        _ => None,
    });
    diffs.collect()
}

fn records(lab: &Lab) -> Vec<proto::SyncRecords> {
    let records = lab.sent.iter().filter_map(|sent| match &sent.body {
        Body::SyncRecords(records) => Some(records.clone()),
        _ => None,
    });
    records.collect()
}

fn all_buckets() -> Vec<u32> {
    (0..256).collect()
}

#[test]
fn equal_tables_have_nothing_to_say() {
    let mut lab = Lab::new(1);
    let ack = proto::HelloAck { protocol: 1, own: Some(update("p2")), features: 0, known_boot_epoch: 0 };
    let up = lab.core.handle_hello_ack(&sender("p2"), &ack.encode_to_vec().into(), lab.now);
    assert_eq!(up, Ok(()));
    lab.drain();
    let started = lab.sent.iter().find(|sent| matches!(sent.body, Body::SyncStart(_)) && sent.to == id("p2"));
    let started = started.cloned().expect("who is new is synced with");
    assert_eq!(started.channel, Channel::Stream);
    lab.sent.clear();
    lab.hear("p2", started.body);
    assert!(lab.sent.is_empty(), "{:?}", lab.sent);
}

#[test]
fn a_start_is_answered_with_the_entries_of_the_buckets_that_differ_without_records() {
    let mut lab = Lab::new(3);
    lab.hear("p1", Body::SyncStart(proto::SyncStart { bucket_sums: vec![0; SYNC_BUCKETS] }));
    let diffs = diffs(&lab);
    assert_eq!(diffs.len(), 1);
    let mut nodes: Vec<&str> = diffs.iter().flat_map(|diff| &diff.entries).map(|entry| entry.node.as_str()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["a", "p1", "p2", "p3"]);
    assert!(diffs.iter().flat_map(|diff| &diff.entries).all(|entry| entry.record.is_empty()));
    assert!(diffs.iter().all(|diff| diff.buckets.len() <= 4), "only those that differ");
}

/// What was said of a member when the lab was set up, five milliseconds ago.
fn recent(node: &str) -> proto::Update {
    proto::Update { age_us: 5_000, ..update(node) }
}

#[test]
fn a_diff_is_answered_with_what_the_other_side_lacks_and_what_is_wanted() {
    let mut lab = Lab::new(2);
    let state_only = |node: &str| proto::Update { record: bytes::Bytes::new(), ..update(node) };
    // The other side knows a newer p2 and a stranger, and neither `a` nor p1.
    let entries = vec![proto::Update { metadata_version: 2, ..state_only("p2") }, state_only("p9")];
    lab.hear("p1", Body::SyncDiff(proto::SyncDiff { buckets: all_buckets(), entries }));
    let expected =
        proto::SyncRecords { updates: vec![recent("a"), recent("p1")], wanted: vec!["p2".to_owned(), "p9".to_owned()] };
    assert_eq!(records(&lab), [expected]);
}

#[test]
fn a_wanted_record_is_sent_once_however_often_it_is_named() {
    let mut lab = Lab::new(2);
    let wanted = vec!["p2".to_owned(); 10_000];
    lab.hear("p1", Body::SyncRecords(proto::SyncRecords { updates: Vec::new(), wanted }));
    assert_eq!(records(&lab), [proto::SyncRecords { updates: vec![recent("p2")], wanted: Vec::new() }]);
}

#[test]
fn the_departed_travel_as_a_state_and_are_believed_with_their_quorum() {
    let mut lab = Lab::new(5);
    let dead =
        |witnesses: &[&str]| proto::Update { record: bytes::Bytes::new(), ..verdict("p2", State::Dead, witnesses) };
    lab.hear("p1", Body::SyncDiff(proto::SyncDiff { buckets: all_buckets(), entries: vec![dead(&["p1"])] }));
    assert_eq!(lab.state("p2"), Some(MemberState::Alive));
    let entries = vec![dead(&["p1", "p3", "p4", "p5"])];
    lab.hear("p1", Body::SyncDiff(proto::SyncDiff { buckets: all_buckets(), entries }));
    lab.run_until("believed", |lab| lab.state("p2") == Some(MemberState::Dead));
    assert_eq!(lab.shown("p2").map(|member| member.boot_epoch.0), Some(PEER_BOOT));
}

#[test]
fn a_digest_that_differs_in_quiet_starts_a_sync() {
    let mut lab = Lab::new(2);
    lab.run(Duration::from_secs(2));
    let before = lab.core.stats().syncs;
    lab.digests_match = false;
    lab.run(Duration::from_secs(1));
    assert!(lab.core.stats().syncs > before);
    assert!(lab.sent.iter().any(|sent| matches!(sent.body, Body::SyncStart(_))));
}

#[test]
fn a_comparison_ends_with_what_came_of_it_once_and_only_if_it_was_begun() {
    let mut lab = Lab::new(2);
    lab.run(Duration::from_secs(2));
    lab.compared.clear();
    let records = || proto::SyncRecords { updates: vec![update("p9")], wanted: Vec::new() };
    lab.hear("p1", Body::SyncRecords(records()));
    assert_eq!(lab.compared, [], "nobody was asked");
    lab.digests_match = false;
    lab.run(Duration::from_secs(1));
    let asked = lab.compared.first().cloned().expect("a digest differs").0;
    assert!(lab.compared.iter().all(|compared| compared.1.is_none()), "{:?}", lab.compared);
    lab.compared.clear();
    let wanted = proto::Update { record: bytes::Bytes::new(), ..update("p8") };
    lab.hear(asked.as_str(), Body::SyncDiff(proto::SyncDiff { buckets: all_buckets(), entries: vec![wanted] }));
    assert!(!lab.compared.iter().any(|compared| compared.1.is_some()), "a record is wanted");
    lab.hear(asked.as_str(), Body::SyncRecords(records()));
    lab.hear(asked.as_str(), Body::SyncRecords(records()));
    let ended: Vec<_> = lab.compared.iter().filter(|compared| compared.1.is_some()).cloned().collect();
    assert_eq!(ended, [(asked, Some(1))]);
}

#[test]
fn a_sync_of_a_large_table_is_split_into_messages_that_the_other_side_takes() {
    let mut lab = Lab::with(1, membership::Options { max_members: 100_000, ..membership::Options::default() });
    let members = 20_000;
    let bytes = bytes::Bytes::from(record("p").encode_to_vec());
    let name = |number: usize| format!("{number:0>63}");
    for thousand in 0..members / 1_000 {
        let updates = (0..1_000).map(|number| proto::Update {
            node: name(thousand * 1_000 + number),
            record: bytes.clone(),
            ..update("p")
        });
        let records = proto::SyncRecords { updates: updates.collect(), wanted: Vec::new() };
        lab.hear("p1", Body::SyncRecords(records));
    }
    assert_eq!(lab.core.alive(), members + 2);
    lab.sent.clear();
    lab.hear("p1", Body::SyncStart(proto::SyncStart { bucket_sums: vec![0; SYNC_BUCKETS] }));
    let at_once = diffs(&lab).len();
    let all_sent = |seen: &Lab| seen.core.queues().all(|queue| queue.class != Class::Sync || queue.waiting == 0);
    lab.run_until("all is sent", all_sent);
    let diffs = diffs(&lab);
    assert!(at_once > 1 && at_once < diffs.len(), "{at_once} of {} at once: the rest is paced", diffs.len());
    assert!(diffs.iter().all(|diff| diff.encoded_len() < MAX_STREAM_BYTES / 2));
    assert_eq!(diffs.iter().map(|diff| diff.entries.len()).sum::<usize>(), members + 2);
    let buckets: Vec<u32> = diffs.into_iter().flat_map(|diff| diff.buckets).collect();
    assert_eq!(buckets, all_buckets());
}
