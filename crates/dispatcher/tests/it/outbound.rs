//! Calls from node to node: each node with an application beside it, and the same list of nodes before its eyes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dispatcher::{
    Body, Code, Dispatcher, Forward as _, Front, HealthOptions, LocalApp, LocalEndpoint, LocalListener, LocalProtocol,
    LocalServiceOptions, LocalServices, OutboundOptions, OutboundPorts, Outbounds, Readiness,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use grpc_client_factory::{Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Target};
use http_body::Body as _;
use http_body_util::Full;
use identity::ExpectedPeer;
use lanes::Lanes;
use mesh_server::{CancellationToken, Handle, Options, Server};
use mesh_types::{
    BootEpoch, Features, Incarnation, Member, MemberState, MetadataVersion, NodeLifecycle, NodeMetadata, ServiceName,
};
use peers_core::{ChooserPorts, Peer, PeerSource, PeerUpdate, PeerUpdates};
use prost::Message as _;
use test_authority::Authority;
use test_rpc::EchoService;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use test_rpc::rpc::{EchoReply, EchoRequest, Failure, StreamRequest, Summary};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::interval;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;

use crate::fixture::{BoxError, Outcome, within};

/// The name of the service of `test_rpc`, by which gRPC clients call it.
const ECHO: &str = "omnirelay.test.v1.Echo";

/// How often it is looked whether something has come to hold.
const TICK: Duration = Duration::from_millis(5);

/// What every node sees: all nodes. Each leaves itself out.
#[derive(Debug, Clone)]
struct View {
    own: String,
    nodes: watch::Receiver<Vec<Peer>>,
}

impl PeerSource for View {
    fn subscribe(&self) -> PeerUpdates {
        let mut nodes = self.nodes.clone();
        nodes.mark_changed();
        let own = self.own.clone();
        let lists = stream::unfold(nodes, |mut nodes| async move {
            nodes.changed().await.ok()?;
            let list = nodes.borrow_and_update().clone();
            Some((list, nodes))
        });
        let others = move |list: Vec<Peer>| list.into_iter().filter(|peer| peer.id.as_str() != own).collect();
        Box::pin(lists.map(move |list| PeerUpdate::Reset(others(list))))
    }
}

/// An application that listens on loopback, and what becomes of its calls.
struct App {
    echo: EchoService,
    endpoint: LocalEndpoint,
    running: JoinSet<()>,
    stop: CancellationToken,
}

impl App {
    async fn start() -> Result<Self, BoxError> {
        Self::start_at("127.0.0.1:0".parse::<SocketAddr>().map(LocalEndpoint::Tcp)?).await
    }

    async fn start_at(endpoint: LocalEndpoint) -> Result<Self, BoxError> {
        let (echo, stop, mut running) = (EchoService::default(), CancellationToken::new(), JoinSet::new());
        let listener = LocalListener::bind(endpoint).await?;
        let bound = listener.endpoint().clone();
        let routes = Routes::new(EchoServer::new(echo.clone()));
        running.spawn(listener.run(routes, Duration::from_secs(5), stop.clone()));
        Ok(Self { echo, endpoint: bound, running, stop })
    }

    async fn stop(mut self) {
        self.stop.cancel();
        drop(self.running.join_next().await);
    }
}

/// A node. Dropping it is what `kill -9` does: its sockets close.
struct Node {
    address: SocketAddr,
    serving: Handle,
    local: LocalServices,
    outbounds: Outbounds,
    readiness: Readiness,
    _running: JoinSet<()>,
}

struct Mesh {
    authority: Authority,
    tell: watch::Sender<Vec<Peer>>,
    nodes: BTreeMap<usize, Node>,
    factory: ClientFactory,
    /// How many lanes each node has; none if 0.
    lanes: usize,
}

impl Mesh {
    fn new() -> Result<Self, BoxError> {
        let authority = Authority::new()?;
        let factory = ClientFactory::new(authority.credentials("client")?, FactoryOptions::default())?;
        Ok(Self { authority, tell: watch::Sender::default(), nodes: BTreeMap::new(), factory, lanes: 0 })
    }

    /// Starts nodes, of which those after the first have an application each.
    async fn start(apps: &[&App]) -> Result<Self, BoxError> {
        Self::start_with(0, apps).await
    }

    async fn start_with(lanes: usize, apps: &[&App]) -> Result<Self, BoxError> {
        let mut mesh = Self { lanes, ..Self::new()? };
        mesh.join(0, None).await?;
        for (number, app) in apps.iter().enumerate() {
            mesh.join(number + 1, Some(app)).await?;
        }
        Ok(mesh)
    }

