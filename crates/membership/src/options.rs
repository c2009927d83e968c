//! How the protocol is tuned.

use std::time::Duration;

use crate::knob::{Amount, Bound, Knob, OptionsError};
use crate::pacing::Rate;

/// Bounds of the least time that a probe waits, a twenty-fifth of `suspicion_interval`: a member whose machine is busy for a
/// moment is not doubted, and one that is dead is found no later, since the verdict has a grace of five times that.
const LEAST_WAIT: Duration = Duration::from_millis(100);
const MOST_LEAST_WAIT: Duration = Duration::from_millis(400);

/// Least and most time that a probe waits where the round trip is not known.
const FIRST_CONTACT_LEAST: Duration = Duration::from_millis(500);
const FIRST_CONTACT_MOST: Duration = Duration::from_millis(1_500);

/// Tuning of the protocol. The defaults suit a LAN of up to a thousand nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Time between two probes of a node; default 1 s, 50 ms to 60 s. Shorter finds a dead member sooner and
    /// costs traffic and CPU in proportion; keep it below a quarter of `suspicion_interval`.
    pub interval: Duration,
    /// Links of the overlay a node aims at; default 8, 2 to 32. More spreads news over lossier networks and
    /// costs that many copies of every update. Odd values round up: links come in pairs, one ring each.
    pub fanout: u8,
    /// Longest time from the first missed probe to the member being [dead](mesh_types::MemberState::Dead), once a quorum agrees
    /// and unless `dead_after` says otherwise; default 5 s, at least twice `interval` and at most 10 minutes. Longer forgives
    /// longer pauses.
    pub suspicion_interval: Duration,
    /// How long an unreachable member has to deny it before it is [dead](mesh_types::MemberState::Dead), which is final for its
    /// life; unset, half of `suspicion_interval`; valid is a quarter of `suspicion_interval` to 24 hours. It counts from when
    /// the verdict could come at the earliest, a fifth of `suspicion_interval` after the first missed probe; a verdict that
    /// comes late leaves half of it at least. Longer lets a member come back without a new life; what waits for death waits
    /// with it.
    pub dead_after: Option<Duration>,
    /// Longest wait for the answer to a probe; default 2 s, 10 ms up to `suspicion_interval`. The wait adapts to four
    /// times the smoothed round trip, from a twenty-fifth of `suspicion_interval` up to this.
    pub ping_timeout: Duration,
    /// Most sends of one update per link; default 3, 1 to 16. The first is at once, the others ride on probes until
    /// the other side's digest shows that it has everything.
    pub retransmit_limit: u8,
    /// How often a node repeats its own record to one of its links, as a safety net; default 30 s, at least `interval`
    /// and at most a day.
    pub metadata_refresh_period: Duration,
    /// Most bytes that news, answers and comparisons of tables send to one member a second, without what QUIC adds; default
    /// 524,288, 16,384 to 1,073,741,824. Twice as many can go in a burst. Each class of traffic has a share that nobody
    /// takes from it, and what does not fit waits, or is left to a comparison of tables. Less spares a thin line, and a
    /// storm of changes is over later.
    pub link_bytes_per_second: u32,
    /// The same in datagrams; default 1,000, 50 to 1,000,000.
    pub link_datagrams_per_second: u32,
    /// Most members held, the departed included; default 10,000, 2 to 100,000. Beyond it newcomers are refused.
    pub max_members: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            fanout: 8,
            suspicion_interval: Duration::from_secs(5),
            dead_after: None,
            ping_timeout: Duration::from_secs(2),
            retransmit_limit: 3,
            metadata_refresh_period: Duration::from_secs(30),
            link_bytes_per_second: 524_288,
            link_datagrams_per_second: 1_000,
            max_members: 10_000,
        }
    }
}

