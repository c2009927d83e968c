//! The breaker of one peer: a word that says whether to call it.

mod bits;
mod options;
mod state;

use std::time::Duration;

use crate::Tick;
use crate::census::Census;
use crate::entropy::{mix, unit};
use crate::sync::{AtomicU64, Ordering};
use bits::{Bits, generation};
pub use options::{BreakerOptions, Jitter, Unreported};
pub(crate) use state::Transition;
pub use state::{BreakerReason, BreakerState};

/// What a lease holds of the breaker: which life of it, and whether it is one of its probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    generation: u16,
    kind: PassKind,
}

impl Pass {
    #[inline]
    pub(crate) fn is_probe(self) -> bool {
        self.kind == PassKind::Probe
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PassKind {
    Plain,
    Probe,
}

/// An answer to whether a call may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Granted {
        pass: Pass,
        transition: Option<Transition>,
    },
    /// Not before `retry_at`, or not before an operator says so.
    Refused {
        retry_at: Option<Tick>,
    },
}

/// How bad a failed call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// It counts for the streak.
    Hard,
    /// It counts for the share only: the peer answered, and has enough to do.
    Soft,
}

/// That a call went well where it was doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relief {
    /// What became of the breaker, if it changed.
    pub(crate) transition: Option<Transition>,
}

/// What a failed call led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    None,
    Changed(Transition),
    /// It should have opened, but the rails keep the peer in.
    KeptIn,
}

/// A breaker, all in one word (see [`bits`]); nothing about it needs a timer: what is due is done by who asks next.
#[derive(Debug)]
pub(crate) struct Breaker(AtomicU64);

