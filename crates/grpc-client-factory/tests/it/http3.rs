//! HTTP/3 first, HTTP/2 when it must.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use grpc_client_factory::{FactoryError, Http3Mode, Profile, Protocol, Refuser, Target};
use identity::{ExpectedPeer, RefusalReason, SharedCredentials};
use test_authority::{Authority, Holder};
use test_rpc::EchoService;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::{EchoReply, EchoRequest, Failure, StreamRequest, Summary};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::{Code, Request};

use crate::quic::{Quic, Wire};
use crate::support::{
    CLIENT, Outcome, PATIENCE, Pair, SERVER, Serving, channel, credentials, factory, held, says, unhurried, wait_until,
};

/// The control-plane profile without second attempts, changed.
fn profile(change: impl FnOnce(&mut Profile)) -> Profile {
    let mut profile = Profile::control_plane();
    profile.retry.max_attempts = 1;
    change(&mut profile);
    profile
}

/// A pair whose server speaks HTTP/3 as well, at the same port.
struct Both {
    pair: Pair,
    quic: Option<Quic>,
}

impl Both {
    /// Gives HTTP/3 so much of a head start that a busy machine cannot use it up.
    async fn new() -> Self {
        Self::with(patient(Profile::control_plane())).await
    }

    async fn with(profile: Profile) -> Self {
        let mut both = Self { pair: Pair::with(profile).await, quic: None };
        both.start_quic();
        both
    }

    fn start_quic(&mut self) {
        let credentials = credentials(&self.pair.authority, SERVER);
        self.quic = Some(Quic::start(self.pair.serving.address, credentials, self.pair.serving.echo.clone()));
    }

    fn quic(&self) -> &Quic {
        self.quic.as_ref().expect("it was started")
    }

    fn protocol(&self) -> Option<Protocol> {
        self.pair.channel().connection().map(|(protocol, _)| protocol)
    }

    /// TCP and QUIC connections that there have been.
    fn accepted(&self) -> (usize, usize) {
        (self.pair.serving.accepted(), self.quic().accepted())
    }
}

fn only_http3() -> Profile {
    profile(|profile| profile.http3.mode = Http3Mode::Only)
}

fn patient(mut profile: Profile) -> Profile {
    profile.http3.race_delay = Duration::from_secs(10);
    profile.connect_timeout = Duration::from_secs(20);
    profile
}

fn reply(text: &'static str, index: u64) -> EchoReply {
    EchoReply { payload: Bytes::from_static(text.as_bytes()), index }
}

fn quick() -> Profile {
    profile(|profile| {
        profile.http3.race_delay = Duration::from_millis(50);
        profile.http3.broken_min = Duration::from_millis(100);
        profile.http3.stall = Duration::from_millis(300);
    })
}

#[tokio::test]
async fn every_shape_answers_over_http3_alone() -> Outcome {
    let both = Both::new().await;
    let mut client = both.pair.client();
    assert_eq!(client.unary(says("a")).await?.into_inner(), reply("a", 0));
    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    let repeated: Vec<_> = client.server_stream(three).await?.into_inner().try_collect().await?;
    assert_eq!(repeated, [reply("b", 0), reply("b", 1), reply("b", 2)]);
    let sum = client.client_stream(stream::iter([says("c"), says("dd"), says("eee")])).await?.into_inner();
    assert_eq!(sum, Summary { messages: 3, bytes: 6 });
    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    let mut replies = client.chat(said).await?.into_inner();
    for (index, word) in ["one", "two", "three"].into_iter().enumerate() {
        say.send(says(word)).await?;
        assert_eq!(replies.message().await?, Some(reply(word, index as u64)));
    }
    drop(say);
    assert_eq!(replies.message().await?, None);
    assert_eq!((both.accepted(), both.protocol()), ((0, 1), Some(Protocol::Http3)));
    Ok(())
}