impl Options {
    /// Every option, with its range, in the order in which they are checked.
    pub const KNOBS: &[Knob<Self>] = &[
        Knob {
            option: "interval",
            value: |o| Amount::Time(o.interval),
            least: Bound::Is(Amount::ms(50)),
            most: Bound::Is(Amount::secs(60)),
            turn: "Time between two probes of a node. Shorter finds the dead sooner, and costs CPU and traffic in proportion; \
                   keep it below a quarter of `suspicionInterval`.",
        },
        Knob {
            option: "fanout",
            value: |o| Amount::Count(o.fanout.into()),
            least: Bound::Is(Amount::Count(2)),
            most: Bound::Is(Amount::Count(32)),
            turn: "Links that a node aims at; odd values round up. More spreads news over lossier networks, and costs that \
                   many copies of each update.",
        },
        Knob {
            option: "suspicionInterval",
            value: |o| Amount::Time(o.suspicion_interval),
            least: Bound::Of("twice interval", |o| Amount::Time(o.interval * 2)),
            most: Bound::Is(Amount::secs(600)),
            turn: "Longest time from the first missed probe to the death of a member, once a quorum agrees. Longer forgives \
                   longer pauses, and finds the dead later.",
        },
        Knob {
            option: "deadAfter",
            value: |o| Amount::Time(o.dead_after()),
            least: Bound::Of("a quarter of suspicionInterval", |o| Amount::Time(o.suspicion_interval / 4)),
            most: Bound::Is(Amount::secs(24 * 3600)),
            turn: "How long an unreachable member can deny it before it is dead, which is final for its life; half of \
                   `suspicionInterval` unless set. Longer lets a member come back as it was; what waits for death waits with it.",
        },
        Knob {
            option: "pingTimeout",
            value: |o| Amount::Time(o.ping_timeout),
            least: Bound::Is(Amount::ms(10)),
            most: Bound::Of("suspicionInterval", |o| Amount::Time(o.suspicion_interval)),
            turn: "Longest wait for the answer to a probe; the wait adapts to four round trips, from a twenty-fifth of \
                   `suspicionInterval` up to this. Keep it above the slowest round trip; lower suspects sooner.",
        },
        Knob {
            option: "retransmitLimit",
            value: |o| Amount::Count(o.retransmit_limit.into()),
            least: Bound::Is(Amount::Count(1)),
            most: Bound::Is(Amount::Count(16)),
            turn: "Most sends of one update a link: the first at once, the others on probes. More helps where packets are \
                   lost, and costs bytes.",
        },
        Knob {
            option: "metadataRefreshPeriod",
            value: |o| Amount::Time(o.metadata_refresh_period),
            least: Bound::Of("interval", |o| Amount::Time(o.interval)),
            most: Bound::Is(Amount::secs(24 * 3600)),
            turn: "How often a node repeats its record to one link, as a safety net. Shorter costs a record each time.",
        },
        Knob {
            option: "linkBytesPerSecond",
            value: |o| Amount::Count(o.link_bytes_per_second.into()),
            least: Bound::Is(Amount::Count(16_384)),
            most: Bound::Is(Amount::Count(1 << 30)),
            turn: "Most bytes that are sent to one member a second, without what QUIC adds; bursts are of up to two seconds' \
                   worth. Less spares a thin line, and news of a storm arrive later, by comparisons of tables.",
        },
        Knob {
            option: "linkDatagramsPerSecond",
            value: |o| Amount::Count(o.link_datagrams_per_second.into()),
            least: Bound::Is(Amount::Count(50)),
            most: Bound::Is(Amount::Count(1_000_000)),
            turn: "The same in datagrams. Less spares the receiver's CPU.",
        },
        Knob {
            option: "maxMembers",
            value: |o| Amount::Count(count(o.max_members)),
            least: Bound::Is(Amount::Count(2)),
            most: Bound::Is(Amount::Count(100_000)),
            turn: "Most members held, the departed included; newcomers beyond it are refused. More costs some 2 KiB of memory \
                   a member.",
        },
    ];

