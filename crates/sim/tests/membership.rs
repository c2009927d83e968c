//! The membership protocol in a simulated mesh.

use std::time::Duration;

use mesh_types::MemberState;
use sim::{Mesh, Settings};

const SIZES: [usize; 5] = [3, 8, 32, 64, 200];

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Starts a mesh and waits until everybody sees everybody.
#[track_caller]
fn joined(settings: Settings) -> Mesh {
    let mut mesh = Mesh::start(settings);
    let took = mesh.run_until(secs(30), Mesh::all_see_all);
    assert!(took.is_some(), "not all see all after 30 s: {:?}", mesh.log().last());
    mesh
}

fn kinds(mesh: &Mesh, kind: &str) -> Vec<String> {
    mesh.log().iter().filter(|entry| entry.kind == kind).map(ToString::to_string).collect()
}

#[test]
fn all_see_all_soon_after_they_start() {
    for nodes in SIZES {
        let mesh = joined(Settings { nodes, seed: 3, ..Settings::default() });
        assert!(mesh.elapsed() < secs(2), "{nodes} nodes took {:?}", mesh.elapsed());
    }
}

#[test]
fn a_killed_node_is_unreachable_then_dead_and_stays_dead() {
    for nodes in SIZES {
        for seed in 1..=3 {
            let mut mesh = joined(Settings { nodes, seed, ..Settings::default() });
            mesh.run_for(secs(3));
            mesh.crash(nodes - 1);
            let unreachable = mesh.run_until(secs(20), |mesh| mesh.all_hold(nodes - 1, MemberState::Unreachable));
            assert!(unreachable.is_some(), "{nodes} nodes, seed {seed}: never unreachable");
            let dead = mesh.run_until(secs(20), |mesh| mesh.all_hold(nodes - 1, MemberState::Dead));
            assert!(dead.is_some(), "{nodes} nodes, seed {seed}: never dead");
            let killed = mesh.log().len();
            for _ in 0..60 {
                mesh.run_for(secs(1));
                assert!(mesh.all_hold(nodes - 1, MemberState::Dead), "{nodes} nodes, seed {seed}: came back");
            }
            assert_eq!(mesh.log().get(killed..), Some(&[][..]), "{nodes} nodes, seed {seed}: something went on");
        }
    }
}

