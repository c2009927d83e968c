//! Channels to several peers, each a mesh-server of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use grpc_client_factory::{
    Affinity, BalancedChannel, BalancedOptions, ClientFactory, FactoryError, Profile, Protocol, Resent, Target,
};
use identity::ExpectedPeer;
use mesh_server::{CancellationToken, DrainReport, Options, Server};
use mesh_types::{
    BootEpoch, Features, Incarnation, Member, MemberState, MetadataVersion, NodeId, NodeLifecycle, NodeMetadata,
};
use peers_core::{
    BreakerOptions, BreakerState, ChooserPorts, Jitter, Peer, PeerHandle, PeerSource, PeerUpdate, PeerUpdates,
    PickError, TableOptions, hash_key,
};
use test_authority::Authority;
use test_rpc::EchoService;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use test_rpc::rpc::{EchoRequest, Failure, StreamRequest};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;
use tonic::service::Routes;

use crate::support::{
    CLIENT, Outcome, PATIENCE, SERVER, Serving, channel, credentials, factory, held, over_http2, says, wait_until,
};

/// A peer list that a test writes.
struct List {
    updates: Mutex<Option<mpsc::Receiver<PeerUpdate>>>,
}

impl PeerSource for List {
    fn subscribe(&self) -> PeerUpdates {
        let updates = self.updates.lock().expect("nobody panics with it").take().expect("one subscriber");
        stream::unfold(updates, |mut updates| async { updates.recv().await.map(|update| (update, updates)) }).boxed()
    }
}

/// One peer. Dropping its task is what `kill -9` does: its sockets close.
pub(crate) struct Node {
    id: NodeId,
    address: SocketAddr,
    pub(crate) echo: EchoService,
    running: JoinSet<DrainReport>,
}

impl Node {
    fn start(authority: &Authority, name: &str, at: SocketAddr) -> Result<Self, Box<dyn std::error::Error>> {
        let server = Server::bind(Options { address: at, ..Options::default() }, credentials(authority, name))?;
        let (id, address, echo) = (name.parse()?, server.local_addr(), EchoService::default());
        let mut running = JoinSet::new();
        running.spawn(server.run(Routes::new(EchoServer::new(echo.clone())), CancellationToken::new()));
        Ok(Self { id, address, echo, running })
    }

    fn peer(&self, http3_support: bool) -> Peer {
        peer(&self.id, self.address, http3_support)
    }
}

#[expect(clippy::disallowed_methods, reason = "a member carries when it was last seen; no test reads it")]
fn peer(id: &NodeId, address: SocketAddr, http3_support: bool) -> Peer {
    let metadata = NodeMetadata {
        role: "worker".parse().expect("valid"),
        cluster: "alpha".parse().expect("valid"),
        region: "eu-1".parse().expect("valid"),
        mesh_version: "1".into(),
        http3_support,
        endpoint: address.into(),
        labels: std::collections::BTreeMap::new(),
        features: Features::default(),
        lifecycle: NodeLifecycle::default(),
        services: std::collections::BTreeSet::new(),
        rpc_endpoint: None,
    };
    let member = Member {
        id: id.clone(),
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata),
        last_seen: std::time::Instant::now(),
        rtt: None,
    };
    Peer::from_member(&member).expect("alive")
}

/// Several peers, and a channel to them.
pub(crate) struct Many {
    authority: Authority,
    pub(crate) nodes: Vec<Node>,
    tell: mpsc::Sender<PeerUpdate>,
    factory: ClientFactory,
    pub(crate) channel: BalancedChannel,
}

pub(crate) fn breaker() -> BreakerOptions {
    BreakerOptions {
        consecutive_failures: 2,
        base_delay: Duration::from_millis(20),
        max_delay: Duration::from_millis(20),
        jitter: Jitter::None,
        half_open_successes: 1,
        slow_start: Duration::ZERO,
        ..BreakerOptions::default()
    }
}

