//! Calls on lanes.

use std::num::NonZeroUsize;
use std::time::Duration;

use ::lanes::{Lanes, Seat};
use grpc_client_factory::{Channel, Http3Mode, Protocol};
use test_authority::Holder;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::task::JoinSet;
use tonic::Status;

use crate::mesh_server::Mesh;
use crate::support::{CLIENT, Outcome, Pair, held, says, wait_until};

fn two_seats() -> Result<[Seat; 2], std::io::Error> {
    let lanes = Lanes::start(NonZeroUsize::MIN.saturating_add(1))?;
    Ok([lanes.deal(), lanes.deal()])
}

/// Makes a call on the lane of `seat`.
async fn call_on(seat: &Seat, channel: &Channel) -> Result<String, Status> {
    let (mut running, mut client) = (JoinSet::new(), EchoClient::new(channel.clone()));
    running.spawn_on(
        async move {
            let reply = client.unary(says("a")).await?.into_inner();
            Ok(String::from_utf8_lossy(&reply.payload).into_owned())
        },
        seat.runtime(),
    );
    running.join_next().await.expect("it was spawned").expect("it does not panic")
}

#[tokio::test]
async fn each_lane_that_calls_has_a_connection_of_its_own() -> Outcome {
    let (pair, [first, second]) = (Pair::new().await, two_seats()?);
    let channel = pair.channel();
    for seat in [&first, &first, &second, &first, &second] {
        assert_eq!(call_on(seat, &channel).await?, "a");
    }
    assert_eq!((pair.serving.accepted(), pair.factory.connections(), pair.factory.links()), (2, 2, 1));
    assert_eq!(channel.connection(), Some((Protocol::Http2, 0)));
    assert_eq!(pair.client().unary(says("b")).await?.into_inner().payload, "b");
    assert_eq!((pair.serving.accepted(), pair.factory.connections(), pair.factory.links()), (3, 3, 1));
    Ok(())
}

#[tokio::test]
async fn http3_has_a_connection_for_each_lane_too() -> Outcome {
    let (mesh, [first, second]) = (Mesh::start()?, two_seats()?);
    let channel = mesh.channel(&Holder::new(CLIENT), Http3Mode::Only);
    for seat in [&first, &second, &first] {
        assert_eq!(call_on(seat, &channel).await?, "a");
    }
    assert_eq!(channel.connection(), Some((Protocol::Http3, 0)));
    assert_eq!(mesh.handle.connections().len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_factory_that_is_closed_ends_the_connections_of_all_lanes() -> Outcome {
    let (pair, [first, second]) = (Pair::new().await, two_seats()?);
    let channel = pair.channel();
    let (mut running, mut client) = (JoinSet::new(), EchoClient::new(channel.clone()));
    running.spawn_on(async move { client.unary(held()).await }, first.runtime());
    pair.serving.echo.wait_for(|calls| calls.begun == 1).await;
    pair.factory.close(Duration::ZERO).await;
    let cut = running.join_next().await.ok_or("it was spawned")??;
    assert_eq!(cut.map(drop).map_err(|status| status.code()), Err(tonic::Code::Unavailable));
    assert_eq!((pair.factory.connections(), pair.factory.tasks()), (0, 0));
    let late = call_on(&second, &channel).await;
    assert_eq!(late.map_err(|status| status.code()), Err(tonic::Code::Unavailable));
    Ok(())
}

#[tokio::test]
async fn the_connections_of_all_lanes_rest_when_nobody_calls() -> Outcome {
    let rests = crate::support::profile(|profile| profile.idle_timeout = Duration::from_secs(1));
    let (pair, [first, second]) = (Pair::with(rests).await, two_seats()?);
    let channel = pair.channel();
    for seat in [&first, &second] {
        call_on(seat, &channel).await?;
    }
    drop(channel);
    wait_until(|| pair.factory.connections() == 0 && pair.factory.links() == 0).await;
    Ok(())
}
