//! What picking costs, in units of the least it could and of tower's balancer.
//!
//! `cargo bench -p peers-core --bench peers` runs it; with `-- --check` it fails when a limit is broken. All contests
//! of a group take turns in short rounds, and a ratio is the median of the rounds' ratios, so that a moment in which
//! the machine is slow is slow for both sides. To add a contest, add it to the list of the module it belongs to, or
//! make a module whose state lends contests.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

#[path = "../../tests/made_up/peer.rs"]
mod made_up;

mod contest;
mod gate;
mod ours;
mod publish;
mod report;
mod rounds;
mod tower;

use std::process::ExitCode;

use report::Row;
use rounds::Effort;

/// What a group of contests has in common.
#[derive(Debug, Clone, Copy)]
struct Setting {
    threads: usize,
    peers: usize,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let given = |flag: &str| args.iter().any(|arg| arg == flag);
    let settings = [1, 2].into_iter().flat_map(|threads| [10, 100, 1_000].map(|peers| Setting { threads, peers }));
    if !given("--bench") {
        // As a test target, without `cargo bench`: that everything runs is all that can be said.
        settings.for_each(|setting| drop(compare(setting, Effort::Try)));
        return ExitCode::SUCCESS;
    }
    println!("{}", report::header());
    let mut broken = Vec::new();
    for setting in settings {
        let rows = compare(setting, Effort::Measure);
        rows.iter().for_each(|row| println!("{row}"));
        broken.extend(rows.into_iter().filter(Row::is_broken));
    }
    if !given("--check") || broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    broken.iter().for_each(|row| eprintln!("broken limit: {row}"));
    ExitCode::FAILURE
}

/// Runs the contests of `setting`.
fn compare(setting: Setting, effort: Effort) -> Vec<Row> {
    let (ours, gate) = (ours::Ours::new(setting.peers), gate::Gate::new(setting.peers));
    // tower's balancer is driven by one task, and a table is written by one thread at a time.
    let (tower, publish) = (tower::Tower::new(setting.peers), publish::Publish::new(setting.peers));
    let mut contests = ours.contests(setting);
    contests.extend(gate.contests());
    if setting.threads == 1 {
        contests.extend(tower.contests());
        contests.extend((setting.peers == publish::PEERS).then(|| publish.contest()));
    }
    let taken = rounds::take_turns(&contests, setting.threads, effort);
    report::rows(setting, &contests, &taken)
}
