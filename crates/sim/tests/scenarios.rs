//! What the protocol promises, on a few seeds; `cargo xtask sim membership --scenario all` measures it on many.

use std::time::Duration;

use membership::{Options, Profile};
use mesh_types::MemberState;
use sim::scenario::{Illness, between_sites, clocks, crash, cut_in_half, joins_at_once, rolling, spread, storm, tuned};
use sim::{Mesh, Settings, Weather};

const SECOND: Duration = Duration::from_secs(1);

fn settings(nodes: usize, seed: u64) -> Settings {
    Settings { nodes, seed, seeds: 3, keeps_log: false, ..Settings::default() }
}

/// Lets a tenth of 60 be ill for half a minute: nobody healthy is declared, and the sick are found by then, if so wanted.
#[track_caller]
fn check(illness: Illness, flagged_within: Option<Duration>) {
    let sickness = illness.befall(60, 7, Options::default(), SECOND * 30).expect("it starts");
    assert_eq!(sickness.healthy_declared, 0, "{illness:?}: {sickness:?}");
    if let Some(limit) = flagged_within {
        let last = sickness.last_flagged();
        assert!(last.is_some_and(|last| last <= limit), "{illness:?}: {sickness:?}");
    }
}

#[test]
fn members_that_lose_nearly_all_one_way_are_flagged_within_five_seconds_and_nobody_healthy_is() {
    check(Illness::Deaf(0.95), Some(SECOND * 5));
    check(Illness::Mute(0.95), Some(SECOND * 5));
    check(Illness::Deaf(0.8), None);
    check(Illness::Mute(0.8), None);
}

#[test]
fn members_that_stall_for_eight_seconds_are_flagged_within_five_and_nobody_healthy_is() {
    check(Illness::Stalls(SECOND * 8, SECOND), Some(SECOND * 5));
    check(Illness::Stalls(SECOND * 3, SECOND), None);
    check(Illness::Stalls(SECOND, SECOND), None);
}

#[test]
fn the_flaps_of_members_that_stall_are_damped() {
    let flaps = |time| {
        let stalls = Illness::Stalls(SECOND * 8, SECOND).befall(60, 7, Options::default(), time);
        stalls.expect("it starts").flaps
    };
    // Each of the stalls could bring a verdict: four a half minute.
    let (first, later) = (flaps(SECOND * 27), flaps(SECOND * 81) - flaps(SECOND * 54));
    assert!(first > 1.0 && later < first / 2.0, "{first:.2} flaps in the first 27 s, {later:.2} in the third");
}

#[test]
fn a_crash_is_seen_by_all_within_two_and_a_half_seconds_whatever_the_size() {
    for nodes in [20, 60, 120] {
        for seed in 1..=3 {
            let took = crash(settings(nodes, seed)).expect("it is seen");
            assert!(took <= SECOND * 5 / 2, "{nodes} nodes, seed {seed}: {took:?}");
        }
    }
}

#[test]
fn many_join_at_once_and_all_see_all_soon_after() {
    let joins = joins_at_once(settings(120, 3)).expect("all see all");
    assert!(joins.took <= SECOND * 2, "{joins:?}");
    assert!(joins.megabytes < 35.0, "{joins:?}");
}

#[test]
fn a_cut_is_seen_and_healed() {
    let cut = cut_in_half(settings(60, 4)).expect("it is seen and healed");
    assert!(cut.seen <= SECOND * 8 && cut.healed <= SECOND * 2, "{cut:?}");
}

#[test]
fn news_are_everywhere_within_a_tenth_of_a_second() {
    let spread = spread(settings(120, 5)).expect("it spreads");
    assert!(spread.all <= SECOND / 10, "{spread:?}");
    assert!(spread.bytes_at_rest <= 300.0, "{spread:?}");
}