#[test]
fn nobody_is_suspected_at_rest_for_an_hour_with_clocks_hours_apart() {
    for nodes in [3, 8, 32, 64] {
        let mut mesh = joined(Settings { nodes, seed: 5, ..Settings::default() });
        mesh.run_for(secs(3600));
        assert_eq!(kinds(&mesh, "suspect"), Vec::<String>::new());
        assert!(mesh.all_see_all());
    }
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let run = |seed| {
        let mut mesh = joined(Settings { nodes: 24, seed, ..Settings::default() }.lossy(0.1));
        mesh.crash(7);
        mesh.run_for(secs(30));
        mesh.start_node(7, Duration::ZERO);
        mesh.leave(3);
        mesh.run_for(secs(30));
        mesh.log().to_vec()
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

#[test]
fn who_leaves_is_left_at_once_and_never_suspected() {
    for nodes in SIZES {
        let mut mesh = joined(Settings { nodes, seed: 9, ..Settings::default() });
        mesh.run_for(secs(3));
        mesh.leave(1);
        let took = mesh.run_until(secs(5), |mesh| mesh.all_hold(1, MemberState::Left));
        assert!(took.is_some_and(|took| took < secs(1)), "{nodes} nodes took {took:?}");
        mesh.run_for(secs(30));
        assert_eq!(kinds(&mesh, "suspect"), Vec::<String>::new());
        assert!(mesh.all_hold(1, MemberState::Left));
    }
}

#[test]
fn a_restarted_node_replaces_its_earlier_life_at_once() {
    for nodes in SIZES {
        let mut mesh = joined(Settings { nodes, seed: 4, ..Settings::default() });
        mesh.crash(nodes - 1);
        mesh.start_node(nodes - 1, Duration::from_millis(300));
        let joins = mesh.log().iter().filter(|entry| entry.kind == "joined").count();
        let took = mesh.run_until(secs(5), |mesh| {
            mesh.all_see_all() && mesh.log().iter().filter(|e| e.kind == "joined").count() >= joins + nodes - 1
        });
        assert!(took.is_some_and(|took| took < secs(1)), "{nodes} nodes took {took:?}");
        mesh.run_for(secs(20));
        assert!(mesh.all_see_all(), "{nodes} nodes: the restarted one did not stay");
    }
}

#[test]
fn a_dead_node_rejoins_when_it_starts_again() {
    let mut mesh = joined(Settings { nodes: 8, seed: 4, ..Settings::default() });
    mesh.crash(7);
    assert!(mesh.run_until(secs(20), |mesh| mesh.all_hold(7, MemberState::Dead)).is_some());
    mesh.start_node(7, Duration::ZERO);
    let took = mesh.run_until(secs(5), Mesh::all_see_all);
    assert!(took.is_some_and(|took| took < secs(1)), "took {took:?}");
}

#[test]
fn a_partition_of_three_declares_only_where_there_is_a_quorum() {
    let mut mesh = joined(Settings { nodes: 3, seed: 2, ..Settings::default() });
    mesh.partition(1);
    mesh.run_for(secs(60));
    let state = |viewer, subject| mesh.core(viewer).and_then(|core| core.state_of(mesh.id(subject)));
    // The one that is alone suspects both and declares neither; the two agree that it is dead.
    assert_eq!(state(0, 1), Some(MemberState::Suspect));
    assert_eq!(state(0, 2), Some(MemberState::Suspect));
    assert_eq!(state(1, 0), Some(MemberState::Dead));
    assert_eq!(state(2, 0), Some(MemberState::Dead));
}

#[test]
fn a_healed_partition_finds_together_again() {
    for (nodes, cut) in [(3, 1), (8, 4), (32, 16), (64, 20)] {
        let mut mesh = joined(Settings { nodes, seed: 6, seeds: 2, ..Settings::default() });
        mesh.partition(cut);
        mesh.run_for(secs(40));
        assert!(!mesh.all_see_all());
        mesh.heal();
        let took = mesh.run_until(secs(60), |mesh| mesh.all_see_all() && mesh.digests_agree());
        assert!(took.is_some(), "{nodes} nodes cut at {cut} did not find together");
    }
}

#[test]
fn a_mesh_of_two_decides_alone_after_three_missed_probes() {
    let mut mesh = joined(Settings { nodes: 2, seed: 8, ..Settings::default() });
    mesh.crash(1);
    let took = mesh.run_until(secs(10), |mesh| mesh.all_hold(1, MemberState::Dead));
    assert!(took.is_some_and(|took| took <= secs(5)), "took {took:?}");
    let missed = mesh.core(0).map(|core| core.stats().missed_probes);
    assert!(missed.is_some_and(|missed| missed >= 3), "{missed:?} missed probes");
}

#[test]
fn updates_reach_all_through_loss_and_the_digests_agree_afterwards() {
    for seed in 1..=3 {
        let mut mesh = joined(Settings { nodes: 64, seed, ..Settings::default() }.lossy(0.25));
        for number in 0..8 {
            mesh.set_label(number, "rack", "r9");
        }
        let took = mesh.run_until(secs(30), |mesh| {
            (0..64).all(|viewer| {
                mesh.view(viewer).is_some_and(|view| {
                    (0..8)
                        .all(|number| view.get(mesh.id(number)).is_some_and(|m| m.metadata.labels.contains_key("rack")))
                })
            })
        });
        assert!(took.is_some_and(|took| took < secs(5)), "seed {seed}: took {took:?}");
        assert!(mesh.run_until(secs(30), Mesh::digests_agree).is_some(), "seed {seed}: digests differ");
        assert_eq!(kinds(&mesh, "unreachable"), Vec::<String>::new(), "seed {seed}: a verdict on a living node");
    }
}

#[test]
fn a_killed_node_is_found_dead_where_the_grace_is_shorter_than_what_a_verifier_needs() {
    for nodes in [3, 8] {
        let options = membership::Options {
            interval: Duration::from_millis(100),
            suspicion_interval: secs(1),
            ping_timeout: Duration::from_millis(500),
            ..membership::Options::default()
        };
        let mut mesh = joined(Settings { nodes, seed: 3, options, ..Settings::default() });
        mesh.crash(nodes - 1);
        let took = mesh.run_until(secs(10), |mesh| mesh.all_hold(nodes - 1, MemberState::Dead));
        assert!(took.is_some_and(|took| took < secs(3)), "{nodes} nodes took {took:?}");
    }
}
