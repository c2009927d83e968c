//! Until when a call may take.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use http::HeaderMap;
use jiff::Timestamp;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Code;

use crate::messages::Messages;
use crate::meta::{self, RequestMeta};
use crate::status::Status;

/// Longest that anybody is waited for: a hundred years. More does not fit on a clock.
const AGES: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Returns how long the caller waits by all that its head says; `None` if it does not.
///
/// # Errors
/// It says it in a way that cannot be read.
pub(crate) fn time_left(headers: &HeaderMap, meta: &RequestMeta) -> Result<Option<Duration>, Status> {
    let timeout =
        mesh_server::grpc_timeout(headers).map_err(|malformed| Status::new(Code::Internal, malformed.to_string()))?;
    let told = meta.time_left(Timestamp::now());
    Ok(match (timeout, told) {
        (Some(timeout), Some(told)) => Some(timeout.min(told)),
        (one, other) => one.or(other),
    })
}

/// Returns when nobody waits any more, by all that a head says.
///
/// # Errors
/// It cannot be read, or is over: `deadline-exceeded`.
pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Option<Instant>, Status> {
    deadline(time_left(headers, &meta::times(headers)?)?)
}

/// Returns when `left` is over.
///
/// # Errors
/// It is over: `deadline-exceeded`.
pub(crate) fn deadline(left: Option<Duration>) -> Result<Option<Instant>, Status> {
    match left {
        Some(Duration::ZERO) => Err(Status::new(Code::DeadlineExceeded, "the deadline had passed when the call came")),
        Some(left) => Ok(Some(Instant::now() + left.min(AGES))),
        None => Ok(None),
    }
}

/// Waits for `work` as long as there is time.
///
/// # Errors
/// There was not enough: `deadline-exceeded`.
pub(crate) async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let Some(deadline) = deadline else { return work.await };
    match timeout_at(deadline, pin!(work)).await {
        Ok(done) => done,
        Err(_elapsed) => Err(passed()),
    }
}

/// Returns the messages that come before the deadline; at that they fail.
pub(crate) fn until(deadline: Option<Instant>, messages: Messages) -> Messages {
    match deadline {
        Some(deadline) if !messages.is_there() => Messages::stream(Until::new(messages, deadline, passed)),
        Some(_) | None => messages,
    }
}

/// Returns the messages of a caller who has to send them within `timeout`.
pub(crate) fn arriving<S>(timeout: Duration, messages: S) -> impl Stream<Item = Result<Bytes, Status>>
where
    S: Stream<Item = Result<Bytes, Status>> + Unpin,
{
    let too_slow = move || {
        Status::new(Code::DeadlineExceeded, format!("the request did not arrive as a whole within {timeout:?}"))
    };
    Until::new(messages, Instant::now() + timeout.min(AGES), too_slow)
}

fn passed() -> Status {
    Status::new(Code::DeadlineExceeded, "the deadline has passed")
}

/// Messages that fail at a deadline. The timer is made when the first of them has to be waited for.
struct Until<S, F> {
    /// None once the deadline has passed.
    messages: Option<S>,
    deadline: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    failure: F,
}

impl<S, F> Until<S, F> {
    const fn new(messages: S, deadline: Instant, failure: F) -> Self {
        Self { messages: Some(messages), deadline, sleep: None, failure }
    }
}

impl<S, F> Stream for Until<S, F>
where
    S: Stream<Item = Result<Bytes, Status>> + Unpin,
    F: Fn() -> Status + Unpin,
{
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { messages: slot, deadline, sleep, failure } = &mut *self;
        let Some(messages) = slot else { return Poll::Ready(None) };
        // Messages that always are there must not outlast it either.
        if Instant::now() < *deadline
            && let Poll::Ready(message) = messages.poll_next_unpin(cx)
        {
            return Poll::Ready(message);
        }
        let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(*deadline)));
        ready!(sleep.as_mut().poll(cx));
        *slot = None;
        Poll::Ready(Some(Err(failure())))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, TryStreamExt as _, stream};
    use http::HeaderValue;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let named =
            pairs.iter().map(|(name, text)| (http::HeaderName::from_static(name), HeaderValue::from_static(text)));
        named.collect()
    }

    #[test]
    fn the_earliest_of_all_that_a_caller_says_counts() {
        let left = |pairs: &[_]| {
            let headers = headers(pairs);
            let meta = RequestMeta::read(&headers).expect("valid");
            time_left(&headers, &meta).map_err(|status| (status.code(), status.message().to_owned()))
        };
        assert_eq!(left(&[]), Ok(None));
        assert_eq!(left(&[("grpc-timeout", "1S"), ("rpc-ttl-ms", "2000")]), Ok(Some(SECOND)));
        assert_eq!(left(&[("grpc-timeout", "3S"), ("rpc-ttl-ms", "1000")]), Ok(Some(SECOND)));
        assert_eq!(left(&[("grpc-timeout", "1S"), ("rpc-deadline", "2001-01-01T00:00:00Z")]), Ok(Some(Duration::ZERO)));
        let malformed = (Code::Internal, "the call has a grpc-timeout that is none".to_owned());
        assert_eq!(left(&[("grpc-timeout", "soon")]), Err(malformed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_than_the_deadline_fails_with_it() {
        let code = |status: Status| status.code();
        let soon = deadline(Some(SECOND)).expect("time is left");
        assert_eq!(within(soon, async { Ok(7) }).await.map_err(code), Ok(7));
        let never = std::future::pending::<Result<(), Status>>();
        assert_eq!(within(soon, never).await.map_err(code), Err(Code::DeadlineExceeded));
        assert_eq!(deadline(Some(Duration::ZERO)).map_err(code), Err(Code::DeadlineExceeded));
        assert_eq!(deadline(None).map_err(code), Ok(None));
        assert!(deadline(Some(Duration::MAX)).is_ok_and(|at| at > soon));
    }

    #[tokio::test(start_paused = true)]
    async fn messages_fail_at_the_deadline_even_if_more_are_there() {
        let soon = deadline(Some(SECOND)).expect("time is left");
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(b"x")));
        let mut timed = until(soon, Messages::stream(endless));
        assert!(timed.try_next().now_or_never().is_some_and(|next| next.is_ok_and(|it| it.is_some())));
        tokio::time::advance(SECOND).await;
        assert_eq!(timed.try_next().await.map_err(|status| status.code()), Err(Code::DeadlineExceeded));
        let silent = until(deadline(Some(SECOND)).expect("time is left"), Messages::stream(stream::pending()));
        assert_eq!(silent.only().await.map_err(|status| status.code()), Err(Code::DeadlineExceeded));
        let slow = arriving(SECOND, stream::pending()).try_next().await.map_err(|status| status.message().to_owned());
        assert_eq!(slow, Err("the request did not arrive as a whole within 1s".to_owned()));
        assert_eq!(until(soon, Messages::one("x")).only().await.ok(), Some(Bytes::from_static(b"x")));
    }
}
