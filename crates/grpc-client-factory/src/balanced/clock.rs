//! The clock that all ticks of a factory's tables come from.

use peers_core::Tick;
use tokio::time::Instant;

/// A clock that began with its factory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> Tick {
        self.at(Instant::now())
    }

    pub(crate) fn at(self, instant: Instant) -> Tick {
        Tick::ZERO.after(instant.saturating_duration_since(self.origin))
    }
}
