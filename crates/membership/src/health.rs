//! How well this node itself does. One that is slow or deaf must doubt itself before it doubts others
//! (after Dadgar et al., *Lifeguard*, DSN 2018 workshops, §IV-A).

use std::time::{Duration, Instant};

use mesh_types::NodeId;

use crate::core::{Core, Timer};
use crate::event::Event;

/// Worst score: waits are then nine times as long.
const WORST: u8 = 8;

/// A shell that is later than this for a timer counts as slow.
const LAG: Duration = Duration::from_millis(50);

/// After a lag, whatever judges others waits for so long: their answers stand in the queue behind the timer.
const CATCH_UP: Duration = Duration::from_millis(100);

/// This node's doubt in itself: 0 is none.
#[derive(Debug, Default)]
pub(crate) struct Health {
    score: u8,
    pub(crate) is_isolated: bool,
}

impl Health {
    pub(crate) fn worsen(&mut self, by: u8) {
        self.score = (self.score + by).min(WORST);
    }

    pub(crate) fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(crate) const fn score(&self) -> u8 {
        self.score
    }
}

impl Core {
    /// How long a probe waits for its answer, by the round trip and by how well this node does.
    pub(crate) fn probe_timeout(&self, rtt: Option<Duration>) -> Duration {
        let patient = self.options.probe_timeout(rtt) * u32::from(self.health.score() + 1);
        patient.min(self.options.ping_timeout)
    }

    /// Time between two rounds of probes: a node that does badly asks less.
    pub(crate) fn probe_interval(&self) -> Duration {
        self.options.interval * u32::from(2 + self.health.score()) / 2
    }

    /// The shell was late: what was due meanwhile is looked at once the queued answers have been.
    pub(crate) fn on_loop_lag(&mut self, lag: Duration, now: Instant) {
        if lag < LAG {
            return;
        }
        self.stats.loop_lags += 1;
        self.health.worsen(1);
        self.prober.distrust_round_trips();
        let judges = |timer: &Timer| {
            matches!(
                timer,
                Timer::ProbeMissed(_)
                    | Timer::Expected(_)
                    | Timer::VerifierSilent(..)
                    | Timer::Confirm(..)
                    | Timer::Verdict(..)
                    | Timer::VerificationFailed(..)
                    | Timer::Death(..)
                    | Timer::Rumour(..)
            )
        };
        let due: Vec<(Instant, Timer)> =
            self.timers.iter().take_while(|(at, _)| *at <= now).filter(|(_, timer)| judges(timer)).cloned().collect();
        for (at, timer) in due {
            self.timers.remove(&(at, timer.clone()));
            match &timer {
                Timer::Expected(node) => self.prober.postpone_expected(node, now + CATCH_UP),
                Timer::Rumour(node) => self.postpone_rumour(node, now + CATCH_UP),
                _ => {}
            }
            self.schedule(now + CATCH_UP, timer);
        }
    }

    /// Whether nobody confirms what this node misses: it is cut off, or the others are too few to say.
    #[must_use]
    pub const fn is_isolated(&self) -> bool {
        self.health.is_isolated
    }

    /// A node whose accusations of most of its links come to nothing says so of itself, and of nobody else.
    pub(crate) fn look_at_self(&mut self) {
        let doubted: Vec<&NodeId> = self.undecided().filter(|suspect| self.links.contains(*suspect)).collect();
        let suspects = doubted.len();
        let isolated = suspects * 2 > self.links.len();
        if isolated == self.health.is_isolated {
            return;
        }
        self.health.is_isolated = isolated;
        self.emit(if isolated { Event::Isolated { suspects } } else { Event::Reconnected });
    }
}
