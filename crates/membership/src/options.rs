//! How the protocol is tuned.

use std::time::Duration;

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
    /// times the smoothed round trip, from 100 ms up to this.
    pub ping_timeout: Duration,
    /// Most sends of one update per link; default 3, 1 to 16. The first is at once, the others ride on probes until
    /// the other side's digest shows that it has everything.
    pub retransmit_limit: u8,
    /// How often a node repeats its own record to one of its links, as a safety net; default 30 s, at least `interval`
    /// and at most a day.
    pub metadata_refresh_period: Duration,
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
            max_members: 10_000,
        }
    }
}

/// An option out of its range, named as configuration spells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {value}; valid is {valid}")]
pub struct OptionsError {
    /// The option, such as `suspicionInterval`.
    pub option: &'static str,
    /// The value given.
    pub value: String,
    /// What would be valid.
    pub valid: &'static str,
}

impl Options {
    /// Checks every range.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let ms = Duration::from_millis;
        let secs = Duration::from_secs;
        let wrong = |option, value: String, valid| Err(OptionsError { option, value, valid });
        if self.interval < ms(50) || self.interval > secs(60) {
            return wrong("interval", format!("{:?}", self.interval), "50ms to 60s");
        }
        if !(2..=32).contains(&self.fanout) {
            return wrong("fanout", self.fanout.to_string(), "2 to 32");
        }
        if self.suspicion_interval < self.interval * 2 || self.suspicion_interval > secs(600) {
            return wrong("suspicionInterval", format!("{:?}", self.suspicion_interval), "twice interval to 10m");
        }
        let dead_after = self.dead_after();
        if dead_after < self.suspicion_interval / 4 || dead_after > secs(24 * 3600) {
            return wrong("deadAfter", format!("{dead_after:?}"), "a quarter of suspicionInterval to 24h");
        }
        if self.ping_timeout < ms(10) || self.ping_timeout > self.suspicion_interval {
            return wrong("pingTimeout", format!("{:?}", self.ping_timeout), "10ms to suspicionInterval");
        }
        if !(1..=16).contains(&self.retransmit_limit) {
            return wrong("retransmitLimit", self.retransmit_limit.to_string(), "1 to 16");
        }
        if self.metadata_refresh_period < self.interval || self.metadata_refresh_period > secs(24 * 3600) {
            let value = format!("{:?}", self.metadata_refresh_period);
            return wrong("metadataRefreshPeriod", value, "interval to 24h");
        }
        if !(2..=100_000).contains(&self.max_members) {
            return wrong("maxMembers", self.max_members.to_string(), "2 to 100000");
        }
        Ok(())
    }

    /// How long a probe waits, with what is known of the round trip. 500 ms leave a first contact time for its
    /// handshake, which then shows the round trip.
    pub(crate) fn probe_timeout(&self, rtt: Option<Duration>) -> Duration {
        let adaptive = rtt.map_or(Duration::from_millis(500), |rtt| (rtt * 4).max(Duration::from_millis(100)));
        adaptive.min(self.ping_timeout)
    }

    /// Least time from the first missed probe to the verdict, for an answer that is merely late.
    pub(crate) fn grace(&self) -> Duration {
        self.suspicion_interval / 5
    }

    /// Time in which an unreachable member can deny it.
    pub(crate) fn dead_after(&self) -> Duration {
        self.dead_after.unwrap_or(self.suspicion_interval / 2)
    }
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
        check(|o| o.max_members = 1, Some("maxMembers"));
        check(|o| o.max_members = 100_000, None);
    }

    #[test]
    fn a_probe_waits_four_round_trips_within_its_bounds() {
        let options = Options::default();
        let wait = |rtt| options.probe_timeout(rtt).as_millis();
        assert_eq!(wait(None), 500);
        assert_eq!(wait(Some(Duration::from_millis(1))), 100);
        assert_eq!(wait(Some(Duration::from_millis(100))), 400);
        assert_eq!(wait(Some(Duration::from_secs(9))), 2_000);
    }
}
