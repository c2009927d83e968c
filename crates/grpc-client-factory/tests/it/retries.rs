//! Calls that are made again.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use grpc_client_factory::FactoryError;
use test_rpc::rpc::{EchoRequest, Failure};
use tonic::{Code, Request};

use crate::support::{Outcome, Pair, profile, says};

/// A pair whose calls are made up to three times.
async fn thrice() -> Pair {
    Pair::with(profile(|profile| {
        profile.retry.max_attempts = 3;
        profile.retry.backoff_min = Duration::from_millis(1);
    }))
    .await
}

fn fails_with(code: Code) -> EchoRequest {
    let failure = Failure { code: code.into(), message: "not now".to_owned(), ..Failure::default() };
    EchoRequest { failure: Some(failure), ..says("a") }
}

/// How often a call that fails with `code` is made.
async fn made(pair: &Pair, code: Code) -> u64 {
    let before = pair.serving.echo.calls().begun;
    let status = pair.client().unary(fails_with(code)).await.expect_err("a failure");
    assert_eq!((status.code(), status.message()), (code, "not now"));
    pair.serving.echo.calls().begun - before
}

#[tokio::test]
async fn a_server_that_is_not_available_is_asked_again_and_no_other_failure_is() {
    let pair = thrice().await;
    assert_eq!(made(&pair, Code::Internal).await, 1);
    assert_eq!(made(&pair, Code::Unavailable).await, 3);
}

#[tokio::test]
async fn a_stream_that_goes_on_is_sent_again_from_its_beginning_unless_that_is_too_much() {
    let pair = thrice().await;
    for (bytes, times) in [(10, 3), (100_000, 1)] {
        let before = pair.serving.echo.calls().begun;
        let first = EchoRequest { payload: vec![7; bytes].into(), ..EchoRequest::default() };
        let parts = stream::iter([first, fails_with(Code::Unavailable)]).chain(stream::pending());
        assert_eq!(pair.client().client_stream(parts).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(pair.serving.echo.calls().begun - before, times, "{bytes}");
    }
}

#[tokio::test]
async fn a_target_that_fails_all_calls_is_soon_asked_but_once_a_call() -> Outcome {
    let pair = thrice().await;
    // The budget of 10 allows retries while more than 5 are left: after the first, second and fourth failure.
    let mut attempts = Vec::new();
    for _ in 0..4 {
        attempts.push(made(&pair, Code::Unavailable).await);
    }
    assert_eq!(attempts, [3, 2, 1, 1]);
    for _ in 0..100 {
        pair.client().unary(says("a")).await?;
    }
    assert_eq!(made(&pair, Code::Unavailable).await, 3);
    Ok(())
}

#[tokio::test]
async fn no_attempt_is_begun_that_the_deadline_does_not_leave_time_for() {
    let pair = Pair::with(profile(|profile| {
        profile.retry.max_attempts = 3;
        profile.retry.backoff_min = Duration::from_secs(60);
        profile.retry.backoff_max = Duration::from_secs(60);
    }))
    .await;
    let mut request = Request::new(fails_with(Code::Unavailable));
    request.set_timeout(Duration::from_secs(20));
    let status = pair.client().unary(request).await.unwrap_err();
    assert!(FactoryError::of(&status).is_none(), "the failure of the server is what there is to tell: {status}");
    assert_eq!((status.code(), pair.serving.echo.calls().begun), (Code::Unavailable, 1));
}
