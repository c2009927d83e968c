//! Servers whose process has died, over HTTP/3: nothing is said to their clients but by the host.

use std::net::Ipv4Addr;
use std::time::Duration;

use grpc_client_factory::{FactoryError, Profile, Protocol, Target};
use identity::ExpectedPeer;
use mesh_server::{CancellationToken, Options, Server};
use test_authority::Authority;
use test_rpc::EchoService;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;
use tonic::service::Routes;

use crate::support::{CLIENT, Outcome, PATIENCE, SERVER, channel, credentials, factory, held, says, wait_until};

#[tokio::test]
async fn calls_to_a_server_that_is_gone_end_as_soon_as_something_is_sent_to_it() -> Outcome {
    let authority = Authority::new()?;
    // Whatever runs in it ends without a word, as with a process.
    let process = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (address, echo) = {
        let _inside = process.enter();
        let server = Server::bind(
            Options { address: (Ipv4Addr::LOCALHOST, 0).into(), ..Options::default() },
            credentials(&authority, SERVER),
        )?;
        let (address, echo) = (server.local_addr(), EchoService::default());
        process.spawn(server.run(Routes::new(EchoServer::new(echo.clone())), CancellationToken::new()));
        (address, echo)
    };
    let mut profile = Profile::data_plane();
    profile.http3.stall = Duration::from_secs(60);
    profile.http3.race_delay = Duration::from_secs(10);
    let factory = factory(credentials(&authority, CLIENT), profile);
    let target = Target::new(address.into(), ExpectedPeer::Node(SERVER.parse()?));
    let mut client = EchoClient::new(channel(&factory, &target));
    client.unary(says("a")).await?;
    let mut calls = JoinSet::new();
    let mut first = client.clone();
    calls.spawn(async move { first.unary(held()).await });
    wait_until(|| echo.calls().begun == 2).await;

    process.shutdown_background();
    wait_until(|| std::net::TcpStream::connect(address).is_err()).await;
    let later = timeout(PATIENCE, client.unary(says("b"))).await?.expect_err("nobody is there");
    let under_way = timeout(PATIENCE, calls.join_next()).await?.expect("a call")?.expect_err("its server is gone");
    assert_eq!(later.code(), Code::Unavailable, "{later:?}");
    let lost = FactoryError::of(&under_way);
    assert!(matches!(lost, Some(FactoryError::Lost { protocol: Protocol::Http3, .. })), "{under_way:?}");
    Ok(())
}