async fn balanced(
    factory: &ClientFactory,
    peers: Vec<Peer>,
    chooser: &str,
    breaker: BreakerOptions,
) -> (mpsc::Sender<PeerUpdate>, BalancedChannel) {
    balanced_by("test", factory, peers, chooser, breaker).await
}

async fn balanced_by(
    profile: &str,
    factory: &ClientFactory,
    peers: Vec<Peer>,
    chooser: &str,
    breaker: BreakerOptions,
) -> (mpsc::Sender<PeerUpdate>, BalancedChannel) {
    let (tell, told) = mpsc::channel(16);
    tell.send(PeerUpdate::Reset(peers)).await.expect("room");
    let list = List { updates: Mutex::new(Some(told)) };
    let spec = chooser.parse().expect("a chooser");
    let named = BalancedOptions::named(&spec, &ChooserPorts::default()).expect("no ports are needed");
    let table = TableOptions { breaker, ..TableOptions::default() };
    let options = BalancedOptions { profile: profile.to_owned(), table, ..named };
    (tell, factory.balanced(&list, options).expect("a channel"))
}

impl Many {
    async fn start(count: usize) -> Self {
        Self::with(count, over_http2(Profile::control_plane()), false, breaker()).await
    }

    pub(crate) async fn with(count: usize, mut profile: Profile, http3_support: bool, breaker: BreakerOptions) -> Self {
        profile.retry.backoff_min = Duration::from_millis(1);
        profile.reconnect_min = Duration::from_millis(10);
        profile.reconnect_max = Duration::from_millis(10);
        let authority = Authority::new().expect("a CA");
        let start = |n| Node::start(&authority, &format!("node-{n}"), (Ipv4Addr::LOCALHOST, 0).into());
        let nodes: Vec<Node> = (0..count).map(|n| start(n).expect("a server")).collect();
        let peers = nodes.iter().map(|node| node.peer(http3_support)).collect();
        let factory = factory(credentials(&authority, CLIENT), profile);
        let (tell, channel) = balanced(&factory, peers, "round-robin", breaker).await;
        Self { authority, nodes, tell, factory, channel }
    }

    fn client(&self) -> EchoClient<BalancedChannel> {
        EchoClient::new(self.channel.clone())
    }

    fn begun(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.echo.calls().begun).collect()
    }

    fn handle(&self, n: usize) -> PeerHandle {
        self.handle_of(&self.nodes.get(n).expect("a node").id)
    }

    fn handle_of(&self, id: &NodeId) -> PeerHandle {
        self.channel.table().handle(id).expect("a peer")
    }
}

fn fails_with(code: Code) -> EchoRequest {
    let failure = Failure { code: code.into(), message: "not now".to_owned(), ..Failure::default() };
    EchoRequest { failure: Some(failure), ..says("a") }
}

#[tokio::test]
async fn calls_are_spread_over_the_peers_that_the_source_tells_of() -> Outcome {
    let many = Many::start(3).await;
    for _ in 0..9 {
        many.client().unary(says("a")).await?;
    }
    assert_eq!(many.begun(), [3, 3, 3]);
    assert_eq!([0, 1, 2].map(|n| (many.handle(n).picks(), many.handle(n).pending())), [(3, 0); 3]);
    Ok(())
}

