//! Certificates that one side does not accept, and new ones.

use std::sync::Arc;
use std::time::Duration;

use grpc_client_factory::{FactoryError, Refuser, Target};
use identity::{Credentials, ExpectedPeer, RefusalReason, SharedCredentials};
use test_authority::{Authority, Holder};
use test_rpc::rpc::StreamRequest;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::support::{CLIENT, Outcome, SERVER, Serving, channel, credentials, factory, held, profile, says};

/// Calls `server` as `client`, expecting `peer`, and checks who refuses whom and why. No call must arrive.
async fn check(
    client: Arc<Credentials>,
    server: Arc<Credentials>,
    peer: ExpectedPeer,
    expected: (Refuser, RefusalReason),
) {
    let serving = Serving::start(server).await;
    let factory = factory(client, profile(|_| ()));
    let target = Target::new(serving.endpoint(), peer);
    let status = EchoClient::new(channel(&factory, &target)).unary(says("a")).await.expect_err("a refusal");
    assert_eq!((status.code(), refusal(&status)), (Code::Unauthenticated, Some(expected)), "{status}");
    assert_eq!(serving.echo.calls().begun, 0);
}

fn refusal(status: &Status) -> Option<(Refuser, RefusalReason)> {
    match FactoryError::of(status) {
        Some(FactoryError::Tls(failure)) => Some((failure.refuser, failure.reason)),
        _ => None,
    }
}

fn server_node() -> ExpectedPeer {
    ExpectedPeer::Node(SERVER.parse().expect("a name"))
}

#[tokio::test]
async fn another_node_than_the_one_dialled_gets_no_call() {
    let authority = Authority::new().unwrap();
    let (client, other) = (credentials(&authority, CLIENT), credentials(&authority, "other"));
    check(client, other, server_node(), (Refuser::Us, RefusalReason::WrongPeer)).await;
}

#[tokio::test]
async fn a_server_of_an_unknown_ca_gets_no_call() {
    let (ours, theirs) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (client, server) = (credentials(&ours, CLIENT), credentials(&theirs, SERVER));
    check(client, server, server_node(), (Refuser::Us, RefusalReason::UnknownCa)).await;
}

#[tokio::test]
async fn a_server_that_does_not_know_our_ca_says_so_after_the_handshake() {
    let (ours, theirs) = (Authority::new().unwrap(), Authority::new().unwrap());
    let holder = Holder { also_trusts: vec![theirs.trust_bundle_pem()], ..Holder::new(CLIENT) };
    let (client, server) = (ours.credentials_with(&holder).unwrap(), credentials(&theirs, SERVER));
    check(
        client,
        server,
        ExpectedPeer::TrustDomain("mesh.test".parse().unwrap()),
        (Refuser::Peer, RefusalReason::UnknownCa),
    )
    .await;
}

#[tokio::test]
async fn an_expired_certificate_of_ours_is_refused_by_the_server() {
    let authority = Authority::new().unwrap();
    let expired = Holder { age: Duration::from_hours(2), ..Holder::new(CLIENT) };
    let (client, server) = (authority.credentials_with(&expired).unwrap(), credentials(&authority, SERVER));
    check(client, server, server_node(), (Refuser::Peer, RefusalReason::Expired)).await;
}

#[tokio::test]
async fn a_revoked_certificate_of_ours_is_refused_by_the_server() {
    let authority = Authority::new().unwrap();
    let holder = Holder::new(CLIENT);
    let issued = authority.issue(&holder).unwrap();
    let (client, server) = (authority.credentials_of(&issued, &holder).unwrap(), credentials(&authority, SERVER));
    server.revocations().learn(authority.revoke(1, [&issued]).unwrap().der(), &server).unwrap();
    check(client, server, server_node(), (Refuser::Peer, RefusalReason::Revoked)).await;
}

#[tokio::test]
async fn a_server_of_another_cluster_is_called_only_if_that_is_meant() -> Outcome {
    let authority = Authority::new()?;
    let other = Holder { cluster: "other".to_owned(), ..Holder::new(SERVER) };
    let (client, server) = (credentials(&authority, CLIENT), authority.credentials_with(&other)?);
    check(Arc::clone(&client), Arc::clone(&server), server_node(), (Refuser::Us, RefusalReason::WrongCluster)).await;
    let serving = Serving::start(Arc::clone(&server) as _).await;
    let target = Target::new(serving.endpoint(), ExpectedPeer::Spiffe(server.spiffe_id().clone()));
    let factory = factory(client, profile(|_| ()));
    EchoClient::new(channel(&factory, &target)).unary(says("a")).await?;
    Ok(())
}

