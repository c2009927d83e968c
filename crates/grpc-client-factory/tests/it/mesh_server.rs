//! The other half of the mesh's gRPC: mesh-server, over both protocols at one port.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::{TryStreamExt as _, stream};
use grpc_client_factory::{Channel, FactoryError, Http3Mode, Profile, Protocol, Refuser, Target};
use identity::{ExpectedPeer, RefusalReason};
use mesh_server::{CancellationToken, DrainReport, Handle, Options, Server};
use test_authority::{Authority, Holder};
use test_rpc::EchoService;
use test_rpc::rpc::StreamRequest;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::service::Routes;

use crate::quic::Wire;
use crate::support::{CLIENT, Outcome, SERVER, channel, credentials, factory, held, says};

pub(crate) struct Mesh {
    authority: Authority,
    echo: EchoService,
    pub(crate) handle: Handle,
    target: Target,
    shutdown: CancellationToken,
    running: JoinSet<DrainReport>,
}

impl Mesh {
    pub(crate) fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let authority = Authority::new()?;
        let options = Options { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..Options::default() };
        let server = Server::bind(options, credentials(&authority, SERVER))?;
        let target = Target::new(server.local_addr().into(), ExpectedPeer::Node(SERVER.parse()?));
        let (handle, echo, shutdown) = (server.handle(), EchoService::default(), CancellationToken::new());
        let mut running = JoinSet::new();
        running.spawn(server.run(Routes::new(EchoServer::new(echo.clone())), shutdown.clone()));
        Ok(Self { authority, echo, handle, target, shutdown, running })
    }

    /// A channel of `holder` that speaks HTTP/3 or HTTP/2 only.
    pub(crate) fn channel(&self, holder: &Holder, mode: Http3Mode) -> Channel {
        self.channel_with(holder, mode, |_| ())
    }

    fn channel_with(&self, holder: &Holder, mode: Http3Mode, change: impl FnOnce(&mut Profile)) -> Channel {
        let mut profile = Profile::control_plane();
        (profile.http3.mode, profile.retry.max_attempts) = (mode, 1);
        change(&mut profile);
        let credentials = self.authority.credentials_with(holder).expect("credentials");
        channel(&factory(credentials, profile), &self.target)
    }
}

const BOTH: [(Http3Mode, Protocol); 2] = [(Http3Mode::Only, Protocol::Http3), (Http3Mode::Off, Protocol::Http2)];

#[tokio::test]
async fn every_shape_answers_and_cancellation_arrives_over_both() -> Outcome {
    let mesh = Mesh::start()?;
    for (mode, protocol) in BOTH {
        let channel = mesh.channel(&Holder::new(CLIENT), mode);
        let mut client = EchoClient::new(channel.clone());
        assert_eq!(client.unary(says("a")).await?.into_inner().payload, "a");
        let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
        assert_eq!(client.server_stream(three).await?.into_inner().try_collect::<Vec<_>>().await?.len(), 3);
        let sum = client.client_stream(stream::iter([says("c"), says("dd")])).await?.into_inner();
        assert_eq!((sum.messages, sum.bytes), (2, 3));
        let chat = client.chat(stream::iter([says("e"), says("f")])).await?.into_inner();
        assert_eq!(chat.try_collect::<Vec<_>>().await?.len(), 2);
        assert_eq!(channel.connection(), Some((protocol, 0)));

        let dropped = mesh.echo.calls().dropped;
        let running = mesh.echo.wait_for(|calls| calls.running() == 1);
        tokio::select! {
            answer = client.unary(held()) => drop(answer?),
            _ = running => {}
        }
        mesh.echo.wait_for(|calls| calls.dropped == dropped + 1).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_of_another_cluster_is_not_let_in_and_hears_why_over_both() -> Outcome {
    let mut mesh = Mesh::start()?;
    let own = mesh.authority.credentials(SERVER)?.spiffe_id().clone();
    mesh.target.peer = ExpectedPeer::Spiffe(own);
    let stranger = Holder { cluster: "other".to_owned(), ..Holder::new(CLIENT) };
    for (mode, protocol) in BOTH {
        let status = EchoClient::new(mesh.channel(&stranger, mode)).unary(says("a")).await.unwrap_err();
        let refusal = match FactoryError::of(&status) {
            Some(FactoryError::Tls(failure)) => Some((failure.protocol, failure.refuser, failure.reason)),
            _ => None,
        };
        assert_eq!(refusal, Some((protocol, Refuser::Peer, RefusalReason::AccessDenied)), "{status}");
        assert_eq!((status.code(), mesh.echo.calls().begun), (Code::Unauthenticated, 0), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_stops_finishes_the_streams_of_both() -> Outcome {
    let mesh = Mesh::start()?;
    let mut open = Vec::new();
    for (mode, _) in BOTH {
        let mut client = EchoClient::new(mesh.channel(&Holder::new(CLIENT), mode));
        let ten = StreamRequest { each: Some(held()), count: 10, failure: None };
        let stream = client.server_stream(ten).await?.into_inner();
        open.push((client, stream));
    }
    mesh.shutdown.cancel();
    mesh.echo.release();
    for (_client, stream) in open {
        assert_eq!(stream.try_collect::<Vec<_>>().await?.len(), 10);
    }
    let reports = mesh.running.join_all().await;
    assert_eq!(reports.iter().map(|report| report.cut_off).collect::<Vec<_>>(), [0]);
    Ok(())
}

#[tokio::test]
async fn a_client_whose_packets_come_from_another_port_keeps_its_connection_and_its_calls() -> Outcome {
    let mut mesh = Mesh::start()?;
    let wire = Wire::start("127.0.0.1:0".parse()?, mesh.handle.local_addr()).await;
    mesh.target.endpoint = wire.address.into();
    let mut client = EchoClient::new(mesh.channel(&Holder::new(CLIENT), Http3Mode::Only));
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    let mut replies = client.chat(said).await?.into_inner();
    for turn in 0..5 {
        say.send(says("a")).await?;
        assert_eq!(replies.message().await?.map(|reply| reply.index), Some(turn));
        wire.move_on();
    }
    client.unary(says("b")).await?;
    assert_eq!((mesh.handle.connections().len(), mesh.echo.calls().begun), (1, 2));
    Ok(())
}

#[tokio::test]
async fn four_hundred_callers_take_turns_on_eight_streams_though_some_give_up() -> Outcome {
    for (mode, _) in BOTH {
        let mesh = Mesh::start()?;
        let channel = mesh.channel_with(&Holder::new(CLIENT), mode, |profile| {
            (profile.http2.max_streams, profile.http3.max_streams) = (8, 8);
        });
        // Once there is a connection, callers get their turns in the order in which they begin.
        EchoClient::new(channel.clone()).unary(says("a")).await?;
        let mut callers = JoinSet::new();
        for number in 0..400 {
            let (mut client, echo) = (EchoClient::new(channel.clone()), mesh.echo.clone());
            callers.spawn(async move {
                let gives_up = number % 7 == 0;
                tokio::select! {
                    answer = client.unary(held()) => answer.map(|_| gives_up),
                    // The first eight are at work by then, and nobody else.
                    _ = echo.wait_for(|calls| calls.running() == 8), if gives_up => Ok(true),
                }
            });
        }
        mesh.echo.wait_for(|calls| calls.dropped > 0).await;
        mesh.echo.release();
        let outcomes: Vec<_> = callers.join_all().await.into_iter().collect::<Result<_, _>>()?;
        assert_eq!(outcomes.iter().filter(|gave_up| **gave_up).count(), 58);
        assert_eq!(mesh.handle.connections().len(), 1);
    }
    Ok(())
}
