//! Rules for the manifest of a member crate. Floors and kinds are layering's concern.

use super::{Finding, Rule};

/// Keys that each `[package]` states, itself or through the workspace.
const PACKAGE_KEYS: [&str; 5] = ["description", "edition", "license", "rust-version", "version"];

/// Returns every finding on the manifest at `path`. It reads the lines that cargo's own style gives, one key a
/// line, so it needs no TOML parser.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in PACKAGE_KEYS {
        if !section(text, "package").any(|(line, _)| key_of(line) == key) {
            findings.push(Finding::error(Rule::Manifest, path, None, format!("[package] has no `{key}`")));
        }
    }
    if !section(text, "lints").any(|(line, _)| line == "workspace = true") {
        findings.push(Finding::error(Rule::Manifest, path, None, "no `[lints] workspace = true`"));
    }
    for (header, number) in headers(text) {
        if is_dependencies(header) {
            findings.extend(section_at(text, number).filter_map(|(line, number)| own_version(path, line, number)));
        } else if header.rsplit_once('.').is_some_and(|(table, _)| is_dependencies(table)) {
            let message = format!("write `[{header}]` as one line with `workspace = true`");
            findings.push(Finding::error(Rule::Manifest, path, Some(number), message));
        }
    }
    findings
}

fn own_version(path: &str, line: &str, number: usize) -> Option<Finding> {
    // Only a line that starts an entry names a dependency; the others go on with its features.
    let (name, value) = line.split_once('=')?;
    let from_workspace = line.replace(' ', "").contains("workspace=true");
    if from_workspace && !value.contains("version") {
        return None;
    }
    let name = name.trim();
    let message = format!("`{name}` takes its version from the root: `{name}.workspace = true`");
    Some(Finding::error(Rule::Manifest, path, Some(number), message))
}

fn is_dependencies(header: &str) -> bool {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .any(|table| header == *table || (header.starts_with("target.") && header.ends_with(&format!(".{table}"))))
}

/// Iterates over the names of the tables and the lines they stand on.
fn headers(text: &str) -> impl Iterator<Item = (&str, usize)> {
    lines(text).filter_map(|(line, number)| Some((line.strip_prefix('[')?.strip_suffix(']')?, number)))
}

fn section<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, usize)> {
    headers(text).filter(move |(header, _)| *header == name).flat_map(move |(_, number)| section_at(text, number))
}

/// Iterates over the lines below the header on line `number`, up to the next one.
fn section_at(text: &str, number: usize) -> impl Iterator<Item = (&str, usize)> {
    lines(text).skip(number).take_while(|(line, _)| !line.starts_with('[')).filter(|(line, _)| !line.is_empty())
}

fn lines(text: &str) -> impl Iterator<Item = (&str, usize)> {
    text.lines().map(|line| line.split('#').next().unwrap_or(line).trim()).zip(1..)
}

fn key_of(line: &str) -> &str {
    line.split(['=', '.']).next().unwrap_or(line).trim()
}
