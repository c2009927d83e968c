//! Who is probed when, and what a node makes of its own troubles.

use std::collections::BTreeSet;
use std::time::Duration;

use membership::{Channel, Input, Options};
use mesh_proto::gossip as proto;
use mesh_proto::gossip::State;
use mesh_proto::gossip::envelope::Body;
use mesh_types::MemberState;

use crate::kit::{Lab, Verifiers, id, verdict};

const SECOND: Duration = Duration::from_secs(1);

fn probes(lab: &Lab) -> Vec<(String, proto::Probe)> {
    let probes = lab.sent.iter().filter_map(|sent| match &sent.body {
        Body::Probe(probe) => Some((sent.to.to_string(), probe.clone())),
        _ => None,
    });
    probes.collect()
}

fn probe(again_in_ms: u32) -> Body {
    Body::Probe(proto::Probe { sequence: 1, again_in_ms, ..proto::Probe::default() })
}

#[test]
fn links_are_probed_one_a_round_in_an_order_that_repeats_itself() {
    let mut lab = Lab::new(6);
    lab.run(SECOND * 20);
    lab.sent.clear();
    lab.run(SECOND * 18);
    let turns: Vec<String> =
        probes(&lab).into_iter().filter(|(_, probe)| probe.again_in_ms == 6_000).map(|(to, _)| to).collect();
    assert_eq!(turns.len(), 18);
    assert_eq!(turns.iter().take(6).collect::<BTreeSet<_>>().len(), 6, "each has its turn");
    assert_eq!(turns.get(..12), turns.get(6..), "and the next round is the same");
}

#[test]
fn a_link_that_does_not_probe_as_it_said_is_probed_at_once() {
    let mut lab = Lab::new(6);
    lab.run(SECOND * 20);
    lab.hear("p1", probe(3_000));
    lab.run(SECOND * 3);
    assert_eq!(lab.core.stats().broken_promises, 0);
    lab.sent.clear();
    // A quarter of an interval is left for delays.
    lab.run(Duration::from_millis(251));
    assert_eq!(lab.core.stats().broken_promises, 1);
    assert!(probes(&lab).iter().any(|(to, probe)| to == "p1" && probe.again_in_ms == 0));
}

#[test]
fn a_kept_promise_moves_the_next_one_on() {
    let mut lab = Lab::new(6);
    for _ in 0..5 {
        lab.hear("p1", probe(3_000));
        lab.run(SECOND * 3);
    }
    assert_eq!(lab.core.stats().broken_promises, 0);
}

#[test]
fn a_probe_over_a_stream_is_answered_over_a_stream() {
    for (reliable, channel) in [(false, Channel::Datagram), (true, Channel::Stream)] {
        let mut lab = Lab::new(3);
        lab.hear("p1", Body::Probe(proto::Probe { sequence: 7, reliable, ..proto::Probe::default() }));
        let ack = lab.sent.iter().find(|sent| matches!(sent.body, Body::Ack(_)));
        assert_eq!(ack.map(|sent| sent.channel), Some(channel));
    }
}

#[test]
fn two_losses_make_a_node_probe_all_its_links_at_once() {
    let mut lab =
        Lab::with(8, Options { interval: SECOND * 30, suspicion_interval: SECOND * 60, ..Options::default() });
    let others = ["p3", "p4", "p5", "p6"];
    lab.hear_updates("p3", vec![verdict("p1", State::Unreachable, &others)]);
    lab.sent.clear();
    lab.hear_updates("p3", vec![verdict("p2", State::Unreachable, &others)]);
    let probed: BTreeSet<String> = probes(&lab).into_iter().map(|(to, _)| to).collect();
    assert_eq!(probed, ["p3", "p4", "p5", "p6", "p7", "p8"].map(str::to_owned).into());
}

#[test]
fn a_handshake_shows_the_round_trip_until_a_probe_does() {
    let missed_after = |seed: Option<Duration>| {
        let mut lab = Lab::new(0);
        lab.silence("p1");
        lab.greet("p1");
        if let Some(rtt) = seed {
            lab.core.handle(Input::LinkRtt { peer: &id("p1"), rtt }, lab.now).expect("a round trip is no input");
        }
        lab.run_until("probed", |lab| lab.core.stats().probes == 1);
        lab.run_until("missed", |lab| lab.core.stats().missed_probes == 1)
    };
    assert_eq!(missed_after(None), Duration::from_millis(500));
    assert_eq!(missed_after(Some(Duration::from_millis(1))), Duration::from_millis(200));
    assert_eq!(missed_after(Some(Duration::from_millis(60))), Duration::from_millis(240));
}

