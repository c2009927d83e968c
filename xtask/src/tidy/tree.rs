//! Rules about the tree as a whole: what lies where.

use std::collections::BTreeSet;

use super::source::{Source, has_word};
use super::{File, Finding, Rule};

/// What lies at the root, beside files whose name starts with a dot.
const TOP_LEVEL: [&str; 9] =
    ["Cargo.lock", "Cargo.toml", "README.md", "crates", "deny.toml", "deploy", "docs", "tests", "xtask"];

/// The crate whose one file may name the archived PEM reader.
const PEM_HOME: &str = "crates/identity/src/";

/// Returns every finding about where things lie in `files`.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = unknown_entries(files);
    findings.extend(pem_readers(files));
    findings
}

fn unknown_entries(files: &[File]) -> Vec<Finding> {
    let entries: BTreeSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    let known = |entry: &&str| TOP_LEVEL.contains(entry) || entry.starts_with('.');
    let message = "not one of the entries that lie at the root: see docs/CONTRIBUTING.md";
    let unknown = entries.into_iter().filter(|entry| !known(entry));
    unknown.map(|entry| Finding::error(Rule::Layout, entry, None, message)).collect()
}

/// One file of `identity` is the whole exposure to the archived crate, so that replacing it is one edit.
fn pem_readers(files: &[File]) -> Vec<Finding> {
    let names_it = |file: &&File| {
        file.path.ends_with(".rs") && Source::split(&file.text).code.iter().any(|line| has_word(line, "rustls_pemfile"))
    };
    let (home, elsewhere): (Vec<&File>, Vec<&File>) =
        files.iter().filter(names_it).partition(|file| file.path.starts_with(PEM_HOME));
    let too_many = home.into_iter().skip(1).chain(elsewhere);
    let message = format!("`rustls_pemfile` is archived upstream: one file of {PEM_HOME} may use it");
    too_many.map(|file| Finding::error(Rule::PemFile, &file.path, None, message.clone())).collect()
}
