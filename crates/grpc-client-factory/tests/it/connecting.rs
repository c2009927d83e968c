//! How a link comes to have a connection, and loses it.

use std::time::Duration;

use grpc_client_factory::{FactoryError, Http3Mode, Profile, Protocol, Target};
use identity::ExpectedPeer;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Code;

use crate::quic::Quic;
use crate::support::{
    CLIENT, Outcome, Pair, SERVER, channel, credentials, factory, held, over_http2, profile, says, unhurried,
    wait_until,
};

#[tokio::test]
async fn callers_that_come_together_share_one_attempt_and_its_failure() -> Outcome {
    let pair = Pair::with(profile(|profile| profile.connect_timeout = Duration::from_millis(200))).await;
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let target = Target::new(silent.local_addr()?.into(), ExpectedPeer::Member);
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let mut client = EchoClient::new(channel(&pair.factory, &target));
        calls.spawn(async move { client.unary(says("a")).await.unwrap_err() });
    }
    for status in calls.join_all().await {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(matches!(FactoryError::of(&status), Some(FactoryError::ConnectTimeout { .. })), "{status}");
    }
    drop(silent.accept().await?);
    let another = tokio::time::timeout(Duration::ZERO, silent.accept()).await;
    assert!(another.is_err(), "a second connection was made");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_so() -> Outcome {
    let pair = Pair::new().await;
    let gone = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let target = Target::new(gone.into(), ExpectedPeer::Member);
    let status = EchoClient::new(channel(&pair.factory, &target)).unary(says("a")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with(&format!("cannot connect to `{gone}` over HTTP/2: ")), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_but_a_handshake() -> Outcome {
    let pair = Pair::new().await;
    let plain = TcpListener::bind("127.0.0.1:0").await?;
    let target = Target::new(plain.local_addr()?.into(), ExpectedPeer::Member);
    let mut client = EchoClient::new(channel(&pair.factory, &target));
    let server = async {
        let (mut tcp, _) = plain.accept().await?;
        let mut first = [0; 1024];
        let bytes = tcp.read(&mut first).await?;
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        let mut rest = Vec::new();
        drop(tcp.read_to_end(&mut rest).await);
        Ok::<_, std::io::Error>((first[0], bytes > 100, rest.len()))
    };
    let (answer, seen) = tokio::join!(client.unary(says("a")), server);
    let (content_type, is_hello, rest) = seen?;
    assert_eq!((content_type, is_hello), (22, true), "the first record is no TLS handshake");
    assert!(rest < 16, "{rest} bytes more than an alert came");
    assert!(matches!(FactoryError::of(&answer.unwrap_err()), Some(FactoryError::Tls(_))));
    Ok(())
}

#[tokio::test]
async fn four_hundred_callers_share_one_connection() {
    let pair = Pair::new().await;
    let mut calls = JoinSet::new();
    for index in 0..400 {
        let mut client = pair.client();
        calls.spawn(async move {
            // Each seventh gives up at once.
            let patience = if index % 7 == 0 { Duration::ZERO } else { Duration::from_secs(20) };
            (index % 7 == 0, tokio::time::timeout(patience, client.unary(says("a"))).await)
        });
    }
    for (gives_up, outcome) in calls.join_all().await {
        assert!(gives_up || matches!(outcome, Ok(Ok(_))), "{outcome:?}");
    }
    assert_eq!((pair.serving.accepted(), pair.factory.connections()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_while_the_server_drains_again_and_again() {
    let pair = Pair::with(unhurried(over_http2(Profile::control_plane()))).await;
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        let mut client = pair.client();
        callers.spawn(async move {
            for _ in 0..200 {
                client.unary(says("a")).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    for third in 1..=3 {
        let ended = pair.serving.echo.wait_for(|calls| calls.ended >= third * 1_500);
        let mut ended = std::pin::pin!(ended);
        loop {
            tokio::select! {
                _ = &mut ended => break pair.serving.drain(),
                Some(done) = callers.join_next() => done.expect("no panic").expect("a call was lost"),
            }
        }
    }
    for outcome in callers.join_all().await {
        outcome.expect("a call was lost");
    }
    assert_eq!(pair.serving.accepted(), 4);
}

#[tokio::test]
async fn a_drained_connection_finishes_its_calls_while_new_ones_use_the_next() -> Outcome {
    let pair = Pair::new().await;
    let echo = &pair.serving.echo;
    let mut client = pair.client();
    let mut late = JoinSet::new();
    late.spawn(async move { client.unary(held()).await.map(|_| ()) });
    echo.wait_for(|calls| calls.running() == 1).await;
    pair.serving.drain();
    while pair.serving.accepted() == 1 {
        pair.client().unary(says("a")).await?;
    }
    echo.release();
    late.join_all().await.into_iter().collect::<Result<(), _>>()?;
    Ok(())
}

#[tokio::test]
async fn a_connection_without_calls_is_given_back() -> Outcome {
    let pair = Pair::with(profile(|profile| profile.idle_timeout = Duration::from_secs(1))).await;
    pair.client().unary(says("a")).await?;
    assert_eq!((pair.factory.connections(), pair.factory.links()), (1, 1));
    wait_until(|| pair.factory.connections() == 0 && pair.factory.links() == 0).await;
    pair.client().unary(says("a")).await?;
    assert_eq!(pair.serving.accepted(), 2);
    Ok(())
}

#[tokio::test]
async fn a_factory_that_is_closed_lets_calls_finish_and_leaves_nothing_running() -> Outcome {
    let pair = Pair::new().await;
    let echo = &pair.serving.echo;
    let (channel, mut client) = (pair.channel(), pair.client());
    let mut late = JoinSet::new();
    late.spawn(async move { client.unary(held()).await.map(|_| ()) });
    echo.wait_for(|calls| calls.running() == 1).await;
    let closing = pair.factory.close(Duration::from_secs(20));
    let releasing = async {
        let status = EchoClient::new(channel).unary(says("a")).await.unwrap_err();
        assert!(matches!(FactoryError::of(&status), Some(FactoryError::Closed)), "{status}");
        echo.release();
    };
    tokio::join!(closing, releasing);
    late.join_all().await.into_iter().collect::<Result<(), _>>()?;
    assert_eq!(pair.factory.tasks(), 0);
    Ok(())
}

#[tokio::test]
async fn calls_that_are_late_when_a_factory_closes_are_cut_off() {
    let pair = Pair::new().await;
    let mut client = pair.client();
    let mut late = JoinSet::new();
    late.spawn(async move { client.unary(held()).await.map(|_| ()) });
    pair.serving.echo.wait_for(|calls| calls.running() == 1).await;
    pair.factory.close(Duration::ZERO).await;
    let outcomes = late.join_all().await;
    assert_eq!(
        outcomes.iter().map(|outcome| outcome.as_ref().map_err(tonic::Status::code)).collect::<Vec<_>>(),
        [Err(Code::Unavailable)]
    );
    pair.serving.echo.wait_for(|calls| calls.dropped == 1).await;
}

#[tokio::test]
async fn the_last_channel_takes_the_factory_along() -> Outcome {
    let Pair { serving, factory, .. } = Pair::new().await;
    let mut client = EchoClient::new(channel(&factory, &serving.target()));
    drop(factory);
    client.unary(says("a")).await?;
    let echo = serving.echo.clone();
    let mut replies = client.chat(futures_util::stream::pending()).await?.into_inner();
    echo.wait_for(|calls| calls.running() == 1).await;
    drop(client);
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    echo.wait_for(|calls| calls.running() == 0).await;
    Ok(())
}

#[tokio::test]
async fn a_target_that_does_not_speak_http3_is_not_asked_for_it_unless_somebody_insists() -> Outcome {
    let pair = Pair::with(Profile::control_plane()).await;
    let quic = Quic::start(pair.serving.address, credentials(&pair.authority, SERVER), pair.serving.echo.clone());
    let target = pair.serving.target().with_http3(false);
    let without = channel(&pair.factory, &target);
    EchoClient::new(without.clone()).unary(says("a")).await?;
    assert_eq!((without.connection(), quic.accepted()), (Some((Protocol::Http2, 0)), 0));
    let mut profile = Profile::control_plane();
    profile.http3.mode = Http3Mode::Only;
    let insisting = factory(credentials(&pair.authority, CLIENT), profile);
    EchoClient::new(channel(&insisting, &target)).unary(says("b")).await?;
    assert_eq!(quic.accepted(), 1);
    pair.factory.set_http3(&target.endpoint, Some(Http3Mode::Only))?;
    EchoClient::new(without.clone()).unary(says("c")).await?;
    assert_eq!((without.connection(), quic.accepted()), (Some((Protocol::Http3, 0)), 2));
    Ok(())
}
