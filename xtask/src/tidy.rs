//! `cargo xtask tidy`: rules about text that no compiler or linter checks.
//!
//! [`check`] is a pure function from files to findings; the verb lists the tree, asks it, and prints.

mod manifest;
mod rust;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::process::{Stopwatch, stdout_of, workspace_root};

/// What a finding is about. The name is what an exception in [`EXCEPTIONS`] lifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    AllowAttribute,
    BareIgnore,
    Layout,
    Leftover,
    LongFile,
    Manifest,
    PemFile,
    Sleep,
    StaleException,
    Todo,
    Unsafe,
    Whitespace,
}

/// Places where a rule does not hold, each with its reason. One that lifts nothing any more is itself a finding.
const EXCEPTIONS: &[Exception] = &[];

#[derive(Debug)]
struct Exception {
    path: &'static str,
    rule: Rule,
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Warning,
    Error,
}

/// Something a person should change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from one; none when the finding is about the whole file.
    line: Option<usize>,
    rule: Rule,
    severity: Severity,
    message: String,
}

impl Finding {
    fn error(rule: Rule, path: &str, line: Option<usize>, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, severity: Severity::Error, message: message.into() }
    }

    fn warning(rule: Rule, path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, rule, severity: Severity::Warning, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, severity, message } = self;
        let severity = match severity {
            Severity::Warning => "warning: ",
            Severity::Error => "",
        };
        match line {
            Some(line) => write!(f, "{severity}{path}:{line}: {message} [{rule:?}]"),
            None => write!(f, "{severity}{path}: {message} [{rule:?}]"),
        }
    }
}

/// One file of the tree: its path from the root with `/`, and its text.
#[derive(Clone, Debug)]
struct File {
    path: String,
    text: String,
}

/// Prints every finding on the tree of this workspace; fails when one is more than a warning.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let clock = Stopwatch::start();
    let files = read_tree(&workspace_root())?;
    let findings = check(&files, EXCEPTIONS);
    for finding in &findings {
        println!("tidy: {finding}");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    println!("tidy: {} files, {errors} error(s), {} warning(s) ({clock})", files.len(), findings.len() - errors);
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns every finding on `files` that no exception lifts, and every exception that lifts none.
fn check(files: &[File], exceptions: &[Exception]) -> Vec<Finding> {
    let mut findings = tree::check(files);
    for File { path, text } in files {
        if is_generated(text) || path == "Cargo.lock" {
            continue;
        }
        findings.extend(whitespace(path, text));
        if path.ends_with(".rs") {
            findings.extend(rust::check(path, text));
        }
        if path.ends_with("/Cargo.toml") {
            findings.extend(manifest::check(path, text));
        }
    }
    let lifts =
        |exception: &Exception, finding: &Finding| exception.path == finding.path && exception.rule == finding.rule;
    let stale: Vec<Finding> = exceptions
        .iter()
        .filter(|exception| !findings.iter().any(|finding| lifts(exception, finding)))
        .map(|Exception { path, rule, reason }| {
            let message = format!("exception from {rule:?} lifts nothing any more: delete it (it was: {reason})");
            Finding::error(Rule::StaleException, path, None, message)
        })
        .collect();
    findings.retain(|finding| !exceptions.iter().any(|exception| lifts(exception, finding)));
    findings.extend(stale);
    findings
}

fn is_generated(text: &str) -> bool {
    text.lines().next().is_some_and(|first| first.contains("@generated"))
}

fn whitespace(path: &str, text: &str) -> Vec<Finding> {
    let fault_of = |line: &str| {
        if line.ends_with('\r') {
            Some("line ends in CRLF")
        } else if line.contains('\t') {
            Some("tab")
        } else if line.ends_with(' ') {
            Some("space at the end of the line")
        } else {
            None
        }
    };
    let lines = text.split('\n').zip(1..);
    let mut findings: Vec<Finding> = lines
        .filter_map(|(line, number)| Some(Finding::error(Rule::Whitespace, path, Some(number), fault_of(line)?)))
        .collect();
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::error(Rule::Whitespace, path, None, "no newline at the end of the file"));
    }
    findings
}

/// Reads every text file that git tracks or would track. Without git, or outside a checkout (a source
/// archive), reads everything but build output.
fn read_tree(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut paths = match git_files(root) {
        Ok(paths) => paths,
        Err(why) => {
            eprintln!("tidy: walking the folder instead of asking git ({why:#})");
            walk(root)?
        }
    };
    paths.sort();
    paths.dedup();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let bytes = match std::fs::read(root.join(&path)) {
            Ok(bytes) => bytes,
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue, // deleted, not yet committed
            Err(error) => return Err(error).with_context(|| format!("cannot read `{path}`")),
        };
        // What is not text has no rules here.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

fn git_files(root: &Path) -> anyhow::Result<Vec<String>> {
    // CI often checks out as another user; listing names is safe whoever owns them.
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = stdout_of(git.current_dir(root))?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

fn walk(root: &Path) -> anyhow::Result<Vec<String>> {
    const BUILD_OUTPUT: [&str; 3] = [".git", "dist", "target"];
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let here = root.join(&folder);
        for entry in std::fs::read_dir(&here).with_context(|| format!("cannot list `{}`", here.display()))? {
            let entry = entry.with_context(|| format!("cannot list `{}`", here.display()))?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().with_context(|| format!("cannot read `{}`", path.display()))?;
            if kind.is_file() {
                found.push(path.to_string_lossy().into_owned());
            } else if kind.is_dir() && !BUILD_OUTPUT.iter().any(|name| path == Path::new(name)) {
                folders.push(path);
            }
        }
    }
    Ok(found)
}
