//! Where log events go: one line each, on standard error; and where spans go, if anywhere.

use std::io::{self, IsTerminal as _};

use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::filter::{FilterError, LogFilter};
use crate::traces::{TraceError, TraceOptions, Traces};

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
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Spans cannot be sent where they should go.
    #[error("tracing cannot start")]
    Traces(#[from] TraceError),
    /// The process writes its logs somewhere already.
    #[error("logs of this process are set up already")]
    AlreadyInstalled {
        /// What refused.
        source: SetGlobalDefaultError,
    },
}

/// What writes logs and sends spans, to whoever changes that.
#[derive(Debug)]
pub struct Tracing {
    /// Which log events are written, and which spans are sent.
    pub filter: LogFilter,
    /// The spans under way, if they go anywhere.
    pub traces: Option<Traces>,
}

/// Writes log events to standard error from now on, those that `filter` lets through, and sends the spans that it lets through
/// as `traces` says. Without it there are no spans, and they cost nothing: a filter does not bring them back.
///
/// `filter` is a list of `level` or `target=level`, such as `info` or `warn,gossip=debug`. What is returned changes it while the
/// process runs.
///
/// # Errors
/// The filter or the collector is wrong, or logs are set up already.
///
/// # Panics
/// With `traces` and outside a tokio runtime.
pub fn init_tracing(
    format: LogFormat,
    filter: &str,
    traces: Option<&TraceOptions>,
) -> Result<Tracing, InitTracingError> {
    let (env_filter, filter) = LogFilter::start(filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    // The default is colour unless NO_COLOR is set: only ever take it away.
    let lines = if io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = traces.map(Traces::start).transpose()?;
    let spans = traces.as_ref().map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer()));
    // Nobody would see them; asked at each place in the code once, not at each call.
    let has_spans = spans.is_some();
    let wanted = filter_fn(move |metadata| has_spans || !metadata.is_span());
    let subscriber = Registry::default().with(env_filter).with(lines).with(spans).with(wanted);
    let installed = tracing::subscriber::set_global_default(subscriber);
    installed.map_err(|source| InitTracingError::AlreadyInstalled { source })?;
    Ok(Tracing { filter, traces })
}