    /// Checks every range.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn validate(&self) -> Result<(), OptionsError> {
        Self::KNOBS.iter().try_for_each(|knob| knob.check(self))
    }

    /// How long a probe waits, with what is known of the round trip: four times that. A first contact has time for its handshake, which then shows the round trip.
    pub(crate) fn probe_timeout(&self, rtt: Option<Duration>) -> Duration {
        let first_contact = (self.suspicion_interval / 10).clamp(FIRST_CONTACT_LEAST, FIRST_CONTACT_MOST);
        let least = (self.suspicion_interval / 25).clamp(LEAST_WAIT, MOST_LEAST_WAIT);
        let adaptive = rtt.map_or(first_contact, |rtt| (rtt * 4).max(least));
        adaptive.min(self.ping_timeout)
    }

    /// Least time from the first missed probe to the verdict, for an answer that is merely late.
    pub(crate) fn grace(&self) -> Duration {
        self.suspicion_interval / 5
    }

    pub(crate) const fn link_rate(&self) -> Rate {
        Rate { bytes: self.link_bytes_per_second, datagrams: self.link_datagrams_per_second }
    }

    /// Time in which an unreachable member can deny it.
    pub(crate) fn dead_after(&self) -> Duration {
        self.dead_after.unwrap_or(self.suspicion_interval / 2)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: fn(&mut Options), refused: Option<&str>) {
        let mut options = Options::default();
        change(&mut options);
        assert_eq!(options.validate().err().map(|error| error.option), refused);
    }

    #[test]
    fn each_option_is_valid_at_its_bounds_and_refused_beyond() {
        check(|_| {}, None);
        check(|o| o.interval = Duration::from_millis(50), None);
        check(|o| o.interval = Duration::from_millis(49), Some("interval"));
        check(|o| o.fanout = 32, None);
        check(|o| o.fanout = 33, Some("fanout"));
        check(|o| o.fanout = 1, Some("fanout"));
        check(|o| o.suspicion_interval = Duration::from_secs(2), None);
        check(|o| o.suspicion_interval = Duration::from_millis(1_999), Some("suspicionInterval"));
        check(|o| o.dead_after = Some(Duration::from_millis(1_250)), None);
        check(|o| o.dead_after = Some(Duration::from_millis(1_249)), Some("deadAfter"));
        check(|o| o.dead_after = Some(Duration::from_secs(86_400)), None);
        check(|o| o.dead_after = Some(Duration::from_secs(86_401)), Some("deadAfter"));
        check(|o| o.ping_timeout = Duration::from_secs(5), None);
        check(|o| o.ping_timeout = Duration::from_millis(5_001), Some("pingTimeout"));
        check(|o| o.retransmit_limit = 0, Some("retransmitLimit"));
        check(|o| o.retransmit_limit = 16, None);
        check(|o| o.metadata_refresh_period = Duration::from_millis(999), Some("metadataRefreshPeriod"));
        check(|o| o.metadata_refresh_period = Duration::from_secs(86_400), None);
        check(|o| o.metadata_refresh_period = Duration::MAX, Some("metadataRefreshPeriod"));
        check(|o| o.link_bytes_per_second = 16_384, None);
        check(|o| o.link_bytes_per_second = 16_383, Some("linkBytesPerSecond"));
        check(|o| o.link_bytes_per_second = (1 << 30) + 1, Some("linkBytesPerSecond"));
        check(|o| o.link_datagrams_per_second = 50, None);
        check(|o| o.link_datagrams_per_second = 49, Some("linkDatagramsPerSecond"));
        check(|o| o.link_datagrams_per_second = 1_000_001, Some("linkDatagramsPerSecond"));
        check(|o| o.max_members = 1, Some("maxMembers"));
        check(|o| o.max_members = 100_000, None);
    }

    #[test]
    fn a_probe_waits_four_round_trips_within_its_bounds() {
        let options = Options::default();
        let wait = |rtt| options.probe_timeout(rtt).as_millis();
        assert_eq!(wait(None), 500);
        assert_eq!(wait(Some(Duration::from_millis(1))), 200);
        assert_eq!(wait(Some(Duration::from_millis(100))), 400);
        assert_eq!(wait(Some(Duration::from_secs(9))), 2_000);
        let wan = crate::Profile::Wan.options();
        assert_eq!(wan.probe_timeout(None).as_millis(), 1_500);
        let least = |profile: crate::Profile| profile.options().probe_timeout(Some(Duration::ZERO)).as_millis();
        assert_eq!([crate::Profile::Fast, crate::Profile::Wan].map(least), [100, 400]);
    }
}
