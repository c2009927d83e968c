//! The verifier's part: it probes before it speaks.

use std::time::Duration;

use membership::Channel;
use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body;

use crate::kit::{Lab, id, update};

const SECOND: Duration = Duration::from_secs(1);

fn request(accusation: u64, subject: &str, boot_epoch: u64, incarnation: u64) -> Body {
    Body::VerifyRequest(proto::VerifyRequest { accusation, subject: subject.to_owned(), boot_epoch, incarnation })
}

/// Returns the answers to verify requests: to whom, about which accusation, and what.
fn replies(lab: &Lab) -> Vec<(String, u64, bool)> {
    let replies = lab.sent.iter().filter_map(|sent| match &sent.body {
        Body::VerifyReply(reply) => Some((sent.to.to_string(), reply.accusation, reply.answered)),
        _ => None,
    });
    replies.collect()
}

fn probes_of(lab: &Lab, node: &str) -> Vec<(Channel, u64)> {
    let probes = lab.sent.iter().filter(|sent| sent.to == id(node)).filter_map(|sent| match &sent.body {
        Body::Probe(probe) => Some((sent.channel, probe.sequence)),
        _ => None,
    });
    probes.collect()
}

/// Starts a core that knows `p1` and, beyond its links, 19 others, and whose own turn to probe is far.
fn verifier() -> Lab {
    let options = membership::Options {
        interval: SECOND * 60,
        suspicion_interval: SECOND * 120,
        ping_timeout: Duration::from_millis(500),
        metadata_refresh_period: SECOND * 3_600,
        ..membership::Options::default()
    };
    Lab::with(20, options)
}

#[test]
fn a_subject_that_answers_is_vouched_for_at_once() {
    let mut lab = verifier();
    lab.hear("p2", request(5, "p1", 500, 0));
    assert_eq!(replies(&lab), [("p2".to_owned(), 5, true)]);
    assert_eq!(probes_of(&lab, "p1").len(), 1);
}

#[test]
fn a_subject_that_does_not_answer_is_probed_twice_before_that_is_said() {
    let mut lab = verifier();
    lab.silence("p1");
    lab.hear("p2", request(5, "p1", 500, 0));
    assert_eq!(replies(&lab), []);
    lab.run(Duration::from_millis(990));
    let channels: Vec<Channel> = probes_of(&lab, "p1").into_iter().map(|(channel, _)| channel).collect();
    assert_eq!((channels, replies(&lab)), (vec![Channel::Datagram, Channel::Stream], vec![]));
    lab.run(Duration::from_millis(20));
    assert_eq!(replies(&lab), [("p2".to_owned(), 5, false)]);
    assert_eq!(probes_of(&lab, "p1").len(), 2);
}

#[test]
fn late_answers_are_passed_on_to_everybody_who_asked_once_half_of_the_probes_have_one() {
    let mut lab = verifier();
    lab.silence("p1");
    lab.hear("p2", request(5, "p1", 500, 0));
    lab.hear("p3", request(6, "p1", 500, 0));
    lab.run(SECOND * 2);
    let sequences: Vec<u64> = probes_of(&lab, "p1").iter().map(|probe| probe.1).collect();
    assert_eq!(sequences.len(), 4, "two for each who asked");
    lab.sent.clear();
    let ack = |sequence| Body::Ack(proto::Ack { sequence, digest: 0, updates: Vec::new() });
    lab.hear("p1", ack(sequences[0]));
    assert_eq!(replies(&lab), [], "one of four may be luck");
    lab.hear("p1", ack(sequences[1]));
    assert_eq!(replies(&lab), [("p2".to_owned(), 5, true), ("p3".to_owned(), 6, true)]);
}

#[test]
fn a_node_vouches_for_itself() {
    let mut lab = verifier();
    lab.hear("p2", request(5, "a", 1_000, 0));
    assert_eq!(replies(&lab), [("p2".to_owned(), 5, true)]);
}

#[test]
fn a_verifier_that_does_not_know_the_accused_life_says_nothing() {
    let mut lab = verifier();
    lab.silence("p1");
    lab.hear("p2", request(5, "stranger", 500, 0));
    lab.hear("p2", request(6, "p1", 501, 0));
    lab.run(SECOND * 10);
    assert_eq!((replies(&lab), probes_of(&lab, "p1")), (vec![], vec![]));
}

#[test]
fn a_verifier_that_knows_better_tells_what_it_knows() {
    let mut lab = verifier();
    lab.hear_updates("p1", vec![proto::Update { incarnation: 3, ..update("p1") }]);
    lab.run(SECOND);
    lab.sent.clear();
    lab.hear("p2", request(5, "p1", 500, 2));
    assert_eq!(replies(&lab), [("p2".to_owned(), 5, true)]);
    let told: Vec<(String, u64)> = lab.told("p1").into_iter().map(|(to, update)| (to, update.incarnation)).collect();
    assert_eq!(told, [("p2".to_owned(), 3)]);
    assert_eq!(probes_of(&lab, "p1"), []);
}

#[test]
fn verifications_under_way_are_bounded_and_the_refused_are_counted() {
    let mut lab = verifier();
    lab.silence("p1");
    for accusation in 0..300 {
        lab.hear("p2", request(accusation, "p1", 500, 0));
        lab.hear("p2", request(accusation, "p1", 500, 0));
    }
    assert_eq!(probes_of(&lab, "p1").len(), 256, "each accusation once");
    assert_eq!(lab.core.stats().verifications_refused, 2 * (300 - 256));
}
