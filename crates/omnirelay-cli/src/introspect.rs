//! `omnirelay introspect`.

use serde_json::Value;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::rpc::{CallError, Listener, Way, Wire};

/// Where a listener tells about itself.
const PATH: &str = "/omnirelay/introspect";

/// Writes what a listener for calls says of itself.
pub(crate) async fn introspect(global: &Global, listener: &Listener, output: &mut Output) -> Result<(), CliError> {
    let failed = |source| CliError::Introspect { listener: listener.clone(), source };
    let way = Way::new(global, listener, Wire::Http)?;
    let document = way.session().get(PATH, global.timeout).await.map_err(failed)?;
    let no_json = |error: serde_json::Error| failed(CallError::Way { at: listener.to_string(), source: error.into() });
    let document: Value = serde_json::from_slice(&document).map_err(no_json)?;
    output.write(format!("{document:#}\n").as_bytes())?;
    Ok(())
}
