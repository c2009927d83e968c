//! The accuser's part: whom it asks, what decides, and what does not.

use std::collections::BTreeSet;
use std::time::Duration;

use membership::{Channel, Options};
use mesh_proto::gossip as proto;
use mesh_proto::gossip::State;
use mesh_proto::gossip::envelope::Body;
use mesh_types::MemberState;

use crate::kit::{Lab, Verifiers, id, update};

const SECOND: Duration = Duration::from_secs(1);

/// Starts a core beside `peers` members of whom `p1` answers no more, and waits until it is suspected.
fn suspecting(peers: usize, verifiers: Verifiers) -> Lab {
    // Everybody is a link, so that it is soon p1's turn to be probed.
    let mut lab = Lab::with(peers, Options { fanout: 32, ..Options::default() });
    lab.verifiers = verifiers;
    lab.run(SECOND * 20);
    lab.silence("p1");
    lab.run_until("suspected", |lab| lab.happened("suspect p1 500.0 v1"));
    lab
}

fn asked(lab: &Lab) -> Vec<(String, proto::VerifyRequest)> {
    let requests = lab.sent.iter().filter_map(|sent| match &sent.body {
        Body::VerifyRequest(request) => Some((sent.to.to_string(), request.clone())),
        _ => None,
    });
    requests.collect()
}

fn last_probe_of(lab: &Lab, node: &str) -> u64 {
    let mut probes = lab.sent.iter().filter(|sent| sent.to == id(node)).filter_map(|sent| match &sent.body {
        Body::Probe(probe) => Some(probe.sequence),
        _ => None,
    });
    probes.next_back().expect("it was probed")
}

#[test]
fn one_verifier_that_gets_an_answer_ends_the_suspicion() {
    let mut lab = suspecting(5, Verifiers::Vouch);
    assert_eq!(lab.events, ["suspect p1 500.0 v1", "recovered p1 500.0 v1"]);
    lab.run(SECOND * 60);
    assert_eq!(lab.core.stats().verdicts, 0);
    assert!(!lab.happened("unreachable p1 500.0 v1"));
}

#[test]
fn a_quorum_decides_after_the_grace_and_death_follows() {
    let mut lab = suspecting(5, Verifiers::Confirm);
    assert_eq!(lab.state("p1"), Some(MemberState::Suspect));
    // The first probe that was missed waited for 200 ms; the grace is 1 s from when it was sent.
    lab.run(Duration::from_millis(790));
    assert_eq!(lab.state("p1"), Some(MemberState::Suspect));
    lab.run(Duration::from_millis(20));
    assert_eq!(lab.state("p1"), Some(MemberState::Unreachable));
    let verdicts = lab.told("p1");
    let links: BTreeSet<&str> = verdicts.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(links, BTreeSet::from(["p1", "p2", "p3", "p4", "p5"]), "the accused is told as well");
    for (_, verdict) in &verdicts {
        assert_eq!(verdict.state, i32::from(State::Unreachable));
        assert_eq!(verdict.witnesses.first().map(String::as_str), Some("a"));
        let confirmers: BTreeSet<&String> = verdict.witnesses.iter().skip(1).collect();
        assert_eq!(confirmers.len(), 3, "{:?}", verdict.witnesses);
    }
    lab.run(Duration::from_millis(2_480));
    assert_eq!(lab.state("p1"), Some(MemberState::Unreachable));
    lab.run(Duration::from_millis(30));
    assert_eq!(lab.events, ["suspect p1 500.0 v1", "unreachable p1 500.0 v1", "dead p1 500.0 v1"]);
    assert_eq!(lab.core.stats().verdicts, 2);
}

#[test]
fn suspicion_is_told_to_the_verifiers_only() {
    let lab = suspecting(12, Verifiers::Silent);
    let requests = asked(&lab);
    assert_eq!(requests.len(), 5, "{requests:?}");
    let accused = |request: &proto::VerifyRequest| (request.subject.clone(), request.boot_epoch, request.incarnation);
    assert!(requests.iter().all(|(to, request)| to != "p1" && accused(request) == ("p1".to_owned(), 500, 0)));
    assert_eq!(lab.told("p1"), []);
}

