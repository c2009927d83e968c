//! What our choosers must reach.

use super::kind::Kind;
use super::results::{Results, RunOutcome};

/// One limit, and what was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whose limit it is.
    pub kind: Kind,
    /// Which scenario it is read from.
    pub scenario: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// Whom it is measured against, if the limit is a part of theirs.
    pub against: Option<Kind>,
    /// What was measured.
    pub seen: f64,
    /// The most it may be.
    pub most: f64,
}

impl Verdict {
    /// Returns whether the limit is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.seen <= self.most
    }
}

/// Something that is limited.
#[derive(Clone, Copy)]
struct Measure {
    what: &'static str,
    of: fn(&RunOutcome) -> f64,
}

const P99: Measure = Measure { what: "p99 ms", of: |outcome| outcome.measured.latencies.quantile_ms(0.99) };
const P999: Measure = Measure { what: "p99.9 ms", of: |outcome| outcome.measured.latencies.quantile_ms(0.999) };
const SHARE: Measure = Measure { what: "slow peer's share", of: |outcome| outcome.trouble_share().mean };
const SIGMA: Measure = Measure { what: "sigma of the share", of: |outcome| outcome.trouble_share().sigma };
const RECOVERY: Measure = Measure { what: "recovery s", of: RunOutcome::recovery_s };
const UNEVEN: Measure = Measure { what: "load max/mean", of: |outcome| outcome.measured.max_over_mean() };
const ERRORS: Measure = Measure { what: "errors %", of: |outcome| 100.0 * outcome.measured.error_share() };
const SICK_SHARE: Measure = Measure { what: "sick peers' share", of: |outcome| outcome.sick_share().mean };
const SICK_SIGMA: Measure = Measure { what: "sigma of the share", of: |outcome| outcome.sick_share().sigma };
const CHANGES: Measure = Measure { what: "breaker changes a sickness", of: RunOutcome::changes_of_sick };
const CHANGES_OF_WELL: Measure =
    Measure { what: "breaker changes of the well", of: |outcome| outcome.measured.breaker_changes_of_well as f64 };

/// Where, what, and the most for whom.
type Limit = (&'static str, Measure, &'static [(Kind, f64)]);

/// Fixed limits.
const LIMITS: [Limit; 18] = [
    ("s0", UNEVEN, &[(Kind::RoundRobin, 1.001), (Kind::TwoRandom, 1.03), (Kind::Adaptive, 1.10), (Kind::Probed, 1.06)]),
    ("s1", SHARE, &[(Kind::Adaptive, 0.10), (Kind::Probed, 0.03)]),
    ("s1", SIGMA, &[(Kind::Adaptive, 0.04), (Kind::Probed, 0.02)]),
    ("s1", RECOVERY, &[(Kind::Adaptive, 5.0), (Kind::Probed, 2.0)]),
    ("s1b", SHARE, &[(Kind::Adaptive, 0.10), (Kind::Probed, 0.03)]),
    ("s1b", SIGMA, &[(Kind::Adaptive, 0.04), (Kind::Probed, 0.02)]),
    ("s1b", RECOVERY, &[(Kind::Adaptive, 5.0), (Kind::Probed, 2.0)]),
    ("s2", P99, &[(Kind::Adaptive, 105.0), (Kind::Probed, 84.0)]),
    ("s2", P999, &[(Kind::Adaptive, 275.0), (Kind::Probed, 192.0)]),
    ("s3", P99, &[(Kind::Adaptive, 127.0), (Kind::Probed, 93.0)]),
    ("s3", P999, &[(Kind::Adaptive, 295.0), (Kind::Probed, 212.0)]),
    ("s3b", P99, &[(Kind::Adaptive, 380.0), (Kind::Probed, 94.0)]),
    ("s4", ERRORS, &[(Kind::Adaptive, 0.02), (Kind::Probed, 0.02)]),
    ("s5", SICK_SHARE, &[(Kind::Adaptive, 0.10), (Kind::Probed, 0.03)]),
    ("s5", SICK_SIGMA, &[(Kind::Adaptive, 0.04), (Kind::Probed, 0.02)]),
    ("s5", ERRORS, &[(Kind::Adaptive, 1.2), (Kind::Probed, 1.2)]),
    ("s5", CHANGES, &[(Kind::Adaptive, 12.0), (Kind::Probed, 12.0)]),
    ("s5", CHANGES_OF_WELL, &[(Kind::Adaptive, 0.0), (Kind::Probed, 0.0)]),
];

