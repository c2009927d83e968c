//! How long calls may take.

use std::time::Duration;

use grpc_client_factory::FactoryError;
use test_rpc::rpc::StreamRequest;
use tonic::{Code, Request};

use crate::support::{Outcome, Pair, held, profile, says};

fn within(ms: u64, request: test_rpc::rpc::EchoRequest) -> Request<test_rpc::rpc::EchoRequest> {
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_millis(ms));
    request
}

#[tokio::test]
async fn a_deadline_ends_the_call_on_both_sides() {
    let pair = Pair::new().await;
    let status = pair.client().unary(within(150, held())).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    pair.serving.echo.wait_for(|calls| calls.dropped == 1).await;
}

#[tokio::test]
async fn a_deadline_is_for_the_body_too() -> Outcome {
    let pair = Pair::new().await;
    let mut request = Request::new(StreamRequest { each: Some(held()), count: 1, failure: None });
    request.set_timeout(Duration::from_millis(150));
    let mut replies = pair.client().server_stream(request).await?.into_inner();
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let given = Duration::from_millis(150);
    assert!(matches!(FactoryError::of(&status), Some(FactoryError::Deadline { after, .. }) if *after == given));
    pair.serving.echo.wait_for(|calls| calls.dropped == 1).await;
    Ok(())
}

#[tokio::test]
async fn without_a_deadline_the_profile_bounds_the_wait_for_the_head_and_not_the_stream() -> Outcome {
    let pair = Pair::with(profile(|profile| profile.head_timeout = Some(Duration::from_millis(150)))).await;
    let status = pair.client().unary(held()).await.unwrap_err();
    let given = Duration::from_millis(150);
    assert!(matches!(FactoryError::of(&status), Some(FactoryError::Deadline { after, .. }) if *after == given));

    let slow = test_rpc::rpc::EchoRequest { delay_ms: 300, ..says("a") };
    let stream = StreamRequest { each: Some(slow), count: 1, failure: None };
    let mut replies = pair.client().server_stream(stream).await?.into_inner();
    assert_eq!(replies.message().await?.map(|reply| reply.index), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_refused_before_anything_is_sent() {
    let pair = Pair::new().await;
    let mut request = Request::new(says("a"));
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let status = pair.client().unary(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "grpc-timeout \"soon\" is none"));
    assert_eq!(pair.serving.accepted(), 0);
}