    async fn join(&mut self, number: usize, app: Option<&App>) -> Result<(), BoxError> {
        let name = format!("node-{number}");
        let credentials = self.authority.credentials(&name)?;
        let options = Options {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            udp_buffer_bytes: 128 * 1024,
            lanes: NonZeroUsize::new(self.lanes).map(Lanes::start).transpose()?,
            ..Options::default()
        };
        let server = Server::bind(options, Arc::clone(&credentials) as _)?;
        let (address, serving) = (server.local_addr(), server.handle());
        let service = |beside: &App| {
            let health = HealthOptions { interval: Duration::from_millis(50), ..HealthOptions::default() };
            let grpc = LocalApp { endpoint: beside.endpoint.clone(), protocol: LocalProtocol::Grpc };
            Ok::<_, BoxError>(LocalServiceOptions { name: ECHO.parse()?, app: grpc, health })
        };
        let local = LocalServices::new(app.map(service).transpose()?.into_iter().collect())?;
        let ports = OutboundPorts {
            node: name.parse()?,
            factory: ClientFactory::new(credentials, FactoryOptions::default())?,
            mesh: Arc::new(View { own: name.clone(), nodes: self.tell.subscribe() }),
            local: local.clone(),
        };
        let (outbounds, task) = Outbounds::new(ports, OutboundOptions::default(), ChooserPorts::default())?;
        let (readiness, stop, mut running) = (Readiness::new("worker"), CancellationToken::new(), JoinSet::new());
        // By the first the mesh is entered, by the others it is not.
        let reach = if number == 0 { outbounds.clone() } else { outbounds.of_this_node() };
        let front = Front::builder(Dispatcher::default()).forward(Arc::new(reach));
        let front = front.readiness(readiness.clone()).build();
        running.spawn(local.clone().run(stop.clone()));
        running.spawn(task.run(stop.clone()));
        running.spawn(async move {
            server.run(front, stop).await;
        });
        if app.is_some() {
            let mut healthy = local.healthy();
            within("a healthy application", healthy.wait_for(|healthy| !healthy.is_empty())).await?;
        }
        self.nodes.insert(number, Node { address, serving, local, outbounds, readiness, _running: running });
        self.announce(number, if app.is_some() { &[ECHO] } else { &[] })
    }

    /// Has all see that a node announces these services, and no others.
    fn announce(&self, number: usize, services: &[&str]) -> Result<(), BoxError> {
        let peer = peer(number, self.nodes[&number].address, services)?;
        self.tell.send_modify(|nodes| {
            nodes.retain(|node| node.id != peer.id);
            nodes.push(peer);
        });
        Ok(())
    }

    /// Kills a node. That it is gone the others are not told.
    fn kill(&mut self, number: usize) {
        drop(self.nodes.remove(&number));
    }

    fn channel(&self, number: usize) -> Result<Channel, BoxError> {
        let peer = ExpectedPeer::Node(format!("node-{number}").parse()?);
        let target = Target::new(self.nodes[&number].address.into(), peer);
        Ok(self.factory.channel(&target, FactoryOptions::DATA_PLANE)?)
    }

    fn client(&self, number: usize) -> Result<EchoClient<Channel>, BoxError> {
        Ok(EchoClient::new(self.channel(number)?))
    }

    /// Waits until a node knows, or does not know, who serves the service.
    async fn knows(&self, number: usize, knows: bool) -> Outcome {
        let (service, outbounds): (ServiceName, _) = (ECHO.parse()?, &self.nodes[&number].outbounds);
        let mut ticks = interval(TICK);
        let wait = async {
            while outbounds.knows(&service) != knows {
                ticks.tick().await;
            }
        };
        within("the news", wait).await;
        Ok(())
    }
}

fn peer(number: usize, address: SocketAddr, services: &[&str]) -> Result<Peer, BoxError> {
    let metadata = NodeMetadata {
        role: "worker".parse()?,
        cluster: "alpha".parse()?,
        region: "eu-1".parse()?,
        mesh_version: "1".into(),
        http3_support: false,
        endpoint: "127.0.0.1:1".parse()?,
        labels: BTreeMap::new(),
        features: Features::OF_THIS_BUILD,
        lifecycle: NodeLifecycle::Active,
        services: services.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
        rpc_endpoint: Some(address.into()),
    };
    static VERSIONS: AtomicUsize = AtomicUsize::new(1);
    let member = Member {
        id: format!("node-{number}").parse()?,
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(VERSIONS.fetch_add(1, Ordering::Relaxed) as u64),
        metadata: Arc::new(metadata),
        last_seen: tokio::time::Instant::now().into_std(),
        rtt: None,
    };
    Peer::from_member(&member).ok_or_else(|| "an alive member is callable".into())
}

