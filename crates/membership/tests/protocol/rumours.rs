//! A death of which this node knew nothing: passed on at once, believed later.

use std::time::Duration;

use mesh_proto::gossip as proto;
use mesh_proto::gossip::State;
use mesh_types::MemberState;

use crate::kit::{Lab, update, verdict};

/// Half an interval, less what is needed to see that nothing has happened yet.
const ALMOST: Duration = Duration::from_millis(499);

const WITNESSES: [&str; 4] = ["p2", "p3", "p4", "p5"];

fn death() -> proto::Update {
    verdict("p1", State::Dead, &WITNESSES)
}

/// Returns to whom the death was told.
fn told_the_death(lab: &Lab) -> Vec<String> {
    let told = lab.told("p1").into_iter().filter(|(_, said)| said.state == i32::from(State::Dead));
    told.map(|(to, _)| to).collect()
}

#[test]
fn a_death_out_of_the_blue_is_passed_on_at_once_to_whom_it_is_about_too_and_believed_later() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![death()]);
    lab.run(Duration::from_millis(5));
    assert_eq!(told_the_death(&lab), ["p1", "p3", "p4", "p5"]);
    lab.run(ALMOST - Duration::from_millis(5));
    assert_eq!((lab.state("p1"), lab.events.len()), (Some(MemberState::Alive), 0));
    lab.run(Duration::from_millis(1));
    assert_eq!(lab.events, ["dead p1 500.0 v1"]);
}

#[test]
fn a_rumour_that_is_known_is_not_passed_on_again_and_does_not_put_off_the_belief() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![death()]);
    lab.run(ALMOST);
    lab.sent.clear();
    lab.hear_updates("p3", vec![death()]);
    lab.run(Duration::from_millis(1));
    assert_eq!(told_the_death(&lab), Vec::<String>::new());
    assert_eq!(lab.events, ["dead p1 500.0 v1"]);
}

#[test]
fn a_member_that_is_back_in_a_new_life_before_its_death_is_believed_was_never_away() {
    let mut lab = Lab::new(5);
    let timers = lab.core.timers_set();
    lab.hear_updates("p2", vec![death()]);
    lab.hear_updates("p3", vec![proto::Update { boot_epoch: 501, ..update("p1") }]);
    lab.run(Duration::from_millis(5));
    assert_eq!(lab.events, ["joined p1 501.0 v1"]);
    assert_eq!(lab.core.timers_set(), timers);
    lab.run(Duration::from_secs(5));
    assert_eq!(lab.events, ["joined p1 501.0 v1"]);
}

#[test]
fn a_rumour_needs_its_quorum() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![verdict("p1", State::Dead, &["p2", "p3", "p4"])]);
    lab.run(Duration::from_secs(1));
    assert_eq!(lab.events, ["rejected p1: no_quorum: verdict has 2 confirmers, 3 are needed"]);
}

#[test]
fn a_death_of_which_there_was_word_is_believed_at_once() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![verdict("p1", State::Unreachable, &WITNESSES)]);
    lab.hear_updates("p2", vec![death()]);
    assert_eq!(lab.events, ["unreachable p1 500.0 v1", "dead p1 500.0 v1"]);
    lab.hear_updates("p3", vec![update("p9")]);
    lab.silence("p9");
    lab.run_until("suspect", |lab| lab.state("p9") == Some(MemberState::Suspect));
    lab.hear_updates("p3", vec![verdict("p9", State::Dead, &WITNESSES)]);
    assert_eq!(lab.state("p9"), Some(MemberState::Dead));
}

#[test]
fn a_node_that_was_late_waits_for_denials_that_stand_in_its_queue() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![death()]);
    lab.now += Duration::from_secs(2);
    let late = membership::Input::LoopLag(Duration::from_millis(1_500));
    lab.core.handle(late, lab.now).expect("a lag is no input");
    lab.run(Duration::ZERO);
    lab.hear_updates("p3", vec![proto::Update { boot_epoch: 501, ..update("p1") }]);
    lab.run(Duration::from_secs(2));
    assert_eq!(lab.events, ["joined p1 501.0 v1"]);
}