#[tokio::test]
async fn failures_come_with_details_and_metadata_over_http3() {
    let both = Both::new().await;
    let failure = Failure { code: 9, message: "nöt now".to_owned(), details: "why".into(), panic: false };
    let mut request = Request::new(EchoRequest { failure: Some(failure), ..says("a") });
    request.metadata_mut().insert("echo-key", "value".parse().unwrap());
    let status = both.pair.client().unary(request).await.unwrap_err();
    assert_eq!((status.code(), status.message(), status.details()), (Code::FailedPrecondition, "nöt now", &b"why"[..]));
    assert_eq!(status.metadata().get("echo-key").map(|value| value.as_bytes()), Some(&b"value"[..]));
    assert_eq!(both.accepted(), (0, 1));
}

#[tokio::test]
async fn a_large_message_comes_back_whole_over_http3() -> Outcome {
    let both = Both::with(patient(Profile::data_plane())).await;
    let bytes: Vec<u8> = (0..8 << 20).map(|place: u32| place.to_le_bytes()[1]).collect();
    let mut client = both.pair.client().max_decoding_message_size(64 << 20);
    let request = EchoRequest { payload: bytes.clone().into(), ..EchoRequest::default() };
    assert!(client.unary(request).await?.into_inner().payload == bytes);
    assert_eq!(both.accepted(), (0, 1));
    Ok(())
}

#[tokio::test]
async fn giving_up_reaches_the_handler_over_http3_and_leaves_the_connection() -> Outcome {
    let both = Both::new().await;
    let echo = &both.pair.serving.echo;
    let mut client = both.pair.client();
    tokio::select! {
        answer = client.unary(held()) => drop(answer?),
        _ = echo.wait_for(|calls| calls.running() == 1) => {}
    }
    echo.wait_for(|calls| calls.dropped == 1).await;
    let for_ever = StreamRequest { each: Some(held()), count: 1, failure: None };
    let mut replies = both.pair.client().server_stream(for_ever).await?.into_inner();
    tokio::select! {
        reply = replies.message() => drop(reply?),
        _ = echo.wait_for(|calls| calls.running() == 1) => {}
    }
    drop(replies);
    echo.wait_for(|calls| calls.dropped == 2).await;
    let mut request = Request::new(held());
    request.set_timeout(Duration::from_millis(100));
    assert_eq!(both.pair.client().unary(request).await.unwrap_err().code(), Code::DeadlineExceeded);
    echo.wait_for(|calls| calls.running() == 0).await;
    assert_eq!(both.pair.client().unary(says("a")).await?.into_inner(), reply("a", 0));
    assert_eq!(both.accepted(), (0, 1));
    Ok(())
}

#[tokio::test]
async fn where_nobody_listens_on_udp_calls_go_over_http2_until_somebody_does() -> Outcome {
    let mut both = Both { pair: Pair::with(quick()).await, quic: None };
    both.pair.client().unary(says("a")).await?;
    assert_eq!(both.protocol(), Some(Protocol::Http2));
    both.start_quic();
    wait_until(|| both.protocol() == Some(Protocol::Http3)).await;
    both.pair.client().unary(says("b")).await?;
    assert_eq!(both.pair.serving.accepted(), 1);
    Ok(())
}

#[tokio::test]
async fn where_udp_is_swallowed_the_first_call_goes_over_http2_after_the_head_start() -> Outcome {
    let pair = Pair::with(quick()).await;
    let swallows = UdpSocket::bind(pair.serving.address)?;
    pair.client().unary(says("a")).await?;
    assert_eq!(pair.channel().connection(), Some((Protocol::Http2, 0)));
    let mut first = [0; 2048];
    assert!(swallows.recv(&mut first)? >= 1200, "HTTP/3 was tried first");
    Ok(())
}

