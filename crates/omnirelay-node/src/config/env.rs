//! Settings from the environment and from the command line: text that a key gives its type.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::keys::{self, Key, Shape};
use super::origin::{Layer, Leaf, Origin};
use super::problem::Problem;

/// Takes the settings among `variables`: `OMNIRELAY_` and a key whose segments are joined by `__`
/// (`OMNIRELAY_MESH__GOSSIP__CLUSTER_ID`), or the older form `MESH_GOSSIP__CLUSTER_ID`.
///
/// Case and single underscores do not matter, except in the name of a label. Everything else, such as
/// the `OMNIRELAY_ENDPOINT` of the command line client, is left alone.
pub(crate) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Vec<Layer> {
    // Ordered, so that the same environment gives the same messages.
    let mut found: BTreeMap<String, OsString> = BTreeMap::new();
    // A name that is not Unicode cannot be one of ours.
    found.extend(variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value))));

    let mut layers = Vec::new();
    let mut set_by = BTreeMap::new();
    for (variable, value) in found {
        let Some(segments) = segments(&variable) else { continue };
        let Some((key, entry)) = lookup(&segments) else {
            problems.push(unknown(&variable, &segments));
            continue;
        };
        let Some(text) = value.to_str().map(str::to_owned) else {
            problems.push(Problem::NotUnicode { variable });
            continue;
        };
        let earlier = set_by.insert((key.path, entry.clone()), (variable.clone(), text.clone()));
        if let Some((first, _)) = earlier.filter(|(_, before): &(String, String)| *before != text) {
            let key = [Some(key.path), entry.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(".");
            problems.push(Problem::Contradiction { first, second: variable, key });
            continue;
        }
        layers.push(layer(Origin::Variable(variable), key, entry, &text));
    }
    layers
}

/// Returns the variable that sets `key`, as documentation spells it.
pub(crate) fn variable(key: &Key) -> String {
    let mut variable = "OMNIRELAY_".to_owned();
    for c in key.path.chars() {
        match c {
            '.' => variable += "__",
            c if c.is_ascii_uppercase() => variable.extend(['_', c]),
            c => variable.push(c.to_ascii_uppercase()),
        }
    }
    if key.shape == Shape::Table { variable + "__…" } else { variable }
}

/// Takes one `key=value` of `--set`.
pub(crate) fn read_assignment(text: &str, problems: &mut Vec<Problem>) -> Option<Layer> {
    let origin = Origin::Flag("--set");
    let Some((path, value)) = text.split_once('=') else {
        problems.push(Problem::NoAssignment { text: text.to_owned() });
        return None;
    };
    let found = keys::find(path).map(|key| (key, None)).or_else(|| {
        let tables = keys::ALL.iter().filter(|key| key.shape == Shape::Table);
        let entry = |key: &&'static Key| Some((*key, Some(path.strip_prefix(key.path)?.strip_prefix('.')?.to_owned())));
        tables.filter_map(entry).next()
    });
    let Some((key, entry)) = found else {
        problems.push(Problem::UnknownKey { origin, key: path.to_owned(), suggestion: keys::nearest(path) });
        return None;
    };
    Some(layer(origin, key, entry, value))
}

/// Makes the layer that sets one key to the value `text` stands for.
pub(crate) fn layer(origin: Origin, key: &'static Key, entry: Option<String>, text: &str) -> Layer {
    let shape = if entry.is_some() { Shape::Text } else { key.shape };
    Layer { origin, leaves: vec![Leaf { key, entry, value: shape.value_of(text) }] }
}

/// Splits a variable's name into the segments of a key; `None` if it is not one of ours.
fn segments(variable: &str) -> Option<Vec<&str>> {
    if let Some(rest) = variable.strip_prefix("OMNIRELAY_").filter(|rest| rest.contains("__")) {
        return Some(rest.split("__").collect());
    }
    let rest = variable.strip_prefix("MESH_GOSSIP__")?;
    Some(["MESH", "GOSSIP"].into_iter().chain(rest.split("__")).collect())
}

fn lookup(segments: &[&str]) -> Option<(&'static Key, Option<String>)> {
    keys::ALL.iter().copied().find_map(|key| {
        let names: Vec<_> = key.path.split('.').collect();
        let (head, rest) = segments.split_at_checked(names.len())?;
        if !names.iter().zip(head).all(|(name, segment)| same_word(name, segment)) {
            return None;
        }
        match (key.shape, rest) {
            (_, []) => Some((key, None)),
            // A label's name is the operator's own, two underscores included.
            (Shape::Table, rest) => Some((key, Some(rest.join("__")))),
            _ => None,
        }
    })
}

fn same_word(name: &str, segment: &str) -> bool {
    name.eq_ignore_ascii_case(&segment.replace('_', ""))
}

fn unknown(variable: &str, segments: &[&str]) -> Problem {
    let key = segments.join(".").to_ascii_lowercase();
    Problem::UnknownKey { suggestion: keys::nearest(&key), key, origin: Origin::Variable(variable.to_owned()) }
}
