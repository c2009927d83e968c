//! `cargo xtask docs`: the page of settings, from the code that reads and checks them.

use std::fs;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};

use crate::process::{cargo, workspace_root};

/// Where the settings are explained, from [`MARKER`] on; what stands before it is written by hand.
const PAGE: &str = "docs/configuration.md";

/// The line after which nothing is written by hand.
const MARKER: &str = "<!-- The rest is what `cargo xtask docs --write` makes of the code. -->\n\n";

/// What to do with the table of settings; prints it unless told otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Fail if docs/configuration.md says something else.
    #[arg(long)]
    check: bool,
    /// Write it to docs/configuration.md.
    #[arg(long, conflicts_with = "check")]
    write: bool,
}

/// Prints, checks or writes the table of settings.
///
/// # Errors
/// When the node does not build, the page cannot be read, or `--check` finds another table in it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let settings = settings()?;
    if !options.check && !options.write {
        print!("{settings}");
        return Ok(ExitCode::SUCCESS);
    }
    let path = workspace_root().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let wanted = with_settings(&page, &settings)?;
    if options.write {
        fs::write(&path, wanted).with_context(|| format!("cannot write {PAGE}"))?;
    } else if let Some((line, found, wanted)) = first_difference(&page, &wanted) {
        bail!(
            "{PAGE} differs from the code at line {line}: it has\n  {found}\nthe code\n  {wanted}\n\
               `cargo xtask docs --write` corrects it"
        );
    }
    println!("docs: {PAGE} says what the code does");
    Ok(ExitCode::SUCCESS)
}

/// Asks the node about its settings.
fn settings() -> anyhow::Result<String> {
    let mut node = cargo(["run", "--quiet", "--package", "omnirelay-node", "--", "explain-config"]);
    let output = node.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "omnirelay-node explain-config: {}", output.status);
    String::from_utf8(output.stdout).context("the node explains its settings in something else than UTF-8")
}

fn with_settings(page: &str, settings: &str) -> anyhow::Result<String> {
    let (prose, _old) =
        page.split_once(MARKER).with_context(|| format!("{PAGE} lacks the line `{}`", MARKER.trim()))?;
    Ok(format!("{prose}{MARKER}{settings}"))
}

/// Returns the number of the first line that differs, and the line on both sides.
fn first_difference<'a>(found: &'a str, wanted: &'a str) -> Option<(usize, &'a str, &'a str)> {
    let (mut found, mut wanted) = (found.lines(), wanted.lines());
    (1..)
        .map_while(|number| match (found.next(), wanted.next()) {
            (None, None) => None,
            (found, wanted) => Some((number, found.unwrap_or("(nothing)"), wanted.unwrap_or("(nothing)"))),
        })
        .find(|(_, found, wanted)| found != wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays_and_the_rest_is_the_codes() -> anyhow::Result<()> {
        let page = format!("# Title\n\n{MARKER}old\n");
        let wanted = with_settings(&page, "new\n")?;
        assert_eq!(wanted, format!("# Title\n\n{MARKER}new\n"));
        assert_eq!(first_difference(&page, &wanted), Some((5, "old", "new")));
        assert_eq!(first_difference(&wanted, &wanted), None);
        assert_eq!(first_difference(&format!("{wanted}more"), &wanted), Some((6, "more", "(nothing)")));
        assert!(with_settings("# Title\n", "new\n").is_err());
        Ok(())
    }
}