#[tokio::test]
async fn a_mode_set_at_run_time_holds_for_the_next_call_while_streams_finish() -> Outcome {
    let both = Both::new().await;
    let echo = &both.pair.serving.echo;
    let thirty = StreamRequest { each: Some(held()), count: 30, failure: None };
    let open = both.pair.client().server_stream(thirty).await?.into_inner();
    assert_eq!(both.protocol(), Some(Protocol::Http3));
    let set = |mode| both.pair.factory.set_http3(&both.pair.serving.endpoint(), mode);

    set(Some(Http3Mode::Off))?;
    both.pair.client().unary(says("a")).await?;
    assert_eq!((both.accepted(), both.protocol()), ((1, 1), Some(Protocol::Http2)));
    echo.release();
    assert_eq!(open.try_collect::<Vec<_>>().await?.len(), 30);

    set(None)?;
    wait_until(|| both.protocol() == Some(Protocol::Http3)).await;
    set(Some(Http3Mode::Only))?;
    both.pair.client().unary(says("b")).await?;
    assert_eq!((both.accepted(), both.protocol()), ((1, 2), Some(Protocol::Http3)));
    Ok(())
}

#[tokio::test]
async fn a_server_without_http3_fails_calls_that_take_nothing_else() -> Outcome {
    let pair = Pair::with(only_http3()).await;
    drop(UdpSocket::bind(pair.serving.address)?);
    let mut request = Request::new(says("a"));
    request.set_timeout(Duration::from_millis(300));
    pair.client().unary(request).await.unwrap_err();
    assert_eq!(pair.serving.accepted(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_over_http3_is_lost_while_the_server_drains_again_and_again() {
    let both = Both::with(unhurried(only_http3())).await;
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        let mut client = both.pair.client();
        callers.spawn(async move {
            for _ in 0..200 {
                client.unary(says("a")).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    for third in 1..=3 {
        let ended = both.pair.serving.echo.wait_for(|calls| calls.ended >= third * 1_500);
        let mut ended = std::pin::pin!(ended);
        loop {
            tokio::select! {
                _ = &mut ended => break both.quic().drain(),
                Some(done) = callers.join_next() => done.expect("no panic").expect("a call was lost"),
            }
        }
    }
    for outcome in callers.join_all().await {
        outcome.expect("a call was lost");
    }
    assert_eq!(both.accepted(), (0, 4));
}

#[tokio::test]
async fn a_drained_connection_finishes_its_stream_over_http3() -> Outcome {
    let both = Both::with(only_http3()).await;
    let forty = StreamRequest { each: Some(held()), count: 40, failure: None };
    let open = both.pair.client().server_stream(forty).await?.into_inner();
    both.quic().drain();
    while both.quic().accepted() == 1 {
        both.pair.client().unary(says("a")).await?;
    }
    both.pair.serving.echo.release();
    assert_eq!(open.try_collect::<Vec<_>>().await?.len(), 40);
    Ok(())
}

#[tokio::test]
async fn calls_beyond_the_streams_of_an_http3_connection_wait_their_turn() {
    let both = Both::with(patient(profile(|profile| profile.http3.max_streams = 8))).await;
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let mut client = both.pair.client();
        callers.spawn(async move { client.unary(held()).await.map(|_| ()) });
    }
    let echo = &both.pair.serving.echo;
    echo.wait_for(|calls| calls.running() == 8).await;
    echo.release();
    let outcomes = callers.join_all().await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(both.accepted(), (0, 1));
}

#[tokio::test]
async fn twenty_readers_that_read_nothing_hold_up_nobody_else_over_http3() -> Outcome {
    let both = Both::new().await;
    let chunk = EchoRequest { more_bytes: 60_000, ..EchoRequest::default() };
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let flood = StreamRequest { each: Some(chunk.clone()), count: 100_000, failure: None };
        let mut replies = both.pair.client().server_stream(flood).await?.into_inner();
        replies.message().await?;
        stalled.push(replies);
    }
    assert_eq!(both.pair.client().unary(says("a")).await?.into_inner().payload, "a");
    assert_eq!((both.accepted(), stalled.len()), ((0, 1), 20));
    Ok(())
}

/// Calls a server that holds `server` over HTTP/3 and HTTP/2, expecting [`SERVER`]; who refuses whom must be the same as over
/// HTTP/2, and HTTP/2 must not be tried.
async fn check_refusal(
    client: Authority,
    server: (Authority, &str),
    also_trusts: bool,
    expected: (Refuser, RefusalReason),
) {
    let (authority, node) = server;
    let holder = Holder {
        also_trusts: if also_trusts { vec![authority.trust_bundle_pem()] } else { Vec::new() },
        ..Holder::new(CLIENT)
    };
    let serving = Serving::start(credentials(&authority, node)).await;
    let quic = Quic::start(serving.address, credentials(&authority, node), serving.echo.clone());
    let factory = factory(client.credentials_with(&holder).expect("credentials"), patient(Profile::control_plane()));
    let mut target = serving.target();
    if also_trusts {
        target.peer = ExpectedPeer::Member;
    }
    let status = EchoClient::new(channel(&factory, &target)).unary(says("a")).await.expect_err("a refusal");
    let refusal = match FactoryError::of(&status) {
        Some(FactoryError::Tls(failure)) => Some((failure.protocol, failure.refuser, failure.reason)),
        _ => None,
    };
    assert_eq!(refusal, Some((Protocol::Http3, expected.0, expected.1)), "{status}");
    assert_eq!((status.code(), serving.accepted(), quic.accepted()), (Code::Unauthenticated, 0, 1));
}

#[tokio::test]
async fn a_certificate_that_is_refused_over_http3_is_not_tried_over_http2() {
    let new = || Authority::new().expect("a CA");
    check_refusal(new(), (new(), SERVER), false, (Refuser::Us, RefusalReason::UnknownCa)).await;
    check_refusal(new(), (new(), SERVER), true, (Refuser::Peer, RefusalReason::UnknownCa)).await;
}

#[tokio::test]
async fn another_node_than_the_one_dialled_is_refused_over_http3() {
    let authority = Authority::new().unwrap();
    let serving = Serving::start(credentials(&authority, "other")).await;
    let quic = Quic::start(serving.address, credentials(&authority, "other"), serving.echo.clone());
    let factory = factory(credentials(&authority, CLIENT), patient(Profile::control_plane()));
    let status = EchoClient::new(channel(&factory, &serving.target())).unary(says("a")).await.unwrap_err();
    let Some(FactoryError::Tls(failure)) = FactoryError::of(&status) else { panic!("no refusal: {status}") };
    assert_eq!((failure.refuser, failure.reason), (Refuser::Us, RefusalReason::WrongPeer));
    assert_eq!((serving.accepted(), quic.accepted(), serving.echo.calls().begun), (0, 1, 0));
}

#[tokio::test]
async fn packets_that_arrive_nowhere_move_new_calls_to_http2_and_end_those_that_wait() -> Outcome {
    let pair = Pair::with(patient(quick())).await;
    let echo = &pair.serving.echo;
    let quic = Quic::start("127.0.0.1:0".parse()?, credentials(&pair.authority, SERVER), echo.clone());
    let wire = Wire::start(pair.serving.address, quic.address).await;
    pair.client().unary(says("a")).await?;
    assert_eq!((pair.serving.accepted(), quic.accepted()), (0, 1));
    wire.swallow();
    let mut client = pair.client();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { client.unary(held()).await.expect_err("no answer can come") });
    wait_until(|| pair.channel().connection() == Some((Protocol::Http2, 0))).await;
    pair.client().unary(says("b")).await?;
    let status = waiting.join_next().await.expect("a call")?;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(pair.serving.accepted(), 1);
    Ok(())
}

#[tokio::test]
async fn calls_to_a_host_that_vanishes_do_not_wait_for_what_it_takes_to_see_that_http2_fails_too() -> Outcome {
    let authority = Authority::new()?;
    // Whoever connects there hears nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?;
    let quic = Quic::start("127.0.0.1:0".parse()?, credentials(&authority, SERVER), EchoService::default());
    let wire = Wire::start(address, quic.address).await;
    let mut profile = unhurried(patient(quick()));
    (profile.http3.stall, profile.connect_timeout) = (Duration::from_secs(1), Duration::from_secs(60));
    let factory = factory(credentials(&authority, CLIENT), profile);
    let channel = channel(&factory, &Target::new(address.into(), ExpectedPeer::Node(SERVER.parse()?)));
    let client = EchoClient::new(channel.clone());
    client.clone().unary(says("a")).await?;
    wire.swallow();
    let call = |request| {
        let mut client = client.clone();
        async move { client.unary(request).await.expect_err("no answer can come") }
    };
    let mut calls = JoinSet::new();
    calls.spawn(call(held()));
    wait_until(|| channel.connection().is_none()).await;
    // Comes while it is tried whether there is another way.
    calls.spawn(call(says("b")));
    let mut said = Vec::new();
    while let Some(status) = timeout(PATIENCE, calls.join_next()).await? {
        let status = status?;
        said.push(match FactoryError::of(&status) {
            Some(FactoryError::Lost { .. }) => "lost",
            Some(FactoryError::ConnectTimeout { .. }) => "not connected",
            _ => return Err(status.into()),
        });
    }
    said.sort_unstable();
    assert_eq!(said, ["lost", "not connected"]);
    Ok(())
}

#[tokio::test]
async fn a_server_whose_certificate_is_revoked_loses_the_calls_under_way_over_http3() -> Outcome {
    let authority = Authority::new()?;
    let holder = Holder::new(SERVER);
    let issued = authority.issue(&holder)?;
    let serving = Serving::start(credentials(&authority, SERVER)).await;
    let quic = Quic::start(serving.address, authority.credentials_of(&issued, &holder)?, serving.echo.clone());
    let own = credentials(&authority, CLIENT);
    let factory = factory(Arc::new(SharedCredentials::new((*own).clone())), patient(Profile::control_plane()));
    let mut client = EchoClient::new(channel(&factory, &serving.target()));
    let stream = StreamRequest { each: Some(held()), count: 1, failure: None };
    let mut replies = client.server_stream(stream).await?.into_inner();
    own.revocations().learn(authority.revoke(1, [&issued])?.der(), &own)?;
    let status = replies.message().await.expect_err("the end");
    let Some(FactoryError::Tls(failure)) = FactoryError::of(&status) else { panic!("no refusal: {status}") };
    assert_eq!((failure.refuser, failure.reason), (Refuser::Us, RefusalReason::Revoked));
    assert_eq!(quic.accepted(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_certificates_are_taken_up_over_http3_without_a_lost_call() -> Outcome {
    let both = Both::new().await;
    let shared = Arc::new(SharedCredentials::new((*credentials(&both.pair.authority, CLIENT)).clone()));
    let factory = factory(Arc::clone(&shared) as _, Profile { renew_within: Duration::ZERO, ..only_http3() });
    let stop = tokio::sync::watch::Sender::new(false);
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let mut client = EchoClient::new(channel(&factory, &both.pair.serving.target()));
        let stop = stop.subscribe();
        callers.spawn(async move {
            while !*stop.borrow() {
                client.unary(says("a")).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    both.pair.serving.echo.wait_for(|calls| calls.ended > 100).await;
    for turn in 1..=20 {
        shared.replace(&credentials(&both.pair.authority, CLIENT))?;
        wait_until(|| both.quic().accepted() == turn + 1).await;
    }
    stop.send_replace(true);
    for outcome in callers.join_all().await {
        outcome?;
    }
    assert_eq!(both.accepted(), (0, 21));
    Ok(())
}