#[test]
fn silent_verifiers_are_replaced_and_never_decide() {
    let mut lab = suspecting(12, Verifiers::Silent);
    lab.run(SECOND * 60);
    let verifiers: BTreeSet<String> = asked(&lab).into_iter().map(|(to, _)| to).collect();
    assert_eq!(verifiers.len(), 11, "everybody else was asked in the end: {verifiers:?}");
    assert!(lab.core.stats().inconclusive >= 1);
    assert_eq!((lab.core.stats().verdicts, lab.state("p1")), (0, Some(MemberState::Suspect)));
}

#[test]
fn too_few_confirmations_never_decide() {
    let mut lab = suspecting(6, Verifiers::Silent);
    for (to, request) in asked(&lab).into_iter().take(2) {
        let reply = proto::VerifyReply { accusation: request.accusation, subject: request.subject, answered: false };
        lab.hear(&to, Body::VerifyReply(reply.clone()));
        // Said twice, it counts once.
        lab.hear(&to, Body::VerifyReply(reply));
    }
    lab.run(SECOND * 4);
    assert_eq!((lab.core.stats().verdicts, lab.state("p1")), (0, Some(MemberState::Suspect)));
}

#[test]
fn who_was_not_asked_confirms_nothing() {
    let mut lab = suspecting(12, Verifiers::Silent);
    let requests = asked(&lab);
    let accusation = requests.first().map(|(_, request)| request.accusation).expect("somebody was asked");
    let strangers = (2..=12).map(|number| format!("p{number}"));
    let strangers: Vec<String> = strangers.filter(|peer| requests.iter().all(|(to, _)| to != peer)).collect();
    assert_eq!(strangers.len(), 6);
    for stranger in &strangers {
        let reply = proto::VerifyReply { accusation, subject: "p1".to_owned(), answered: false };
        lab.hear(stranger, Body::VerifyReply(reply));
    }
    lab.run(Duration::from_millis(1_100));
    assert_eq!(lab.state("p1"), Some(MemberState::Suspect));
}

#[test]
fn others_are_asked_in_place_of_those_who_withdraw() {
    let mut lab = suspecting(12, Verifiers::Silent);
    let requests = asked(&lab);
    assert_eq!(requests.len(), 5);
    let answers = [(0, false), (1, false), (0, true), (1, true), (2, false), (3, false), (4, true)];
    for (verifier, answered) in answers {
        let (to, request) = requests.get(verifier).expect("five were asked");
        let reply = proto::VerifyReply { accusation: request.accusation, subject: request.subject.clone(), answered };
        lab.hear(to, Body::VerifyReply(reply));
    }
    // Two confirm, one vouches, two say nothing: neither side has enough, and nobody else would ever speak.
    assert_eq!(lab.state("p1"), Some(MemberState::Suspect));
    assert_eq!(asked(&lab).len(), 7);
}

#[test]
fn confirmations_that_are_withdrawn_within_the_grace_do_not_count() {
    for (withdrawals, state) in [(1, MemberState::Unreachable), (2, MemberState::Suspect)] {
        let mut lab = suspecting(5, Verifiers::Confirm);
        lab.run(Duration::from_millis(500));
        // Four have confirmed; three are needed.
        for (verifier, request) in asked(&lab).into_iter().take(withdrawals) {
            let accusation = request.accusation;
            let reply = proto::VerifyReply { accusation, subject: request.subject, answered: true };
            lab.hear(&verifier, Body::VerifyReply(reply));
        }
        lab.run(SECOND);
        assert_eq!(lab.state("p1"), Some(state), "{withdrawals} withdrawals");
    }
}

