//! `omnirelay mesh peers drain`, `cordon` and `uncordon`.

use serde_json::{Value, json};

use crate::args::{LabelFormat, Lifecycle};
use crate::client::Client;
use crate::error::CliError;
use crate::labels::SELF;
use crate::output::{Output, note};
use crate::table::printable;

/// Says what work the node at the endpoint takes, and shows what it says then.
pub(crate) async fn change(
    client: &Client,
    args: &Lifecycle,
    lifecycle: &str,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut request = json!({ "lifecycle": lifecycle });
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
    let text = match args.output {
        LabelFormat::Json => format!("{document:#}\n"),
        LabelFormat::Text => format!("{}  {}\n", printable(node), printable(now)),
    };
    output.write(text.as_bytes())?;
    Ok(())
}
