//! Where the spans of this node go.

use std::fs;
use std::io;
use std::path::PathBuf;

use identity::SpiffeId;
use telemetry::TraceOptions;

use crate::config::Config;

/// The certificates that may sign the collector's cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}` (`traces.trustBundle`, else `mesh.gossip.tls.trustBundle`)", path.display())]
pub(crate) struct TrustBundleError {
    path: PathBuf,
    source: io::Error,
}

/// Returns where the spans of `node` go, if anywhere.
///
/// # Errors
/// There is no trust bundle to read.
pub(crate) fn options(config: &Config, node: &SpiffeId) -> Result<Option<TraceOptions>, TrustBundleError> {
    let Some(endpoint) = config.traces.endpoint.clone() else { return Ok(None) };
    let file = config.traces.trust_bundle.as_ref().or(config.tls.trust_bundle.as_ref());
    let read = |path: &PathBuf| fs::read(path).map_err(|source| TrustBundleError { path: path.clone(), source });
    let trust_bundle = file.map(read).transpose()?;
    let sample_ratio = config.traces.sample_ratio.0;
    let (service, instance) = ("omnirelay-node".to_owned(), node.node().as_str().to_owned());
    Ok(Some(TraceOptions { endpoint, trust_bundle, sample_ratio, service, instance }))
}