impl Breaker {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.bits().state
    }

    /// Returns the pass of a peer that takes calls without further question.
    #[inline]
    pub(crate) fn quick_pass(&self) -> Option<Pass> {
        let word = self.0.load(Ordering::Relaxed);
        Bits::takes_calls(word).then(|| Pass { generation: generation(word), kind: PassKind::Plain })
    }

    /// Returns a pass that claims no probe, for a call that goes out whatever the breaker says.
    pub(crate) fn observer(&self) -> Pass {
        Pass { generation: self.bits().generation, kind: PassKind::Plain }
    }

    /// Returns how long it has been closed, to the millisecond.
    pub(crate) fn closed_for(&self, now: Tick) -> Duration {
        Duration::from_millis(self.bits().ahead_ms(now).min(0).unsigned_abs())
    }

    pub(crate) fn is_warming(&self) -> bool {
        self.bits().warming
    }

    pub(crate) fn set_warming(&self, warming: bool) {
        self.update(|bits| (bits.warming != warming).then_some(Bits { warming, ..bits }));
    }

    /// Returns whether [`Breaker::admit`] would grant now, without changing anything.
    pub(crate) fn would_admit(&self, now: Tick, options: &BreakerOptions) -> bool {
        let bits = self.bits();
        match bits.state {
            BreakerState::Closed => true,
            BreakerState::Open => bits.ahead_ms(now) <= 0,
            BreakerState::HalfOpen => bits.probes < probes_max(options) || bits.ahead_ms(now) <= 0,
            BreakerState::Isolated => false,
        }
    }

    /// Asks for a call at `now`.
    pub(crate) fn admit(&self, now: Tick, options: &BreakerOptions) -> Admission {
        let lost_at = now.after(options.probe_timeout).millis_up();
        let step = self.update(|bits| match bits.state {
            BreakerState::Open if bits.ahead_ms(now) <= 0 => Some(Bits {
                state: BreakerState::HalfOpen,
                streak: 0,
                probes: 1,
                generation: bits.next_generation(),
                until: lost_at,
                ..bits
            }),
            BreakerState::HalfOpen if bits.probes < probes_max(options) => {
                Some(Bits { probes: bits.probes + 1, until: lost_at, ..bits })
            }
            // The probes before are lost: their permits come back with a new generation, so that late ones are stale.
            BreakerState::HalfOpen if bits.ahead_ms(now) <= 0 => {
                Some(Bits { probes: 1, generation: bits.next_generation(), until: lost_at, ..bits })
            }
            BreakerState::Closed | BreakerState::Open | BreakerState::HalfOpen | BreakerState::Isolated => None,
        });
        match step {
            Step::Moved(from, to) => Admission::Granted {
                pass: Pass { generation: to.generation, kind: PassKind::Probe },
                transition: changed(from, to, BreakerReason::Time),
            },
            Step::Stayed(bits) if bits.state == BreakerState::Closed => Admission::Granted {
                pass: Pass { generation: bits.generation, kind: PassKind::Plain },
                transition: None,
            },
            Step::Stayed(bits) if bits.state == BreakerState::Isolated => Admission::Refused { retry_at: None },
            Step::Stayed(bits) => {
                let wait_ms = bits.ahead_ms(now).max(0).cast_unsigned();
                Admission::Refused { retry_at: Some(now.after(Duration::from_millis(wait_ms))) }
            }
        }
    }

    /// Takes in that the call of `pass` ended well.
    #[inline]
    pub(crate) fn succeed(&self, now: Tick, pass: Pass, options: &BreakerOptions, census: &Census) -> Option<Relief> {
        let bits = self.bits();
        if bits.state == BreakerState::Closed && bits.streak == 0 {
            return None;
        }
        self.succeed_slowly(now, pass, options, census)
    }

    #[cold]
    fn succeed_slowly(&self, now: Tick, pass: Pass, options: &BreakerOptions, census: &Census) -> Option<Relief> {
        let step = self.update(|bits| match bits.state {
            _ if bits.generation != pass.generation => None,
            BreakerState::Closed => Some(Bits { streak: 0, ..bits }),
            BreakerState::HalfOpen if pass.kind == PassKind::Probe => {
                let streak = bits.streak + 1;
                if streak < options.half_open_successes.clamp(1, Bits::STREAK_MAX) {
                    return Some(Bits { streak, probes: bits.probes.saturating_sub(1), ..bits });
                }
                Some(closed(bits, now, options))
            }
            BreakerState::Open | BreakerState::HalfOpen | BreakerState::Isolated => None,
        });
        let Step::Moved(from, to) = step else { return None };
        let transition = changed(from, to, BreakerReason::Probe);
        if transition.is_some() {
            census.readmit();
        }
        Some(Relief { transition })
    }

    /// Takes in that the call of `pass` failed.
    #[cold]
    pub(crate) fn fail(&self, now: Tick, pass: Pass, failed: &Failed<'_>) -> Consequence {
        let options = failed.options;
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let bits = Bits::unpack(word);
            let Some((next, ejects)) = after_failure(bits, now, pass, failed) else { return Consequence::None };
            let ejected = ejects.is_some() && bits.state == BreakerState::Closed;
            let kept_in = ejected && !failed.census.try_eject(&options.rails);
            let next = if kept_in { Bits { streak: streak_after(bits, failed.severity), ..bits } } else { next };
            match self.0.compare_exchange_weak(word, next.pack(), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if kept_in => return Consequence::KeptIn,
                Ok(_) => {
                    let transition = ejects.and_then(|reason| changed(bits, next, reason));
                    return transition.map_or(Consequence::None, Consequence::Changed);
                }
                Err(newer) => {
                    if ejected && !kept_in {
                        failed.census.readmit();
                    }
                    word = newer;
                }
            }
        }
    }

    /// Takes in that nothing came of the call of `pass`: a probe's permit goes back.
    #[inline]
    pub(crate) fn cancel(&self, pass: Pass) {
        if pass.kind == PassKind::Probe {
            self.update(|bits| {
                let mine = bits.generation == pass.generation && bits.state == BreakerState::HalfOpen;
                (mine && bits.probes > 0).then(|| Bits { probes: bits.probes - 1, ..bits })
            });
        }
    }

    /// Keeps all calls away until [`Breaker::reset`].
    pub(crate) fn isolate(&self, census: &Census) -> Option<Transition> {
        self.leave(census, 0)
    }

    /// Keeps all calls away for ever, and takes the peer out of the census.
    pub(crate) fn retire(&self, census: &Census) {
        // It is out now, whatever it was; and a peer that is gone counts for nothing.
        self.leave(census, Bits::GONE);
        census.readmit();
    }

    fn leave(&self, census: &Census, probes: u8) -> Option<Transition> {
        let step = self.update(|bits| {
            let gone = bits.state == BreakerState::Isolated && bits.probes == Bits::GONE;
            let next = Bits { state: BreakerState::Isolated, probes, generation: bits.next_generation(), ..bits };
            (!gone).then_some(next)
        });
        if matches!(step, Step::Moved(from, _) if from.state == BreakerState::Closed) {
            census.eject();
        }
        step.transition(BreakerReason::Manual)
    }

    /// Closes it, whatever it is, and forgets the past.
    pub(crate) fn reset(
        &self,
        now: Tick,
        options: &BreakerOptions,
        census: &Census,
        reason: BreakerReason,
    ) -> Option<Transition> {
        let step = self.update(|bits| {
            let gone = bits.state == BreakerState::Isolated && bits.probes == Bits::GONE;
            let restarted = reason == BreakerReason::Restart && bits.state == BreakerState::Isolated;
            (!gone && !restarted).then(|| Bits { exponent: 0, ..closed(bits, now, options) })
        });
        let transition = step.transition(reason);
        if transition.is_some() {
            census.readmit();
        }
        transition
    }

    #[inline]
    fn bits(&self) -> Bits {
        Bits::unpack(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the state by what `change` makes of it, if anything.
    fn update(&self, change: impl Fn(Bits) -> Option<Bits>) -> Step {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let bits = Bits::unpack(word);
            let Some(next) = change(bits) else { return Step::Stayed(bits) };
            match self.0.compare_exchange_weak(word, next.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Step::Moved(bits, next),
                Err(newer) => word = newer,
            }
        }
    }
}

