//! The departed: shown for a while, remembered for a day, and not brought back by old news.

use std::time::Duration;

use membership::{HelloError, Options};
use mesh_proto::gossip as proto;
use mesh_proto::gossip::State;
use mesh_types::MemberState;

use crate::kit::{Lab, hello, update, verdict};

const VISIBLE: Duration = Duration::from_secs(300);
const KEPT: Duration = Duration::from_secs(24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

/// Starts a core beside `p1`, which says goodbye.
fn left_alone() -> Lab {
    let mut lab = Lab::new(1);
    lab.hear_updates("p1", vec![verdict("p1", State::Left, &[])]);
    lab.sent.clear();
    lab
}

#[test]
fn a_departed_member_is_shown_for_five_minutes_and_remembered_for_a_day() {
    let mut lab = left_alone();
    lab.run(VISIBLE - SECOND);
    assert_eq!(lab.shown("p1").map(|member| member.state), Some(MemberState::Left));
    lab.run(SECOND * 2);
    assert_eq!((lab.shown("p1").is_some(), lab.state("p1")), (false, Some(MemberState::Left)));
    lab.run(KEPT - VISIBLE - SECOND * 2);
    assert_eq!(lab.state("p1"), Some(MemberState::Left));
    lab.run(SECOND * 2);
    assert_eq!(lab.state("p1"), None);
}

#[test]
fn a_full_table_forgets_who_departed_first_for_a_living_newcomer() {
    let mut lab = Lab::with(3, Options { max_members: 4, ..Options::default() });
    lab.hear_updates("p1", vec![verdict("p1", State::Left, &[])]);
    lab.run(SECOND);
    lab.hear_updates("p2", vec![verdict("p2", State::Left, &[])]);
    let timers = lab.core.timers_set();
    lab.greet("p4");
    assert_eq!((lab.state("p1"), lab.state("p2")), (None, Some(MemberState::Left)));
    assert!(lab.core.timers_set() < timers + 2, "the timers of the forgotten one stay behind");
    // The living are never forgotten.
    lab.greet("p5");
    assert_eq!(lab.say_hello("p6", &hello(update("p6"))), Err(HelloError::TableFull));
    assert_eq!(lab.state("p3"), Some(MemberState::Alive));
}

#[test]
fn old_news_do_not_bring_back_the_dead_and_their_bearer_is_told() {
    let mut lab = Lab::new(4);
    let dead = verdict("p1", State::Dead, &["p2", "p3", "p4", "a"]);
    lab.hear_updates("p2", vec![dead.clone()]);
    lab.run(SECOND);
    lab.sent.clear();
    lab.hear_updates("p3", vec![update("p1")]);
    assert_eq!(lab.state("p1"), Some(MemberState::Dead));
    let told: Vec<_> = lab.told("p1").into_iter().map(|(to, said)| (to, proto::Update { age_us: 0, ..said })).collect();
    assert_eq!(told, [("p3".to_owned(), dead)]);
    assert_eq!(lab.events, ["dead p1 500.0 v1"]);
}

#[test]
fn a_dead_member_that_still_probes_is_told_and_not_believed() {
    let mut lab = Lab::new(4);
    lab.hear_updates("p2", vec![verdict("p1", State::Dead, &["p2", "p3", "p4", "a"])]);
    lab.run(SECOND);
    lab.sent.clear();
    let probe = proto::Probe { sequence: 1, digest: 0, updates: vec![update("p1")], ..proto::Probe::default() };
    lab.hear("p1", proto::envelope::Body::Probe(probe));
    assert!(lab.told("p1").iter().all(|(to, said)| to == "p1" && said.state == i32::from(State::Dead)));
    assert!(!lab.told("p1").is_empty());
    assert_eq!(lab.state("p1"), Some(MemberState::Dead));
}

#[test]
fn old_news_do_not_show_a_hidden_member_again() {
    let mut lab = Lab::new(3);
    lab.hear_updates("p1", vec![verdict("p1", State::Left, &[])]);
    lab.run(VISIBLE + SECOND);
    lab.events.clear();
    lab.sent.clear();
    lab.hear_updates("p2", vec![update("p1"), proto::Update { boot_epoch: 400, metadata_version: 9, ..update("p1") }]);
    lab.run(SECOND);
    assert!(lab.shown("p1").is_none() && lab.events.is_empty(), "{:?}", lab.events);
    assert!(lab.told("p1").iter().all(|(to, _)| to == "p2"), "old news were passed on");
}

#[test]
fn a_hidden_member_that_comes_back_can_be_told_and_is_shown_in_its_new_life() {
    let mut lab = Lab::new(4);
    lab.hear_updates("p2", vec![verdict("p1", State::Dead, &["p2", "p3", "p4", "a"])]);
    lab.run(VISIBLE + SECOND);
    lab.sent.clear();
    lab.events.clear();
    lab.greet("p1");
    let told: Vec<(String, i32)> = lab.told("p1").into_iter().map(|(to, said)| (to, said.state)).collect();
    assert_eq!(told, [("p1".to_owned(), i32::from(State::Dead))]);
    lab.hear_updates("p1", vec![proto::Update { boot_epoch: 501, ..update("p1") }]);
    assert_eq!(lab.events, ["joined p1 501.0 v1"]);
    assert_eq!(lab.shown("p1").map(|member| member.state), Some(MemberState::Alive));
}

#[test]
fn an_earlier_departure_does_not_hide_a_later_life() {
    let mut lab = left_alone();
    lab.run(VISIBLE / 2);
    lab.hear_updates("p1", vec![proto::Update { boot_epoch: 501, ..update("p1") }]);
    lab.run(KEPT + SECOND);
    assert_eq!(lab.shown("p1").map(|member| member.state), Some(MemberState::Alive));
}

#[test]
fn a_node_that_comes_and_goes_all_day_has_the_timers_of_one_departure() {
    let mut lab = left_alone();
    let after_one = lab.core.timers_set();
    for life in 501..1_000 {
        lab.hear_updates("p1", vec![proto::Update { boot_epoch: life, ..update("p1") }]);
        lab.hear_updates("p1", vec![proto::Update { boot_epoch: life, ..verdict("p1", State::Left, &[]) }]);
        lab.run(SECOND);
    }
    assert!(lab.core.timers_set() <= after_one + 1, "{} timers", lab.core.timers_set());
}

#[test]
fn a_tombstone_without_a_record_takes_that_of_its_own_life_only() {
    let mut lab = Lab::new(2);
    let tombstone = proto::Update { record: bytes::Bytes::new(), ..verdict("p9", State::Left, &[]) };
    lab.hear_updates("p1", vec![tombstone]);
    assert_eq!((lab.state("p9"), lab.shown("p9").is_some()), (Some(MemberState::Left), false));
    lab.hear_updates("p1", vec![proto::Update { boot_epoch: 499, metadata_version: 9, ..update("p9") }]);
    assert!(lab.shown("p9").is_none());
    lab.hear_updates("p1", vec![update("p9")]);
    assert_eq!(lab.shown("p9").map(|member| member.state), Some(MemberState::Left));
}
