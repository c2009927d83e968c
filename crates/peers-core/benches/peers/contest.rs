//! What is measured, and what is claimed about it.

use std::time::Duration;

/// How much of a contest to do now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) operations: u64,
    /// Where chance starts: another place for each turn and thread.
    pub(crate) seed: u64,
    /// When it happens by the contests' own clock, which never goes back from turn to turn.
    pub(crate) start_ns: u64,
}

/// Something to measure.
pub(crate) struct Contest<'a> {
    pub(crate) name: &'static str,
    pub(crate) operate: Box<dyn Fn(Turn) + Sync + 'a>,
    pub(crate) claims: Vec<Claim>,
}

/// How the cost of one operation stands to something else.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claim {
    /// Its ratio to that of the contest of this name.
    Times(&'static str, Bound),
    /// What is left when that of the contest of this name is taken away, in nanoseconds at most.
    Over(&'static str, f64),
    /// In itself at most this.
    AtMost(Duration),
}

/// Where a ratio has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// Anywhere: it is told, and nothing is asked of it.
    None,
    AtMost(f64),
    AtLeast(f64),
}

impl<'a> Contest<'a> {
    /// Makes a contest of which nothing is claimed.
    pub(crate) fn new(name: &'static str, operate: impl Fn(Turn) + Sync + 'a) -> Self {
        Self { name, operate: Box::new(operate), claims: Vec::new() }
    }

    /// Adds a claim.
    pub(crate) fn claim(mut self, claim: Claim) -> Self {
        self.claims.push(claim);
        self
    }

    /// Adds the ratio to the contest `base`.
    pub(crate) fn times(self, base: &'static str, bound: Bound) -> Self {
        self.claim(Claim::Times(base, bound))
    }
}
