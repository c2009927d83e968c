//! The model of the load balancing simulation against theory, and its runs against themselves.

use sim::balance::{Kind, Measured, Results, Scenario, Trouble, Verdict, judge, quick, simulate};

/// Work of a request in milliseconds, and what the network adds.
const WORK_MS: f64 = 10.0;
const NETWORK_MS: f64 = 0.5;

fn scenario(servers: usize, clients: usize, load: f64, seconds: u64) -> Scenario {
    Scenario { name: "test", title: "a test", servers, clients, load, seconds, trouble: Trouble::None }
}

fn run(scenario: &Scenario, kind: Kind, seed: u64) -> Measured {
    simulate(scenario, seed, |client| kind.policy(scenario.servers, seed, client))
}

/// The mean response time of M/M/c, by Erlang's C formula, in milliseconds.
fn erlang_response_ms(servers: u32, load: f64) -> f64 {
    let offered = f64::from(servers) * load;
    let blocking = (1..=servers).fold(1.0, |b, k| offered * b / (f64::from(k) + offered * b));
    let waits = blocking / (1.0 - load * (1.0 - blocking));
    WORK_MS * (1.0 + waits / (f64::from(servers) * (1.0 - load)))
}

#[test]
fn the_mean_response_of_one_server_is_that_of_theory() {
    // A processor-sharing server is insensitive: its mean depends on the work's mean only (Kleinrock vol. 2, §4.4),
    // and with c cores it is that of M/M/c.
    for load in [0.5, 0.7] {
        let measured = run(&scenario(1, 1, load, 4_000), Kind::RoundRobin, 7);
        let (seen, theory) = (measured.latencies.mean_ms() - NETWORK_MS, erlang_response_ms(4, load));
        assert!((seen / theory - 1.0).abs() < 0.02, "load {load}: {seen} ms, not {theory} ms");
    }
}

#[test]
fn calls_arrive_as_often_as_the_load_says() {
    let measured = run(&scenario(10, 5, 0.7, 60), Kind::TwoRandom, 7);
    // 70 % of 40 cores, 10 ms each, for 50 s: 140,000, with a Poisson spread of 374.
    let calls = measured.latencies.count();
    assert!(calls.abs_diff(140_000) < 1_500, "{calls} calls");
    assert_eq!(measured.picks.iter().sum::<u64>(), calls);
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_another_gives_others() {
    let small = Scenario { trouble: Trouble::Antagonists, ..scenario(10, 4, 0.7, 13) };
    for kind in Kind::ALL {
        let numbers = |seed| {
            let measured = run(&small, kind, seed);
            let quantiles = [0.5, 0.99, 0.999].map(|share| measured.latencies.quantile_ms(share).to_bits());
            (measured.latencies.count(), measured.picks, quantiles, measured.share.len())
        };
        assert_eq!(numbers(7), numbers(7), "{}", kind.name());
        assert_ne!(numbers(7), numbers(11), "{}", kind.name());
    }
}

#[test]
fn only_a_policy_that_knows_failures_leaves_a_failing_server() {
    let failing = Scenario { trouble: Trouble::Failing, ..scenario(20, 2, 0.5, 40) };
    let errors = |kind| run(&failing, kind, 7).error_share();
    // Server 0 fails for 20 of the 30 s that count: a fair share of it is 3.3 % of all calls.
    assert!(errors(Kind::Adaptive) < 0.002, "{}", errors(Kind::Adaptive));
    assert!(errors(Kind::AdaptiveUnguarded) > 0.033, "{}", errors(Kind::AdaptiveUnguarded));
    assert!(errors(Kind::PeakEwma3) > 0.033, "{}", errors(Kind::PeakEwma3));
}

#[test]
fn probes_travel_and_are_counted_as_often_as_the_policy_sends_them() {
    let even = scenario(20, 4, 0.7, 15);
    let probes_a_call = |kind| {
        let Measured { probes, share, latencies, .. } = run(&even, kind, 7);
        // Latencies are of the calls after the warm-up, a third of all.
        assert_eq!(share.len(), 15);
        probes as f64 / (latencies.count() as f64 * 3.0)
    };
    let near = |kind, expected: f64| (probes_a_call(kind) / expected - 1.0).abs() < 0.02;
    assert!(near(Kind::Prequal, 3.0) && near(Kind::Probed, 1.0) && near(Kind::ProbedQuarter, 0.25));
    assert_eq!(run(&even, Kind::Adaptive, 7).probes, 0);
}

#[test]
fn who_hears_of_load_knows_a_slow_server_sooner_than_who_finds_out() {
    // Server 0 is slow from second 20 on. Each client has five calls a second for each server.
    let slow = Scenario { trouble: Trouble::Slow, ..scenario(20, 20, 0.5, 30) };
    let share = |kind| run(&slow, kind, 7).share[21..24].iter().sum::<f64>() / 3.0;
    let (probed, adaptive) = (share(Kind::Probed), share(Kind::Adaptive));
    assert!(probed < 0.5 * adaptive && probed < 0.1, "{probed} against {adaptive}");
}

#[test]
fn breakers_change_for_the_sick_and_never_for_the_well() {
    // Of 20 servers two turn sick every ten seconds, for twenty: 0 and 1, then 2 and 3, and so on, ten in 50 s.
    let sick = Scenario { trouble: Trouble::Sick, ..scenario(20, 2, 0.5, 50) };
    for kind in [Kind::Adaptive, Kind::Probed] {
        let measured = run(&sick, kind, 7);
        assert_eq!((measured.sicknesses, measured.breaker_changes_of_well), (10, 0), "{}", kind.name());
        // Each of the two clients opens its breaker for each of them at least once.
        let changes = measured.breaker_changes as f64 / (10.0 * 2.0);
        assert!((2.0..12.0).contains(&changes), "{}: {changes} a sickness", kind.name());
        // A tenth is sick in the first ten seconds, and a fifth from then on: whoever chose blindly would give it that.
        assert!(measured.sick_share[13..20].iter().all(|share| *share < 0.2), "{:?}", measured.sick_share);
    }
    let unguarded = run(&sick, Kind::PeakEwma3, 7);
    assert_eq!(unguarded.breaker_changes, 0);
    assert!(unguarded.sick_share[13..20].iter().all(|share| *share > 0.5), "{:?}", unguarded.sick_share);
}

#[test]
fn limits_that_the_size_of_the_fleet_does_not_move_hold_in_a_fifth_of_it() {
    let fifth = |scenario: Scenario| {
        let (servers, clients) = (scenario.servers / 5, scenario.clients / 5);
        Scenario { servers, clients, ..scenario }
    };
    let scenarios: Vec<Scenario> =
        quick().into_iter().filter(|scenario| ["s1b", "s3b"].contains(&scenario.name)).map(fifth).collect();
    let kinds = [Kind::TwoRandom, Kind::Prequal, Kind::Adaptive, Kind::Probed];
    let judged = judge(&Results::run(&scenarios, &kinds, 7));
    let broken: Vec<&Verdict> = judged.iter().filter(|verdict| !verdict.is_kept()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(judged.len(), 12);
}