#[tokio::test]
async fn calls_about_one_key_go_to_one_peer() -> Outcome {
    let many = Many::start(3).await;
    let peers = many.nodes.iter().map(|node| node.peer(false)).collect();
    let (_tell, channel) = balanced(&many.factory, peers, "hash", breaker()).await;
    for key in 0..20 {
        let before = many.begun();
        for _ in 0..3 {
            let mut request = tonic::Request::new(says("a"));
            request.extensions_mut().insert(Affinity { key: Some(hash_key(&[key])), shard: None });
            EchoClient::new(channel.clone()).unary(request).await?;
        }
        let more: Vec<u64> = many.begun().iter().zip(before).map(|(after, before)| after - before).collect();
        assert!(more.contains(&3), "key {key} went to {more:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_peer_costs_no_call_and_comes_back_in_its_time() -> Outcome {
    let mut many = Many::start(3).await;
    let (address, killed) = (many.nodes[0].address, many.handle(0));
    for _ in 0..3 {
        many.client().unary(says("a")).await?;
    }
    many.nodes[0].running.shutdown().await;
    let opened = async {
        while killed.breaker() != BreakerState::Open {
            many.client().unary(says("a")).await?;
        }
        Ok::<_, tonic::Status>(())
    };
    timeout(PATIENCE, opened).await??;
    for _ in 0..20 {
        many.client().unary(says("a")).await?;
    }

    many.nodes[0] = Node::start(&many.authority, "node-0", address)?;
    let served = async {
        while many.nodes[0].echo.calls().begun < 3 || killed.breaker() != BreakerState::Closed {
            many.client().unary(says("a")).await?;
        }
        Ok::<_, tonic::Status>(())
    };
    Ok(timeout(PATIENCE, served).await??)
}

#[tokio::test]
async fn a_peer_that_one_plane_does_not_reach_is_left_alone_by_the_other_until_it_is_back() -> Outcome {
    let mut many = Many::start(3).await;
    let peers = many.nodes.iter().map(|node| node.peer(false)).collect();
    let (_tell, control) = balanced_by("other", &many.factory, peers, "round-robin", breaker()).await;
    let (address, seen) = (many.nodes[0].address, control.table().handle(&many.nodes[0].id).expect("a peer"));
    many.nodes[0].running.shutdown().await;
    let opened = async {
        while many.handle(0).breaker() != BreakerState::Open {
            many.client().unary(says("a")).await?;
        }
        Ok::<_, tonic::Status>(())
    };
    timeout(PATIENCE, opened).await??;
    assert_eq!((seen.breaker(), seen.picks()), (BreakerState::Open, 0), "it was told before its first call");
    let failed = many.factory.fleet().calls(many.factory.now()).get(seen.id()).map(|calls| calls.unreachable);
    assert!(failed >= Some(2), "{failed:?}");

    many.nodes[0] = Node::start(&many.authority, "node-0", address)?;
    let served = async {
        while many.nodes[0].echo.calls().begun < 3 || seen.breaker() != BreakerState::Closed {
            EchoClient::new(control.clone()).unary(says("a")).await?;
        }
        Ok::<_, tonic::Status>(())
    };
    Ok(timeout(PATIENCE, served).await??)
}

#[tokio::test]
async fn an_application_that_fails_on_one_plane_is_held_against_its_node_on_no_other() {
    let mut profile = over_http2(Profile::control_plane());
    profile.retry.max_attempts = 1;
    let long = BreakerOptions { base_delay: Duration::from_secs(60), max_delay: Duration::from_secs(60), ..breaker() };
    let many = Many::with(2, profile, false, long.clone()).await;
    let peers = many.nodes.iter().map(|node| node.peer(false)).collect();
    let (_tell, control) = balanced_by("other", &many.factory, peers, "round-robin", long).await;
    for _ in 0..6 {
        many.client().unary(fails_with(Code::Unavailable)).await.expect_err("a failure");
    }
    let out = |channel: &BalancedChannel| {
        let breakers = many.nodes.iter().filter_map(|node| Some(channel.table().handle(&node.id)?.breaker()));
        breakers.filter(|breaker| *breaker == BreakerState::Open).count()
    };
    assert_eq!((out(&many.channel), out(&control)), (1, 0));
}

#[tokio::test]
async fn a_peer_that_the_source_takes_away_finishes_its_call_and_gets_no_other() -> Outcome {
    let mut profile = over_http2(Profile::control_plane());
    profile.idle_timeout = Duration::from_secs(1);
    let many = Many::with(2, profile, false, breaker()).await;
    let (mut first, mut second) = (many.client(), many.client());
    let mut calls = JoinSet::new();
    calls.spawn(async move { first.unary(held()).await });
    calls.spawn(async move { second.unary(held()).await });
    wait_until(|| many.begun() == [1, 1]).await;
    assert_eq!(many.factory.links(), 2);

    let gone = many.nodes[0].id.clone();
    many.tell.send(PeerUpdate::Remove(gone)).await?;
    wait_until(|| many.channel.table().peers().len() == 1).await;
    for _ in 0..4 {
        many.client().unary(says("a")).await?;
    }
    assert_eq!(many.begun(), [1, 5]);
    many.nodes.iter().for_each(|node| node.echo.release());
    while let Some(answer) = calls.join_next().await {
        answer??;
    }
    let mut client = many.client();
    let stay = async {
        // Only the one in use stays connected.
        while many.factory.links() > 1 {
            client.unary(says("a")).await?;
        }
        Ok::<_, tonic::Status>(())
    };
    timeout(PATIENCE, stay).await??;
    assert_eq!(many.factory.links(), 1);
    Ok(())
}

#[tokio::test]
async fn each_attempt_at_a_call_has_another_peer_while_there_is_one() {
    let many = Many::start(3).await;
    let unmoved = BreakerOptions { consecutive_failures: 0, failure_percent: 0, ..breaker() };
    let peers = many.nodes.iter().map(|node| node.peer(false)).collect();
    // By itself, this chooser would choose the same peer each time.
    let (_tell, channel) = balanced(&many.factory, peers, "hash", unmoved).await;
    let mut request = tonic::Request::new(fails_with(Code::Unavailable));
    request.extensions_mut().insert(Affinity { key: Some(hash_key(b"a")), shard: None });
    let status = EchoClient::new(channel).unary(request).await.expect_err("a failure");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "not now"));
    let mut begun = many.begun();
    begun.sort_unstable();
    assert_eq!(begun, [1, 1, 2], "four attempts, three peers");
}

