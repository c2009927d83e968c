//! Who says what of a peer, and for how long it counts.

use std::time::Duration;

/// Who says something of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Source {
    /// Membership: what the mesh says of it.
    Gossip,
    /// Leases: whether it keeps its heartbeats up.
    Lease,
    /// Transport: whether calls reach it.
    Transport,
    /// A circuit breaker in front of it.
    Breaker,
    /// A health probe.
    Probe,
    /// An operator. Overrides everybody else until it is cleared.
    Admin,
    /// Free for the host.
    CustomA,
    /// Free for the host.
    CustomB,
}

impl Source {
    /// Every source, in the order in which ties are told.
    pub const ALL: [Self; 8] = [
        Self::Gossip,
        Self::Lease,
        Self::Transport,
        Self::Breaker,
        Self::Probe,
        Self::Admin,
        Self::CustomA,
        Self::CustomB,
    ];

    /// Returns the source's name in metrics and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gossip => "gossip",
            Self::Lease => "lease",
            Self::Transport => "transport",
            Self::Breaker => "breaker",
            Self::Probe => "probe",
            Self::Admin => "admin",
            Self::CustomA => "custom_a",
            Self::CustomB => "custom_b",
        }
    }
}

/// What a source says, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It works.
    Up,
    /// It works, and something is wrong.
    Degraded,
    /// It must not get work.
    Down,
}

/// What a peer is held for, all sources taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthState {
    /// Nobody says anything that still counts. It may get work.
    Unknown,
    /// It works.
    Healthy,
    /// It works, and something is wrong. It may get work.
    Degraded,
    /// It must not get work.
    Unhealthy,
}

impl HealthState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Healthy, Self::Degraded, Self::Unhealthy];

    /// Returns whether a peer in this state may get work.
    #[must_use]
    pub const fn is_eligible(self) -> bool {
        !matches!(self, Self::Unhealthy)
    }

    /// Returns the state's name in queries and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What one source says, in the bits that [`Verdicts`] has for it: of two, the higher stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said(pub(crate) u32);

impl Said {
    /// It has never spoken.
    pub(crate) const NOTHING: Self = Self(0);
    /// It has spoken, too long ago to count.
    pub(crate) const STALE: Self = Self(1);
    const UP: Self = Self(2);
    const DEGRADED: Self = Self(3);
    pub(crate) const DOWN: Self = Self(4);

    pub(crate) const fn new(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Up => Self::UP,
            Verdict::Degraded => Self::DEGRADED,
            Verdict::Down => Self::DOWN,
        }
    }

    pub(crate) const fn verdict(self) -> Option<Verdict> {
        match self {
            Self::UP => Some(Verdict::Up),
            Self::DEGRADED => Some(Verdict::Degraded),
            Self::DOWN => Some(Verdict::Down),
            _ => None,
        }
    }
}

/// What the sources say of one peer at one moment: a verdict each, or that what they said no longer counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Verdicts(u32);

/// Bits of one source in [`Verdicts`].
const BITS: u32 = 4;
const MASK: u32 = (1 << BITS) - 1;
/// The bits that only a verdict sets, of every source.
const SPOKEN: u32 = 0xEEEE_EEEE;

impl Verdicts {
    /// Returns what `source` says; `None` if it never spoke or what it said no longer counts.
    #[must_use]
    pub const fn of(self, source: Source) -> Option<Verdict> {
        self.said(source).verdict()
    }

    /// Adds what `source` says; of two verdicts of one source the worse stays.
    #[must_use]
    pub const fn with(self, source: Source, verdict: Verdict) -> Self {
        self.raised(source, Said::new(verdict))
    }

    /// Adds that `source` spoke once, too long ago to count.
    #[must_use]
    pub const fn with_stale(self, source: Source) -> Self {
        self.raised(source, Said::STALE)
    }

    /// Adds what `source` says, which has said nothing here yet.
    #[inline]
    pub(crate) const fn hearing(self, source: Source, said: Said) -> Self {
        Self(self.0 | said.0 << shift(source))
    }

    /// Folds in what another provider knows of the same peer: for each source the worse stays.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        Source::ALL.into_iter().fold(self, |all, source| all.raised(source, other.said(source)))
    }

    /// Returns the state that follows, and which source decided it: an operator's word, else the worst that counts.
    #[must_use]
    pub fn state(self) -> (HealthState, Option<Source>) {
        let state = |verdict| match verdict {
            Verdict::Up => HealthState::Healthy,
            Verdict::Degraded => HealthState::Degraded,
            Verdict::Down => HealthState::Unhealthy,
        };
        if let Some(verdict) = self.of(Source::Admin) {
            return (state(verdict), Some(Source::Admin));
        }
        let mut worst: Option<(Verdict, Source)> = None;
        for source in Source::ALL {
            if let Some(verdict) = self.of(source)
                && worst.is_none_or(|(so_far, _)| verdict > so_far)
            {
                worst = Some((verdict, source));
            }
        }
        worst.map_or((HealthState::Unknown, None), |(verdict, source)| (state(verdict), Some(source)))
    }

    /// Returns whether somebody has spoken, and nothing of it counts any more.
    #[must_use]
    pub fn is_stale(self) -> bool {
        self.0 != 0 && self.0 & SPOKEN == 0
    }

    const fn said(self, source: Source) -> Said {
        Said((self.0 >> shift(source)) & MASK)
    }

    const fn raised(self, source: Source, said: Said) -> Self {
        if self.said(source).0 >= said.0 {
            return self;
        }
        Self(self.0 & !(MASK << shift(source)) | said.0 << shift(source))
    }
}

const fn shift(source: Source) -> u32 {
    source as u32 * BITS
}

/// How long what a source says counts. A length of 0 counts in the same millisecond only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// Gossip, default 10 s: twice the default suspicion interval. Must exceed the period in which membership is
    /// applied. That a node is dead or has left counts for ever.
    pub gossip: Duration,
    /// Grace of a heartbeat, default 30 s. A lease lapses instead of going stale: past it the peer is *down*.
    pub lease: Duration,
    /// Outcomes of calls, default 10 s.
    pub transport: Duration,
    /// A breaker's state, default 30 s.
    pub breaker: Duration,
    /// A probe's result, default 30 s. Must exceed the probe's period.
    pub probe: Duration,
    /// The host's own sources, default 30 s.
    pub custom: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            gossip: Duration::from_secs(10),
            lease: Duration::from_secs(30),
            transport: Duration::from_secs(10),
            breaker: Duration::from_secs(30),
            probe: Duration::from_secs(30),
            custom: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_source_that_counts_decides_and_an_operator_overrides_it() {
        let none = Verdicts::default();
        assert_eq!((none.state(), none.is_stale()), ((HealthState::Unknown, None), false));
        let stale = none.with_stale(Source::Gossip);
        assert_eq!((stale.state(), stale.is_stale()), ((HealthState::Unknown, None), true));
        let mixed = stale.with(Source::Lease, Verdict::Up).with(Source::Probe, Verdict::Degraded);
        assert_eq!((mixed.state(), mixed.is_stale()), ((HealthState::Degraded, Some(Source::Probe)), false));
        let down = mixed.with(Source::CustomB, Verdict::Down).with(Source::CustomB, Verdict::Up);
        assert_eq!(down.state(), (HealthState::Unhealthy, Some(Source::CustomB)));
        let overridden = down.with(Source::Admin, Verdict::Up);
        assert_eq!(overridden.state(), (HealthState::Healthy, Some(Source::Admin)));
    }
}
