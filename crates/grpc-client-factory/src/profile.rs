//! How calls of one kind are made.

use std::time::Duration;

use h3_transport::QuicOptions;

use crate::health_check::HealthCheckOptions;
use crate::hedging::HedgingOptions;
use crate::http3_mode::Http3Mode;
use crate::retry::RetryOptions;

/// How calls of one kind are made. Start from [`Profile::control_plane`] or [`Profile::data_plane`] and change what must differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Longest that a connection may take from the look-up of its name to the end of the TLS handshake; from 10 ms to 60 s. Both
    /// planes: 3 s. Longer helps on bad links only: callers wait for it when a host is down.
    pub connect_timeout: Duration,
    /// How long callers get the same error without another attempt after one that failed; each further failure doubles it.
    /// Both planes: 50 ms.
    pub reconnect_min: Duration,
    /// Longest that [`Profile::reconnect_min`] grows to; at most 5 min. Both planes: 5 s.
    pub reconnect_max: Duration,
    /// How long a connection without calls is kept; at least 1 s. Both planes: 5 min.
    pub idle_timeout: Duration,
    /// Within what time of a new certificate of ours connections are replaced by ones that show it; each link draws its own
    /// moment. At most 1 h; must be below the time for which the old certificate is still good. Both planes: 10 s.
    pub renew_within: Duration,
    /// Longest wait for the head of an answer to a call that has no deadline of its own; `None` waits for ever. A stream goes on
    /// beyond it. Control plane: 10 s, data plane: `None`. A deadline of the call (`grpc-timeout`) takes its place, and bounds the
    /// whole call with its body.
    pub head_timeout: Option<Duration>,
    /// Largest message that is sent, in bytes before compression of HTTP, after that of gRPC. Control plane: 4 MiB, data plane: 64 MiB.
    pub max_send_bytes: usize,
    /// Largest message that is taken, in bytes. Control plane: 4 MiB, data plane: 64 MiB. A generated client has a limit of its
    /// own, 4 MiB unless `max_decoding_message_size` says otherwise.
    pub max_receive_bytes: usize,
    /// When calls are made again that have failed.
    pub retry: RetryOptions,
    /// When calls are sent once more before they have failed; `None` is never. Both planes: `None`. Attempts share the budget of
    /// [`Profile::retry`].
    pub hedging: Option<HedgingOptions>,
    /// Connections over HTTP/2.
    pub http2: Http2Options,
    /// Connections over HTTP/3, and when there are any.
    pub http3: Http3Options,
}

/// Connections over HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Options {
    /// Most calls at a time on one connection; more wait for their turn. The server's own limit holds too. Both planes: 256.
    pub max_streams: u32,
    /// Bytes that a call may be sent without its caller having read them. Control plane: 256 KiB, data plane: 1 MiB.
    pub stream_window: u32,
    /// The same for all calls of a connection together; at least `max_streams` × `stream_window`, or callers that read slowly
    /// hold up all others. Control plane: 64 MiB, data plane: 256 MiB.
    pub connection_window: u32,
    /// How often it is looked whether the server has sent anything since; if not, it is asked whether it lives. At least 100 ms.
    /// Control plane: 5 s, data plane: 10 s.
    pub ping_interval: Duration,
    /// Longest wait for the answer to that; then the connection is closed. Both planes: 5 s.
    pub ping_timeout: Duration,
    /// Longest that sent bytes may stay without an acknowledgement, or the other host silent that the system asks whether it is there,
    /// before the system gives the connection up (`TCP_USER_TIMEOUT`, `SO_KEEPALIVE`). Both planes: 4 s. Lower ends the calls to a host
    /// that has vanished sooner, higher has them outlast longer interruptions.
    pub unacknowledged_timeout: Duration,
}

/// Connections over HTTP/3, and when there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http3Options {
    /// Whether HTTP/3 is used. Both planes: [`Http3Mode::Auto`].
    pub mode: Http3Mode,
    /// For how long HTTP/3 is tried alone before HTTP/2 joins; 1 ms to 10 s. A target whose handshake is known to be quick gets three
    /// times that instead, if it is less. Both planes: 300 ms. Shorter makes first calls quicker where UDP is blocked, and more
    /// connections that nobody needs.
    pub race_delay: Duration,
    /// For how long HTTP/3 is left alone after it has failed where HTTP/2 worked; each further failure doubles it. Both planes: 1 s.
    pub broken_min: Duration,
    /// Longest that [`Http3Options::broken_min`] grows to. Both planes: 5 min.
    pub broken_max: Duration,
    /// How long none of our packets may be acknowledged while calls are under way before new calls go over HTTP/2; 100 ms to 60 s.
    /// After the same time once more, in which HTTP/2 has to connect, the calls under way are given up. Both planes: 1 s.
    pub stall: Duration,
    /// How connections are asked, while they are in use, whether they work; `None` is never. Both planes: `None`. Where the path is
    /// bad in ways that acknowledgements do not show, calls go over HTTP/2 before one has to fail.
    pub health_check: Option<HealthCheckOptions>,
    /// Most calls at a time on one connection; more wait for their turn. The server's own limit holds too. Control plane: 256, data
    /// plane: 1,024.
    pub max_streams: u32,
    /// How connections carry their packets. Control plane: windows of 256 KiB and 8 MiB, keep-alive 5 s, idle timeout 20 s; data
    /// plane: 1 MiB and 16 MiB, 10 s, 30 s. `max_streams` in it bounds what servers may open, which is nothing.
    pub quic: QuicOptions,
}

