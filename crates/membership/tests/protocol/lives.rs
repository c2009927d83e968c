//! What a node answers when others speak of it, and which life of a node counts.

use std::time::Duration;

use membership::{Input, quorum};
use mesh_proto::gossip::State;
use mesh_proto::{Message as _, gossip as proto};
use mesh_types::{Incarnation, MemberState};

use crate::kit::{Lab, OWN_BOOT, record, sender, update, verdict};

const SOON: Duration = Duration::from_millis(5);

/// How long a death of which nobody had word waits to be believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// Returns what was said of the local node, by state, life and incarnation.
fn said_of_self(lab: &Lab) -> Vec<(String, i32, u64, u64)> {
    let told = lab.told("a").into_iter();
    told.map(|(to, update)| (to, update.state, update.boot_epoch, update.incarnation)).collect()
}

#[test]
fn a_node_denies_that_it_is_unreachable_to_all_its_links() {
    let mut lab = Lab::new(3);
    lab.hear_updates("p1", vec![verdict("a", State::Unreachable, &["p1", "p2", "p3"])]);
    lab.run(SOON);
    assert_eq!(lab.events, ["refuted 1"]);
    let alive = i32::from(State::Alive);
    let everybody = ["p1", "p2", "p3"].map(|peer| (peer.to_owned(), alive, OWN_BOOT, 1));
    assert_eq!(said_of_self(&lab), everybody);
    assert_eq!(lab.shown("a").map(|member| member.incarnation), Some(Incarnation(1)));
}

#[test]
fn a_verdict_that_was_denied_already_is_denied_no_more() {
    let mut lab = Lab::new(3);
    for _ in 0..3 {
        lab.hear_updates("p1", vec![verdict("a", State::Unreachable, &["p1", "p2", "p3"])]);
    }
    assert_eq!(lab.events, ["refuted 1"]);
}

#[test]
fn a_denial_is_above_the_incarnation_that_was_accused() {
    let mut lab = Lab::new(3);
    let accused = proto::Update { incarnation: 6, ..verdict("a", State::Unreachable, &["p1"]) };
    lab.hear_updates("p1", vec![accused]);
    assert_eq!(lab.events, ["refuted 7"]);
}

#[test]
fn a_node_that_is_held_dead_comes_back_in_a_new_life() {
    for state in [State::Dead, State::Left] {
        let mut lab = Lab::new(2);
        lab.hear_updates("p1", vec![verdict("a", state, &["p1", "p2"])]);
        lab.run(SOON);
        assert_eq!(lab.events, ["rejoined 1001"]);
        let alive = i32::from(State::Alive);
        let everybody = ["p1", "p2"].map(|peer| (peer.to_owned(), alive, OWN_BOOT + 1, 0));
        assert_eq!(said_of_self(&lab), everybody);
    }
}

#[test]
fn a_verdict_needs_a_quorum_of_distinct_confirmers_beside_its_accuser() {
    for electorate in 1..=6 {
        let needed = quorum(electorate);
        for (state, outcome) in [(State::Unreachable, "unreachable"), (State::Dead, "dead")] {
            let mut lab = Lab::new(electorate + 1);
            let confirmers: Vec<String> = (1..needed).map(|number| format!("w{number}")).collect();
            let mut witnesses: Vec<&str> = confirmers.iter().map(String::as_str).collect();
            // The accuser, twice, and the accused itself add nothing.
            witnesses.extend(["p2", "p2", "p1"]);
            lab.hear_updates("p2", vec![verdict("p1", state, &witnesses)]);
            let short = needed - 1;
            let rejected = format!("rejected p1: no_quorum: verdict has {short} confirmers, {needed} are needed");
            assert_eq!(lab.events, [rejected], "electorate {electorate}");
            assert_eq!(lab.state("p1"), Some(MemberState::Alive));
            witnesses.push("one-more");
            lab.hear_updates("p2", vec![verdict("p1", state, &witnesses)]);
            lab.run(BELIEVED);
            assert!(lab.happened(&format!("{outcome} p1 500.0 v1")), "electorate {electorate}: {:?}", lab.events);
        }
    }
}

