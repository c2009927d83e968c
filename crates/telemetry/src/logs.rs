//! Where log events go: one line each, on standard error.

use std::io::{self, IsTerminal as _};

use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How a log event is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitTracingError {
    /// The filter is not one.
    #[error("log filter `{filter}` is not valid; write for example `info` or `warn,gossip=debug`")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The process writes its logs somewhere already.
    #[error("logs of this process are set up already")]
    AlreadyInstalled {
        /// What refused.
        source: SetGlobalDefaultError,
    },
}

/// Writes log events to standard error from now on, those that `filter` lets through.
///
/// `filter` is a list of `level` or `target=level`, such as `info` or `warn,gossip=debug`.
///
/// # Errors
/// The filter is wrong, or logs are set up already.
pub fn init_tracing(format: LogFormat, filter: &str) -> Result<(), InitTracingError> {
    let wrong = |source| InitTracingError::Filter { filter: filter.to_owned(), source };
    let env_filter = EnvFilter::try_new(filter).map_err(wrong)?;
    let lines = tracing_subscriber::fmt().with_env_filter(env_filter).with_writer(io::stderr);
    // The default is colour unless NO_COLOR is set: only ever take it away.
    let lines = if io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let installed = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(lines.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    };
    installed.map_err(|source| InitTracingError::AlreadyInstalled { source })
}