/// What an update did to the state.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// It replaced the first by the second.
    Moved(Bits, Bits),
    /// It left this.
    Stayed(Bits),
}

impl Step {
    fn transition(self, reason: BreakerReason) -> Option<Transition> {
        match self {
            Self::Moved(from, to) => changed(from, to, reason),
            Self::Stayed(_) => None,
        }
    }
}

/// A failed call, and the circumstances.
#[derive(Debug)]
pub(crate) struct Failed<'a> {
    pub(crate) severity: Severity,
    /// Why it is to open whatever the streak, if it is.
    pub(crate) tripped: Option<BreakerReason>,
    /// What makes the jitter of this peer its own.
    pub(crate) seed: u64,
    pub(crate) options: &'a BreakerOptions,
    pub(crate) census: &'a Census,
}

/// Returns the state after a failure, and why it opens if it does; `None` if nothing changes.
fn after_failure(bits: Bits, now: Tick, pass: Pass, failed: &Failed<'_>) -> Option<(Bits, Option<BreakerReason>)> {
    let options = failed.options;
    if bits.generation != pass.generation {
        return None;
    }
    match (bits.state, failed.severity) {
        (BreakerState::Closed, severity) => {
            let streak = streak_after(bits, severity);
            let in_a_row = options.consecutive_failures.min(Bits::STREAK_MAX);
            if in_a_row > 0 && streak >= in_a_row {
                Some((opened(bits, now, failed), Some(BreakerReason::Consecutive)))
            } else if failed.tripped.is_some() {
                Some((opened(bits, now, failed), failed.tripped))
            } else {
                (streak != bits.streak).then_some((Bits { streak, ..bits }, None))
            }
        }
        (BreakerState::HalfOpen, Severity::Hard) if pass.kind == PassKind::Probe => {
            Some((opened(bits, now, failed), Some(BreakerReason::Probe)))
        }
        // It answered that it has enough to do: neither well nor failed.
        (BreakerState::HalfOpen, Severity::Soft) if pass.kind == PassKind::Probe => {
            Some((Bits { probes: bits.probes.saturating_sub(1), ..bits }, None))
        }
        (BreakerState::Open | BreakerState::HalfOpen | BreakerState::Isolated, _) => None,
    }
}

fn streak_after(bits: Bits, severity: Severity) -> u8 {
    match severity {
        Severity::Hard => (bits.streak + 1).min(Bits::STREAK_MAX),
        Severity::Soft => bits.streak,
    }
}

fn opened(bits: Bits, now: Tick, failed: &Failed<'_>) -> Bits {
    let options = failed.options;
    let quiet_ms = match bits.state {
        BreakerState::Closed => bits.ahead_ms(now).min(0).unsigned_abs(),
        BreakerState::Open | BreakerState::HalfOpen | BreakerState::Isolated => 0,
    };
    let forgotten =
        u64::try_from(options.forget_after.as_millis()).map_or(0, |each| quiet_ms.checked_div(each).unwrap_or(0));
    let exponent = bits.exponent - u8::try_from(forgotten).unwrap_or(u8::MAX).min(bits.exponent);
    let full = options.base_delay.saturating_mul(1 << exponent).min(options.max_delay);
    let delay = match options.jitter {
        Jitter::None => full,
        Jitter::Equal => full.mul_f32(0.5 + 0.5 * unit(mix(failed.seed ^ u64::from(bits.generation)))),
    };
    Bits {
        state: BreakerState::Open,
        warming: false,
        streak: 0,
        probes: 0,
        exponent: (exponent + 1).min(Bits::EXPONENT_MAX),
        generation: bits.next_generation(),
        until: now.after(delay).millis_up(),
    }
}

fn closed(bits: Bits, now: Tick, options: &BreakerOptions) -> Bits {
    Bits {
        state: BreakerState::Closed,
        warming: !options.slow_start.is_zero(),
        streak: 0,
        probes: 0,
        exponent: if options.forget_after.is_zero() { 0 } else { bits.exponent },
        generation: bits.next_generation(),
        until: now.millis(),
    }
}

fn probes_max(options: &BreakerOptions) -> u8 {
    options.half_open_probes.clamp(1, Bits::PROBES_MAX)
}

fn changed(from: Bits, to: Bits, reason: BreakerReason) -> Option<Transition> {
    (from.state != to.state).then_some(Transition { from: from.state, to: to.state, reason })
}
