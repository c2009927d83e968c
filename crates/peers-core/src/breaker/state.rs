//! What a breaker can be, and why it changes.

/// Whether a breaker lets calls through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// All of them.
    Closed = 0,
    /// None until its time is over.
    Open = 1,
    /// A few, to see how they end.
    HalfOpen = 2,
    /// None until an operator says otherwise.
    Isolated = 3,
}

impl BreakerState {
    /// Returns the state as metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Isolated => "isolated",
        }
    }

    /// Returns how far it is from taking calls: half open takes some, and an open one will.
    pub(crate) const fn badness(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
            Self::Isolated => 3,
        }
    }
}

/// Why a breaker changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerReason {
    /// Failures in a row.
    Consecutive,
    /// The share of failures.
    Ratio,
    /// Another table of the fleet has found that the peer is not reached.
    Fleet,
    /// A probe ended, well or badly.
    Probe,
    /// The open time is over.
    Time,
    /// An operator wants it.
    Manual,
    /// The peer's process is a new one.
    Restart,
}

impl BreakerReason {
    /// Returns the reason as metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::Ratio => "ratio",
            Self::Fleet => "fleet",
            Self::Probe => "probe",
            Self::Time => "time",
            Self::Manual => "manual",
            Self::Restart => "restart",
        }
    }
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: BreakerState,
    pub(crate) to: BreakerState,
    pub(crate) reason: BreakerReason,
}
