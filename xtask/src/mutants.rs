//! `cargo xtask mutants`: planted faults, each of which a test of its own has to catch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;

use crate::process::{Stopwatch, cargo, stdout_of, workspace_root};

mod membership;

/// A fault: a text in the sources, what takes its place, and the test that has to notice.
struct Mutant {
    /// What is wrong with it, in a few words joined by dashes.
    name: &'static str,
    /// The file, below the package.
    file: &'static str,
    /// What stands there, exactly once.
    from: &'static str,
    /// What takes its place.
    to: &'static str,
    /// The test that has to fail, with the modules it is in.
    caught_by: &'static str,
}

/// Whose faults.
#[derive(Debug, Subcommand)]
pub(crate) enum Options {
    /// Of the gossip protocol.
    Membership(Which),
}

/// Which of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Only those whose name holds this.
    filter: Option<String>,
}

/// Plants one fault after the other in a copy of the tree; fails when one is not caught by its test.
///
/// # Errors
/// When the tree cannot be copied, a fault no longer fits the sources, or the tests fail without any.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options::Membership(Which { filter }) = options;
    let wanted = |mutant: &&Mutant| filter.as_ref().is_none_or(|filter| mutant.name.contains(filter));
    let mutants: Vec<&Mutant> = membership::MUTANTS.iter().filter(wanted).collect();
    ensure!(!mutants.is_empty(), "there is no such fault");
    let bench = Bench::set_up(membership::PACKAGE)?;
    bench.check_healthy(&mutants)?;
    let mut survivors = 0;
    for mutant in &mutants {
        let clock = Stopwatch::start();
        let is_caught = bench.catches(mutant).with_context(|| format!("fault `{}`", mutant.name))?;
        survivors += usize::from(!is_caught);
        let verdict = if is_caught { "caught  " } else { "SURVIVED" };
        println!("mutants: {verdict} {}: {} ({clock})", mutant.name, mutant.caught_by);
    }
    println!("mutants: {} planted, {survivors} survived", mutants.len());
    Ok(if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Mutant {
    /// Returns the file's text with the fault in it.
    fn planted_in(&self, text: &str) -> anyhow::Result<String> {
        let found = text.matches(self.from).count();
        ensure!(found == 1, "{} has {found} times\n{}\nand not once", self.file, self.from);
        Ok(text.replacen(self.from, self.to, 1))
    }
}

/// A copy of the tree to plant faults in, with a build of its own.
struct Bench {
    package: &'static str,
    tree: PathBuf,
}

impl Bench {
    fn set_up(package: &'static str) -> anyhow::Result<Self> {
        let root = workspace_root();
        let tree = root.join("target/mutants/tree");
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
        }
        // As it stands, not as it was committed, and without what git ignores.
        let mut list = Command::new("git");
        list.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(&root);
        for file in stdout_of(&mut list)?.lines() {
            copy(&root.join(file), &tree.join(file))?;
        }
        Ok(Self { package, tree })
    }

    /// Every test that is to catch something passes as long as there is nothing to catch.
    fn check_healthy(&self, mutants: &[&Mutant]) -> anyhow::Result<()> {
        let said = self.test(&[])?;
        for mutant in mutants {
            let passes = said.lines().any(|line| line.trim() == format!("test {} ... ok", mutant.caught_by));
            ensure!(passes, "without any fault, `{}` does not pass, or does not exist", mutant.caught_by);
        }
        Ok(())
    }

    fn catches(&self, mutant: &Mutant) -> anyhow::Result<bool> {
        let path = self.tree.join("crates").join(self.package).join(mutant.file);
        let healthy = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        write(&path, &mutant.planted_in(&healthy)?)?;
        let said = self.test(&["--exact", mutant.caught_by]);
        write(&path, &healthy)?;
        let said = said?;
        let line = |end: &str| said.lines().any(|line| line.trim() == format!("test {} ... {end}", mutant.caught_by));
        match (line("FAILED"), line("ok")) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            (false, false) => bail!("it does not build: a fault has to be one that the compiler lets pass"),
        }
    }

    /// Runs the package's tests in the copy; returns what they say.
    fn test(&self, args: &[&str]) -> anyhow::Result<String> {
        let target = workspace_root().join("target/mutants/build");
        let unoptimised = format!("profile.dev.package.{}.opt-level=0", self.package);
        let mut tests = cargo([
            "test",
            "--no-fail-fast",
            "--config",
            &unoptimised,
            "--lib",
            "--tests",
            "--package",
            self.package,
            "--",
        ]);
        tests.args(args);
        tests.current_dir(&self.tree).env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", "--cap-lints allow");
        // Built again for every fault: what counts is how fast it builds, not how fast it runs.
        tests.env("CARGO_INCREMENTAL", "1");
        let output = tests.stderr(Stdio::null()).output().context("cannot start cargo")?;
        String::from_utf8(output.stdout).context("the tests wrote something else than UTF-8")
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    // A file that git knows may have been deleted since.
    if !from.is_file() {
        return Ok(());
    }
    let folder = to.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_still_fits_the_sources() -> anyhow::Result<()> {
        let package = workspace_root().join("crates").join(membership::PACKAGE);
        for mutant in membership::MUTANTS {
            let text = fs::read_to_string(package.join(mutant.file))?;
            let planted = mutant.planted_in(&text).with_context(|| mutant.name)?;
            assert_ne!(planted, text, "{} changes nothing", mutant.name);
        }
        Ok(())
    }
}