#[test]
fn one_lucky_answer_does_not_clear_a_member_that_others_miss_and_two_vouchers_do() {
    for (vouchers, state) in [(1, MemberState::Suspect), (2, MemberState::Alive)] {
        let mut lab = suspecting(8, Verifiers::Silent);
        let mut requests = asked(&lab).into_iter();
        let mut say = |core: &mut Lab, answered| {
            let (verifier, request) = requests.next().expect("five were asked");
            let accusation = request.accusation;
            core.hear(
                &verifier,
                Body::VerifyReply(proto::VerifyReply { accusation, subject: request.subject, answered }),
            );
        };
        say(&mut lab, false);
        for _ in 0..vouchers {
            say(&mut lab, true);
        }
        assert_eq!(lab.state("p1"), Some(state), "{vouchers} vouchers");
    }
}

#[test]
fn a_suspect_that_answers_late_is_absolved() {
    let mut lab = suspecting(5, Verifiers::Silent);
    let sequence = last_probe_of(&lab, "p1");
    lab.run(SECOND);
    lab.hear("p2", Body::Ack(proto::Ack { sequence, digest: 0, updates: Vec::new() }));
    lab.hear("p1", Body::Ack(proto::Ack { sequence: sequence + 1_000, digest: 0, updates: Vec::new() }));
    assert_eq!(lab.state("p1"), Some(MemberState::Suspect), "neither is the answer");
    lab.hear("p1", Body::Ack(proto::Ack { sequence, digest: 0, updates: Vec::new() }));
    assert_eq!(lab.events, ["suspect p1 500.0 v1", "recovered p1 500.0 v1"]);
}

#[test]
fn a_suspect_that_talks_but_does_not_answer_stays_suspect() {
    let mut lab = suspecting(5, Verifiers::Silent);
    lab.hear_updates("p1", vec![update("p1"), update("p2")]);
    lab.hear(
        "p1",
        Body::Probe(proto::Probe { sequence: 1, digest: 0, updates: Vec::new(), ..proto::Probe::default() }),
    );
    assert_eq!(lab.state("p1"), Some(MemberState::Suspect));
}

#[test]
fn the_accuser_probes_again_over_a_stream() {
    let lab = suspecting(5, Verifiers::Silent);
    let last = lab.sent.iter().rev().find(|sent| sent.to == id("p1") && matches!(sent.body, Body::Probe(_)));
    assert_eq!(last.map(|sent| sent.channel), Some(Channel::Stream));
}

#[test]
fn a_denial_ends_the_suspicion_of_what_it_denies() {
    let mut lab = suspecting(5, Verifiers::Silent);
    lab.hear_updates("p2", vec![proto::Update { incarnation: 1, ..update("p1") }]);
    assert_eq!(lab.events, ["suspect p1 500.0 v1", "recovered p1 500.1 v1"]);
}

/// A mesh of two whose other node has never answered: every probe of it waits for 300 ms.
fn mesh_of_two() -> Lab {
    let ms = Duration::from_millis;
    let options = Options { suspicion_interval: ms(2_000), ping_timeout: ms(300), ..Options::default() };
    let mut lab = Lab::with(0, options);
    lab.silence("p1");
    lab.greet("p1");
    lab
}

#[test]
fn a_mesh_of_two_decides_at_the_third_missed_probe() {
    let mut lab = mesh_of_two();
    lab.run_until("unreachable", |lab| lab.happened("unreachable p1 500.0 v1"));
    // And the one that compares digests after the hello, which is no evidence of its own.
    assert_eq!(lab.core.stats().missed_probes, 4);
    let witnesses: Vec<Vec<String>> = lab.told("p1").into_iter().map(|(_, update)| update.witnesses).collect();
    assert_eq!(witnesses.last(), Some(&vec!["a".to_owned()]));
}

#[test]
fn a_mesh_of_two_starts_to_count_again_after_an_answer() {
    let mut lab = mesh_of_two();
    lab.run_until("two misses", |lab| lab.core.stats().missed_probes == 2);
    let sequence = last_probe_of(&lab, "p1");
    lab.hear("p1", Body::Ack(proto::Ack { sequence, digest: 0, updates: Vec::new() }));
    lab.run_until("a third miss", |lab| lab.core.stats().missed_probes == 3);
    assert_eq!(lab.state("p1"), Some(MemberState::Suspect));
}

