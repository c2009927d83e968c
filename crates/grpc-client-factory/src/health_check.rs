//! Looking whether HTTP/3 works before calls have to find out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request, Version};
use tokio::time::timeout;

use crate::backoff::jittered;
use crate::connection::Connection;
use crate::deadline::{Deadline, GRPC_TIMEOUT};
use crate::dial::Dial;
use crate::http2::Unanswered;
use crate::link::Link;
use crate::request_body::RequestBody;

/// How connections over HTTP/3 are asked, while they are in use, whether they work: by `grpc.health.v1.Health/Check`. Any answer is a
/// good one, also that there is no such service: it has come by HTTP/3.
///
/// Failures count against HTTP/3 only if the same question is answered over HTTP/2; otherwise it is the server that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheckOptions {
    /// How often a connection is asked, a fifth more or less; 100 ms to 1 h. Default 5 s. A target that has had no calls for ten
    /// times that is left alone.
    pub interval: Duration,
    /// Longest wait for an answer; 10 ms to 60 s. Default 1 s.
    pub timeout: Duration,
    /// Failures in a row after which new calls go over HTTP/2; 1 to 100. Default 2.
    pub failures: u32,
}

impl Default for HealthCheckOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), timeout: Duration::from_secs(1), failures: 2 }
    }
}

impl HealthCheckOptions {
    /// Returns whether a target is asked now and then that had its last call at `used`.
    pub(crate) fn cover(&self, now: Instant, used: Instant) -> bool {
        now.duration_since(used) <= self.interval * RESTS_AFTER
    }
}

/// Intervals without calls after which a target is left alone.
const RESTS_AFTER: u32 = 10;

/// Calls under way above which a connection is not asked: it would wait for its turn behind them, and they show how it is.
pub(crate) const BUSY: usize = 16;

/// When a connection is asked next, and how it did before: a state machine without clock and sockets.
#[derive(Debug, Default)]
pub(crate) struct HealthCheck {
    due: Option<Instant>,
    failures: u32,
    is_asking: bool,
}

impl HealthCheck {
    /// Returns whether to ask now. The target had its last call at `used`; `random` is any number.
    pub(crate) fn is_due(&mut self, now: Instant, used: Instant, options: &HealthCheckOptions, random: u64) -> bool {
        if self.is_asking || !options.cover(now, used) {
            return false;
        }
        // Links that are made together do not ask together.
        let first = || now + options.interval * u32::try_from(random % 1000).unwrap_or_default() / 1000;
        now >= *self.due.get_or_insert_with(first)
    }

    pub(crate) fn asks(&mut self, now: Instant, options: &HealthCheckOptions, random: u64) {
        self.is_asking = true;
        self.due = Some(now + jittered(options.interval, random));
    }

    /// Takes in what came of it; returns whether there were enough failures now.
    pub(crate) fn asked(&mut self, verdict: Verdict, options: &HealthCheckOptions) -> bool {
        match verdict {
            Verdict::Works => self.failures = 0,
            Verdict::Fails => self.failures = self.failures.saturating_add(1),
            Verdict::Unknown => {}
        }
        self.failures >= options.failures
    }

    /// Whatever followed from it is done.
    pub(crate) fn over(&mut self) {
        self.is_asking = false;
    }

    /// Another connection is used from now on.
    pub(crate) fn renew(&mut self) {
        self.failures = 0;
    }
}

/// What a health check has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Works,
    Fails,
    /// The connection was about to end, which has nothing to do with it.
    Unknown,
}

/// There was no answer to a health check.
#[derive(Debug, thiserror::Error)]
#[error("no answer to a health check within {after:?}")]
pub(crate) struct NoAnswer {
    pub(crate) after: Duration,
}

/// Asks the server whether it is there. Takes none of the slots: it is no use of the connection.
pub(crate) async fn ask(connection: &Connection, after: Duration) -> Verdict {
    match timeout(after, connection.send(request(connection, after))).await {
        // Any answer has come by HTTP/3.
        Ok(Ok(_) | Err(Unanswered::Refused(_))) => Verdict::Works,
        Ok(Err(Unanswered::Unsent(..))) => Verdict::Unknown,
        Ok(Err(Unanswered::Failed(_))) | Err(_) => Verdict::Fails,
    }
}

fn request(connection: &Connection, after: Duration) -> Request<RequestBody> {
    // No name of a service: the server as a whole. A message without fields is a prefix and nothing else.
    let mut request = Request::new(RequestBody::message(Bytes::from_static(&[0; 5])));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let uri = format!("https://{}/grpc.health.v1.Health/Check", connection.target().endpoint);
    *request.uri_mut() = uri.parse().expect("the factory makes no link to what cannot stand in a URI");
    let deadline = Deadline::after(after, tokio::time::Instant::now());
    request.headers_mut().extend([
        (CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
        (TE, HeaderValue::from_static("trailers")),
        (GRPC_TIMEOUT, deadline.header(tokio::time::Instant::now())),
    ]);
    request
}

impl Dial {
    /// Asks a connection over HTTP/3. After enough failures it is replaced by one over HTTP/2, if that one answers.
    pub(crate) async fn check(self, http3: Arc<Connection>, options: HealthCheckOptions) {
        let verdict = ask(&http3, options.timeout).await;
        let mut has_failed = false;
        self.with_link(|link| has_failed = link.checked(&http3, verdict, &options));
        if has_failed
            && let Ok(http2) = self.http2().await
            && ask(&http2, options.timeout).await == Verdict::Works
        {
            self.with_link(|link| link.downgrade(&http3, &http2));
        }
        self.with_link(Link::check_over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn options() -> HealthCheckOptions {
        HealthCheckOptions { interval: 1000 * MS, ..HealthCheckOptions::default() }
    }

    #[test]
    fn the_first_question_comes_at_any_time_of_an_interval_and_the_next_an_interval_later() {
        let (start, mut check) = (start(), HealthCheck::default());
        assert!(!check.is_due(start, start, &options(), 700));
        assert!(!check.is_due(start + 699 * MS, start, &options(), 0));
        assert!(check.is_due(start + 700 * MS, start, &options(), 0));
        check.asks(start + 700 * MS, &options(), 200);
        assert!(!check.is_due(start + 1800 * MS, start, &options(), 0), "one at a time");
        check.over();
        assert!(!check.is_due(start + 1699 * MS, start, &options(), 0));
        assert!(check.is_due(start + 1700 * MS, start, &options(), 0));
    }

    #[test]
    fn a_target_that_nobody_calls_is_left_alone() {
        let (start, mut check) = (start(), HealthCheck::default());
        assert!(check.is_due(start + 10_000 * MS, start, &options(), 0));
        assert!(!check.is_due(start + 10_001 * MS, start, &options(), 0));
    }

    #[test]
    fn only_failures_in_a_row_on_one_connection_count() {
        let mut check = HealthCheck::default();
        let mut after =
            |verdicts: &[Verdict]| verdicts.iter().map(|it| check.asked(*it, &options())).collect::<Vec<_>>();
        assert_eq!(after(&[Verdict::Fails, Verdict::Works, Verdict::Fails]), [false; 3]);
        assert_eq!(after(&[Verdict::Unknown, Verdict::Fails, Verdict::Works]), [false, true, false]);
        assert_eq!(after(&[Verdict::Fails]), [false]);
        check.renew();
        assert!(!check.asked(Verdict::Fails, &options()));
    }
}