#[test]
fn a_verdict_on_a_stranger_needs_a_quorum_too() {
    let mut lab = Lab::new(4);
    lab.hear_updates("p1", vec![verdict("p9", State::Dead, &["p1"])]);
    assert_eq!(lab.events, ["rejected p9: no_quorum: verdict has 0 confirmers, 3 are needed"]);
    assert_eq!(lab.state("p9"), None);
}

#[test]
fn death_follows_a_known_verdict_without_naming_the_quorum_again() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![verdict("p1", State::Unreachable, &["p2", "p3", "p4", "p5"])]);
    lab.hear_updates("p2", vec![verdict("p1", State::Dead, &[])]);
    assert_eq!(lab.events, ["unreachable p1 500.0 v1", "dead p1 500.0 v1"]);
}

#[test]
fn a_known_verdict_on_another_incarnation_is_no_evidence() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![verdict("p1", State::Unreachable, &["p2", "p3", "p4", "p5"])]);
    let next = proto::Update { incarnation: 1, ..verdict("p1", State::Dead, &[]) };
    lab.hear_updates("p2", vec![next]);
    let rejected = "rejected p1: no_quorum: verdict has 0 confirmers, 3 are needed";
    assert_eq!(lab.events, ["unreachable p1 500.0 v1", rejected]);
}

#[test]
fn a_denial_brings_an_unreachable_member_back() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![verdict("p1", State::Unreachable, &["p2", "p3", "p4", "p5"])]);
    lab.hear_updates("p2", vec![update("p1")]);
    assert_eq!(lab.state("p1"), Some(MemberState::Unreachable));
    lab.hear_updates("p2", vec![proto::Update { incarnation: 1, ..update("p1") }]);
    assert_eq!(lab.events, ["unreachable p1 500.0 v1", "recovered p1 500.1 v1"]);
    lab.run(Duration::from_secs(20));
    assert_eq!(lab.state("p1"), Some(MemberState::Alive));
}

#[test]
fn a_death_of_an_incarnation_that_was_denied_since_is_old_news() {
    let mut lab = Lab::new(5);
    lab.hear_updates("p2", vec![proto::Update { incarnation: 1, ..update("p1") }]);
    lab.hear_updates("p2", vec![verdict("p1", State::Dead, &["p2", "p3", "p4", "p5"])]);
    assert_eq!(lab.state("p1"), Some(MemberState::Alive));
    assert!(lab.events.is_empty(), "{:?}", lab.events);
}

#[test]
fn an_earlier_life_is_old_news() {
    let mut lab = Lab::new(2);
    let (version, digest) = (lab.core.version(), lab.core.digest());
    let earlier = proto::Update { boot_epoch: 499, incarnation: 9, metadata_version: 9, ..update("p1") };
    lab.hear_updates("p2", vec![earlier, proto::Update { boot_epoch: 499, ..verdict("p1", State::Left, &[]) }]);
    lab.run(SOON);
    assert_eq!((lab.core.version(), lab.core.digest()), (version, digest));
    assert!(lab.events.is_empty() && lab.sent.is_empty(), "{:?} {:?}", lab.events, lab.sent);
}

#[test]
fn a_later_life_replaces_the_earlier_at_once_wherever_it_listens() {
    let mut lab = Lab::new(2);
    let moved = proto::NodeRecord { endpoint: "elsewhere.mesh:1".to_owned(), ..record("p1") };
    let later = proto::Update { boot_epoch: 501, record: moved.encode_to_vec().into(), ..update("p1") };
    lab.hear_updates("p2", vec![later]);
    assert_eq!(lab.events, ["joined p1 501.0 v1"]);
    let endpoint = lab.shown("p1").map(|member| member.metadata.endpoint.to_string());
    assert_eq!(endpoint.as_deref(), Some("elsewhere.mesh:1"));
}

/// Lets `p1` answer the hello of a joining core, and say which life of it the mesh remembers.
fn join_remembered_as(known_boot_epoch: u64) -> Lab {
    let mut lab = Lab::new(0);
    let ack = proto::HelloAck { protocol: 1, own: Some(update("p1")), features: 0, known_boot_epoch };
    let answered = lab.core.handle_hello_ack(&sender("p1"), &ack.encode_to_vec().into(), lab.now);
    assert_eq!(answered, Ok(()));
    lab.drain();
    lab
}

