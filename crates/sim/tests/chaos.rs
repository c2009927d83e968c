//! A short band of the seeds that `cargo xtask sim membership` runs by the thousand.

use membership::Options;
use sim::chaos::{Band, Plan};

fn band() -> Band {
    Band { steps: 5_000, most_nodes: 32, options: Options::default() }
}

#[test]
fn no_invariant_breaks_under_faults_and_each_seed_repeats_itself() {
    for seed in 1..=12 {
        let outcome = band().run_twice(seed);
        assert_eq!(outcome.violation, None, "{outcome}");
    }
}

#[test]
fn seeds_differ_and_befall_meshes_with_every_kind_of_fault() {
    let plans: Vec<Plan> = (1..=40).map(|seed| Plan::draw(&band(), seed)).collect();
    let kind = |fault: &sim::chaos::Fault| {
        let text = format!("{fault:?}");
        text.split(|c: char| !c.is_alphabetic()).next().map(str::to_owned)
    };
    let kinds: std::collections::BTreeSet<String> =
        plans.iter().flat_map(|plan| plan.faults.iter().filter_map(|(_, fault)| kind(fault))).collect();
    let all = ["Crash", "Cut", "Deaf", "Heal", "Label", "Leave", "Pause", "Start", "Weather"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    assert_ne!(band().run(1).hash, band().run(2).hash);
}
