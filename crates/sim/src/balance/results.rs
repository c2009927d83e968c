//! Many runs, and what came of each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::kind::Kind;
use super::measure::{Measured, Spread};
use super::run::simulate;
use super::scenario::{Scenario, Trouble, WARM_UP_S};

/// What one policy did in one scenario.
#[derive(Debug, Clone)]
pub struct RunOutcome {
    /// Which scenario.
    pub scenario: Scenario,
    /// Which policy.
    pub kind: Kind,
    /// What was measured.
    pub measured: Measured,
}

impl RunOutcome {
    /// Returns the share of the troubled server as a part of its fair one, by seconds, from three seconds into the
    /// trouble to its end.
    #[must_use]
    pub fn trouble_share(&self) -> Spread {
        let (from, to) = Scenario::TROUBLE_S;
        Spread::of(self.measured.share.get(from + 3..to).unwrap_or_default())
    }

    /// Returns the same for the ten seconds before the trouble.
    #[must_use]
    pub fn share_before(&self) -> Spread {
        let from = Scenario::TROUBLE_S.0;
        Spread::of(self.measured.share.get(from - 10..from).unwrap_or_default())
    }

    /// Returns the share of the sick servers as a part of their fair one, by seconds: those of the seconds in which all
    /// have been sick for three, after the warm-up.
    #[must_use]
    pub fn sick_share(&self) -> Spread {
        let every_s = usize::try_from(Scenario::SICK.every_s).unwrap_or(usize::MAX);
        let warm_up = usize::try_from(WARM_UP_S).unwrap_or(usize::MAX);
        let shares = self.measured.sick_share.iter().enumerate().skip(warm_up);
        let settled: Vec<f64> = shares.filter(|(second, _)| second % every_s >= 3).map(|(_, share)| *share).collect();
        Spread::of(&settled)
    }

    /// Returns how often, on average, a client's breaker changed because a server was sick once.
    #[must_use]
    pub fn changes_of_sick(&self) -> f64 {
        let sicknesses = self.measured.sicknesses * self.scenario.clients as u64;
        self.measured.breaker_changes as f64 / sicknesses.max(1) as f64
    }

    /// Returns how many seconds after the trouble the server first had three quarters of its fair share; infinite if
    /// it never had.
    #[must_use]
    pub fn recovery_s(&self) -> f64 {
        let after = self.measured.share.get(Scenario::TROUBLE_S.1..).unwrap_or_default();
        after.iter().position(|share| *share > 0.75).map_or(f64::INFINITY, |second| second as f64)
    }
}

/// What all policies did in all scenarios from one seed.
#[derive(Debug, Clone, Default)]
pub struct Results {
    outcomes: Vec<RunOutcome>,
}

impl Results {
    /// Runs each of `kinds` in each of `scenarios`, several at once if there are processors for it; that changes
    /// no number.
    #[must_use]
    pub fn run(scenarios: &[Scenario], kinds: &[Kind], seed: u64) -> Self {
        let runs: Vec<(&Scenario, Kind)> = scenarios
            .iter()
            .flat_map(|scenario| kinds.iter().map(move |kind| (scenario, *kind)))
            .filter(|(scenario, kind)| kind.is_guarded() || scenario.trouble == Trouble::Failing)
            .collect();
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some((place, (scenario, kind))) = take(&runs, &next) {
                let measured = simulate(scenario, seed, |client| kind.policy(scenario.servers, seed, client));
                let outcome = RunOutcome { scenario: (*scenario).clone(), kind: *kind, measured };
                done.lock().unwrap_or_else(PoisonError::into_inner).push((place, outcome));
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        let mut outcomes = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by_key(|(place, _)| *place);
        Self { outcomes: outcomes.into_iter().map(|(_, outcome)| outcome).collect() }
    }

    /// Returns what `kind` did in the scenario of that name, if it was run.
    #[must_use]
    pub fn get(&self, scenario: &str, kind: Kind) -> Option<&RunOutcome> {
        self.outcomes.iter().find(|outcome| outcome.scenario.name == scenario && outcome.kind == kind)
    }

    /// Returns what was done in the scenario of that name, in the order of the policies.
    pub fn of(&self, scenario: &str) -> impl Iterator<Item = &RunOutcome> {
        self.outcomes.iter().filter(move |outcome| outcome.scenario.name == scenario)
    }
}

fn take<'a, T>(items: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    Some((place, items.get(place)?))
}
