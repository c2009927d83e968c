//! What a child of `dev` tells its parent: one line of JSON on standard output.

use std::io::{self, Write as _};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Where a child listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) gossip: Option<SocketAddr>,
    pub(crate) control: Option<SocketAddr>,
    pub(crate) rpc: Option<SocketAddr>,
}

/// Writes the report, once everything listens.
///
/// # Errors
/// The parent no longer reads.
pub(crate) fn report(report: Report) -> io::Result<()> {
    let line = serde_json::to_string(&report)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
