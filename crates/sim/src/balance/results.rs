//! Many runs, and what came of each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::kind::Kind;
use super::measure::{Measured, Spread};
use super::run::simulate;
use super::scenario::{Scenario, Trouble};

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