fn says(text: &'static str) -> EchoRequest {
    EchoRequest { payload: text.into(), ..EchoRequest::default() }
}

fn reply(text: &'static str, index: u64) -> EchoReply {
    EchoReply { payload: text.into(), index }
}

#[tokio::test]
async fn all_shapes_go_through_two_nodes_to_an_application_that_knows_nothing_of_them() -> Outcome {
    let app = App::start().await?;
    let mesh = Mesh::start(&[&app]).await?;
    mesh.knows(0, true).await?;
    let mut client = mesh.client(0)?;
    let mut request = tonic::Request::new(says("a"));
    request.metadata_mut().insert_bin("echo-bin", MetadataValue::from_bytes(&[0, 255]));
    let answer = within("an answer", client.unary(request)).await?;
    let returned = answer.metadata().get_bin("echo-bin").ok_or("metadata did not come back")?.to_bytes()?;
    assert_eq!((&returned[..], answer.into_inner()), (&[0, 255][..], reply("a", 0)));

    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    let repeated: Vec<_> = client.server_stream(three).await?.into_inner().try_collect().await?;
    assert_eq!(repeated, [reply("b", 0), reply("b", 1), reply("b", 2)]);
    let sum = client.client_stream(stream::iter([says("c"), says("dd")])).await?.into_inner();
    assert_eq!(sum, Summary { messages: 2, bytes: 3 });
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    let mut replies = client.chat(said).await?.into_inner();
    for (index, word) in ["one", "two"].into_iter().enumerate() {
        say.send(says(word)).await?;
        assert_eq!(within("a reply", replies.message()).await?, Some(reply(word, index as u64)));
    }
    drop(say);
    assert_eq!(replies.message().await?, None);

    let failure = Failure { code: 9, message: "nöt now".to_owned(), details: "why".into(), panic: false };
    let failing = EchoRequest { failure: Some(failure), ..says("a") };
    let status = client.unary(failing).await.expect_err("a failure");
    assert_eq!((status.code(), status.message(), status.details()), (Code::FailedPrecondition, "nöt now", &b"why"[..]));
    Ok(())
}

#[tokio::test]
async fn calls_leave_by_a_connection_of_their_lane_and_what_is_learned_of_peers_is_shared() -> Outcome {
    let app = App::start().await?;
    let mesh = Mesh::start_with(2, &[&app]).await?;
    mesh.knows(0, true).await?;
    let first = mesh.client(0)?;
    let other = ClientFactory::new(mesh.authority.credentials("client")?, FactoryOptions::default())?;
    let second = EchoClient::new(other.channel(mesh.channel(0)?.target(), FactoryOptions::DATA_PLANE)?);
    for mut client in [first.clone(), second.clone(), second, first] {
        assert_eq!(within("an answer", client.unary(says("a"))).await?.into_inner(), reply("a", 0));
    }
    let callers = |number: usize| {
        let peers = mesh.nodes[&number].serving.connections();
        peers.iter().map(|peer| peer.spiffe_id().node().to_string()).collect::<Vec<_>>()
    };
    assert_eq!((callers(0), callers(1)), (vec!["client".to_owned(); 2], vec!["node-0".to_owned(); 2]));
    let [service] = &mesh.nodes[&0].outbounds.outbounds()[..] else { return Err("one service was called".into()) };
    assert_eq!(service.peers.iter().map(|peer| peer.successes + peer.inflight).collect::<Vec<_>>(), [4]);
    Ok(())
}