#[test]
fn a_storm_of_changes_on_thin_links_shows_in_the_queues_first_hides_no_death_and_leaves_nothing_unknown() {
    let options =
        Options { link_bytes_per_second: 16_384, link_datagrams_per_second: 50, fanout: 4, ..Options::default() };
    let run = storm(Settings { options, ..settings(200, 6) }).expect("it is survived");
    let first_shed = run.first_shed.expect("the links are too thin");
    assert!(run.first_waited < first_shed, "{run:?}");
    assert!(run.shed.get("metadata").is_some_and(|shed| *shed > 100), "{run:?}");
    assert!(run.shed.get("probe") == Some(&0) && run.shed.get("verdict") == Some(&0), "{run:?}");
    assert_eq!((run.widest_window, run.others_declared), (Duration::from_millis(50), 0), "{run:?}");
    assert!(run.death_seen <= SECOND * 5 / 2 && run.settled <= SECOND * 5, "{run:?}");
}

#[test]
fn each_profile_finds_a_crash_in_its_time_and_suspects_nobody_at_rest() {
    let took = [Profile::Fast, Profile::Balanced, Profile::Wan].map(|profile| {
        let run = tuned(&Settings { options: profile.options(), ..settings(40, 3) }).expect("it is seen");
        assert!(run.suspicions == 0.0 && run.bytes_at_rest < 400.0, "{profile:?}: {run:?}");
        run.crash_seen
    });
    let [fast, balanced, wan] = took;
    assert!(fast <= SECOND * 5 / 4 && balanced <= SECOND * 5 / 2 && wan <= SECOND * 10, "{took:?}");
    assert!(fast < balanced && balanced < wan, "{took:?}");
}

#[test]
fn nobody_between_sites_far_apart_is_declared_and_a_crash_is_seen() {
    let weather = between_sites();
    let mut mesh = Mesh::start(Settings { weather, options: Profile::Wan.options(), ..settings(60, 9) });
    mesh.run_for(SECOND * 600);
    let counts = mesh.counts();
    assert_eq!(
        (counts.get("unreachable"), counts.get("dead"), counts.get("isolated")),
        (None, None, None),
        "{counts:?}"
    );
    mesh.crash(30);
    let seen = mesh.run_until(SECOND * 20, |mesh| mesh.all_hold(30, MemberState::Unreachable));
    assert!(seen.is_some_and(|took| took <= SECOND * 10), "{seen:?}");
}

#[test]
fn clocks_that_drift_jump_and_are_set_back_get_nobody_declared() {
    let run = clocks(settings(40, 4)).expect("it is seen");
    assert_eq!(run.declared, 0, "{run:?}");
    assert!(run.back <= SECOND * 2 && run.crash_seen <= SECOND * 5 / 2, "{run:?}");
}

#[test]
fn three_releases_in_one_mesh_agree_and_pass_on_what_they_do_not_know() {
    let run = rolling(settings(30, 5)).expect("it settles");
    assert_eq!((run.declared, run.stripped), (0, 0), "{run:?}");
    assert!(run.settled <= SECOND * 2, "{run:?}");
}

#[test]
fn nodes_whose_clocks_are_hours_apart_and_drift_know_how_old_news_are() {
    let weather = Weather { latency: Duration::from_millis(4)..=Duration::from_millis(6), ..Weather::default() };
    let mut mesh = Mesh::start(Settings { weather, ..settings(80, 3) });
    mesh.run_for(SECOND * 30);
    (0..80).for_each(|number| mesh.set_clock_rate(number, if number % 2 == 0 { 200 } else { -200 }));
    mesh.take_oldest_news();
    mesh.set_label(40, "rack", "r9");
    let knows = |seen: &Mesh, number| seen.core(number).and_then(|core| core.metadata_version_of(seen.id(40)));
    let took =
        mesh.run_until(SECOND, |seen| (0..80).all(|number| knows(seen, number).is_some_and(|version| version.0 > 1)));
    let (took, told) = (took.expect("it spreads"), mesh.take_oldest_news());
    assert!(told.abs_diff(took) < Duration::from_millis(6), "after {took:?}, and the nodes say {told:?}");
}
