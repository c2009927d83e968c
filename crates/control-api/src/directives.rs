//! Log filters as text: `level` and `target=level`, with commas between.

use std::collections::BTreeMap;

/// The levels there are, by how little they let through.
pub(crate) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A filter in its parts. What is neither a level nor a target's is kept as it is, such as `gossip[link]=debug`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// Of whatever has no other; `None` is `off`.
    pub(crate) level: Option<String>,
    pub(crate) targets: BTreeMap<String, String>,
    others: Vec<String>,
}

impl Directives {
    /// Takes a filter apart.
    pub(crate) fn of(filter: &str) -> Self {
        let mut directives = Self::default();
        for directive in split(filter) {
            let (target, level) = directive.split_once('=').unwrap_or((directive, "trace"));
            match known(level) {
                _ if target.contains('[') => directives.others.push(directive.to_owned()),
                _ if known(directive).is_some() => directives.level = known(directive).map(str::to_owned),
                Some(level) => drop(directives.targets.insert(target.to_owned(), level.to_owned())),
                None => directives.others.push(directive.to_owned()),
            }
        }
        directives
    }

    /// Puts a filter together.
    pub(crate) fn to_filter(&self) -> String {
        let general = self.level.clone().into_iter();
        let targets = self.targets.iter().map(|(target, level)| format!("{target}={level}"));
        general.chain(targets).chain(self.others.iter().cloned()).collect::<Vec<_>>().join(",")
    }
}

/// Returns the level that `word` names.
pub(crate) fn known(word: &str) -> Option<&'static str> {
    LEVELS.into_iter().find(|level| level.eq_ignore_ascii_case(word))
}

/// Whether `target` may stand before a `=`: a path of modules.
pub(crate) fn is_target(target: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.');
    (1..=64).contains(&target.len()) && target.bytes().all(is_fit) && known(target).is_none()
}

/// Splits at the commas that are in no brackets.
fn split(filter: &str) -> impl Iterator<Item = &str> {
    let mut depth: u32 = 0;
    let parts = filter.split(move |letter| {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, level: Option<&str>, targets: &[(&str, &str)], others: &[&str], again: &str) {
        let text = |text: &&str| (*text).to_owned();
        let expected = Directives {
            level: level.map(str::to_owned),
            targets: targets.iter().map(|(target, own)| (text(target), text(own))).collect(),
            others: others.iter().map(text).collect(),
        };
        let found = Directives::of(filter);
        assert_eq!((found.to_filter().as_str(), found), (again, expected), "{filter}");
    }

    #[test]
    fn a_filter_is_a_level_and_those_of_targets_and_what_else_there_is_stays() {
        check("info", Some("info"), &[], &[], "info");
        check("", None, &[], &[], "");
        check(
            "WARN, gossip=debug,h3",
            Some("warn"),
            &[("gossip", "debug"), ("h3", "trace")],
            &[],
            "warn,gossip=debug,h3=trace",
        );
        let fields = "gossip[link{a=1,b=2}]=debug";
        check(&format!("{fields},info"), Some("info"), &[], &[fields], &format!("info,{fields}"));
        check("a=1", None, &[], &["a=1"], "a=1");
    }

    #[test]
    fn a_target_is_a_path_of_modules() {
        for fit in ["gossip", "mesh_server::http3", "audit", "a-b.c"] {
            assert!(is_target(fit), "{fit}");
        }
        for unfit in ["", "a b", "a=b", "a,b", "a[b]", "info", &"a".repeat(65)] {
            assert!(!is_target(unfit), "{unfit}");
        }
    }
}
