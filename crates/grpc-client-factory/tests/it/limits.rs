//! What may not grow.

use std::collections::HashMap;

use futures_util::stream;
use grpc_client_factory::{
    ChannelError, ChannelFactory as _, ClientFactory, FactoryError, FactoryOptions, Profile, Target,
};
use identity::ExpectedPeer;
use test_rpc::rpc::{EchoRequest, StreamRequest};
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{CLIENT, Outcome, Pair, credentials, held, profile, says};

fn small() -> Profile {
    profile(|profile| {
        profile.max_send_bytes = 1000;
        profile.max_receive_bytes = 1000;
    })
}

fn of_bytes(bytes: usize) -> EchoRequest {
    EchoRequest { payload: vec![7; bytes].into(), ..EchoRequest::default() }
}

#[track_caller]
fn check_too_large(status: &tonic::Status, done: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(
        matches!(FactoryError::of(status), Some(FactoryError::TooLarge { limit: 1000, done: which, .. }) if *which == done)
    );
}

#[tokio::test]
async fn a_message_too_large_is_not_sent_alone_or_in_a_stream() {
    let pair = Pair::with(small()).await;
    check_too_large(&pair.client().unary(of_bytes(1000)).await.unwrap_err(), "sent");
    assert_eq!(pair.serving.accepted(), 0);
    let parts = stream::iter([says("a"), says("b"), says("c"), of_bytes(1000)]);
    check_too_large(&pair.client().client_stream(parts).await.unwrap_err(), "sent");
}

#[tokio::test]
async fn a_message_too_large_is_not_taken_and_the_call_ends_at_the_server() -> Outcome {
    let pair = Pair::with(small()).await;
    let more = EchoRequest { more_bytes: 2000, ..says("a") };
    check_too_large(&pair.client().unary(more.clone()).await.unwrap_err(), "received");
    let stream = StreamRequest { each: Some(more), count: 1000, failure: None };
    let mut replies = pair.client().server_stream(stream).await?.into_inner();
    check_too_large(&replies.message().await.unwrap_err(), "received");
    pair.serving.echo.wait_for(|calls| calls.running() == 0).await;
    Ok(())
}

#[tokio::test]
async fn calls_beyond_the_streams_of_a_connection_wait_their_turn() {
    let few = profile(|profile| profile.http2.max_streams = 8);
    let pair = Pair::with(few).await;
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let mut client = pair.client();
        callers.spawn(async move { client.unary(held()).await.map(|_| ()) });
    }
    let echo = &pair.serving.echo;
    echo.wait_for(|calls| calls.running() == 8).await;
    echo.release();
    let outcomes = callers.join_all().await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!((outcomes.len(), pair.serving.accepted()), (100, 1));
}

#[tokio::test]
async fn twenty_readers_that_read_nothing_hold_up_nobody_else() -> Outcome {
    let pair = Pair::new().await;
    let chunk = EchoRequest { more_bytes: 60_000, ..EchoRequest::default() };
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let flood = StreamRequest { each: Some(chunk.clone()), count: 100_000, failure: None };
        let mut replies = pair.client().server_stream(flood).await?.into_inner();
        replies.message().await?;
        stalled.push(replies);
    }
    assert_eq!(pair.client().unary(says("a")).await?.into_inner().payload, "a");
    assert_eq!((pair.serving.accepted(), stalled.len()), (1, 20));
    Ok(())
}

#[tokio::test]
async fn channels_to_more_targets_than_there_is_room_for_are_refused_until_some_are_gone() -> Outcome {
    let pair = Pair::new().await;
    let options = FactoryOptions { links_max: 2, ..FactoryOptions::default() };
    let factory = ClientFactory::new(credentials(&pair.authority, CLIENT), options)?;
    let target =
        |port: u16| Target::new(std::net::SocketAddr::from(([127, 0, 0, 1], port)).into(), ExpectedPeer::Member);
    let channel = |port| factory.channel(&target(port), FactoryOptions::DATA_PLANE);
    let (first, second) = (channel(1)?, channel(2)?);
    assert_eq!(channel(3).map(|_| ()), Err(ChannelError::Full { links_max: 2 }));
    assert!(channel(1).is_ok(), "one that is known needs no room");
    drop(second);
    assert!(channel(3).is_ok());
    assert_eq!(factory.links(), 2);
    drop(first);
    Ok(())
}

#[tokio::test]
async fn a_profile_that_makes_no_sense_is_refused_by_its_name() {
    let pair = Pair::new().await;
    let wrong = profile(|profile| profile.max_send_bytes = 0);
    let options = FactoryOptions { profiles: HashMap::from([("mine".to_owned(), wrong)]), ..FactoryOptions::default() };
    let error = ClientFactory::new(credentials(&pair.authority, CLIENT), options).unwrap_err();
    assert_eq!(error.to_string(), "profile `mine` cannot be used");
    let unknown = pair.factory.channel(&pair.serving.target(), "yours").map(|_| ());
    assert_eq!(unknown, Err(ChannelError::UnknownProfile { name: "yours".to_owned() }));
}
