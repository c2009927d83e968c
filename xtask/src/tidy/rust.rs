//! Rules for one Rust file.

use super::source::{Source, has_word, word_ends};
use super::{Finding, Rule};

const LINES_LOOK: usize = 400;
const LINES_MAX: usize = 600;

/// The one file with unsafe blocks.
const UNSAFE_FILE: &str = "crates/peers-core/src/published.rs";

/// Words for work that is not done, followed by the number of its issue.
const UNDONE: [&str; 4] = ["FIXME", "HACK", "TODO", "XXX"];

/// Returns every finding on the file at `path`.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let source = Source::split(text);
    let mut findings: Vec<Finding> = length(path, text).into_iter().collect();
    let mut in_tests = is_test_path(path);
    for ((code, comment), number) in source.code.iter().zip(&source.comments).zip(1..) {
        in_tests |= code.contains("#[cfg(test)]");
        let mut report = |rule, message: &str| findings.push(Finding::error(rule, path, Some(number), message));
        for leftover in ["todo!", "unimplemented!", "dbg!"] {
            if word_starts(code, leftover) {
                report(Rule::Leftover, &format!("`{leftover}` is for drafts"));
            }
        }
        if code.contains("[allow(") || (code.contains("cfg_attr(") && code.contains(" allow(")) {
            report(Rule::AllowAttribute, "write `expect(…, reason = \"…\")`: it vanishes when no longer needed");
        }
        if code.contains("#[ignore]") {
            report(Rule::BareIgnore, "say why: `#[ignore = \"…\"]`");
        }
        if in_tests && ["thread::sleep", "time::sleep"].iter().any(|sleep| has_word(code, sleep)) {
            report(Rule::Sleep, "a test waits for a condition with a deadline, never for time to pass");
        }
        if path != UNSAFE_FILE && has_word(code, "unsafe") {
            report(Rule::Unsafe, &format!("unsafe code lives in {UNSAFE_FILE} only"));
        }
        if let Some(word) = UNDONE.into_iter().find(|word| word_ends(comment, word).any(|after| !names_issue(after))) {
            report(Rule::Todo, &format!("name the issue: `{word}(#123): …`"));
        }
    }
    findings
}

fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    if lines > LINES_MAX {
        let message = format!("{lines} lines, at most {LINES_MAX}: find the second noun and give it its own file");
        Some(Finding::error(Rule::LongFile, path, None, message))
    } else if lines > LINES_LOOK {
        Some(Finding::warning(Rule::LongFile, path, format!("{lines} lines: is there a second noun in it?")))
    } else {
        None
    }
}

fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Returns whether `line` calls the macro `name` (with its `!`).
fn word_starts(line: &str, name: &str) -> bool {
    let word = name.trim_end_matches('!');
    word_ends(line, word).any(|after| after.starts_with('!') && !after.starts_with("!="))
}

fn names_issue(after: &str) -> bool {
    after.strip_prefix("(#").is_some_and(|issue| issue.starts_with(|c: char| c.is_ascii_digit()))
}
