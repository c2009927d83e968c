//! Where a value was set, and the values that one place sets.

use std::fmt;
use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::keys::Key;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// Nobody set it, and the profile of gossip of that name says it.
    Profile(&'static str),
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, such as `--port` or `--set`.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The values that one place sets; a later layer covers an earlier one.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Which place.
    pub(crate) origin: Origin,
    /// What it sets.
    pub(crate) leaves: Vec<Leaf>,
}

/// One value.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// Of which setting.
    pub(crate) key: &'static Key,
    /// Which entry of it, if the setting is a table.
    pub(crate) entry: Option<String>,
    /// The value, of whatever type was given.
    pub(crate) value: Value,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut root = Dict::new();
        for leaf in &self.leaves {
            let segments = leaf.key.path.split('.').chain(leaf.entry.as_deref());
            insert(&mut root, &segments.collect::<Vec<_>>(), leaf.value.clone());
        }
        Ok(Map::from([(Profile::Default, root)]))
    }
}

fn insert(dict: &mut Dict, segments: &[&str], value: Value) {
    match segments {
        [] => {}
        [last] => drop(dict.insert((*last).to_owned(), value)),
        [first, rest @ ..] => {
            let inner = dict.entry((*first).to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
