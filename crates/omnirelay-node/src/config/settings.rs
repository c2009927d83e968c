//! The values of all sources, merged, before they have types.

use std::ffi::OsString;
use std::path::PathBuf;

use figment::Figment;
use figment::value::Value;

use super::gossip_config::profile_layer;
use super::keys::{self, Key};
use super::origin::{Layer, Leaf, Origin};
use super::problem::Problem;
use super::setting::Setting;
use super::{env, file};

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// Configuration files; a later one covers an earlier one.
    pub(crate) files: Vec<PathBuf>,
    /// The environment.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// `key=value` of each `--set`.
    pub(crate) assignments: Vec<String>,
    /// Named flags: the flag, the key it sets, the value.
    pub(crate) flags: Vec<(&'static str, &'static Key, String)>,
}

/// The values of all sources, merged.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    figment: Figment,
}

/// Reads settings as typed values and gathers everything that is wrong.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) problems: Vec<Problem>,
}

impl Settings {
    /// Reads and merges all sources; returns also everything that is wrong with the sources themselves.
    pub(crate) fn gather(sources: &Sources) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut layers = vec![defaults()];
        layers.extend(sources.files.iter().map(|path| file::read(path, &mut problems)));
        layers.extend(env::read(sources.variables.iter().cloned(), &mut problems));
        layers.extend(sources.assignments.iter().filter_map(|text| env::read_assignment(text, &mut problems)));
        layers.extend(sources.flags.iter().map(|(flag, key, text)| env::layer(Origin::Flag(flag), key, None, text)));
        let figment = layers.into_iter().fold(Figment::new(), Figment::merge);
        (Self { figment }.over_profile(), problems)
    }

    /// Puts what the profile says above the defaults, and below everything that somebody set.
    fn over_profile(self) -> Self {
        // A profile that does not exist is refused when it is read.
        let profile = Reader { settings: &self, problems: Vec::new() }.value(keys::PROFILE);
        let layer = profile_layer(profile);
        let default = Origin::Default.to_string();
        let leaves = layer.leaves.into_iter().filter(|leaf| self.origin(leaf.key) == default).collect();
        Self { figment: self.figment.merge(Layer { leaves, ..layer }) }
    }

    /// Returns the value of `key`, whatever its type.
    pub(crate) fn find(&self, key: &Key) -> Option<Value> {
        // The only error is that nobody set it.
        self.figment.find_value(key.path).ok()
    }

    /// Returns the same settings with `key` at its default. Without one it is text that fits no number and no duration: unset.
    pub(crate) fn with_default(&self, key: &'static Key) -> Self {
        let layer = env::layer(Origin::Default, key, None, key.default.unwrap_or_default());
        Self { figment: self.figment.clone().merge(layer) }
    }

    pub(crate) fn is_set(&self, key: &Key) -> bool {
        self.figment.contains(key.path)
    }

    /// Returns who set `key`, in words.
    pub(crate) fn origin(&self, key: &Key) -> String {
        self.find(key).map_or_else(|| "not set".to_owned(), |value| self.origin_of(&value))
    }

    /// Returns who set `value`, in words; of a table, who set each of its entries.
    pub(crate) fn origin_of(&self, value: &Value) -> String {
        if let Value::Dict(_, entries) = value {
            let mut origins: Vec<_> = entries.values().map(|entry| self.origin_of(entry)).collect();
            origins.dedup();
            return origins.join(", ");
        }
        let metadata = self.figment.get_metadata(value.tag());
        metadata.map_or_else(|| Origin::Default.to_string(), |metadata| metadata.name.to_string())
    }
}

impl Reader<'_> {
    /// Returns the value of a key that has a default. A wrong one is a problem, and the default instead.
    pub(crate) fn value<T: Setting>(&mut self, key: &'static Key) -> T {
        self.optional(key).unwrap_or_else(|| {
            let default = key.shape.value_of(key.default.unwrap_or_default());
            T::from_value(&default).expect("a key read as always set has a valid default")
        })
    }

    /// Returns the value of a key, `None` if nobody set it. A wrong one is a problem, and `None`.
    pub(crate) fn optional<T: Setting>(&mut self, key: &'static Key) -> Option<T> {
        let value = self.settings.find(key)?;
        match T::from_value(&value) {
            Ok(typed) => Some(typed),
            Err(valid) => {
                let origin = self.settings.origin_of(&value);
                self.problems.push(Problem::WrongValue {
                    origin,
                    key: key.path.to_owned(),
                    found: show(&value),
                    valid,
                });
                None
            }
        }
    }
}

/// Writes a value as TOML (and JSON) does.
pub(crate) fn show(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("a value that cannot be shown ({error})"))
}

fn defaults() -> Layer {
    let leaf = |key: &&'static Key| Some(Leaf { key, entry: None, value: key.shape.value_of(key.default?) });
    Layer { origin: Origin::Default, leaves: keys::ALL.iter().filter_map(leaf).collect() }
}