#[test]
fn a_late_shell_hears_the_answers_before_it_judges() {
    let mut lab = Lab::new(5);
    lab.run(SECOND * 10);
    lab.silence("p1");
    lab.run_until("probed", |lab| probes(lab).last().is_some_and(|(to, _)| to == "p1"));
    let sequence = probes(&lab).last().map(|(_, probe)| probe.sequence).expect("it was probed");
    // The process stands still for three seconds; the answer is in the socket's buffer.
    lab.now += SECOND * 3;
    lab.core.handle(Input::LoopLag(SECOND * 3), lab.now).expect("a lag is no input");
    lab.core.handle(Input::Timeout, lab.now).expect("a timer is no input");
    lab.hear("p1", Body::Ack(proto::Ack { sequence, digest: lab.core.digest(), updates: Vec::new() }));
    assert!(!lab.happened("suspect p1 500.0 v1"), "{:?}", lab.events);
    assert_eq!(lab.shown("p1").and_then(|member| member.rtt), Some(Duration::ZERO), "the lag is no round trip");
    assert_eq!(lab.core.stats().loop_lags, 1);
}

#[test]
fn who_accuses_wrongly_probes_less_and_waits_longer() {
    let mut lab = Lab::new(6);
    lab.verifiers = Verifiers::Vouch;
    lab.run(SECOND * 20);
    let turns = |seen: &Lab| probes(seen).iter().filter(|(_, probe)| probe.again_in_ms > 0).count();
    lab.sent.clear();
    lab.run(SECOND * 20);
    assert_eq!(turns(&lab), 20);
    ["p1", "p2", "p3", "p4", "p5"].into_iter().for_each(|node| lab.silence(node));
    lab.run(SECOND * 20);
    lab.sent.clear();
    lab.run(SECOND * 20);
    assert!(lab.core.stats().disproved > 5 && lab.core.stats().verdicts == 0);
    assert!(turns(&lab) < 10, "{} turns", turns(&lab));
    lab.silent.clear();
    lab.run(SECOND * 60);
    lab.sent.clear();
    lab.run(SECOND * 20);
    assert_eq!(turns(&lab), 20, "it did not come to trust itself again");
}

#[test]
fn who_misses_most_of_its_links_and_is_confirmed_by_nobody_is_isolated_itself() {
    let mut lab = Lab::new(5);
    lab.run(SECOND * 10);
    for node in ["p1", "p2", "p3", "p4", "p5"] {
        lab.silence(node);
    }
    lab.run_until("isolated", |lab| lab.core.is_isolated());
    assert_eq!(lab.core.stats().verdicts, 0);
    assert!(lab.events.iter().any(|event| event.starts_with("Isolated")), "{:?}", lab.events);
    lab.silent.clear();
    lab.run_until("reconnected", |lab| !lab.core.is_isolated());
    assert!(lab.happened("Reconnected"));
    assert_eq!(lab.state("p1"), Some(MemberState::Alive));
}

#[test]
fn a_member_that_comes_and_goes_gets_more_time_each_time() {
    let mut lab = Lab::with(5, Options { fanout: 32, ..Options::default() });
    lab.verifiers = Verifiers::Confirm;
    lab.run(SECOND * 20);
    let mut denials = 0;
    let mut deny = |core: &mut Lab| {
        denials += 1;
        core.silent.clear();
        core.hear_updates("p2", vec![proto::Update { incarnation: denials, ..crate::kit::update("p1") }]);
    };
    // Another declares it first, so that it is not the victim of one accuser alone.
    lab.hear_updates("p3", vec![verdict("p1", State::Unreachable, &["p3", "p2", "p4", "p5"])]);
    deny(&mut lab);
    let mut graces = Vec::new();
    for _ in 0..3 {
        lab.silence("p1");
        lab.run_until("suspected", |lab| lab.state("p1") == Some(MemberState::Suspect));
        let grace = lab.run_until("unreachable", |lab| lab.state("p1") == Some(MemberState::Unreachable));
        // The first missed probe was 200 ms old.
        graces.push((grace.as_millis() + 200).div_euclid(500) * 500);
        deny(&mut lab);
        lab.run(SECOND);
    }
    assert_eq!(graces, [2_000, 4_000, 8_000]);
}

#[test]
fn an_answered_probe_leaves_no_timer() {
    let mut lab = Lab::with(4, Options { metadata_refresh_period: Duration::from_secs(86_400), ..Options::default() });
    lab.run(Duration::from_secs(10));
    let probes = lab.core.stats().probes;
    let mut set = BTreeSet::new();
    for _ in 0..300 {
        lab.run(Duration::from_millis(10));
        set.insert(lab.core.timers_set());
    }
    assert!(lab.core.stats().probes >= probes + 3);
    assert_eq!(set.len(), 1, "{set:?} timers");
}
