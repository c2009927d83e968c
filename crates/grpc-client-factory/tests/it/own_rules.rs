//! Rules of one's own about whom to talk to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use grpc_client_factory::{FactoryError, Http3Mode, Profile, Refuser, Target};
use identity::{CredentialSource, ExpectedPeer, PeerCheck, RefusalReason, SharedCredentials, SpiffeId};
use mesh_server::{CancellationToken, DrainReport, Handle, Options, Server};
use rustls::pki_types::CertificateDer;
use test_authority::Authority;
use test_rpc::EchoService;
use test_rpc::rpc::StreamRequest;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::{Code, Status};

use crate::quic::Quic;
use crate::support::{CLIENT, Outcome, SERVER, Serving, channel, credentials, factory, held, says, wait_until};

/// Talks to everybody but the node of this name.
#[derive(Debug)]
struct Shuns(&'static str);

impl PeerCheck for Shuns {
    fn check(&self, id: Option<&SpiffeId>, chain: &[CertificateDer<'_>]) -> Result<(), String> {
        let is_shunned = id.is_none_or(|id| id.node().as_str() == self.0) || chain.is_empty();
        if is_shunned { Err("it is in quarantine".to_owned()) } else { Ok(()) }
    }
}

/// A server of both protocols.
struct Node {
    echo: EchoService,
    handle: Handle,
    _running: JoinSet<DrainReport>,
}

impl Node {
    fn start(credentials: Arc<dyn CredentialSource>) -> Result<Self, Box<dyn std::error::Error>> {
        let options = Options { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..Options::default() };
        let server = Server::bind(options, credentials)?;
        let (echo, handle, mut running) = (EchoService::default(), server.handle(), JoinSet::new());
        running.spawn(server.run(Routes::new(EchoServer::new(echo.clone())), CancellationToken::new()));
        Ok(Self { echo, handle, _running: running })
    }

    fn target(&self) -> Target {
        Target::new(self.handle.local_addr().into(), ExpectedPeer::Node(SERVER.parse().expect("a name")))
    }
}

fn with_mode(mode: Http3Mode) -> Profile {
    let mut profile = Profile::control_plane();
    (profile.http3.mode, profile.retry.max_attempts) = (mode, 1);
    profile.http3.race_delay = std::time::Duration::from_secs(10);
    profile
}

fn refusal(status: &Status) -> Option<(Refuser, RefusalReason)> {
    match FactoryError::of(status) {
        Some(FactoryError::Tls(failure)) => Some((failure.refuser, failure.reason)),
        _ => None,
    }
}

#[tokio::test]
async fn a_server_that_our_rule_is_against_gets_no_call_and_is_not_tried_over_http2() {
    let authority = Authority::new().unwrap();
    let serving = Serving::start(credentials(&authority, SERVER)).await;
    let quic = Quic::start(serving.address, credentials(&authority, SERVER), serving.echo.clone());
    let own = Arc::new(credentials(&authority, CLIENT).with_check(Arc::new(Shuns(SERVER))));
    for (mode, accepted) in [(Http3Mode::Auto, (0, 1)), (Http3Mode::Off, (1, 1))] {
        let factory = factory(Arc::clone(&own) as _, with_mode(mode));
        let status = EchoClient::new(channel(&factory, &serving.target())).unary(says("a")).await.unwrap_err();
        assert_eq!(refusal(&status), Some((Refuser::Us, RefusalReason::OwnRule)), "{status}");
        assert!(status.message().ends_with("is refused: it is in quarantine"), "{status}");
        assert_eq!((status.code(), serving.echo.calls().begun), (Code::Unauthenticated, 0));
        assert_eq!((serving.accepted(), quic.accepted()), accepted);
    }
}

#[tokio::test]
async fn a_client_that_the_servers_rule_is_against_hears_that_access_is_denied_and_no_more() -> Outcome {
    let authority = Authority::new()?;
    let node = Node::start(Arc::new(credentials(&authority, SERVER).with_check(Arc::new(Shuns(CLIENT)))))?;
    for mode in [Http3Mode::Only, Http3Mode::Off] {
        let call = |name: &'static str| {
            let factory = factory(credentials(&authority, name), with_mode(mode));
            let mut client = EchoClient::new(channel(&factory, &node.target()));
            async move { client.unary(says("a")).await }
        };
        let status = call(CLIENT).await.unwrap_err();
        assert_eq!(refusal(&status), Some((Refuser::Peer, RefusalReason::AccessDenied)), "{status}");
        assert!(!status.message().contains("quarantine"), "{status}");
        call("other").await?;
    }
    assert_eq!(node.echo.calls().begun, 2);
    Ok(())
}

#[tokio::test]
async fn a_rule_that_is_set_later_holds_for_open_connections_and_for_new_certificates() -> Outcome {
    for mode in [Http3Mode::Only, Http3Mode::Off] {
        let authority = Authority::new()?;
        let node = Node::start(credentials(&authority, SERVER))?;
        let own = Arc::new(SharedCredentials::new((*credentials(&authority, CLIENT)).clone()));
        let factory = factory(Arc::clone(&own) as _, with_mode(mode));
        let mut client = EchoClient::new(channel(&factory, &node.target()));
        let stream = StreamRequest { each: Some(held()), count: 1, failure: None };
        let mut replies = client.server_stream(stream).await?.into_inner();
        own.set_check(Arc::new(Shuns(SERVER)));
        let status = replies.message().await.expect_err("the end");
        assert_eq!(refusal(&status).map(|(refuser, _)| refuser), Some(Refuser::Us), "{status}");
        own.replace(&credentials(&authority, CLIENT))?;
        let again = client.unary(says("a")).await.unwrap_err();
        assert_eq!(refusal(&again), Some((Refuser::Us, RefusalReason::OwnRule)), "{again}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_gets_a_rule_cuts_off_whom_it_is_against() -> Outcome {
    let authority = Authority::new()?;
    let own = Arc::new(SharedCredentials::new((*credentials(&authority, SERVER)).clone()));
    let node = Node::start(Arc::clone(&own) as _)?;
    let factory = factory(credentials(&authority, CLIENT), with_mode(Http3Mode::Auto));
    EchoClient::new(channel(&factory, &node.target())).unary(says("a")).await?;
    assert_eq!(node.handle.connections().len(), 1);
    own.set_check(Arc::new(Shuns(CLIENT)));
    wait_until(|| node.handle.connections().is_empty()).await;
    Ok(())
}
