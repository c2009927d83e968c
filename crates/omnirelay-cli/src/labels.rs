//! `omnirelay mesh peers label`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::args::{Label, LabelFormat};
use crate::client::Client;
use crate::error::CliError;
use crate::output::Output;
use crate::table::printable;

/// What stands for the node at the endpoint, whatever its name; a node that is called so is found by its endpoint, too.
pub(crate) const SELF: &str = "self";

/// Labels to set, and those without a value to remove.
pub(crate) type LabelChanges = BTreeMap<String, Option<String>>;

/// One label to set, or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelChange {
    key: String,
    /// `None` removes the label.
    value: Option<String>,
}

/// Why a text changes no label.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write `key=value` to set a label or `key-` to remove it")]
pub(crate) struct ParseLabelChangeError;

impl FromStr for LabelChange {
    type Err = ParseLabelChangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text.strip_suffix('-').ok_or(ParseLabelChangeError)?, None),
        };
        if key.is_empty() { Err(ParseLabelChangeError) } else { Ok(Self { key: key.to_owned(), value }) }
    }
}

/// Returns all changes by key.
pub(crate) fn changes(all: &[LabelChange]) -> Result<LabelChanges, CliError> {
    let mut changes = BTreeMap::new();
    for LabelChange { key, value } in all {
        if changes.insert(key.clone(), value.clone()).is_some() {
            return Err(CliError::LabelTwice { key: key.clone() });
        }
    }
    Ok(changes)
}

/// Changes labels and shows those that the node has then.
pub(crate) async fn label(
    client: &Client,
    label: &Label,
    changes: LabelChanges,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut request = json!({ "labels": changes });
    if label.node != SELF {
        request["nodeId"] = json!(label.node);
    }
    let document = client.post("/control/labels", &request).await?;
    if !document["labels"].is_object() {
        return Err(client.not_the_api("labels").into());
    }
    output.write(render(&document, label.output).as_bytes())?;
    Ok(())
}

fn render(document: &Value, format: LabelFormat) -> String {
    match format {
        LabelFormat::Json => format!("{document:#}\n"),
        LabelFormat::Text => {
            let labels = document["labels"].as_object().into_iter().flatten();
            labels.fold(String::new(), |mut text, (key, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                writeln!(text, "{}={}", printable(key), printable(&value)).expect("a string takes any text");
                text
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, Option<&str>)>) {
        let change =
            |(key, value): (&str, Option<&str>)| LabelChange { key: key.to_owned(), value: value.map(str::to_owned) };
        assert_eq!(text.parse(), expected.map(change).ok_or(ParseLabelChangeError), "{text}");
    }

    #[test]
    fn a_change_sets_or_removes_one_label() {
        check("rack=r1", Some(("rack", Some("r1"))));
        check("rack=", Some(("rack", Some(""))));
        check("rack=a=b-", Some(("rack", Some("a=b-"))));
        check("rack-", Some(("rack", None)));
        check("a-b-", Some(("a-b", None)));
        for wrong in ["rack", "", "-", "=", "=r1"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_a_node_says_cannot_steer_the_terminal() {
        let document = json!({"labels": {"k\u{7}": "v\r", "n": 1}});
        assert_eq!(render(&document, LabelFormat::Text), "k\u{fffd}=v\u{fffd}\nn=1\n");
    }
}
