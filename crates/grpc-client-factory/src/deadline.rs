//! How long a call may take.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_types::Endpoint;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::FactoryError;

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// When a call must be over, and how long it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) given: Duration,
}

impl Deadline {
    pub(crate) fn after(given: Duration, now: Instant) -> Self {
        // A time that no clock can show is as good as none.
        const AGES: Duration = Duration::from_secs(100 * 365 * 86_400);
        Self { at: now + given.min(AGES), given }
    }

    /// Reads the call's own deadline.
    ///
    /// # Errors
    /// There is one that cannot be read.
    pub(crate) fn of_headers(headers: &HeaderMap, now: Instant) -> Result<Option<Self>, FactoryError> {
        let Some(value) = headers.get(&GRPC_TIMEOUT) else { return Ok(None) };
        let bad = || FactoryError::BadTimeout { text: String::from_utf8_lossy(value.as_bytes()).into_owned() };
        let given = parse(value).ok_or_else(bad)?;
        Ok(Some(Self::after(given, now)))
    }

    /// Returns what to tell the server of what is left at `now`.
    pub(crate) fn header(&self, now: Instant) -> HeaderValue {
        let left = self.at.saturating_duration_since(now);
        let (number, unit) = match (left.as_nanos(), left.as_micros(), left.as_millis(), left.as_secs()) {
            (nanos @ ..MOST, ..) => (nanos, 'n'),
            (_, micros @ ..MOST, ..) => (micros, 'u'),
            (_, _, millis @ ..MOST, _) => (millis, 'm'),
            (.., seconds) => (u128::from(seconds).min(MOST - 1), 'S'),
        };
        HeaderValue::try_from(format!("{number}{unit}")).expect("digits and a letter are a header value")
    }
}

/// A number in `grpc-timeout` has 8 digits at most.
const MOST: u128 = 100_000_000;

fn parse(value: &HeaderValue) -> Option<Duration> {
    let Ok(text) = value.to_str() else { return None };
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let Ok(number) = digits.parse::<u64>() else { return None };
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Rings when a call must be over.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    given: Duration,
}

impl Timer {
    pub(crate) fn new(deadline: Deadline) -> Self {
        Self { sleep: Box::pin(sleep_until(deadline.at)), given: deadline.given }
    }

    /// Does `work` for a call to `endpoint`, as long as there is time. It takes the work where it is: moved in here, it would make
    /// the future of each call twice as large.
    pub(crate) async fn bound<T>(
        &mut self,
        endpoint: &Endpoint,
        mut work: Pin<&mut impl Future<Output = Result<T, Arc<FactoryError>>>>,
    ) -> Result<T, Arc<FactoryError>> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => {
                self.poll(cx).map(|after| Err(Arc::new(FactoryError::Deadline { endpoint: endpoint.clone(), after })))
            }
        })
        .await
    }

    /// Returns how long the call had, once that is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        self.sleep.as_mut().poll(cx).map(|()| self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        parse(&HeaderValue::from_str(text).expect("a header value"))
    }

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        assert_eq!(read("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(read("5u"), Some(Duration::from_micros(5)));
        assert_eq!(read("6n"), Some(Duration::from_nanos(6)));
        for wrong in ["", "S", "100000000m", "1", "1s", "-1S", "+1S", "1 S"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_told_in_the_finest_unit_that_fits() {
        let now = Instant::now();
        let told = |given: Duration| Deadline::after(given, now).header(now);
        assert_eq!(told(Duration::from_millis(99)), "99000000n");
        assert_eq!(told(Duration::from_millis(100)), "100000u");
        assert_eq!(told(Duration::from_secs(100)), "100000m");
        assert_eq!(told(Duration::from_secs(100_000)), "100000S");
        let deadline = Deadline::after(Duration::from_millis(50), now);
        assert_eq!(deadline.header(now + Duration::from_millis(20)), "30000000n");
        assert_eq!(deadline.header(now + Duration::from_millis(60)), "0n");
    }
}
