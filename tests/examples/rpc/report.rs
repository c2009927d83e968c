//! What has held and what has not.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::timeout;

/// How long one thing may take. Far more than it takes: only what hangs reaches it.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Prints a line for each check, and knows whether all have held.
#[derive(Debug, Default)]
pub(crate) struct Report {
    has_failed: bool,
}

impl Report {
    /// Takes down how a script has ended that printed its checks itself.
    pub(crate) fn is(&mut self, good: bool) {
        self.has_failed |= !good;
    }

    /// Runs a check to its end, or to the limit.
    pub(crate) async fn check(&mut self, who: &str, name: &str, check: impl Future<Output = anyhow::Result<()>>) {
        let outcome = match timeout(LIMIT, check).await {
            Ok(outcome) => outcome,
            Err(late) => Err(late.into()),
        };
        match outcome {
            Ok(()) => println!("ok      {who}: {name}"),
            Err(error) => {
                self.has_failed = true;
                println!("FAILED  {who}: {name}\n        {error:#}");
            }
        }
    }

    /// Takes down a figure beside its limit.
    pub(crate) fn figure(&mut self, what: &str, figure: &str, limit: &str, holds: bool) {
        self.has_failed |= !holds;
        println!("{}  {what:<86} {figure:>10}  {limit}", if holds { "ok    " } else { "BROKEN" });
    }

    /// Prints a figure that has no limit.
    pub(crate) fn aside(&self, what: &str, figure: &str) {
        println!("-       {what:<86} {figure:>10}");
    }

    /// Prints what is between the figures.
    pub(crate) fn note(&self, text: &str) {
        println!("        {text}");
    }

    pub(crate) fn conclude(self) -> ExitCode {
        if self.has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
