//! Which log events are written and which spans are sent, changed while the process runs.

use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::reload;
use tracing_subscriber::{EnvFilter, Registry};

/// Longest filter, in bytes.
const BYTES_MAX: usize = 1024;

/// Why a filter is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It is not one.
    #[error("log filter `{filter}` is not valid; write for example `info` or `warn,gossip=debug`")]
    Invalid {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Each event would cost too much.
    #[error("log filter has {bytes} bytes, more than {BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Nobody writes logs any more.
    #[error("logs are not written any more")]
    Gone {
        /// What said so.
        source: reload::Error,
    },
}

/// Changes which log events are written and which spans are sent. Clones share it.
#[derive(Debug, Clone)]
pub struct LogFilter {
    handle: reload::Handle<EnvFilter, Registry>,
    /// As it was written: what a filter shows of itself is in another order.
    text: Arc<Mutex<String>>,
}

impl LogFilter {
    /// Returns the layer that filters and what changes it.
    pub(crate) fn start(filter: &str) -> Result<(reload::Layer<EnvFilter, Registry>, Self), FilterError> {
        let (layer, handle) = reload::Layer::new(parsed(filter)?);
        Ok((layer, Self { handle, text: Arc::new(Mutex::new(filter.to_owned())) }))
    }

    /// Returns the filter as it was written last.
    #[must_use]
    pub fn get(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Filters by `filter` from now on, everywhere in the process. It takes some microseconds for each place in the code that
    /// logs.
    ///
    /// # Errors
    /// It is no filter, or too long; the old one stays.
    pub fn set(&self, filter: &str) -> Result<(), FilterError> {
        let new = parsed(filter)?;
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(new).map_err(|source| FilterError::Gone { source })?;
        filter.clone_into(&mut text);
        Ok(())
    }
}

/// Checks a filter that [`init_tracing`](crate::init_tracing) or [`LogFilter::set`] is to take.
///
/// # Errors
/// It is none, or too long.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    parsed(filter).map(|_filter| ())
}

fn parsed(filter: &str) -> Result<EnvFilter, FilterError> {
    let bytes = filter.len();
    if bytes > BYTES_MAX {
        return Err(FilterError::TooLong { bytes });
    }
    EnvFilter::try_new(filter).map_err(|source| FilterError::Invalid { filter: filter.to_owned(), source })
}
