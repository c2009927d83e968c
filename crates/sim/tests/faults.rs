//! Meshes under faults: what must come to light, and what must not be made up. A failure names size and seed: the
//! same settings replay it, event for event.

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
    let replay = format!("{settings:?}");
    let mut mesh = Mesh::start(settings);
    assert!(mesh.run_until(secs(30), Mesh::all_see_all).is_some(), "not all see all after 30 s: {replay}");
    mesh
}

/// Returns what was logged of these kinds about the nodes of these numbers.
fn logged(mesh: &Mesh, kinds: &[&str], about: impl Fn(usize) -> bool) -> Vec<String> {
    let concerns = |text: &str| {
        let number = text.strip_prefix("node-").and_then(|rest| rest.get(..4)).map(str::parse);
        number.and_then(Result::ok).is_some_and(&about)
    };
    let entries = mesh.log().iter().filter(|entry| kinds.contains(&entry.kind) && concerns(&entry.about));
    entries.map(ToString::to_string).collect()
}

/// What a core keeps must stay within what its members and links account for.
#[track_caller]
fn check_bounds(mesh: &Mesh, nodes: usize, replay: &str) {
    for core in (0..nodes).filter_map(|number| mesh.core(number)) {
        assert!(core.queue_depth() <= nodes * core.links().len(), "{replay}: {} queued", core.queue_depth());
        assert!(core.timers_set() <= 16 * nodes + 64, "{replay}: {} timers", core.timers_set());
    }
}

#[test]
fn a_node_that_starts_again_and_again_is_alive_in_its_last_life() {
    for nodes in SIZES {
        let replay = format!("{nodes} nodes, seed 21");
        let mut mesh = joined(Settings { nodes, seed: 21, ..Settings::default() });
        let flapping = nodes - 1;
        for _ in 0..8 {
            mesh.crash(flapping);
            mesh.start_node(flapping, Duration::from_millis(400));
            mesh.run_for(Duration::from_millis(1_500));
            check_bounds(&mesh, nodes, &replay);
        }
        assert!(mesh.run_until(secs(10), Mesh::all_see_all).is_some(), "{replay}: not all see all");
        mesh.run_for(secs(20));
        assert!(mesh.all_see_all() && mesh.digests_agree(), "{replay}: it did not stay");
        let last = mesh.core(flapping).map(membership::Core::boot_epoch);
        for viewer in (0..nodes).filter_map(|number| mesh.core(number)) {
            assert_eq!(viewer.boot_epoch_of(mesh.id(flapping)), last, "{replay}");
        }
        let others = logged(&mesh, &["unreachable", "dead"], |number| number != flapping);
        assert_eq!(others, Vec::<String>::new(), "{replay}");
    }
}

