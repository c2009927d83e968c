//! User events in a simulated mesh.

use std::collections::BTreeMap;
use std::time::Duration;

use sim::{Mesh, Settings, Weather};

const NODES: usize = 32;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Starts a mesh on a network that loses, doubles and reorders packets.
fn joined(seed: u64) -> Mesh {
    let weather = Weather { loss: 0.25, duplication: 0.05, reordering: 0.2, ..Weather::default() };
    let mut mesh = Mesh::start(Settings { nodes: NODES, seed, weather, ..Settings::default() });
    assert!(mesh.run_until(Duration::from_secs(60), Mesh::all_see_all).is_some(), "seed {seed}");
    mesh
}

/// Returns what each node was told of events, in order, from an entry of the log on: of whom, with the number.
fn told(mesh: &Mesh, from: usize) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in mesh.log().iter().skip(from).filter(|entry| entry.kind == "user_event") {
        let event = entry.about.split(' ').next().unwrap_or_default();
        let (origin, sequence) = (event.split('.').next(), event.split('#').nth(1));
        let short = format!("{} {}", origin.unwrap_or_default(), sequence.unwrap_or_default());
        told.entry(entry.node.to_string()).or_default().push(short);
    }
    told
}

fn count(mesh: &Mesh, kind: &str) -> usize {
    mesh.log().iter().filter(|entry| entry.kind == kind).count()
}

#[test]
fn everybody_is_told_every_event_once_and_in_the_order_of_its_origin_however_packets_are_lost() {
    for seed in 1..=5 {
        let mut mesh = joined(seed);
        let begin = mesh.log().len();
        for _ in 0..20 {
            for origin in [0, 7, 31] {
                assert!(mesh.send_user_event(origin, "tick").is_ok());
            }
            mesh.run_for(ms(100));
        }
        mesh.run_for(Duration::from_secs(10));
        let told = told(&mesh, begin);
        assert_eq!(told.len(), NODES, "seed {seed}");
        for (node, events) in &told {
            for origin in [0, 7, 31] {
                let name = format!("node-{origin:04}");
                let numbers: Vec<&str> = events.iter().filter_map(|event| event.strip_prefix(&name)).collect();
                let expected: Vec<String> = (1..=20).map(|number| format!(" {number}")).collect();
                assert_eq!(numbers, expected, "seed {seed}: {node} of {name}");
            }
        }
        assert_eq!(count(&mesh, "user_events_lost"), 0, "seed {seed}");
    }
}

#[test]
fn who_starts_late_hears_what_is_sent_from_then_on_and_nothing_of_before() {
    let mut mesh = joined(9);
    mesh.crash(5);
    for _ in 0..10 {
        assert!(mesh.send_user_event(0, "before").is_ok());
        mesh.run_for(ms(100));
    }
    mesh.start_node(5, Duration::ZERO);
    assert!(mesh.run_until(Duration::from_secs(60), Mesh::all_see_all).is_some());
    mesh.run_for(Duration::from_secs(10));
    let begin = mesh.log().len();
    assert!(mesh.send_user_event(0, "after").is_ok());
    mesh.run_for(Duration::from_secs(10));
    let heard: Vec<String> = mesh
        .log()
        .iter()
        .filter(|entry| entry.kind == "user_event" && entry.node.as_str() == "node-0005")
        .map(|entry| entry.about.clone())
        .collect();
    assert!(matches!(heard.as_slice(), [one] if one.contains("#11 after")), "{heard:?}");
    assert_eq!(told(&mesh, begin).len(), NODES);
    assert_eq!(count(&mesh, "user_events_lost"), 0);
}

#[test]
fn what_the_other_side_of_a_short_cut_did_not_hear_is_counted_as_lost_and_the_rest_goes_on_in_order() {
    let mut mesh = Mesh::start(Settings { nodes: NODES, seed: 3, ..Settings::default() });
    assert!(mesh.run_until(Duration::from_secs(60), Mesh::all_see_all).is_some());
    assert!(mesh.send_user_event(0, "one").is_ok());
    mesh.run_for(Duration::from_secs(5));
    mesh.partition(NODES / 2);
    for _ in 0..3 {
        assert!(mesh.send_user_event(0, "cut").is_ok());
        mesh.run_for(ms(500));
    }
    mesh.heal();
    assert!(mesh.run_until(Duration::from_secs(60), Mesh::all_see_all).is_some());
    mesh.run_for(Duration::from_secs(10));
    let begin = mesh.log().len();
    assert!(mesh.send_user_event(0, "five").is_ok());
    mesh.run_for(Duration::from_secs(10));
    let told = told(&mesh, begin);
    assert_eq!(told.values().filter(|events| events.as_slice() == ["node-0000 5"]).count(), NODES, "{told:?}");
    let lost: Vec<_> = mesh.log().iter().filter(|entry| entry.kind == "user_events_lost").collect();
    assert_eq!(lost.iter().filter(|entry| entry.about == "node-0000 3").count(), NODES / 2, "{lost:?}");
    let waiting: usize = mesh.running().map(|(_, core)| core.user_events_waiting()).sum();
    assert_eq!(waiting, 0);
}
