//! What passes between client and server: nothing that can be read, whoever is refused and however.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grpc_client_factory::{Channel, FactoryError, Http3Mode, Profile, Protocol, Refuser, Target};
use identity::{Credentials, ExpectedPeer, RefusalReason};
use mesh_server::{CancellationToken, DrainReport, Options, Server};
use test_authority::{Authority, Holder};
use test_rpc::EchoService;
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::{Code, Request};

use crate::support::{CLIENT, Outcome, SERVER, channel, credentials, factory};
use crate::tap::{Seen, Tap};

/// Would show in a call that goes in the clear: its payload, metadata and path, HTTP/2's first words, and who the two are.
const TELLTALES: [&str; 6] =
    ["what only the two may know", "echo-telltale", "omnirelay.test.v1", "PRI * HTTP/2.0", "grpc-status", "spiffe://"];

const WAYS: [(Http3Mode, Protocol); 3] = [
    (Http3Mode::Only, Protocol::Http3),
    (Http3Mode::Off, Protocol::Http2),
    // Whoever is refused over HTTP/3 does not try HTTP/2.
    (Http3Mode::Auto, Protocol::Http3),
];

/// A server, somebody who listens in, and the channel of a client that calls through them.
struct Overheard {
    echo: EchoService,
    tap: Tap,
    channel: Channel,
    _running: JoinSet<DrainReport>,
}

impl Overheard {
    async fn start(server: Arc<Credentials>, client: Arc<Credentials>, mode: Http3Mode) -> Self {
        let options = Options { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..Options::default() };
        let server = Server::bind(options, server).expect("a server");
        let tap = Tap::to(server.local_addr()).await.expect("ports");
        let (echo, mut running) = (EchoService::default(), JoinSet::new());
        running.spawn(server.run(Routes::new(EchoServer::new(echo.clone())), CancellationToken::new()));
        let mut profile = Profile::control_plane();
        (profile.http3.mode, profile.retry.max_attempts) = (mode, 1);
        // A busy machine must not use up the head start of HTTP/3.
        (profile.http3.race_delay, profile.connect_timeout) = (Duration::from_secs(10), Duration::from_secs(20));
        let target = Target::new(tap.address.into(), ExpectedPeer::Node(SERVER.parse().expect("a name")));
        Self { echo, channel: channel(&factory(client, profile), &target), tap, _running: running }
    }

    async fn call(&self) -> Result<Bytes, tonic::Status> {
        let request = EchoRequest { payload: Bytes::from_static(TELLTALES[0].as_bytes()), ..EchoRequest::default() };
        let mut request = Request::new(request);
        request.metadata_mut().insert("echo-telltale", "x".parse().expect("a letter"));
        Ok(EchoClient::new(self.channel.clone()).unary(request).await?.into_inner().payload)
    }

    /// Checks that everything was encrypted, and came by `protocol` alone.
    fn check(&self, protocol: Protocol, what: &str) {
        let seen = self.tap.seen();
        let Seen { streams, packets } = &*seen;
        for telltale in TELLTALES {
            let is_in = |bytes: &Vec<u8>| bytes.windows(telltale.len()).any(|window| window == telltale.as_bytes());
            assert!(!streams.iter().chain(packets).any(is_in), "{what}: `{telltale}` went in the clear");
        }
        for stream in streams {
            check_records(stream, what);
        }
        let (by_tcp, by_udp) = (!streams.is_empty(), !packets.is_empty());
        assert_eq!((by_tcp, by_udp), (protocol == Protocol::Http2, protocol == Protocol::Http3), "{what}");
    }
}

/// Checks that a stream is nothing but records of TLS (RFC 8446 §5.1), and after the handshake's first of encrypted ones; the last
/// may have been cut off.
fn check_records(mut stream: &[u8], what: &str) {
    while let [kind, 3, 1 | 3, high, low, rest @ ..] = stream {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        assert!((20..=23).contains(kind) && length <= 16_384 + 256, "{what}: a record of type {kind}");
        stream = rest.get(length..).unwrap_or_default();
    }
    assert!(stream.len() < 5, "{what}: bytes that are no record: {stream:?}");
}

#[tokio::test]
async fn calls_are_encrypted_over_both() -> Outcome {
    let authority = Authority::new()?;
    for (mode, protocol) in WAYS {
        let overheard = Overheard::start(credentials(&authority, SERVER), credentials(&authority, CLIENT), mode).await;
        for _ in 0..3 {
            assert_eq!(overheard.call().await?, TELLTALES[0]);
        }
        overheard.check(protocol, "a good call");
    }
    Ok(())
}

/// Calls in each way, and checks that the call is refused for this reason before anything can be read.
async fn check_refused(server: &Arc<Credentials>, client: &Arc<Credentials>, expected: (Refuser, RefusalReason)) {
    for (mode, protocol) in WAYS {
        let overheard = Overheard::start(Arc::clone(server), Arc::clone(client), mode).await;
        let status = overheard.call().await.expect_err("a refusal");
        let what = format!("{expected:?} with {mode:?}");
        let refusal = match FactoryError::of(&status) {
            Some(FactoryError::Tls(failure)) => Some((failure.protocol, failure.refuser, failure.reason)),
            _ => None,
        };
        assert_eq!(refusal, Some((protocol, expected.0, expected.1)), "{what}: {status}");
        assert_eq!((status.code(), overheard.echo.calls().begun), (Code::Unauthenticated, 0), "{what}");
        overheard.check(protocol, &what);
    }
}

#[tokio::test]
async fn a_server_that_is_not_to_be_trusted_learns_nothing_over_either() -> Outcome {
    let authority = Authority::new()?;
    let client = credentials(&authority, CLIENT);
    let us = |reason| (Refuser::Us, reason);
    check_refused(&credentials(&authority, "other"), &client, us(RefusalReason::WrongPeer)).await;
    check_refused(&credentials(&Authority::new()?, SERVER), &client, us(RefusalReason::UnknownCa)).await;
    let late = Holder { age: Duration::from_hours(2), ..Holder::new(SERVER) };
    check_refused(&authority.credentials_with(&late)?, &client, us(RefusalReason::Expired)).await;
    let holder = Holder::new(SERVER);
    let issued = authority.issue(&holder)?;
    client.revocations().learn(authority.revoke(1, [&issued])?.der(), &client)?;
    check_refused(&authority.credentials_of(&issued, &holder)?, &client, us(RefusalReason::Revoked)).await;
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_not_let_in_hears_why_over_either() -> Outcome {
    let authority = Authority::new()?;
    let server = credentials(&authority, SERVER);
    let peer = |reason| (Refuser::Peer, reason);
    let stranger = Holder { also_trusts: vec![authority.trust_bundle_pem()], ..Holder::new(CLIENT) };
    let stranger = Authority::new()?.credentials_with(&stranger)?;
    let late = authority.credentials_with(&Holder { age: Duration::from_hours(2), ..Holder::new(CLIENT) })?;
    check_refused(&server, &late, peer(RefusalReason::Expired)).await;
    let holder = Holder::new(CLIENT);
    let issued = authority.issue(&holder)?;
    server.revocations().learn(authority.revoke(1, [&issued])?.der(), &server)?;
    check_refused(&server, &authority.credentials_of(&issued, &holder)?, peer(RefusalReason::Revoked)).await;
    check_refused(&server, &stranger, peer(RefusalReason::UnknownCa)).await;
    Ok(())
}