const KIB: u32 = 1024;
const MIB: u32 = 1024 * 1024;

impl Profile {
    /// Returns the profile of calls that run the mesh: small messages, impatient.
    #[must_use]
    pub fn control_plane() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(5),
            renew_within: Duration::from_secs(10),
            head_timeout: Some(Duration::from_secs(10)),
            max_send_bytes: 4 * MIB as usize,
            max_receive_bytes: 4 * MIB as usize,
            retry: RetryOptions { max_attempts: 4, ..RetryOptions::default() },
            hedging: None,
            http2: Http2Options {
                max_streams: 256,
                stream_window: 256 * KIB,
                connection_window: 64 * MIB,
                ping_interval: Duration::from_secs(5),
                ping_timeout: Duration::from_secs(5),
                unacknowledged_timeout: Duration::from_secs(4),
            },
            http3: Http3Options {
                mode: Http3Mode::Auto,
                race_delay: Duration::from_millis(300),
                broken_min: Duration::from_secs(1),
                broken_max: Duration::from_mins(5),
                stall: Duration::from_secs(1),
                health_check: None,
                max_streams: 256,
                quic: QuicOptions {
                    stream_window_bytes: 256 * KIB,
                    send_window_bytes: 8 * u64::from(MIB),
                    max_streams: 0,
                    keep_alive: Some(Duration::from_secs(5)),
                    idle_timeout: Duration::from_secs(20),
                    initial_rtt: Duration::from_millis(100),
                },
            },
        }
    }

    /// Returns the profile of calls that the mesh is there for: large messages, deadlines by the caller only.
    #[must_use]
    pub fn data_plane() -> Self {
        let Self { http3, .. } = Self::control_plane();
        Self {
            head_timeout: None,
            max_send_bytes: 64 * MIB as usize,
            max_receive_bytes: 64 * MIB as usize,
            // A node that dies takes many calls with it at once.
            retry: RetryOptions { budget: 200, ..RetryOptions::default() },
            http2: Http2Options {
                max_streams: 256,
                stream_window: MIB,
                connection_window: 256 * MIB,
                ping_interval: Duration::from_secs(10),
                ping_timeout: Duration::from_secs(5),
                unacknowledged_timeout: Duration::from_secs(4),
            },
            http3: Http3Options {
                max_streams: 1024,
                quic: QuicOptions {
                    stream_window_bytes: MIB,
                    send_window_bytes: 16 * u64::from(MIB),
                    keep_alive: Some(Duration::from_secs(10)),
                    idle_timeout: Duration::from_secs(30),
                    ..http3.quic
                },
                ..http3
            },
            ..Self::control_plane()
        }
    }

    /// Checks that the knobs make sense, each and together.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), ProfileError> {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        within("connect_timeout", self.connect_timeout, ms(10), s(60))?;
        within("reconnect_min", self.reconnect_min, ms(1), s(60))?;
        within("reconnect_max", self.reconnect_max, self.reconnect_min, s(300))?;
        within("idle_timeout", self.idle_timeout, s(1), s(86_400))?;
        within("renew_within", self.renew_within, Duration::ZERO, s(3_600))?;
        if let Some(timeout) = self.head_timeout {
            within("head_timeout", timeout, ms(1), s(86_400))?;
        }
        let http2 = &self.http2;
        within("http2.ping_interval", http2.ping_interval, ms(100), s(3_600))?;
        within("http2.ping_timeout", http2.ping_timeout, ms(100), s(60))?;
        within("http2.unacknowledged_timeout", http2.unacknowledged_timeout, ms(100), s(3_600))?;
        for (knob, bytes) in [("max_send_bytes", self.max_send_bytes), ("max_receive_bytes", self.max_receive_bytes)] {
            // gRPC counts messages in 32 bits.
            number(knob, bytes as u64, 1, u64::from(u32::MAX))?;
        }
        number("http2.max_streams", http2.max_streams.into(), 1, 65_536)?;
        number("http2.stream_window", http2.stream_window.into(), 65_535, (1 << 31) - 1)?;
        let demand = u64::from(http2.max_streams) * u64::from(http2.stream_window);
        number("http2.connection_window", http2.connection_window.into(), demand, (1 << 31) - 1)?;
        number("retry.max_attempts", self.retry.max_attempts.into(), 1, 5)?;
        number("retry.idempotent_attempts", self.retry.idempotent_attempts.into(), 1, 5)?;
        within("retry.backoff_min", self.retry.backoff_min, ms(1), s(60))?;
        within("retry.backoff_max", self.retry.backoff_max, self.retry.backoff_min, s(300))?;
        number("retry.budget", self.retry.budget.into(), 1, 1_000)?;
        number("retry.refill_thousandths", self.retry.refill_thousandths.into(), 1, 1_000)?;
        if let Some(hedging) = &self.hedging {
            number("hedging.max_attempts", hedging.max_attempts.into(), 2, 5)?;
            within("hedging.delay", hedging.delay, Duration::ZERO, s(60))?;
        }
        self.http3.check()
    }

    /// Returns how calls to the method at `path` are hedged, if they are.
    pub(crate) fn hedging_of(&self, path: &str) -> Option<&HedgingOptions> {
        self.hedging.as_ref().filter(|hedging| hedging.covers(path))
    }
}

