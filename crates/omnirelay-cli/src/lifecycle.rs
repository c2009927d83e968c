//! `omnirelay mesh peers drain`, `cordon` and `uncordon`.

use serde_json::{Value, json};

use crate::args::{Cordon, Drain, LabelFormat, Lifecycle};
use crate::client::Client;
use crate::error::CliError;
use crate::labels::SELF;
use crate::output::{Output, note};
use crate::table::printable;
use crate::upgrade::{self, Until};

/// Has the node at the endpoint take no new work, and end or hand over what it has.
pub(crate) async fn drain(client: &Client, args: &Drain, output: &mut Output) -> Result<(), CliError> {
    let mut request = json!({ "lifecycle": "draining" });
    if let Some(within) = args.terms.within {
        request["timeoutMs"] = json!(within.as_millis());
    }
    let until = args.terms.wait.then_some(Until::Drained);
    change(client, &args.lifecycle, request, until, output).await
}

/// Has the node at the endpoint take no new work.
pub(crate) async fn cordon(client: &Client, args: &Cordon, output: &mut Output) -> Result<(), CliError> {
    let until = args.wait.then_some(Until::Idle);
    change(client, &args.lifecycle, json!({ "lifecycle": "cordoned" }), until, output).await
}

/// Has the node at the endpoint take work again.
pub(crate) async fn uncordon(client: &Client, args: &Lifecycle, output: &mut Output) -> Result<(), CliError> {
    change(client, args, json!({ "lifecycle": "active" }), None, output).await
}

/// Changes what work the node takes, waits if that is wanted, and shows what it says then.
async fn change(
    client: &Client,
    args: &Lifecycle,
    mut request: Value,
    until: Option<Until>,
    output: &mut Output,
) -> Result<(), CliError> {
    if args.node != SELF {
        request["nodeId"] = json!(args.node);
    }
    let document = client.post("/control/lifecycle", &request).await?;
    let (Some(node), Some(now)) = (document["nodeId"].as_str(), document["lifecycle"].as_str()) else {
        return Err(client.not_the_api("lifecycle").into());
    };
    let unaware: Vec<&str> = document["unaware"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !unaware.is_empty() && now != "active" {
        note(&format!("these do not know of lifecycles, and go on giving it work: {}", printable(&unaware.join(", "))));
    }
    let text = match (until, args.output) {
        (Some(until), format) => upgrade::render(&upgrade::wait(client, until, output).await?, format),
        (None, LabelFormat::Json) => format!("{document:#}\n"),
        (None, LabelFormat::Text) => format!("{}  {}\n", printable(node), printable(now)),
    };
    output.write(text.as_bytes())?;
    Ok(())
}
