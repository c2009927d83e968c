//! How well members answer: one that answers now and then is not well.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use mesh_types::NodeId;

/// How far back is looked.
const LATELY: Duration = Duration::from_secs(5);

/// Probes of one member that are looked at.
const MOST_PROBES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pending,
    Missed,
    /// In time or late.
    Answered,
}

/// What became of the last probes, by whom they went to. The members bound it.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    probes: BTreeMap<NodeId, VecDeque<(u64, Instant, Outcome)>>,
}

impl Responses {
    pub(crate) fn sent(&mut self, to: &NodeId, sequence: u64, now: Instant) {
        let probes = self.probes.entry(to.clone()).or_default();
        if probes.len() >= MOST_PROBES {
            probes.pop_front();
        }
        probes.push_back((sequence, now, Outcome::Pending));
    }

    pub(crate) fn missed(&mut self, to: &NodeId, sequence: u64) {
        self.set(to, sequence, Outcome::Missed);
    }

    pub(crate) fn answered(&mut self, to: &NodeId, sequence: u64) {
        self.set(to, sequence, Outcome::Answered);
    }

    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.probes.remove(node);
    }

    fn set(&mut self, to: &NodeId, sequence: u64, outcome: Outcome) {
        let probes = self.probes.get_mut(to).into_iter().flatten();
        probes.filter(|probe| probe.0 == sequence).for_each(|probe| probe.2 = outcome);
    }

    /// Whether it has answered at least half of the last probes.
    pub(crate) fn is_responsive(&self, node: &NodeId, now: Instant) -> bool {
        let probes = self.probes.get(node).into_iter().flatten();
        let lately = probes.filter(|(_, at, _)| now.saturating_duration_since(*at) < LATELY);
        let (mut answered, mut missed) = (0, 0);
        for (_, _, outcome) in lately {
            answered += usize::from(*outcome == Outcome::Answered);
            missed += usize::from(*outcome == Outcome::Missed);
        }
        answered >= missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a probe a second, answered or not, and asks right after the last.
    #[track_caller]
    fn check(answers: &[bool], responsive: bool) {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let mut now = Instant::now();
        let Ok(node) = "x".parse() else { panic!("a name") };
        let mut responses = Responses::default();
        for (sequence, is_answered) in (0..).zip(answers) {
            now += Duration::from_secs(1);
            responses.sent(&node, sequence, now);
            responses.missed(&node, sequence);
            if *is_answered {
                responses.answered(&node, sequence);
            }
        }
        assert_eq!(responses.is_responsive(&node, now), responsive, "{answers:?}");
    }

    #[test]
    fn half_of_the_probes_of_the_last_five_seconds_must_be_answered() {
        check(&[], true);
        check(&[false, true], true);
        check(&[false, false, true], false);
        check(&[true, true, true, false, false, true, false, false], false);
        check(&[false, false, false, true, true, true, false, false], true);
    }
}