#[tokio::test]
async fn the_error_says_what_whose_certificate_and_what_to_do() {
    let authority = Authority::new().unwrap();
    let serving = Serving::start(credentials(&authority, "other")).await;
    let factory = factory(credentials(&authority, CLIENT), profile(|_| ()));
    let status = EchoClient::new(channel(&factory, &serving.target())).unary(says("a")).await.unwrap_err();
    let address = serving.address;
    assert_eq!(
        status.message(),
        format!(
            "certificate shown for node `server` of this cluster at `{address}` over HTTP/2 is refused (another peer than \
             the one dialled); another than the one expected listens there: look at the address, and at who is expected: \
             peer is spiffe://mesh.test/cluster/test/role/worker/node/other, not node `server` of this cluster"
        )
    );
}

#[tokio::test]
async fn a_server_whose_certificate_is_revoked_loses_the_calls_under_way() -> Outcome {
    let authority = Authority::new()?;
    let holder = Holder::new(SERVER);
    let issued = authority.issue(&holder)?;
    let serving = Serving::start(authority.credentials_of(&issued, &holder)?).await;
    let own = credentials(&authority, CLIENT);
    let factory = factory(Arc::new(SharedCredentials::new((*own).clone())), profile(|_| ()));
    let mut client = EchoClient::new(channel(&factory, &serving.target()));
    let stream = StreamRequest { each: Some(held()), count: 1, failure: None };
    let mut replies = client.server_stream(stream).await?.into_inner();
    own.revocations().learn(authority.revoke(1, [&issued])?.der(), &own)?;
    let status = replies.message().await.unwrap_err();
    let expected = Some((Refuser::Us, RefusalReason::Revoked));
    assert_eq!(refusal(&status), expected, "{status}");
    let next = client.unary(says("a")).await.unwrap_err();
    assert_eq!(refusal(&next), expected, "{next}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_certificates_are_taken_up_under_load_without_a_lost_call() -> Outcome {
    let authority = Authority::new()?;
    let serving = Serving::start(credentials(&authority, SERVER)).await;
    let shared = Arc::new(SharedCredentials::new((*credentials(&authority, CLIENT)).clone()));
    let factory = factory(Arc::clone(&shared) as _, profile(|profile| profile.renew_within = Duration::ZERO));
    let stop = tokio::sync::watch::Sender::new(false);
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let mut client = EchoClient::new(channel(&factory, &serving.target()));
        let stop = stop.subscribe();
        callers.spawn(async move {
            while !*stop.borrow() {
                client.unary(says("a")).await?;
            }
            Ok::<_, Status>(())
        });
    }
    let before = serving.echo.wait_for(|calls| calls.ended > 100).await.ended;
    for turn in 1..=20 {
        shared.replace(&credentials(&authority, CLIENT))?;
        crate::support::wait_until(|| serving.accepted() == turn + 1).await;
    }
    serving.echo.wait_for(|calls| calls.ended > before + 1000).await;
    stop.send_replace(true);
    for outcome in callers.join_all().await {
        outcome?;
    }
    assert_eq!(factory.connections(), 1);
    Ok(())
}

#[tokio::test]
async fn a_revoked_server_loses_the_connections_that_were_replaced_as_well() -> Outcome {
    let authority = Authority::new()?;
    let holder = Holder::new(SERVER);
    let issued = authority.issue(&holder)?;
    let serving = Serving::start(authority.credentials_of(&issued, &holder)?).await;
    let own = credentials(&authority, CLIENT);
    let factory = factory(Arc::new(SharedCredentials::new((*own).clone())), profile(|_| ()));
    let mut client = EchoClient::new(channel(&factory, &serving.target()));
    let stream = StreamRequest { each: Some(held()), count: 1, failure: None };
    let mut replies = client.server_stream(stream).await?.into_inner();
    serving.drain();
    while serving.accepted() == 1 {
        client.unary(says("a")).await?;
    }
    own.revocations().learn(authority.revoke(1, [&issued])?.der(), &own)?;
    let status = replies.message().await.unwrap_err();
    assert_eq!(refusal(&status), Some((Refuser::Us, RefusalReason::Revoked)), "{status}");
    Ok(())
}
