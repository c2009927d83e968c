//! Which protocol to connect with: a state machine without sockets and clock.

use std::time::{Duration, Instant};

use crate::backoff::jittered;
use crate::http3_mode::Http3Mode;

/// Shortest head start of HTTP/3 where it is known to be quick.
const HEAD_START_MIN: Duration = Duration::from_millis(20);

/// Doublings of the time for which HTTP/3 is left alone.
const DOUBLINGS_MAX: u32 = 16;

/// How to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Http2,
    Http3,
    /// HTTP/3 at once, HTTP/2 as well if that has not worked within `head_start`. Whichever is first serves.
    Race {
        head_start: Duration,
    },
}

/// What is known about the target's HTTP/3, and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    mode: Http3Mode,
    head_start: Duration,
    broken_min: Duration,
    broken_max: Duration,
    /// How often HTTP/3 has failed in a row where HTTP/2 has worked.
    failures: u32,
    /// Until when HTTP/3 is left alone.
    broken_until: Option<Instant>,
    /// How long the last handshake took.
    handshake: Option<Duration>,
}

impl Policy {
    pub(crate) const fn new(mode: Http3Mode, head_start: Duration, broken_min: Duration, broken_max: Duration) -> Self {
        Self { mode, head_start, broken_min, broken_max, failures: 0, broken_until: None, handshake: None }
    }

    pub(crate) const fn mode(&self) -> Http3Mode {
        self.mode
    }

    pub(crate) const fn set_mode(&mut self, mode: Http3Mode) {
        self.mode = mode;
        // Whoever sets it knows more than we have learnt.
        self.failures = 0;
        self.broken_until = None;
    }

    /// Returns how to connect for a call. What has failed before is not tried with a call that waits.
    pub(crate) fn plan(&self) -> Plan {
        match self.mode {
            Http3Mode::Off => Plan::Http2,
            Http3Mode::Only => Plan::Http3,
            Http3Mode::Auto if self.failures > 0 => Plan::Http2,
            Http3Mode::Auto => Plan::Race { head_start: self.head_start_now() },
        }
    }

    /// Returns until when HTTP/3 is left alone, if it is.
    pub(crate) const fn broken_until(&self) -> Option<Instant> {
        self.broken_until
    }

    /// Returns when to look, while calls go over HTTP/2, if HTTP/3 works by then: not before `now`, and `None` for never.
    pub(crate) fn probe_at(&self, now: Instant) -> Option<Instant> {
        let at = self.broken_until.map_or(now, |until| until.max(now));
        (self.mode == Http3Mode::Auto).then_some(at)
    }

    /// Returns whether to look now.
    pub(crate) fn may_probe(&self, now: Instant) -> bool {
        self.probe_at(now) == Some(now)
    }

    /// Takes in that an HTTP/3 handshake has succeeded.
    pub(crate) const fn http3_worked(&mut self, handshake: Duration) {
        self.failures = 0;
        self.broken_until = None;
        self.handshake = Some(handshake);
    }

    /// Takes in that HTTP/3 has failed where HTTP/2 works; `random` is any number.
    pub(crate) fn http3_failed(&mut self, now: Instant, random: u64) {
        let doubled = self.broken_min.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX));
        self.failures = self.failures.saturating_add(1);
        self.broken_until = Some(now + jittered(doubled.min(self.broken_max), random));
    }

    fn head_start_now(&self) -> Duration {
        let known = self.handshake.map(|handshake| (handshake * 3).max(HEAD_START_MIN));
        known.map_or(self.head_start, |known| known.min(self.head_start))
    }
}

/// Notices a connection whose packets arrive nowhere.
///
/// That nothing is received is no sign of it: where packets are lost one way, those of the server still come. That ours are not
/// acknowledged is one, and shows in a round-trip time that stays what it was while packets go out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StallWatch {
    rtt: Duration,
    sent: u64,
    since: Instant,
}

/// Packets that must have gone out without an acknowledgement.
const PACKETS_MIN: u64 = 3;

