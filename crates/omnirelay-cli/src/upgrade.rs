//! `omnirelay mesh upgrade`, and waiting for a node to be empty.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{LabelFormat, UpgradeDrain, UpgradeTarget};
use crate::client::Client;
use crate::error::CliError;
use crate::labels::SELF;
use crate::output::{Output, note};
use crate::table::printable;

/// Where a node says how far it is emptied.
const PATH: &str = "/control/upgrade";

/// How often it is asked.
const PERIOD: Duration = Duration::from_millis(200);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The drain is over: all requests have ended, or were cut off.
    Drained,
    /// No request is under way.
    Idle,
}

/// Shows how far the node at the endpoint is emptied.
pub(crate) async fn status(client: &Client, format: LabelFormat, output: &mut Output) -> Result<(), CliError> {
    let document = fetch(client).await?;
    Ok(output.write(render(&document, format).as_bytes())?)
}

/// Empties the node at the endpoint, and waits for that if it is asked to.
pub(crate) async fn drain(client: &Client, args: &UpgradeDrain, output: &mut Output) -> Result<(), CliError> {
    let mut request = about(&args.target);
    if let Some(within) = args.terms.within {
        request["timeoutMs"] = json!(within.as_millis());
    }
    if let Some(reason) = &args.reason {
        request["reason"] = json!(reason);
    }
    let begun = checked(client, client.post("/control/upgrade/drain", &request).await?)?;
    let document = if args.terms.wait { wait(client, Until::Drained, output).await? } else { begun };
    Ok(output.write(render(&document, args.target.output).as_bytes())?)
}

/// Has the node at the endpoint take work again.
pub(crate) async fn resume(client: &Client, target: &UpgradeTarget, output: &mut Output) -> Result<(), CliError> {
    let document = checked(client, client.post("/control/upgrade/resume", &about(target)).await?)?;
    Ok(output.write(render(&document, target.output).as_bytes())?)
}

/// Asks the node again and again, and returns what it says when it is so far.
///
/// # Errors
/// It does not answer, takes work again, or the user has waited long enough.
pub(crate) async fn wait(client: &Client, until: Until, output: &Output) -> Result<Value, CliError> {
    let waited = async {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = None;
        loop {
            ticks.tick().await;
            let document = fetch(client).await?;
            match (until, document["state"].as_str()) {
                (Until::Drained, Some("drained")) => return Ok(document),
                (Until::Drained, Some("active")) => return Err(CliError::Resumed),
                (Until::Idle, _) if document["activeRequests"] == json!(0) => return Ok(document),
                (Until::Drained | Until::Idle, _) => {}
            }
            let under_way = document["activeRequests"].as_u64();
            if output.is_terminal && progress != Some(under_way) {
                note(&told(&document));
                progress = Some(under_way);
            }
        }
    };
    tokio::select! {
        answer = waited => answer,
        interrupted = signal::ctrl_c() => match interrupted {
            Ok(()) => Err(CliError::Interrupted),
            Err(source) => Err(CliError::Runtime { source }),
        },
    }
}

async fn fetch(client: &Client) -> Result<Value, CliError> {
    checked(client, client.get(PATH).await?)
}

fn checked(client: &Client, document: Value) -> Result<Value, CliError> {
    if document["state"].is_string() { Ok(document) } else { Err(client.not_the_api("state").into()) }
}

fn about(target: &UpgradeTarget) -> Value {
    if target.node == SELF { json!({}) } else { json!({ "nodeId": target.node }) }
}

/// Writes how far a node is emptied.
pub(crate) fn render(document: &Value, format: LabelFormat) -> String {
    match format {
        LabelFormat::Json => format!("{document:#}\n"),
        LabelFormat::Text => told(document) + "\n",
    }
}

fn told(document: &Value) -> String {
    let word = |field: &str| printable(document[field].as_str().unwrap_or("?"));
    let number = |field: &str| document[field].as_u64().unwrap_or_default();
    let cut = number("cutRequests");
    let parts = [
        Some(format!("{}  {}  {} under way", word("nodeId"), word("state"), number("activeRequests"))),
        (document["lifecycle"] == json!("cordoned")).then(|| "cordoned".to_owned()),
        document["remainingMs"].as_u64().map(|ms| format!("{} s left", ms.div_ceil(1000))),
        (cut > 0).then(|| format!("{cut} cut off")),
        document["reason"].as_str().map(printable),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_there_to_say() {
        let mut document = json!({"nodeId": "node-a", "state": "active", "lifecycle": "active", "activeRequests": 3, "cutRequests": 0, "remainingMs": null, "reason": null});
        assert_eq!(told(&document), "node-a  active  3 under way");
        document["lifecycle"] = json!("cordoned");
        assert_eq!(told(&document), "node-a  active  3 under way  cordoned");
        document["lifecycle"] = json!("draining");
        document["state"] = json!("draining");
        document["remainingMs"] = json!(1001);
        document["reason"] = json!("new\u{7} kernel");
        assert_eq!(told(&document), "node-a  draining  3 under way  2 s left  new\u{fffd} kernel");
        document["cutRequests"] = json!(2);
        document["remainingMs"] = json!(null);
        document["reason"] = json!(null);
        assert_eq!(told(&document), "node-a  draining  3 under way  2 cut off");
    }
}