#[test]
fn five_nodes_of_64_killed_at_once_are_all_found_dead_and_nobody_else() {
    for seed in 1..=3 {
        let mut mesh = joined(Settings { nodes: 64, seed, ..Settings::default() });
        mesh.run_for(secs(3));
        let killed = [4, 17, 18, 40, 63];
        for number in killed {
            mesh.crash(number);
        }
        let all_dead = |seen: &Mesh| killed.iter().all(|number| seen.all_hold(*number, MemberState::Dead));
        let took = mesh.run_until(secs(60), all_dead);
        assert!(took.is_some_and(|took| took < secs(30)), "seed {seed}: took {took:?}");
        mesh.run_for(secs(30));
        assert!(all_dead(&mesh) && mesh.digests_agree(), "seed {seed}");
        let others = logged(&mesh, &["unreachable", "dead"], |number| !killed.contains(&number));
        assert_eq!(others, Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn five_minutes_of_a_quarter_of_all_packets_lost_bring_no_verdict_on_a_living_node() {
    let replay = "64 nodes, loss 0.25, seed 1";
    let mut mesh = joined(Settings { nodes: 64, seed: 1, ..Settings::default() }.lossy(0.25));
    for _ in 0..30 {
        mesh.run_for(secs(10));
        check_bounds(&mesh, 64, replay);
    }
    assert_eq!(logged(&mesh, &["unreachable", "dead"], |_| true), Vec::<String>::new(), "{replay}");
}

#[test]
fn members_that_hear_little_get_no_healthy_member_declared() {
    for (loss, seed) in [(0.8, 1), (0.95, 2), (1.0, 3)] {
        let replay = format!("50 nodes, 5 of them with ingress loss {loss}, seed {seed}");
        let mut mesh = joined(Settings { nodes: 50, seed, ..Settings::default() });
        mesh.run_for(secs(3));
        for sick in 0..5 {
            mesh.set_ingress_loss(sick, loss);
        }
        for _ in 0..12 {
            mesh.run_for(secs(10));
            check_bounds(&mesh, 50, &replay);
        }
        assert_eq!(logged(&mesh, &["unreachable", "dead"], |number| number >= 5), Vec::<String>::new(), "{replay}");
    }
}

#[test]
fn a_node_that_hears_nothing_is_found_dead_and_comes_back_when_it_hears_again() {
    let mut mesh = joined(Settings { nodes: 32, seed: 5, seeds: 2, ..Settings::default() });
    mesh.run_for(secs(3));
    mesh.set_ingress_loss(20, 1.0);
    let others_hold_dead = |seen: &Mesh| {
        let mut others = (0..32).filter(|number| *number != 20).filter_map(|number| seen.core(number));
        others.all(|core| core.state_of(seen.id(20)) == Some(MemberState::Dead))
    };
    assert!(mesh.run_until(secs(30), others_hold_dead).is_some());
    mesh.set_ingress_loss(20, 0.0);
    let took = mesh.run_until(secs(60), |mesh| mesh.all_see_all() && mesh.digests_agree());
    assert!(took.is_some(), "it did not come back");
}

#[test]
fn a_node_that_was_cut_off_soon_suspects_nobody() {
    let mut mesh = joined(Settings { nodes: 64, seed: 13, seeds: 2, ..Settings::default() });
    mesh.run_for(secs(3));
    mesh.partition(1);
    // Its turn to probe a random member comes every hundred seconds: they are no links of it.
    mesh.run_for(secs(400));
    let suspects = |seen: &Mesh| seen.view(0).map_or(0, |view| view.count(MemberState::Suspect));
    assert!(suspects(&mesh) > 3, "{} suspects", suspects(&mesh));
    mesh.heal();
    let took = mesh.run_until(secs(180), |mesh| suspects(mesh) == 0 && mesh.all_see_all());
    assert!(took.is_some(), "{} suspects, {:?} alive", suspects(&mesh), mesh.core(0).map(membership::Core::alive));
}

#[test]
fn halves_that_were_apart_longer_than_the_departed_are_shown_find_together_again() {
    let mut mesh = joined(Settings { nodes: 8, seed: 6, seeds: 8, ..Settings::default() });
    mesh.partition(4);
    mesh.run_for(secs(600));
    assert!(!mesh.all_see_all());
    mesh.heal();
    let took = mesh.run_until(secs(60), |mesh| mesh.all_see_all() && mesh.digests_agree());
    assert!(took.is_some(), "seed 6 did not find together");
}

#[test]
fn nobody_dies_of_a_cut_that_heals_before_unreachable_members_are_dead() {
    let options = membership::Options { dead_after: Some(secs(60)), ..membership::Options::default() };
    let mut mesh = joined(Settings { nodes: 32, seed: 8, seeds: 2, options, ..Settings::default() });
    mesh.run_for(secs(3));
    let lives: Vec<_> = (0..32).map(|number| mesh.core(number).map(membership::Core::boot_epoch)).collect();
    mesh.partition(16);
    mesh.run_for(secs(30));
    assert!(mesh.counts().get("unreachable").is_some_and(|seen| *seen >= 2 * 16 * 16), "{:?}", mesh.counts());
    mesh.heal();
    assert!(mesh.run_until(secs(10), |mesh| mesh.all_see_all() && mesh.digests_agree()).is_some());
    mesh.run_for(secs(120));
    assert_eq!(mesh.counts().get("dead"), None);
    let same: Vec<_> = (0..32).map(|number| mesh.core(number).map(membership::Core::boot_epoch)).collect();
    assert_eq!(same, lives);
}

#[test]
fn a_run_under_faults_has_the_same_log_for_the_same_seed() {
    let run = |seed| {
        let mut mesh = joined(Settings { nodes: 32, seed, ..Settings::default() }.lossy(0.1));
        mesh.set_ingress_loss(9, 0.9);
        mesh.crash(30);
        mesh.run_for(secs(20));
        mesh.partition(10);
        mesh.start_node(30, Duration::ZERO);
        mesh.run_for(secs(20));
        mesh.heal();
        mesh.leave(31);
        mesh.run_for(secs(20));
        (mesh.log().to_vec(), mesh.packets())
    };
    for seed in [31, 32, 33] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn nobody_of_200_is_suspected_at_rest_for_an_hour() {
    let mut mesh = joined(Settings { nodes: 200, seed: 5, ..Settings::default() });
    mesh.run_for(secs(3600));
    check_bounds(&mesh, 200, "200 nodes, seed 5");
    assert_eq!(logged(&mesh, &["suspect"], |_| true), Vec::<String>::new());
    assert!(mesh.all_see_all() && mesh.digests_agree());
}
