//! Whether the node may get work, and why not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    issues: Mutex<BTreeMap<&'static str, String>>,
    /// Asked at every call, so no lock is around it.
    draining: AtomicBool,
    active_requests: AtomicU64,
}

/// The answer of the health routes (contracts §8).
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeHealth {
    status: &'static str,
    mode: String,
    issues: Vec<String>,
    active_requests: u64,
    draining: bool,
}

/// Counts one request as active while it lives.
#[derive(Debug)]
pub struct ActiveRequest {
    shared: Arc<Shared>,
}

impl Readiness {
    /// Makes a state without issues. `mode` is what the node runs as, such as its role, for people to read.
    #[must_use]
    pub fn new(mode: impl Into<String>) -> Self {
        let (issues, draining, active_requests) = Default::default();
        Self { shared: Arc::new(Shared { mode: mode.into(), issues, draining, active_requests }) }
    }

    /// Raises the issue `name`, or replaces its `detail`. The node is not ready until it is cleared.
    pub fn raise(&self, name: &'static str, detail: impl Into<String>) {
        self.issues().insert(name, detail.into());
    }

    /// Clears the issue `name`; nothing happens if it was not raised.
    pub fn clear(&self, name: &'static str) {
        self.issues().remove(name);
    }

    /// Says whether the node finishes its work and takes no more.
    pub fn set_draining(&self, draining: bool) {
        self.shared.draining.store(draining, Ordering::Release);
    }

    /// Returns whether the node finishes its work and takes no more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Returns whether the node may get work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.issues().is_empty() && !self.is_draining()
    }

    /// Returns what the health routes answer.
    #[must_use]
    pub fn health(&self) -> NodeHealth {
        let (raised, draining) = (self.issues(), self.is_draining());
        let status = match (draining, raised.is_empty()) {
            (true, _) => "draining",
            (false, false) => "unhealthy",
            (false, true) => "healthy",
        };
        NodeHealth {
            status,
            mode: self.shared.mode.clone(),
            issues: raised.iter().map(|(name, detail)| format!("{name}: {detail}")).collect(),
            active_requests: self.shared.active_requests.load(Ordering::Relaxed),
            draining,
        }
    }

    /// Counts a request as active until what this returns is dropped.
    #[must_use]
    pub fn begin_request(&self) -> ActiveRequest {
        self.shared.active_requests.fetch_add(1, Ordering::Relaxed);
        ActiveRequest { shared: Arc::clone(&self.shared) }
    }

    fn issues(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        // Every change is one step, so a panic elsewhere cannot have left it half made.
        self.shared.issues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeHealth {
    /// Returns the word for it: `healthy`, `unhealthy` or `draining`.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        self.status
    }

    /// Returns whether the node may get work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.issues.is_empty() && !self.draining
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.shared.active_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_without_issues_while_it_does_not_drain() {
        let node = Readiness::new("worker");
        let active = node.begin_request();
        node.raise("gossip", "no seed answers");
        let sick = NodeHealth {
            status: "unhealthy",
            mode: "worker".to_owned(),
            issues: vec!["gossip: no seed answers".to_owned()],
            active_requests: 1,
            draining: false,
        };
        assert_eq!((node.is_ready(), node.health()), (false, sick));
        node.clear("gossip");
        drop(active);
        assert!(node.is_ready());
        node.set_draining(true);
        let draining = NodeHealth {
            status: "draining",
            mode: "worker".to_owned(),
            issues: Vec::new(),
            active_requests: 0,
            draining: true,
        };
        assert_eq!((node.is_ready(), node.health()), (false, draining));
    }
}