impl StallWatch {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { rtt: Duration::ZERO, sent: 0, since: now }
    }

    /// Does not count `late`: the process stood still, or had too much to do to read what had come.
    pub(crate) fn forgive(&mut self, late: Duration) {
        self.since += late;
    }

    /// Takes in the round-trip time and how many packets have been sent, and returns whether nothing was acknowledged for `stall`.
    pub(crate) fn look(&mut self, now: Instant, rtt: Duration, sent: u64, stall: Duration) -> bool {
        if rtt != self.rtt {
            *self = Self { rtt, sent, since: now };
            return false;
        }
        let waits = sent.saturating_sub(self.sent) >= PACKETS_MIN;
        if sent == self.sent {
            // Nothing to acknowledge.
            self.since = now;
        }
        waits && now.duration_since(self.since) >= stall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const NEUTRAL: u64 = 200;

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn policy(mode: Http3Mode) -> Policy {
        Policy::new(mode, 300 * MS, 1000 * MS, 5000 * MS)
    }

    #[test]
    fn the_mode_decides_before_anything_is_known() {
        assert_eq!(policy(Http3Mode::Off).plan(), Plan::Http2);
        assert_eq!(policy(Http3Mode::Only).plan(), Plan::Http3);
        assert_eq!(policy(Http3Mode::Auto).plan(), Plan::Race { head_start: 300 * MS });
    }

    #[test]
    fn a_quick_handshake_shortens_the_head_start_within_bounds() {
        let head_start = |handshake| {
            let mut policy = policy(Http3Mode::Auto);
            policy.http3_worked(handshake);
            policy.plan()
        };
        assert_eq!(head_start(MS), Plan::Race { head_start: 20 * MS });
        assert_eq!(head_start(10 * MS), Plan::Race { head_start: 30 * MS });
        assert_eq!(head_start(1000 * MS), Plan::Race { head_start: 300 * MS });
    }

    #[test]
    fn what_has_failed_is_left_alone_for_longer_each_time_and_then_only_probed() {
        let (start, mut policy) = (start(), policy(Http3Mode::Auto));
        let mut now = start;
        for wait in [1000, 2000, 4000, 5000, 5000] {
            policy.http3_failed(now, NEUTRAL);
            assert_eq!(policy.plan(), Plan::Http2);
            assert!(!policy.may_probe(now + (wait - 1) * MS), "{wait}");
            now += wait * MS;
            assert!(policy.may_probe(now), "{wait}");
            assert_eq!(policy.plan(), Plan::Http2, "no call waits for what has failed");
        }
        policy.http3_worked(MS);
        assert_eq!(policy.plan(), Plan::Race { head_start: 20 * MS });
        policy.http3_failed(now, NEUTRAL);
        assert!(policy.may_probe(now + 1000 * MS), "success begins the count anew");
    }

    #[test]
    fn a_mode_that_is_set_forgets_what_was_learnt() {
        let (start, mut policy) = (start(), policy(Http3Mode::Auto));
        policy.http3_failed(start, NEUTRAL);
        policy.set_mode(Http3Mode::Only);
        assert_eq!((policy.plan(), policy.may_probe(start)), (Plan::Http3, false));
        policy.set_mode(Http3Mode::Auto);
        assert_eq!((policy.plan(), policy.may_probe(start)), (Plan::Race { head_start: 300 * MS }, true));
        policy.set_mode(Http3Mode::Off);
        assert_eq!((policy.plan(), policy.may_probe(start)), (Plan::Http2, false));
    }

    /// Looks every 250 ms at a connection of these (round-trip time, packets sent); says at which look it is stalled.
    fn stalled_at(looks: &[(u64, u64)]) -> Option<usize> {
        let start = start();
        let mut watch = StallWatch::new(start);
        looks.iter().zip(1..).position(|((rtt, sent), turn)| {
            watch.look(start + turn * 250 * MS, Duration::from_micros(*rtt), *sent, 1000 * MS)
        })
    }

    #[test]
    fn packets_without_an_acknowledgement_are_a_stall_after_its_time() {
        assert_eq!(stalled_at(&[(80, 10), (80, 12), (80, 13), (80, 14), (80, 15), (80, 16)]), Some(4));
        assert_eq!(stalled_at(&[(80, 10), (80, 12), (80, 13), (81, 14), (81, 15), (81, 16)]), None);
    }

    #[test]
    fn time_in_which_nobody_could_look_is_no_stall() {
        let (start, rtt) = (start(), Duration::from_micros(80));
        let mut watch = StallWatch::new(start);
        let mut look = |at: u64, sent| {
            if at == 5000 {
                watch.forgive(4750 * MS);
            }
            watch.look(start + Duration::from_millis(at), rtt, sent, 1000 * MS)
        };
        assert_eq!([look(0, 10), look(5000, 15), look(5500, 16), look(5750, 17)], [false, false, false, true]);
    }

    #[test]
    fn silence_is_no_stall_and_neither_are_two_packets() {
        assert_eq!(stalled_at(&[(80, 10); 20]), None);
        assert_eq!(stalled_at(&[(80, 10), (80, 12), (80, 12), (80, 12), (80, 12), (80, 12), (80, 12)]), None);
    }
}