#[tokio::test]
async fn a_call_that_a_peer_has_not_seen_goes_to_the_next_though_there_are_no_retries() -> Outcome {
    let mut profile = over_http2(Profile::control_plane());
    profile.retry.max_attempts = 1;
    let many = Many::with(1, profile, false, breaker()).await;
    // Bound and not listening: it refuses connections, and nobody else gets its port.
    let silent = TcpSocket::new_v4()?;
    silent.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let absent = peer(&"node-9".parse()?, silent.local_addr()?, false);
    many.tell.send(PeerUpdate::Upsert(absent)).await?;
    wait_until(|| many.channel.table().peers().len() == 2).await;
    let mut resent = 0;
    for _ in 0..10 {
        resent += many.client().unary(says("a")).await?.extensions().get().map_or(0, |Resent(times)| u64::from(*times));
    }
    let picks = many.handle_of(&"node-9".parse()?).picks();
    assert!(picks > 0);
    assert_eq!(resent, picks, "its callers are told");
    assert_eq!(many.begun(), [10]);
    Ok(())
}

#[tokio::test]
async fn the_breaker_learns_from_failures_and_not_from_errors_that_are_the_callers() -> Outcome {
    let mut profile = over_http2(Profile::control_plane());
    profile.retry.max_attempts = 1;
    let long = BreakerOptions { base_delay: Duration::from_secs(60), max_delay: Duration::from_secs(60), ..breaker() };
    let many = Many::with(1, profile, false, BreakerOptions { rails: peers_core::Rails::OFF, ..long }).await;
    for _ in 0..4 {
        let status = many.client().unary(fails_with(Code::NotFound)).await.expect_err("a failure");
        assert_eq!(status.code(), Code::NotFound);
    }
    assert_eq!(many.handle(0).breaker(), BreakerState::Closed);
    for _ in 0..2 {
        many.client().unary(fails_with(Code::Unavailable)).await.expect_err("a failure");
    }
    assert_eq!(many.handle(0).breaker(), BreakerState::Open);

    let status = many.client().unary(says("a")).await.expect_err("nobody is left");
    let Some(FactoryError::NoPeer { source: PickError::NoneAvailable { retry_at: Some(_) }, retry_in: Some(wait) }) =
        FactoryError::of(&status)
    else {
        panic!("{status:?}")
    };
    assert!(*wait > Duration::ZERO && *wait <= Duration::from_millis(60_001), "{wait:?}");
    assert_eq!((status.code(), many.begun()), (Code::Unavailable, vec![6]));
    Ok(())
}

