//! How often members have been declared lately: those who come and go get more time each time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use mesh_types::NodeId;

/// How long a verdict is held against a member.
const LATELY: Duration = Duration::from_secs(120);

/// The grace doubles so often at most: 32 times as long.
const MOST_DOUBLINGS: usize = 5;

/// Verdicts of the last two minutes, by whom they were on: when, and who accused. The members bound it.
#[derive(Debug, Default)]
pub(crate) struct Flaps {
    verdicts: BTreeMap<NodeId, VecDeque<(Instant, NodeId)>>,
}

impl Flaps {
    pub(crate) fn note(&mut self, subject: &NodeId, accuser: &NodeId, now: Instant) {
        let verdicts = self.verdicts.entry(subject.clone()).or_default();
        verdicts.push_back((now, accuser.clone()));
        while verdicts.len() > MOST_DOUBLINGS {
            verdicts.pop_front();
        }
    }

    pub(crate) fn forget(&mut self, subject: &NodeId) {
        self.verdicts.remove(subject);
    }

    /// Returns by how much the grace of a member is multiplied.
    ///
    /// A member that one accuser alone declares again and again is that accuser's victim: it counts once.
    pub(crate) fn factor(&self, subject: &NodeId, now: Instant) -> u32 {
        let verdicts = self.verdicts.get(subject).into_iter().flatten();
        let lately: Vec<&NodeId> = verdicts
            .filter(|(at, _)| now.saturating_duration_since(*at) < LATELY)
            .map(|(_, accuser)| accuser)
            .collect();
        let accusers: BTreeSet<&NodeId> = lately.iter().copied().collect();
        let flaps = if accusers.len() > 1 { lately.len() } else { accusers.len() };
        1 << flaps.min(MOST_DOUBLINGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets these accusers declare a member, one a second, and returns its factor after the last.
    fn factor(accusers: &[&str], later: Duration) -> Result<u32, mesh_types::NameError> {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let begin = Instant::now();
        let (mut flaps, mut now) = (Flaps::default(), begin);
        for accuser in accusers {
            now += Duration::from_secs(1);
            flaps.note(&"x".parse()?, &accuser.parse()?, now);
        }
        Ok(flaps.factor(&"x".parse()?, now + later))
    }

    #[test]
    fn each_verdict_of_the_last_two_minutes_doubles_the_grace_up_to_32_times() -> Result<(), mesh_types::NameError> {
        let both = ["a", "b", "a", "b", "a", "b", "a"];
        let first = |count: usize| both.iter().take(count).copied().collect::<Vec<_>>();
        let factors: Vec<u32> = (0..=7).map(|count| factor(&first(count), Duration::ZERO)).collect::<Result<_, _>>()?;
        assert_eq!(factors, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(factor(&both, LATELY)?, 1);
        Ok(())
    }

    #[test]
    fn a_member_that_one_accuser_alone_declares_counts_once() -> Result<(), mesh_types::NameError> {
        assert_eq!(factor(&["a"; 6], Duration::ZERO)?, 2);
        Ok(())
    }
}
