//! `cargo xtask ci`: the gate. Every step is one command that can be run alone; the first failure ends the run.

use std::process::{Command, ExitCode};

use anyhow::bail;

use crate::process::{Stopwatch, cargo, name_of, succeeds};

/// One step of the gate.
struct Step {
    name: &'static str,
    args: &'static [&'static str],
    env: Option<(&'static str, &'static str)>,
}

/// What is cheap and fails most often comes first; the tests come last, so that their results end the output.
const STEPS: [Step; 10] = [
    Step { name: "fmt", args: &["fmt", "--all", "--check"], env: None },
    Step { name: "layering", args: &["xtask", "layering"], env: None },
    Step { name: "tidy", args: &["xtask", "tidy"], env: None },
    Step { name: "clippy", args: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], env: None },
    Step { name: "docs", args: &["doc", "--workspace", "--no-deps"], env: Some(("RUSTDOCFLAGS", "-D warnings")) },
    Step { name: "settings", args: &["xtask", "docs", "--check"], env: None },
    Step { name: "doctests", args: &["test", "--workspace", "--doc"], env: None },
    Step { name: "fuzz", args: &["xtask", "fuzz", "--seconds", "1"], env: None },
    Step { name: "tests", args: &["test", "--workspace", "--all-targets"], env: None },
    // With the binaries that the tests were just built with, and nothing built anew.
    Step { name: "features", args: &["test", "--workspace", "--test", "features", "--", "--ignored"], env: None },
];

impl Step {
    fn command(&self) -> Command {
        let mut command = cargo(self.args.iter().copied());
        command.envs(self.env);
        command
    }

    /// Returns the line that runs this step alone.
    fn by_hand(&self) -> String {
        let env = self.env.map_or_else(String::new, |(key, value)| format!("{key}=\"{value}\" "));
        format!("{env}cargo {}", self.args.join(" "))
    }
}

/// Runs the gate, each step with its time, and ends with one line a step and a verdict.
///
/// # Errors
/// When a step fails; the message says which and how to run it alone.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let clock = Stopwatch::start();
    let mut summary = Vec::with_capacity(STEPS.len());
    for (step, number) in STEPS.iter().zip(1..) {
        println!("=== [{number}/{}] {}: {}", STEPS.len(), step.name, step.by_hand());
        let step_clock = Stopwatch::start();
        if !succeeds(&mut step.command())? {
            bail!("ci failed at step `{}` after {clock}; alone it is: {}", step.name, step.by_hand());
        }
        let line = format!("{:<10} ok  {step_clock:>9}", step.name);
        println!("=== {line}");
        summary.push(line);
    }
    println!("\n{}", summary.join("\n"));
    println!("ci: all {} steps passed in {clock}", STEPS.len());
    Ok(ExitCode::SUCCESS)
}

/// Runs the tests of the workspace whose name holds `filter`, doctests included.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn test(filter: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut tests = cargo(["test", "--workspace"]);
    tests.args(filter);
    let passed = succeeds(&mut tests)?;
    if !passed {
        eprintln!("failed: {}", name_of(&tests));
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