#[tokio::test]
async fn a_stream_keeps_its_peer_until_its_end_and_one_that_is_dropped_teaches_nothing() -> Outcome {
    let once = BreakerOptions { consecutive_failures: 1, ..breaker() };
    let many = Many::with(1, over_http2(Profile::control_plane()), false, once).await;
    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    let mut stream = many.client().server_stream(three.clone()).await?.into_inner();
    assert_eq!(many.handle(0).pending(), 1);
    while stream.message().await?.is_some() {}
    assert_eq!(many.handle(0).pending(), 0);

    let latency = many.handle(0).latency(many.channel.now());
    assert!(latency > Duration::ZERO, "the stream that ended was a success");
    drop(many.client().server_stream(StreamRequest { each: Some(held()), ..three }).await?);
    let mut client = many.client();
    let running = many.nodes[0].echo.wait_for(|calls| calls.begun == 3);
    tokio::select! {
        answer = client.unary(held()) => drop(answer?),
        _ = running => {}
    }
    let handle = many.handle(0);
    assert_eq!((handle.pending(), handle.picks(), handle.breaker()), (0, 3, BreakerState::Closed));
    assert!(handle.latency(many.channel.now()) <= latency, "no sample came in");
    Ok(())
}

#[tokio::test]
async fn only_a_peer_that_advertises_http3_is_called_over_it() -> Outcome {
    let protocol = async |advertises| {
        let many = Many::with(1, Profile::control_plane(), advertises, breaker()).await;
        many.client().unary(says("a")).await?;
        let node = &many.nodes[0];
        // A channel that is told nothing shares the connection with those of peers that advertise it.
        let target = Target::new(node.address.into(), ExpectedPeer::Node(node.id.clone()));
        let plain = channel(&many.factory, &target).connection().map(|(protocol, _)| protocol);
        Ok::<_, Box<dyn std::error::Error>>((
            plain,
            many.handle(0).http3(many.channel.now()),
            many.factory.connections(),
        ))
    };
    assert_eq!(protocol(true).await?, (Some(Protocol::Http3), true, 1));
    assert_eq!(protocol(false).await?, (None, false, 1));
    Ok(())
}

#[tokio::test]
async fn http3_that_fails_is_held_against_the_peer_that_advertised_it() -> Outcome {
    let many = Many::with(0, Profile::control_plane(), true, breaker()).await;
    let status = many.client().unary(says("a")).await.expect_err("nobody is there");
    assert!(matches!(FactoryError::of(&status), Some(FactoryError::NoPeer { source: PickError::NoPeers, .. })));
    let http2_only = Serving::start(credentials(&many.authority, SERVER)).await;
    let id: NodeId = SERVER.parse()?;
    many.tell.send(PeerUpdate::Upsert(peer(&id, http2_only.address, true))).await?;
    wait_until(|| many.channel.table().peers().len() == 1).await;
    assert!(many.handle_of(&id).http3(many.channel.now()), "as advertised");
    let learned = async {
        while many.handle_of(&id).http3(many.channel.now()) {
            many.client().unary(says("a")).await?;
        }
        Ok::<_, tonic::Status>(())
    };
    Ok(timeout(PATIENCE, learned).await??)
}

#[tokio::test]
async fn the_last_channel_ends_what_follows_its_peers() {
    let many = Many::start(1).await;
    let Many { channel, tell, .. } = many;
    let other = channel.clone();
    drop(channel);
    assert!(!tell.is_closed());
    drop(other);
    timeout(PATIENCE, tell.closed()).await.expect("nobody listens any more");
}
