//! Every setting there is, explained from what reads and checks it.

use std::fmt::Write as _;

use gossip::KnobFacts;

use super::gossip_config;
use super::keys::{self, About, Key, Shape};
use super::{TlsConfig, env};

/// Returns every setting with its variable, unit, default and range, and what it is for, as Markdown: one table a section.
pub(crate) fn explain() -> String {
    let knobs: Vec<KnobFacts> = gossip_config::knobs().into_iter().chain(TlsConfig::knobs()).collect();
    let mut text = String::new();
    let mut section = "";
    for key in keys::ALL {
        let table = key.path.rsplit_once('.').map_or("", |(table, _)| table);
        if table != section {
            section = table;
            let gap = if text.is_empty() { "" } else { "\n" };
            write!(text, "{gap}### `[{section}]`\n\n{HEADER}\n").expect("writing to a string never fails");
        }
        text += &row(key, &knobs);
    }
    text
}

const HEADER: &str = "| setting, variable | unit | default | valid | what it is, and which way to turn it |\n\
                      |---|---|---|---|---|";

fn row(key: &Key, knobs: &[KnobFacts]) -> String {
    let name = key.name();
    let (valid, does) = match &key.about {
        About::Words(valid, does) => ((*valid).to_owned(), *does),
        About::Knob => {
            let knob = knobs.iter().find(|knob| knob.option == name);
            let knob = knob.expect("a key that leaves its description to a knob has one");
            (knob.valid.clone(), knob.turn)
        }
    };
    let default = match key.default {
        None => "unset".to_owned(),
        Some("") => "none".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let does = does.trim_end_matches('.');
    let (variable, unit) = (env::variable(key), unit(key.shape));
    format!("| `{name}`<br>`{variable}` | {unit} | {default} | {valid} | {does} |\n")
}

const fn unit(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "text",
        Shape::Duration => "duration",
        Shape::Path => "file",
        Shape::Number | Shape::Fraction => "number",
        Shape::Flag => "flag",
        Shape::List => "list",
        Shape::Table => "table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the cells of the row of the setting `name`.
    fn cells(name: &str) -> Vec<String> {
        let start = format!("| `{name}`<br>");
        let text = explain();
        let row = text.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    }

    #[test]
    fn a_setting_is_explained_with_its_variable_unit_default_and_range() {
        let row = cells("suspicionInterval");
        let variable = "`suspicionInterval`<br>`OMNIRELAY_MESH__GOSSIP__SUSPICION_INTERVAL`";
        assert_eq!(
            row.get(..4),
            Some([variable, "duration", "`5s`", "twice interval to 10m"].map(String::from).as_slice())
        );
        assert_eq!(cells("certificateReloadInterval").get(3).map(String::as_str), Some("2s to 24h"));
        assert_eq!(cells("port").get(3).map(String::as_str), Some("0 to 65535"));
    }

    #[test]
    fn every_knob_of_the_options_is_a_setting_whose_default_is_theirs() {
        for knob in gossip_config::knobs().into_iter().chain(TlsConfig::knobs()) {
            let key = keys::ALL.iter().find(|key| key.name() == knob.option && key.about == About::Knob);
            let key = key.unwrap_or_else(|| panic!("{} is no setting", knob.option));
            let written = key.default.filter(|_| key.shape != Shape::List).map(str::to_owned);
            assert_eq!(written.clone().unwrap_or_else(|| knob.value.to_string()), knob.value.to_string());
        }
    }
}
