//! Shows every setting with its value and where it was set.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use figment::value::Value;

use super::keys::{self, Key, Shape};
use super::settings::{Settings, show};

/// How settings are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PrintFormat {
    /// For people.
    #[default]
    Table,
    /// A configuration file that sets the same values.
    Toml,
    /// An array of `{key, value, origin}`.
    Json,
}

/// Returns every setting with its value and origin, ending in a line break.
pub(crate) fn print(settings: &Settings, format: PrintFormat) -> String {
    match format {
        PrintFormat::Table => as_table(settings),
        PrintFormat::Toml => as_toml(settings),
        PrintFormat::Json => as_json(settings),
    }
}

fn as_table(settings: &Settings) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["KEY", "VALUE", "ORIGIN"]);
    for key in keys::ALL {
        let value = settings.find(key);
        table.add_row([key.path.to_owned(), plain(value.as_ref()), settings.origin(key)]);
    }
    table.to_string().lines().fold(String::new(), |text, line| text + line.trim() + "\n")
}

/// Strings without their quotes, for people.
fn plain(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::String(_, text)) => text.clone(),
        Some(other) => show(other),
    }
}

fn as_toml(settings: &Settings) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in keys::ALL {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        let line = toml_line(name, key, settings);
        // Dotted keys for the table of labels, so that it needs no header within its section.
        if table != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            section = table;
            text = text + gap + "[" + table + "]\n";
        }
        text += &line;
    }
    text
}

fn toml_line(name: &str, key: &Key, settings: &Settings) -> String {
    match settings.find(key) {
        None => format!("# {name} is not set\n"),
        Some(Value::Dict(_, entries)) if key.shape == Shape::Table => {
            entries.iter().fold(String::new(), |mut text, (entry, value)| {
                let entry = show(&Value::from(entry.as_str()));
                let origin = settings.origin_of(value);
                writeln!(text, "{name}.{entry} = {} # {origin}", show(value)).expect("writing to a string never fails");
                text
            })
        }
        Some(value) => format!("{name} = {} # {}\n", show(&value), settings.origin_of(&value)),
    }
}

fn as_json(settings: &Settings) -> String {
    let row = |key: &&Key| {
        let value = settings.find(key);
        serde_json::json!({ "key": key.path, "value": value, "origin": settings.origin(key) })
    };
    let rows: Vec<_> = keys::ALL.iter().map(row).collect();
    format!("{:#}\n", serde_json::Value::from(rows))
}