/// Where, what, who, against whom, and the most as a part of what they reach.
type Duel = (&'static str, Measure, Kind, Kind, f64);

/// Limits that are a part of what another policy reaches in the same run.
const DUELS: [Duel; 14] = [
    ("s1", SHARE, Kind::Adaptive, Kind::TwoRandom, 1.0),
    ("s1", SHARE, Kind::Probed, Kind::TwoRandom, 1.0),
    ("s1b", SHARE, Kind::Adaptive, Kind::TwoRandom, 1.0),
    ("s1b", SHARE, Kind::Probed, Kind::TwoRandom, 1.0),
    ("s2", P99, Kind::Adaptive, Kind::PeakEwma3, 0.85),
    ("s2", P99, Kind::Probed, Kind::PeakEwma3, 0.85),
    ("s2", P999, Kind::Adaptive, Kind::PeakEwma3, 0.65),
    ("s2", P999, Kind::Probed, Kind::PeakEwma3, 0.65),
    ("s3", P99, Kind::Probed, Kind::Prequal, 1.0),
    ("s3", P999, Kind::Probed, Kind::Prequal, 1.0),
    ("s3b", P99, Kind::Probed, Kind::Prequal, 1.0),
    ("s3b", P999, Kind::Probed, Kind::Prequal, 1.0),
    ("s4", ERRORS, Kind::Adaptive, Kind::AdaptiveUnguarded, 0.02),
    ("s4", ERRORS, Kind::Probed, Kind::ProbedUnguarded, 0.02),
];

/// Judges `results` by all limits whose policies and scenarios were run.
#[must_use]
pub fn judge(results: &Results) -> Vec<Verdict> {
    let fixed =
        LIMITS.iter().flat_map(|(scenario, measure, most)| most.iter().map(move |most| (scenario, measure, most)));
    let fixed = fixed.filter_map(|(scenario, measure, &(kind, most))| {
        let seen = (measure.of)(results.get(scenario, kind)?);
        Some(Verdict { kind, scenario, what: measure.what, against: None, seen, most })
    });
    let duels = DUELS.iter().filter_map(|(scenario, measure, kind, other, part)| {
        let (own, others) = (results.get(scenario, *kind)?, results.get(scenario, *other)?);
        let (seen, most) = ((measure.of)(own), part * (measure.of)(others));
        Some(Verdict { kind: *kind, scenario, what: measure.what, against: Some(*other), seen, most })
    });
    fixed.chain(duels).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_up_to_and_at_its_number() {
        let verdict =
            |seen| Verdict { kind: Kind::Adaptive, scenario: "s2", what: "p99 ms", against: None, seen, most: 5.0 };
        assert!(verdict(5.0).is_kept());
        assert!(!verdict(5.000_1).is_kept());
        assert!(!verdict(f64::INFINITY).is_kept() && !verdict(f64::NAN).is_kept());
    }

    #[test]
    fn every_limit_is_read_from_a_scenario_that_exists() {
        let named = LIMITS.iter().map(|limit| limit.0).chain(DUELS.iter().map(|duel| duel.0));
        let unknown: Vec<&str> =
            named.filter(|name| crate::balance::SCENARIOS.iter().all(|scenario| scenario.name != *name)).collect();
        assert_eq!(unknown, [""; 0]);
    }
}
