//! What the lines of each system's agents say.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::views::{Said, What};

/// How the lines of a system's agents are read.
#[derive(Debug)]
pub(crate) struct Language {
    is_json: bool,
    numbers: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventLine<'a> {
    event: &'a str,
    node_id: Option<&'a str>,
    count: Option<u64>,
}

impl Language {
    /// Reads the JSON lines of `run --events jsonl`.
    pub(crate) fn omnirelay(names: impl IntoIterator<Item = String>) -> Self {
        Self { is_json: true, numbers: numbers(names) }
    }

    /// Reads Serf's log.
    pub(crate) fn serf(names: impl IntoIterator<Item = String>) -> Self {
        Self { is_json: false, numbers: numbers(names) }
    }

    /// Returns what a line says; nothing for one that says nothing of interest.
    pub(crate) fn read(&self, line: &str) -> Option<Said> {
        if self.is_json { self.read_json(line) } else { self.read_serf(line) }
    }

    fn read_json(&self, line: &str) -> Option<Said> {
        // A line that is none is no event: the schema is held by the node's own tests.
        let EventLine { event, node_id, count } = serde_json::from_str(line).ok()?;
        let what = match event {
            "ready" => return Some(Said::Ready),
            "missed" => return Some(Said::Missed { count: count.unwrap_or_default() }),
            "up" => What::Up,
            "suspect" => What::Suspect,
            "unreachable" => What::Gone,
            "dead" => What::Dead,
            "left" => What::Left,
            "update" => What::Update,
            _ => return None,
        };
        self.saw(node_id?, what)
    }

    fn read_serf(&self, line: &str) -> Option<Said> {
        if line.contains("Serf agent running!") {
            return Some(Said::Ready);
        }
        let (_, event) = line.split_once("serf: EventMember")?;
        let (word, rest) = event.split_once(": ")?;
        let what = match word {
            "Join" => What::Up,
            "Failed" => What::Gone,
            "Leave" => What::Left,
            "Update" => What::Update,
            _ => return None,
        };
        self.saw(rest.split_whitespace().next()?, what)
    }

    fn saw(&self, name: &str, what: What) -> Option<Said> {
        Some(Said::Saw { subject: *self.numbers.get(name)?, what })
    }
}

fn numbers(names: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    names.into_iter().enumerate().map(|(number, name)| (name, number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> [String; 2] {
        ["node-001".to_owned(), "node-002".to_owned()]
    }

    #[track_caller]
    fn check(language: &Language, line: &str, expected: Option<Said>) {
        assert_eq!(language.read(line), expected, "{line}");
    }

    fn saw(subject: usize, what: What) -> Option<Said> {
        Some(Said::Saw { subject, what })
    }

    #[test]
    fn our_lines_are_read() {
        let language = Language::omnirelay(names());
        let line = |event: &str| format!("{{\"event\":\"{event}\",\"nodeId\":\"node-002\",\"incarnation\":1}}");
        for (event, what) in [("up", What::Up), ("suspect", What::Suspect), ("unreachable", What::Gone)] {
            check(&language, &line(event), saw(1, what));
        }
        for (event, what) in [("dead", What::Dead), ("left", What::Left), ("update", What::Update)] {
            check(&language, &line(event), saw(1, what));
        }
        check(&language, "{\"event\":\"ready\",\"nodeId\":\"node-001\"}", Some(Said::Ready));
        check(&language, "{\"event\":\"missed\",\"count\":3}", Some(Said::Missed { count: 3 }));
        check(&language, "{\"event\":\"up\",\"nodeId\":\"stranger\"}", None);
        check(&language, "no JSON", None);
    }

    #[test]
    fn the_lines_of_serf_are_read() {
        let language = Language::serf(names());
        let line = |event: &str| format!("    2026/11/21 14:24:18 [INFO] serf: EventMember{event}: node-001 127.1.0.1");
        for (event, what) in [("Join", What::Up), ("Failed", What::Gone), ("Leave", What::Left)] {
            check(&language, &line(event), saw(0, what));
        }
        check(&language, "2026/11/21 14:24:18 [INFO] serf: EventMemberUpdate: node-002", saw(1, What::Update));
        check(&language, "==> Serf agent running!", Some(Said::Ready));
        check(&language, "2026/11/21 14:24:19 [INFO] agent: Received event: member-join", None);
        check(&language, &line("Reap"), None);
    }
}