#[test]
fn an_accuser_of_three_with_a_silent_third_never_decides_alone() {
    let mut lab = suspecting(2, Verifiers::Silent);
    lab.run(SECOND * 120);
    assert_eq!((lab.core.stats().verdicts, lab.state("p1")), (0, Some(MemberState::Suspect)));
}

#[test]
fn death_comes_from_any_member_if_the_author_of_the_verdict_falls_silent() {
    let mut lab = Lab::new(5);
    let witnesses = ["p2", "p3", "p4", "p5"];
    lab.hear_updates("p2", vec![crate::kit::verdict("p1", State::Unreachable, &witnesses)]);
    lab.silence("p1");
    lab.run(Duration::from_millis(3_490));
    assert_eq!(lab.state("p1"), Some(MemberState::Unreachable));
    lab.run(Duration::from_millis(520));
    assert_eq!(lab.state("p1"), Some(MemberState::Dead));
}

/// Returns how long after the first verdict on `p1` it is dead, for its author or for one who hears it.
fn death_after(dead_after: Option<Duration>, by: Verdict) -> Duration {
    let options = Options { dead_after, ..Options::default() };
    let mut lab = Lab::with(5, options);
    lab.silence("p1");
    match by {
        Verdict::Own => lab.verifiers = Verifiers::Confirm,
        Verdict::Heard => {
            lab.hear_updates("p2", vec![crate::kit::verdict("p1", State::Unreachable, &["p2", "p3", "p4", "p5"])]);
        }
    }
    lab.run_until("unreachable", |lab| lab.state("p1") == Some(MemberState::Unreachable));
    lab.run_until("dead", |lab| lab.state("p1") == Some(MemberState::Dead))
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Own,
    Heard,
}

#[test]
fn an_unreachable_member_is_dead_after_the_time_set_for_it_and_half_of_the_suspicion_interval_else() {
    let (own, heard) = (|after| death_after(after, Verdict::Own), |after| death_after(after, Verdict::Heard));
    assert_eq!((own(None), own(Some(SECOND * 20))), (SECOND * 5 / 2, SECOND * 20));
    for (set, after) in [(None, SECOND * 5 / 2), (Some(SECOND * 20), SECOND * 20)] {
        let took = heard(set);
        assert!(took >= after.mul_f64(1.4) && took <= after.mul_f64(1.6), "the author has {after:?}, others {took:?}");
    }
}

#[test]
fn a_member_that_is_declared_and_denies_it_again_and_again_has_one_date_of_death() {
    let day = Duration::from_secs(86_400);
    let mut lab = Lab::with(5, Options { dead_after: Some(day), metadata_refresh_period: day, ..Options::default() });
    let mut timers = Vec::new();
    for incarnation in 0..20 {
        let unreachable = crate::kit::verdict("p1", State::Unreachable, &["p2", "p3", "p4", "p5"]);
        lab.hear_updates("p2", vec![proto::Update { incarnation, ..unreachable }]);
        lab.run(SECOND);
        timers.push(lab.core.timers_set());
        lab.hear_updates("p2", vec![proto::Update { incarnation: incarnation + 1, ..update("p1") }]);
        lab.run(SECOND);
    }
    let most = timers.iter().max();
    assert!(most <= Some(&(timers[0] + 12)), "{timers:?}");
}

#[test]
fn a_member_that_this_node_declares_again_and_again_has_one_date_of_death() {
    let day = Duration::from_secs(86_400);
    let mut lab = Lab::with(5, Options { dead_after: Some(day), metadata_refresh_period: day, ..Options::default() });
    lab.silence("p1");
    lab.verifiers = Verifiers::Confirm;
    let mut timers = Vec::new();
    for incarnation in 1..=16 {
        lab.run_until("unreachable", |lab| lab.state("p1") == Some(MemberState::Unreachable));
        lab.run(SECOND * 10);
        timers.push(lab.core.timers_set());
        lab.hear_updates("p2", vec![proto::Update { incarnation, ..update("p1") }]);
    }
    assert!(timers.iter().max() <= Some(&(timers[0] + 8)), "{timers:?}");
}