impl Http3Options {
    fn check(&self) -> Result<(), ProfileError> {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        within("http3.race_delay", self.race_delay, ms(1), s(10))?;
        within("http3.broken_min", self.broken_min, ms(1), s(3_600))?;
        within("http3.broken_max", self.broken_max, self.broken_min, s(86_400))?;
        within("http3.stall", self.stall, ms(100), s(60))?;
        if let Some(check) = &self.health_check {
            within("http3.health_check.interval", check.interval, ms(100), s(3_600))?;
            within("http3.health_check.timeout", check.timeout, ms(10), s(60))?;
            number("http3.health_check.failures", check.failures.into(), 1, 100)?;
        }
        number("http3.max_streams", self.max_streams.into(), 1, 65_536)?;
        number("http3.quic.stream_window_bytes", self.quic.stream_window_bytes.into(), 16_384, (1 << 30) - 1)?;
        within("http3.quic.idle_timeout", self.quic.idle_timeout, s(1), s(600))?;
        let keep_alive = self.quic.keep_alive.unwrap_or(self.quic.idle_timeout);
        within("http3.quic.keep_alive", keep_alive, ms(100), self.quic.idle_timeout)
    }
}

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// A length of time is out of its bounds.
    #[error("`{knob}` is {given:?}, not from {least:?} to {most:?}")]
    Time {
        /// Which.
        knob: &'static str,
        /// What it is.
        given: Duration,
        /// The least it may be.
        least: Duration,
        /// The most it may be.
        most: Duration,
    },
    /// A number is out of its bounds.
    #[error("`{knob}` is {given}, not from {least} to {most}")]
    Number {
        /// Which.
        knob: &'static str,
        /// What it is.
        given: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
}

fn within(knob: &'static str, given: Duration, least: Duration, most: Duration) -> Result<(), ProfileError> {
    if (least..=most).contains(&given) { Ok(()) } else { Err(ProfileError::Time { knob, given, least, most }) }
}

fn number(knob: &'static str, given: u64, least: u64, most: u64) -> Result<(), ProfileError> {
    if (least..=most).contains(&given) { Ok(()) } else { Err(ProfileError::Number { knob, given, least, most }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Profile), refusal: &str) {
        let mut profile = Profile::control_plane();
        change(&mut profile);
        assert_eq!(profile.check().map_err(|error| error.to_string()), Err(refusal.to_owned()));
    }

    #[test]
    fn the_profiles_that_come_along_are_good() {
        assert_eq!(Profile::control_plane().check(), Ok(()));
        assert_eq!(Profile::data_plane().check(), Ok(()));
    }

    #[test]
    fn a_connection_window_that_slow_readers_can_fill_is_refused() {
        check(
            |profile| profile.http2.max_streams = 257,
            "`http2.connection_window` is 67108864, not from 67371008 to 2147483647",
        );
    }

    #[test]
    fn a_knob_out_of_its_bounds_is_named_with_them() {
        check(|profile| profile.connect_timeout = Duration::ZERO, "`connect_timeout` is 0ns, not from 10ms to 60s");
        check(
            |profile| profile.reconnect_max = Duration::from_millis(49),
            "`reconnect_max` is 49ms, not from 50ms to 300s",
        );
        check(
            |profile| {
                let all = HedgingOptions::new(crate::hedging::HedgedMethods::All);
                profile.hedging = Some(HedgingOptions { max_attempts: 1, ..all });
            },
            "`hedging.max_attempts` is 1, not from 2 to 5",
        );
        check(|profile| profile.max_send_bytes = 0, "`max_send_bytes` is 0, not from 1 to 4294967295");
    }
}