#[test]
fn a_node_whose_clock_went_back_rises_above_the_life_that_the_mesh_remembers() {
    let same = join_remembered_as(OWN_BOOT);
    assert_eq!((same.events, same.core.boot_epoch().0), (vec!["joined p1 500.0 v1".to_owned()], OWN_BOOT));
    let back = join_remembered_as(OWN_BOOT + 8);
    assert_eq!(back.events, ["joined p1 500.0 v1", "rejoined 1009"]);
    let own = proto::Hello::decode(back.core.hello()).expect("the core speaks the protocol").own;
    assert_eq!(own.map(|own| own.boot_epoch), Some(OWN_BOOT + 9));
}

fn life_elsewhere(boot_epoch: u64) -> proto::Update {
    let moved = proto::NodeRecord { endpoint: "elsewhere.mesh:1".to_owned(), ..record("a") };
    proto::Update { boot_epoch, record: moved.encode_to_vec().into(), ..update("a") }
}

#[test]
fn a_node_that_joins_is_not_superseded_by_its_earlier_run_at_another_address() {
    let mut lab = join_remembered_as(OWN_BOOT + 8);
    lab.hear_updates("p1", vec![life_elsewhere(OWN_BOOT + 8)]);
    assert_eq!(lab.core.boot_epoch().0, OWN_BOOT + 9);
    assert!(lab.core.poll_timeout().is_some(), "it has stopped");
}

#[test]
fn a_later_life_at_another_address_stops_a_running_node() {
    let mut lab = Lab::new(2);
    lab.hear_updates("p1", vec![life_elsewhere(OWN_BOOT + 1)]);
    assert_eq!(lab.events, ["superseded elsewhere.mesh:1"]);
    assert_eq!(lab.core.poll_timeout(), None);
    lab.sent.clear();
    lab.hear_updates("p1", vec![update("p9")]);
    lab.run(Duration::from_secs(60));
    assert!(lab.sent.is_empty() && lab.state("p9").is_none());
}

#[test]
fn a_later_life_at_the_same_address_is_a_memory_to_rise_above() {
    let mut lab = Lab::new(2);
    lab.hear_updates("p1", vec![proto::Update { boot_epoch: OWN_BOOT + 5, ..update("a") }]);
    assert_eq!(lab.events, ["rejoined 1006"]);
    lab.hear_updates("p1", vec![proto::Update { boot_epoch: OWN_BOOT + 9, ..verdict("a", State::Dead, &[]) }]);
    assert_eq!(lab.events, ["rejoined 1006", "rejoined 1010"]);
}

#[test]
fn who_leaves_tells_all_its_links_over_streams_and_falls_silent() {
    let mut lab = Lab::new(3);
    lab.core.handle(Input::Leave, lab.now).expect("leaving needs no valid input");
    lab.drain();
    assert_eq!(lab.events, ["left a 1000.0 v1"]);
    let left = i32::from(State::Left);
    let everybody = ["p1", "p2", "p3"].map(|peer| (peer.to_owned(), left, OWN_BOOT, 0));
    assert_eq!(said_of_self(&lab), everybody);
    assert!(lab.sent.iter().all(|sent| sent.channel == membership::Channel::Stream));
    assert_eq!(lab.core.poll_timeout(), None);
    lab.sent.clear();
    lab.hear_updates("p1", vec![verdict("a", State::Dead, &["p1", "p2", "p3"])]);
    assert!(lab.sent.is_empty());
}

#[test]
fn somebody_elses_version_of_the_own_record_is_topped() {
    let mut lab = Lab::new(2);
    lab.hear_updates("p1", vec![proto::Update { metadata_version: 7, ..update("a") }]);
    lab.run(SOON);
    let versions: Vec<u64> = lab.told("a").iter().map(|(_, update)| update.metadata_version).collect();
    assert_eq!(versions, [8, 8]);
}