#[tokio::test]
async fn introspection_tells_of_the_peers_and_how_long_they_take() -> Outcome {
    let app = App::start().await?;
    let mesh = Mesh::start(&[&app]).await?;
    mesh.knows(0, true).await?;
    within("an answer", mesh.client(0)?.unary(says("a"))).await?;
    let outbounds = &mesh.nodes[&0].outbounds;
    // The node learns of the end after its caller.
    within("the end of the call", async {
        while outbounds
            .outbounds()
            .first()
            .is_none_or(|service| service.peers.first().is_none_or(|peer| peer.successes == 0))
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let [service] = &outbounds.outbounds()[..] else { return Err("one service was called".into()) };
    let told = (&*service.service, &*service.transport, service.chooser.as_deref(), service.peers.len());
    assert_eq!(told, (ECHO, "grpc", Some("adaptive"), 1));
    let peer = &service.peers[0];
    assert_eq!(
        (&*peer.peer, &*peer.status, peer.endpoint.clone()),
        ("node-1", "closed", mesh.nodes[&1].address.to_string())
    );
    assert_eq!((peer.successes, peer.failures, peer.inflight), (1, 0, 0));
    let latency = peer.latency_ms.ok_or("there was a call")?;
    assert!(latency.p50 > 0.0 && latency.p50 <= latency.p90 && latency.p90 <= latency.p99, "{latency:?}");
    let own: Vec<_> = mesh.nodes[&1].outbounds.outbounds();
    assert_eq!(own.iter().map(|local| (&*local.service, &*local.transport)).collect::<Vec<_>>(), [(ECHO, "local")]);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_a_failure_and_nothing_else_ends_with_its_head() -> Outcome {
    let app = App::start().await?;
    let mesh = Mesh::start(&[&app]).await?;
    mesh.knows(0, true).await?;
    let failure = Failure { code: 9, message: "not now".to_owned(), ..Failure::default() };
    let message = EchoRequest { failure: Some(failure), ..says("a") }.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len())?.to_be_bytes());
    framed.extend(message);
    for number in [0, 1] {
        let body = Body::new(Full::from(framed.clone()));
        let request = http::Request::post(format!("/{ECHO}/Unary")).header("content-type", "application/grpc");
        let answer = mesh.nodes[&number].outbounds.forward(&ECHO.parse()?, request.body(body)?);
        let answer = within("an answer", answer).await;
        assert_eq!(answer.headers().get("grpc-status").map(|status| status.as_bytes()), Some(&b"9"[..]));
        assert!(answer.body().is_end_stream(), "node-{number}");
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_in_the_application() -> Outcome {
    let app = App::start().await?;
    let mesh = Mesh::start(&[&app]).await?;
    mesh.knows(0, true).await?;
    let mut client = mesh.client(0)?;
    let held = EchoRequest { held: true, ..says("a") };
    tokio::select! {
        answer = client.unary(held) => return Err(format!("{answer:?}").into()),
        _calls = app.echo.wait_for(|calls| calls.begun == 1) => {}
    }
    within("the end of the handler", app.echo.wait_for(|calls| calls.dropped == 1)).await;
    Ok(())
}

/// Begins a chat, and returns what is still to come of it. It goes on for as long as what else is returned is there.
async fn begun(mesh: &Mesh) -> Result<(tonic::Streaming<EchoReply>, mpsc::Sender<EchoRequest>), BoxError> {
    let (say, mut said) = mpsc::channel(1);
    say.send(says("a")).await?;
    let requests = stream::poll_fn(move |cx| said.poll_recv(cx));
    let mut replies = within("an answer", mesh.client(0)?.chat(requests)).await?.into_inner();
    assert_eq!(within("a reply", replies.message()).await?, Some(reply("a", 0)));
    Ok((replies, say))
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_the_middle_ends_with_a_status() -> Outcome {
    for number in 0..2 {
        let app = App::start().await?;
        let mut mesh = Mesh::start(&[&app]).await?;
        mesh.knows(0, true).await?;
        let (mut replies, _say) = begun(&mesh).await?;
        // Once it is the application that dies, once the node beside it.
        if number == 0 {
            drop(app);
        } else {
            mesh.kill(1);
        }
        let ended = within("the end", replies.message()).await.map_err(|status| status.code());
        assert_eq!(ended, Err(Code::Unavailable), "{number}");
    }
    Ok(())
}

#[tokio::test]
async fn a_service_that_nobody_serves_is_told_in_the_words_of_the_contract() -> Outcome {
    let app = App::start().await?;
    let mesh = Mesh::start(&[&app]).await?;
    mesh.knows(0, true).await?;
    let call = async |through: Option<&str>, hops: &str| {
        let mut request = tonic::Request::new(says("a"));
        if let Some(through) = through {
            request.metadata_mut().insert("rpc-routing-delegate", through.parse()?);
        }
        request.metadata_mut().insert("rpc-hops", hops.parse()?);
        let answer = within("an answer", mesh.client(0)?.unary(request)).await;
        Ok::<_, BoxError>(answer.map(|_reply| ()).map_err(|status| (status.code(), status.message().to_owned())))
    };
    assert_eq!(call(None, "0").await?, Ok(()));
    assert_eq!(call(Some("node-1"), "0").await?, Ok(()));
    let nowhere = "routing delegate `node-7` is neither a service nor a node of the mesh".to_owned();
    assert_eq!(call(Some("node-7"), "0").await?, Err((Code::NotFound, nowhere)));
    let not_here = format!("node `node-0` does not serve `{ECHO}`");
    assert_eq!(call(None, "1").await?, Err((Code::Unavailable, not_here)));
    mesh.announce(1, &[])?;
    mesh.knows(0, false).await?;
    let unknown = format!("service `{ECHO}` is not known here or in the mesh");
    assert_eq!(call(None, "0").await?, Err((Code::NotFound, unknown)));
    Ok(())
}

#[tokio::test]
async fn a_caller_from_outside_does_not_get_into_the_mesh_by_naming_a_node_as_the_one_to_go_by() -> Outcome {
    let app = App::start().await?;
    let mut mesh = Mesh::start(&[&app]).await?;
    mesh.join(2, None).await?;
    mesh.knows(0, true).await?;
    mesh.knows(2, true).await?;
    let call = async |to: usize| {
        let mut request = tonic::Request::new(says("a"));
        request.metadata_mut().insert("rpc-routing-delegate", MetadataValue::from_static("node-2"));
        let answer = within("an answer", mesh.client(to)?.unary(request)).await;
        Ok::<_, BoxError>(answer.map(|_reply| ()).map_err(|status| (status.code(), status.message().to_owned())))
    };
    assert_eq!(call(0).await?, Ok(()));
    let not_here = format!("node `node-2` does not serve `{ECHO}`");
    assert_eq!(call(2).await?, Err((Code::Unavailable, not_here)));
    Ok(())
}

#[tokio::test]
async fn a_node_that_does_not_serve_any_more_what_others_think_it_does_costs_no_call() -> Outcome {
    let (app, other) = (App::start().await?, App::start().await?);
    let mut mesh = Mesh::start(&[&app]).await?;
    mesh.join(2, None).await?;
    mesh.announce(2, &[ECHO])?;
    mesh.join(3, Some(&other)).await?;
    mesh.knows(0, true).await?;
    let mut client = mesh.client(0)?;
    for _ in 0..20 {
        within("an answer", client.unary(says("a"))).await?;
    }
    // An application that ends is a service that is not there: its node says so before anybody has heard.
    other.stop().await;
    for _ in 0..20 {
        within("an answer", client.unary(says("b"))).await?;
    }
    assert!(app.echo.calls().begun >= 20);
    let healthy = mesh.nodes[&3].local.healthy();
    within("the end of the service", healthy.clone().wait_for(|healthy| healthy.is_empty())).await?;
    Ok(())
}

#[tokio::test]
async fn a_node_that_drains_takes_no_new_calls_and_none_is_lost() -> Outcome {
    let (app, other) = (App::start().await?, App::start().await?);
    let mesh = Mesh::start(&[&app, &other]).await?;
    mesh.knows(0, true).await?;
    let mut client = mesh.client(0)?;
    mesh.nodes[&1].readiness.set_draining(true);
    for _ in 0..20 {
        within("an answer", client.unary(says("a"))).await?;
    }
    assert_eq!((app.echo.calls().begun, other.echo.calls().begun), (0, 20));
    Ok(())
}

#[tokio::test]
async fn no_idempotent_call_fails_when_a_node_is_killed_under_load() -> Outcome {
    let apps = [App::start().await?, App::start().await?, App::start().await?];
    let mut mesh = Mesh::start(&apps.each_ref()).await?;
    mesh.knows(0, true).await?;
    let (done, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (mut client, done, stop) = (mesh.client(0)?, Arc::clone(&done), stop.clone());
        callers.spawn(async move {
            while !stop.is_cancelled() {
                let mut request = tonic::Request::new(says("a"));
                request.metadata_mut().insert("rpc-idempotent", MetadataValue::from_static("true"));
                client.unary(request).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, tonic::Status>(())
        });
    }
    let reach = async |count: usize| {
        let mut ticks = interval(TICK);
        let wait = async {
            while done.load(Ordering::Relaxed) < count {
                ticks.tick().await;
            }
        };
        within("calls", wait).await;
    };
    reach(200).await;
    mesh.kill(2);
    let then = done.load(Ordering::Relaxed);
    reach(then + 400).await;
    stop.cancel();
    while let Some(ended) = within("the callers", callers.join_next()).await {
        ended??;
    }
    Ok(())
}

#[tokio::test]
async fn an_application_is_reached_by_a_unix_socket() -> Outcome {
    let directory = tempfile::tempdir()?;
    let app = App::start_at(LocalEndpoint::Unix(directory.path().join("echo.sock"))).await?;
    let mesh = Mesh::start(&[&app]).await?;
    let answer = within("an answer", mesh.client(1)?.unary(says("a"))).await?;
    assert_eq!(answer.into_inner(), reply("a", 0));
    app.stop().await;
    assert_eq!(std::fs::read_dir(directory.path())?.count(), 0, "the socket was left");
    Ok(())
}
