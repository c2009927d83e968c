//! Calls of which several attempts are under way at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use grpc_client_factory::{HedgedMethods, HedgingOptions, Profile};
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::{EchoRequest, Failure};
use tokio::task::JoinSet;
use tonic::Code;

use crate::balanced::{Many, breaker};
use crate::support::{Outcome, Pair, held, over_http2, profile, says};

/// Far longer than any test: what happens does not happen because it is over.
const NEVER: Duration = Duration::from_secs(60);

fn hedging(delay: Duration, methods: HedgedMethods) -> HedgingOptions {
    HedgingOptions { max_attempts: 3, delay, ..HedgingOptions::new(methods) }
}

async fn pair(delay: Duration, methods: HedgedMethods) -> Pair {
    Pair::with(profile(|profile| profile.hedging = Some(hedging(delay, methods)))).await
}

fn fails_with(code: Code) -> EchoRequest {
    EchoRequest { failure: Some(Failure { code: code.into(), ..Failure::default() }), ..says("a") }
}

#[tokio::test]
async fn a_call_that_takes_long_is_sent_again_up_to_the_most() -> Outcome {
    let pair = pair(Duration::from_millis(1), HedgedMethods::All).await;
    let (mut client, mut calling) = (pair.client(), JoinSet::new());
    calling.spawn(async move { client.unary(held()).await });
    pair.serving.echo.wait_for(|calls| calls.begun == 3).await;
    pair.serving.echo.release();
    calling.join_next().await.ok_or("a call")???;
    assert_eq!(pair.serving.echo.wait_for(|calls| calls.running() == 0).await.begun, 3);
    Ok(())
}

#[tokio::test]
async fn a_failure_that_may_pass_does_not_wait_for_the_delay_and_any_other_is_final() {
    let pair = pair(NEVER, HedgedMethods::All).await;
    let echo = &pair.serving.echo;
    assert_eq!(pair.client().unary(fails_with(Code::Unavailable)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(echo.calls().begun, 3);
    assert_eq!(pair.client().unary(fails_with(Code::Internal)).await.unwrap_err().code(), Code::Internal);
    assert_eq!(echo.calls().begun, 4);
}

#[tokio::test]
async fn a_method_that_nobody_has_called_safe_is_sent_once() {
    let named = HedgedMethods::Named(BTreeSet::from(["omnirelay.test.v1.Echo/ServerStream".to_owned()]));
    let pair = pair(NEVER, named).await;
    assert_eq!(pair.client().unary(fails_with(Code::Unavailable)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(pair.serving.echo.calls().begun, 1);
}

#[tokio::test]
async fn a_balanced_call_goes_to_another_peer_besides_and_the_slow_one_is_given_up() -> Outcome {
    let mut profile = over_http2(Profile::control_plane());
    profile.hedging = Some(hedging(Duration::from_millis(1), HedgedMethods::All));
    let many = Many::with(2, profile, false, breaker()).await;
    let [slow, quick] = &many.nodes[..] else { return Err("two peers".into()) };
    quick.echo.release();
    // In turns: the slow one is the first to be called at least once.
    for _ in 0..2 {
        EchoClient::new(many.channel.clone()).unary(held()).await?;
    }
    let slow = slow.echo.wait_for(|calls| calls.running() == 0 && calls.begun > 0).await;
    assert_eq!((slow.ended, slow.dropped), (0, slow.begun));
    assert_eq!(quick.echo.calls().begun, 2);
    Ok(())
}
