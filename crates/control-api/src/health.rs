//! Whether the node may get work, and why not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Says whether the node is ready; clones share one state.
///
/// The node raises an issue when it finds one and clears it when it is over; it is ready while there is
/// none and it is not draining.
#[derive(Debug, Clone)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mode: String,
    state: Mutex<State>,
    active_requests: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    issues: BTreeMap<&'static str, String>,
    draining: bool,
}

/// The answer of the health routes (contracts §8).
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    status: &'static str,
    mode: String,
    issues: Vec<String>,
    active_requests: u64,
    draining: bool,
}

/// Counts one request as active while it lives.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    shared: Arc<Shared>,
}

impl Readiness {
    /// Makes a state without issues. `mode` is what the node runs as, such as its role, for people to read.
    #[must_use]
    pub fn new(mode: impl Into<String>) -> Self {
        let state = Mutex::default();
        Self { shared: Arc::new(Shared { mode: mode.into(), state, active_requests: AtomicU64::new(0) }) }
    }

    /// Raises the issue `name`, or replaces its `detail`. The node is not ready until it is cleared.
    pub fn raise(&self, name: &'static str, detail: impl Into<String>) {
        self.state().issues.insert(name, detail.into());
    }

    /// Clears the issue `name`; nothing happens if it was not raised.
    pub fn clear(&self, name: &'static str) {
        self.state().issues.remove(name);
    }

    /// Says whether the node finishes its work and takes no more.
    pub fn set_draining(&self, draining: bool) {
        self.state().draining = draining;
    }

    /// Returns whether the node may get work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.state();
        state.issues.is_empty() && !state.draining
    }

    pub(crate) fn health(&self) -> Health {
        let state = self.state();
        let status = match (state.draining, state.issues.is_empty()) {
            (true, _) => "draining",
            (false, false) => "unhealthy",
            (false, true) => "healthy",
        };
        Health {
            status,
            mode: self.shared.mode.clone(),
            issues: state.issues.iter().map(|(name, detail)| format!("{name}: {detail}")).collect(),
            active_requests: self.shared.active_requests.load(Ordering::Relaxed),
            draining: state.draining,
        }
    }

    pub(crate) fn begin_request(&self) -> ActiveRequest {
        self.shared.active_requests.fetch_add(1, Ordering::Relaxed);
        ActiveRequest { shared: Arc::clone(&self.shared) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one step, so a panic elsewhere cannot have left it half made.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    pub(crate) fn is_ready(&self) -> bool {
        self.issues.is_empty() && !self.draining
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.shared.active_requests.fetch_sub(1, Ordering::Relaxed);
    }
}
