//! Gossip in somebody else's server: the code of the example `tonic_server`, and what its embedder relies on.

#[path = "../../examples/tonic_server/server.rs"]
mod server;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt as _;
use gossip::{Options, Service};
use hyper_util::rt::TokioIo;
use identity::Credentials;
use peers_core::{MembershipView as _, Peer, PeerSource as _, PeerUpdate};
use rustls::pki_types::ServerName;
use test_cluster::Authority;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::{Failure, LIMIT, unused_address};

fn options(credentials: &Credentials, seeds: &[SocketAddr]) -> Result<Options, Failure> {
    let mut options = Options::of(credentials.spiffe_id(), "local".parse()?);
    (options.bind_address, options.port) = ([127, 0, 0, 1].into(), 0);
    options.seed_peers = seeds.iter().copied().map(Into::into).collect();
    Ok(options)
}

/// Asks the server at `address` how it is, as `caller`.
async fn health_at(address: SocketAddr, caller: &Credentials) -> Result<ServingStatus, Failure> {
    let tls = TlsConnector::from(caller.client_config(&[b"h2"]));
    let connect = tower::service_fn(move |_uri| {
        let tls = tls.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(ServerName::from(address.ip()), tcp).await?))
        }
    });
    // TLS is the connector's: to tonic it is plain.
    let channel = Endpoint::from_static("http://mesh").connect_with_connector(connect).await?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status())
}

#[tokio::test]
async fn tonic_servers_find_each_other_by_gossip_and_call_each_other() -> Result<(), Failure> {
    let authority = Authority::new()?;
    let stop = CancellationToken::new();
    let mut servers = JoinSet::new();
    let seed = unused_address([127, 0, 0, 1])?;
    let mut told = Vec::new();
    for node in ["node-a", "node-b"] {
        let credentials = authority.credentials(node)?;
        let mut options = options(&credentials, &[seed])?;
        if node == "node-a" {
            options.port = seed.port();
        }
        let grpc = TcpListener::bind("127.0.0.1:0").await?;
        let (sender, updates) = mpsc::channel(64);
        told.push((grpc.local_addr()?, updates, Arc::clone(&credentials)));
        let tell = move |update| drop(sender.try_send(update));
        servers.spawn(Box::pin(server::serve(grpc, options, credentials, tell, stop.clone())));
    }
    let grpc: Vec<SocketAddr> = told.iter().map(|(grpc, ..)| *grpc).collect();
    for ((_, updates, caller), other) in told.iter_mut().zip(grpc.into_iter().rev()) {
        let peer = timeout(LIMIT, first_peer(updates)).await??;
        let address = peer.endpoints.first().and_then(|endpoint| endpoint.address.socket_addr());
        assert_eq!(address, Some(other));
        assert_eq!(timeout(LIMIT, health_at(other, caller)).await??, ServingStatus::Serving);
    }
    stop.cancel();
    while let Some(ended) = timeout(LIMIT, servers.join_next()).await? {
        ended??;
    }
    Ok(())
}

async fn first_peer(updates: &mut mpsc::Receiver<PeerUpdate>) -> Result<Peer, Failure> {
    while let Some(update) = updates.recv().await {
        match update {
            PeerUpdate::Upsert(peer) => return Ok(peer),
            PeerUpdate::Reset(peers) => {
                if let Some(peer) = peers.into_iter().next() {
                    return Ok(peer);
                }
            }
            PeerUpdate::Remove(_) => {}
        }
    }
    Err("the server has ended".into())
}

#[tokio::test]
async fn a_caller_without_a_certificate_of_the_mesh_does_not_get_through_to_grpc() -> Result<(), Failure> {
    let (authority, strangers) = (Authority::new()?, Authority::new()?);
    let credentials = authority.credentials("node-a")?;
    let stop = CancellationToken::new();
    let grpc = TcpListener::bind("127.0.0.1:0").await?;
    let address = grpc.local_addr()?;
    let mut servers = JoinSet::new();
    let options = options(&credentials, &[])?;
    servers.spawn(Box::pin(server::serve(grpc, options, Arc::clone(&credentials) as _, drop, stop.clone())));
    let holder = test_cluster::Holder {
        // It trusts the server, which does not trust it.
        also_trusts: vec![authority.trust_bundle_pem()],
        ..test_cluster::Holder::new("node-b")
    };
    let stranger = strangers.credentials_with(&holder)?;
    assert!(timeout(LIMIT, health_at(address, &stranger)).await?.is_err());
    // The server goes on with those who may.
    assert_eq!(timeout(LIMIT, health_at(address, &credentials)).await??, ServingStatus::Serving);
    stop.cancel();
    timeout(LIMIT, servers.join_next()).await?.ok_or("it was started")???;
    Ok(())
}

#[tokio::test]
async fn everything_that_follows_a_service_ends_with_it_and_the_membership_stays() -> Result<(), Failure> {
    let credentials = Authority::new()?.credentials("node-a")?;
    let service = Service::bind(options(&credentials, &[])?, Arc::clone(&credentials) as _)?;
    let handle = service.handle();
    let (mut events, mut peers) = (handle.events(), handle.subscribe());
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(service.run(stop.clone()));
    stop.cancel();
    timeout(LIMIT, running.join_next()).await?.ok_or("it was started")???;
    timeout(LIMIT, handle.ended()).await?;
    let mut names = Vec::new();
    while let Some(happened) = timeout(LIMIT, events.next()).await? {
        names.push(happened?.event.name());
    }
    assert_eq!(names, ["left"]);
    assert_eq!(timeout(LIMIT, peers.next()).await?, Some(PeerUpdate::Reset(Vec::new())));
    assert_eq!(timeout(LIMIT, peers.next()).await?, None);
    assert_eq!(handle.current().members.len(), 1);
    Ok(())
}
