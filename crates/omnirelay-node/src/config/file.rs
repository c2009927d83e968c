//! Configuration files.

use std::fs;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use figment::{Profile, Provider};

use super::keys::{self, Shape};
use super::origin::{Layer, Leaf, Origin};
use super::problem::Problem;

/// How figment's TOML reader marks a bare date or time, such as `00:00:05` without quotes.
const BARE_TIME: &str = "$__toml_private_datetime";

/// Reads a TOML file. A relative path among its values is relative to the file.
///
/// What can be used of the file is in the layer, what cannot is added to `problems`.
pub(crate) fn read(path: &Path, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer { origin: Origin::File(path.to_owned()), leaves: Vec::new() };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) => {
            problems.push(Problem::Read { path: path.to_owned(), source });
            return layer;
        }
    };
    match Toml::string(&text).data() {
        Ok(mut profiles) => {
            let root = profiles.remove(&Profile::Default).unwrap_or_default();
            collect(root, "", &mut layer, problems);
        }
        Err(error) => problems.push(Problem::Syntax { path: path.to_owned(), reason: error.to_string() }),
    }
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    for leaf in layer.leaves.iter_mut().filter(|leaf| leaf.key.shape == Shape::Path) {
        if let Value::String(_, file) = &mut leaf.value
            && !file.is_empty()
        {
            *file = folder.join(&*file).to_string_lossy().into_owned();
        }
    }
    layer
}

fn collect(table: Dict, prefix: &str, layer: &mut Layer, problems: &mut Vec<Problem>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match (keys::find(&path), value) {
            (Some(key), Value::Dict(_, entries)) if key.shape == Shape::Table => {
                let leaf = |(entry, text)| Leaf { key, entry: Some(entry), value: text };
                layer.leaves.extend(entries.into_iter().map(leaf));
            }
            (Some(key), value) => layer.leaves.push(Leaf { key, entry: None, value: bare_time_as_text(value) }),
            (None, Value::Dict(_, inner)) if !inner.is_empty() => collect(inner, &path, layer, problems),
            (None, Value::Dict(..)) if is_section(&path) => {}
            (None, _) => problems.push(Problem::UnknownKey {
                origin: layer.origin.clone(),
                suggestion: keys::nearest(&path),
                key: path,
            }),
        }
    }
}

fn is_section(path: &str) -> bool {
    keys::ALL.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn bare_time_as_text(value: Value) -> Value {
    match value {
        Value::Dict(_, mut entries) if entries.contains_key(BARE_TIME) => {
            entries.remove(BARE_TIME).unwrap_or_else(|| Value::from(""))
        }
        other => other,
    }
}
