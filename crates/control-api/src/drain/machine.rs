//! How far a node is emptied, as a state machine without I/O.

use std::time::{Duration, Instant};

/// How far a node is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes calls.
    Open,
    /// It takes none, and waits for those under way.
    Draining { deadline: Instant },
    /// Nothing is under way, or it was cut off.
    Empty,
}

/// What came of a look at the calls under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing new.
    Wait,
    /// The last call has ended: the node is empty.
    Ended,
    /// The deadline has come: the calls under way are to be cut off, and with that the node is empty.
    CutOff,
}

/// The state machine.
#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
}

impl Machine {
    pub(super) const fn new() -> Self {
        Self { phase: Phase::Open }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Begins to empty the node, which cuts off what is under way after `timeout`. A node that is being emptied already gets the
    /// new deadline; one that is empty stays so.
    pub(super) fn drain(&mut self, now: Instant, timeout: Duration) {
        self.phase = match self.phase {
            Phase::Open | Phase::Draining { .. } => Phase::Draining { deadline: now + timeout },
            Phase::Empty => Phase::Empty,
        };
    }

    /// Takes calls again.
    pub(super) const fn resume(&mut self) {
        self.phase = Phase::Open;
    }

    /// Looks whether the node is empty, when it is `now` and calls are under way or not.
    pub(super) fn step(&mut self, now: Instant, is_idle: bool) -> Step {
        let step = match self.phase {
            Phase::Draining { .. } if is_idle => Step::Ended,
            Phase::Draining { deadline } if deadline <= now => Step::CutOff,
            Phase::Open | Phase::Draining { .. } | Phase::Empty => return Step::Wait,
        };
        self.phase = Phase::Empty;
        step
    }

    /// Returns when what is under way is to be cut off.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Draining { deadline } => Some(deadline),
            Phase::Open | Phase::Empty => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn draining() -> (Machine, Instant) {
        let (mut machine, now) = (Machine::new(), Instant::now());
        assert_eq!(machine.step(now, true), Step::Wait, "a node that takes calls is not empty when it is idle");
        machine.drain(now, TIMEOUT);
        (machine, now)
    }

    #[test]
    fn a_node_is_empty_when_the_last_call_has_ended_or_the_deadline_has_come() {
        let (mut idle, now) = draining();
        assert_eq!(
            [idle.step(now, false), idle.step(now, true), idle.step(now, true)],
            [Step::Wait, Step::Ended, Step::Wait]
        );
        assert_eq!((idle.phase(), idle.deadline()), (Phase::Empty, None));

        let (mut busy, began) = draining();
        let just_before = began + TIMEOUT - Duration::from_nanos(1);
        assert_eq!([busy.step(just_before, false), busy.step(began + TIMEOUT, false)], [Step::Wait, Step::CutOff]);
        assert_eq!((busy.step(began + 2 * TIMEOUT, false), busy.phase()), (Step::Wait, Phase::Empty));
    }

    #[test]
    fn a_second_drain_sets_the_deadline_anew_and_empties_nothing_twice() {
        let (mut machine, now) = draining();
        machine.drain(now + TIMEOUT / 2, TIMEOUT);
        assert_eq!(machine.deadline(), Some(now + TIMEOUT / 2 + TIMEOUT));
        machine.drain(now + TIMEOUT / 2, Duration::ZERO);
        assert_eq!(machine.step(now + TIMEOUT / 2, false), Step::CutOff);
        machine.drain(now + TIMEOUT, TIMEOUT);
        assert_eq!(machine.phase(), Phase::Empty);
    }

    #[test]
    fn a_node_that_resumes_forgets_its_drain() {
        let (mut machine, now) = draining();
        machine.resume();
        assert_eq!((machine.step(now + 2 * TIMEOUT, false), machine.phase()), (Step::Wait, Phase::Open));
    }
}
