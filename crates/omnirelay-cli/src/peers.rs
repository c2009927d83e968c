//! `omnirelay mesh peers`.

use std::io;

use serde_json::Value;
use tokio::signal;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Format, List};
use crate::client::{Client, RequestError};
use crate::error::{CliError, chain};
use crate::output::{Output, note};
use crate::table;

/// Lists the members, once or until Ctrl-C.
pub(crate) async fn list(client: &Client, list: &List, output: &mut Output) -> Result<(), CliError> {
    if list.watch {
        return tokio::select! {
            ended = watch(client, list, output) => ended,
            interrupted = signal::ctrl_c() => interrupted.map_err(|source| CliError::Runtime { source }),
        };
    }
    let document = fetch(client, list).await?;
    output.write(render(&document, list.output, Layout::Page, output.color).as_bytes())?;
    Ok(())
}

/// Asks again and again; a node that is away is waited for.
async fn watch(client: &Client, list: &List, output: &mut Output) -> Result<(), CliError> {
    let mut ticks = interval(list.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut screen = Screen::default();
    loop {
        ticks.tick().await;
        match fetch(client, list).await {
            Ok(document) => screen.show(&document, list.output, output)?,
            Err(error) => screen.note_failure(&error),
        }
    }
}

async fn fetch(client: &Client, list: &List) -> Result<Value, RequestError> {
    let mut query = Vec::new();
    query.extend(list.status.map(|status| format!("status={}", status.word())));
    // A role is made of characters that a URL takes as they are.
    query.extend(list.role.as_ref().map(|role| format!("role={role}")));
    let path =
        if query.is_empty() { "/control/peers".to_owned() } else { format!("/control/peers?{}", query.join("&")) };
    let document = client.get(&path).await?;
    if document["peers"].is_array() { Ok(document) } else { Err(client.not_the_api("peers")) }
}

/// What the reader of `--watch` has seen.
#[derive(Debug, Default)]
struct Screen {
    shown: Option<Value>,
    failure: Option<String>,
}

impl Screen {
    /// Redraws a terminal; writes to a pipe only what is new.
    fn show(&mut self, document: &Value, format: Format, output: &mut Output) -> io::Result<()> {
        if self.failure.take().is_some() {
            note("the node answers again");
        }
        if output.is_terminal {
            return output.redraw(render(document, format, Layout::Page, output.color).as_bytes());
        }
        let lasting = lasting(document.clone());
        if self.shown.as_ref() == Some(&lasting) {
            return Ok(());
        }
        let mut block = render(document, format, Layout::Line, output.color);
        if self.shown.is_some() && format != Format::Json {
            block.insert(0, '\n');
        }
        self.shown = Some(lasting);
        output.write(block.as_bytes())
    }

    /// Tells people once for each kind of failure.
    fn note_failure(&mut self, error: &RequestError) {
        let failure = chain(error);
        if self.failure.as_ref() != Some(&failure) {
            note(&format!("still trying: {failure}"));
            if let Some(hint) = error.hint() {
                note(&format!("hint: {hint}"));
            }
            self.failure = Some(failure);
        }
    }
}

/// Returns what is worth telling: the document without what changes with every answer.
fn lasting(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.remove("generatedAt");
    }
    for peer in document["peers"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        peer.remove("lastSeen");
        peer.remove("rttMs");
        peer.remove("calls");
    }
    document
}

/// How JSON is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// For a reader.
    Page,
    /// One of many documents, each on its line.
    Line,
}

fn render(document: &Value, format: Format, layout: Layout, color: bool) -> String {
    let peers = document["peers"].as_array().map_or(&[][..], Vec::as_slice);
    match (format, layout) {
        (Format::Table, _) => table::render(document, peers, false, color),
        (Format::Wide, _) => table::render(document, peers, true, color),
        (Format::Json, Layout::Page) => format!("{document:#}\n"),
        (Format::Json, Layout::Line) => format!("{document}\n"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_round_trips_and_calls_alone_are_no_change() {
        let document = |state: &str, age: u64| {
            let peer =
                json!({"nodeId": "a", "lastSeen": age, "rttMs": age, "calls": {"succeeded": age}, "state": state});
            lasting(json!({"generatedAt": age, "localNodeId": "a", "peers": [peer]}))
        };
        assert_eq!(document("Alive", 1), document("Alive", 2));
        assert_ne!(document("Alive", 1), document("Suspect", 1));
    }
}
